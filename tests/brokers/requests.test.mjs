// Requests and responses through the broker, with peers that are other programs: MQTT.js and mosquitto_rr.

import { deepEqual, equal, rejects } from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { promisify } from 'node:util'
import mqtt from 'mqtt'
import { eventually, join, startBroker, story } from './support.mjs'

const run = promisify(execFile)

story(
  'both sides are wasmqtt, at every QoS',
  async (t) => {
    const broker = await startBroker(t)
    const server = await join(t, broker.url, { protocolVersion: 5, clientId: 'server' })
    const client = await join(t, broker.url, { protocolVersion: 5, clientId: 'client' })
    await server.respond('double/#', (message) => `${Number(message.json()) * 2}`, { qos: 2 })
    for (const qos of [0, 1, 2]) {
      const responses = await Promise.all(
        Array.from({ length: 50 }, (_, number) =>
          client.request(`double/${number}`, `${number}`, { qos: /** @type {any} */ (qos) }),
        ),
      )
      deepEqual(
        responses.map((message) => message.json()),
        Array.from({ length: 50 }, (_, number) => number * 2),
      )
    }
    server.on('error', () => {})
    await rejects(client.request('double/x', 'not json'), { code: 'HANDLER_FAILED' })
    await rejects(client.request('nobody', '', { timeout: 100 }), { code: 'TIMEOUT' })
  },
  [5],
)

story(
  'a client without a client id',
  async (t) => {
    const broker = await startBroker(t)
    const client = await join(t, broker.url, { protocolVersion: 5 })
    await client.respond('ask', (message) => message.properties?.responseTopic)
    equal((await client.request('ask')).text(), `response/${client.clientId}`)
  },
  [5],
)

story(
  'mosquitto_rr asks',
  async (t) => {
    const broker = await startBroker(t)
    const server = await join(t, broker.url, { protocolVersion: 5 })
    await server.respond('ask', (message) => `re: ${message.text()}`, { qos: 1 })
    const connection = ['-V', '5', '-h', '127.0.0.1', '-p', `${broker.tcpPort}`]
    for (const qos of ['0', '1', '2']) {
      const call = ['-t', 'ask', '-e', 'answers', '-m', 'hello', '-q', qos, '-W', '10']
      const { stdout } = await run('mosquitto_rr', [...connection, ...call])
      equal(stdout, 're: hello\n')
    }
  },
  [5],
)

story(
  'MQTT.js asks, and MQTT.js answers',
  async (t) => {
    const broker = await startBroker(t)
    const client = await join(t, broker.url, { protocolVersion: 5 })
    const peer = await mqtt.connectAsync(`mqtt://127.0.0.1:${broker.tcpPort}`, {
      protocolVersion: 5,
    })
    t.after(() => peer.endAsync(true))
    const got = []
    peer.on('message', (topic, payload, { properties }) => {
      if (topic === 'theirs/answers') got.push([`${payload}`, `${properties?.correlationData}`])
      else
        peer.publish(`${properties?.responseTopic}`, `re: ${payload}`, {
          properties: {
            correlationData: properties?.correlationData,
            ...(`${payload}` === 'fail' && { userProperties: { error: 'no' } }),
          },
        })
    })
    await peer.subscribeAsync(['theirs/answers', 'theirs/questions'])
    await client.respond('ours', (message) => `re: ${message.text()}`)
    const properties = { responseTopic: 'theirs/answers', correlationData: Buffer.from('c') }
    peer.publish('ours', 'hello', { properties })
    await eventually(() => got.length > 0, 'the response')
    deepEqual(got, [['re: hello', 'c']])
    equal((await client.request('theirs/questions', 'hi')).text(), 're: hi')
    const failed = client.request('theirs/questions', 'fail')
    await rejects(failed, { code: 'HANDLER_FAILED', message: 'The responder failed: no' })
  },
  [5],
)

story(
  'mosquitto_sub and mosquitto_pub are a responder by hand',
  async (t) => {
    const broker = await startBroker(t)
    const client = await join(t, broker.url, { protocolVersion: 5, clientId: 'me' })
    const connection = ['-V', '5', '-h', '127.0.0.1', '-p', `${broker.tcpPort}`]
    const responder = spawn('mosquitto_sub', [...connection, '-t', 'ask', '-F', '%R %D', '-C', '1'])
    t.after(() => responder.kill())
    let line = ''
    responder.stdout.on('data', (data) => (line += data))
    await eventually(() => broker.log.some((entry) => /\task /.test(entry)), 'its subscription')
    const response = client.request('ask')
    await eventually(() => line.endsWith('\n'), 'the request')
    const [topic, correlation] = line.trim().split(' ')
    equal(topic, 'response/me')
    const more = ['-D', 'publish', 'correlation-data', correlation]
    await run('mosquitto_pub', [...connection, '-t', topic, '-m', 'by hand', ...more])
    equal((await response).text(), 'by hand')
  },
  [5],
)
