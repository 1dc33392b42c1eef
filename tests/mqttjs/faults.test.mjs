// Faults of the network, of servers and of applications, through the API of MQTT.js.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import mqtt from '../../pkg/mqttjs.node.js'
import { TestBroker } from '../../pkg/testing-node.js'
import { startServer } from './server.mjs'

/** Connects, and ends with the test. */
async function connected(t, url, options) {
  const client = mqtt.connect(url, { reconnectPeriod: 5, ...options })
  client.on('error', () => {})
  t.after(() => client.endAsync(true))
  await once(client, 'connect')
  return client
}

/** Collects the uncaught exceptions of a test, which would otherwise fail it. */
function uncaught(t) {
  const listeners = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  const errors = []
  process.on('uncaughtException', (error) => errors.push(error.message))
  t.after(() => {
    process.removeAllListeners('uncaughtException')
    for (const each of listeners) process.on('uncaughtException', each)
  })
  return errors
}

for (const protocolVersion of [4, 5])
  for (const scheme of ['ws', 'mqtt'])
    test(`MQTT ${protocolVersion}, ${scheme}: connections that are cut lose nothing, and each callback comes once`, {
      timeout: 60_000,
    }, async (t) => {
      const broker = new TestBroker()
      t.after(() => broker[Symbol.asyncDispose]())
      const { url, tcpUrl } = await broker.listen({ tcp: 0 })
      const lasting = {
        protocolVersion,
        clean: false,
        ...(protocolVersion === 5 && { properties: { sessionExpiryInterval: 300 } }),
      }
      const address = scheme === 'ws' ? url : tcpUrl
      const [sender, receiver] = [
        await connected(t, address, { ...lasting, clientId: 'sender' }),
        await connected(t, address, { ...lasting, clientId: 'receiver' }),
      ]
      const got = []
      receiver.on('message', (_topic, payload) => got.push(payload.toString()))
      await receiver.subscribeAsync('#', { qos: 2 })
      const calls = new Map()
      for (let n = 0; n < 60; n++) {
        const text = `${1 + (n % 2)} ${n}`
        // @ts-expect-error: 1 or 2
        sender.publish('a', text, { qos: 1 + (n % 2) }, (error) =>
          calls.set(text, [...(calls.get(text) ?? []), error]),
        )
        if (n % 6 === 0) broker.cutAfter(10 + n * 3, n % 12 === 0 ? 'sender' : 'receiver')
        await sleep(3)
      }
      while (calls.size < 60 || new Set(got).size < 60) await sleep(10)
      await sleep(50)
      for (const [text, errors] of calls) assert.deepEqual([text, errors.length], [text, 1])
      assert.ok([...calls.values()].every(([error]) => !error))
      const exactlyOnce = got.filter((text) => text.startsWith('2'))
      assert.equal(exactlyOnce.length, 30)
      assert.deepEqual(
        exactlyOnce.map((text) => Number(text.slice(2))),
        Array.from({ length: 30 }, (_, index) => 2 * index + 1),
      )
      const sent = broker.packets.filter(
        ({ type, direction, clientId }) =>
          type === 'publish' && direction === 'in' && clientId === 'sender',
      )
      const seen = new Set()
      for (const { payload, dup } of sent) {
        const text = new TextDecoder().decode(/** @type {Uint8Array} */ (payload))
        if (seen.has(text)) assert.equal(dup, true, text)
        seen.add(text)
      }
    })

test('what callbacks and listeners throw is an uncaught exception each, and the client goes on', async (t) => {
  const errors = uncaught(t)
  const server = await startServer(t)
  const client = await connected(t, server.url)
  const fail = (what) => () => {
    throw new Error(what)
  }
  client.once('packetreceive', fail('packetreceive'))
  client.publish('a', '0', { qos: 0 }, fail('publish 0'))
  client.publish('a', '1', { qos: 1 }, fail('publish 1'))
  client.publish('a', '2', { qos: 2 }, fail('publish 2'))
  client.subscribe('a', fail('subscribe'))
  client.unsubscribe('a', fail('unsubscribe'))
  await client.publishAsync('a', 'still there', { qos: 2 })
  client.once('close', fail('close'))
  client.once('reconnect', fail('reconnect'))
  client.once('connect', fail('connect'))
  client.stream.destroy()
  while (!errors.includes('connect')) await sleep(5)
  await client.publishAsync('a', 'and still', { qos: 2 })
  assert.deepEqual(errors.sort(), [
    'close',
    'connect',
    'packetreceive',
    'publish 0',
    'publish 1',
    'publish 2',
    'reconnect',
    'subscribe',
    'unsubscribe',
  ])
})

test('a message beyond the limits of the server is an error of its callback', async (t) => {
  const broker = new TestBroker({ maximumPacketSize: 100, maximumQoS: 1, retainAvailable: false })
  t.after(() => broker[Symbol.asyncDispose]())
  const { url } = await broker.listen()
  const client = await connected(t, url, { protocolVersion: 5 })
  await assert.rejects(client.publishAsync('a', 'x'.repeat(200), { qos: 1 }))
  await assert.rejects(client.publishAsync('a', 'x', { qos: 2 }))
  await assert.rejects(client.publishAsync('a', 'x', { retain: true }))
  await client.publishAsync('a', 'x', { qos: 1 })
  assert.equal(client.connected, true)
})

test('whatever bytes a server sends, nothing is thrown and the client connects again', {
  timeout: 60_000,
}, async (t) => {
  const errors = uncaught(t)
  let seed = 1
  const random = (below) => {
    seed = (seed * 48_271) % 2_147_483_647
    return seed % below
  }
  let rounds = 0
  const server = await startServer(t, {
    subscribe: (connection) => {
      if (++rounds > 150) return
      const length = 1 + random(40)
      connection.stream.write(Buffer.from(Array.from({ length }, () => random(256))))
      connection.stream.end()
    },
  })
  for (const protocolVersion of [4, 5]) {
    rounds = 0
    const client = await connected(t, server.url, { protocolVersion, reconnectPeriod: 1 })
    // Each is given up after three connections.
    const subscribe = () => client.subscribe('#', () => {})
    client.on('connect', subscribe)
    subscribe()
    client.on('message', () => {})
    while (rounds <= 150) await sleep(5)
    await client.endAsync(true)
  }
  assert.deepEqual(errors, [])
})

test('end() is bounded in every state', async (t) => {
  const silent = { connect: () => {} }
  const timed = async (client, force) => {
    const began = Date.now()
    await client.endAsync(force)
    assert.ok(Date.now() - began < 2_000)
  }
  const unanswered = await startServer(t, silent)
  const connecting = mqtt.connect(unanswered.url, { connectTimeout: 300 })
  await unanswered.packet('connect')
  await timed(connecting, false)

  const gone = await startServer(t)
  const offline = await connected(t, gone.url, { connectTimeout: 300 })
  let queued
  gone.close()
  await once(offline, 'close')
  offline.publish('a', 'b', { qos: 1 }, (error) => (queued = error))
  await timed(offline, false)
  await sleep(10)
  assert.equal(queued.message, 'Connection closed')

  const stuck = await startServer(t)
  const handling = await connected(t, stuck.url, { connectTimeout: 300 })
  handling.handleMessage = () => {}
  await handling.subscribeAsync('a', { qos: 1 })
  stuck.connections[0].send({ cmd: 'publish', topic: 'a', payload: '', qos: 1, messageId: 1 })
  await sleep(20)
  await timed(handling, false)

  const frozen = new TestBroker()
  t.after(() => frozen[Symbol.asyncDispose]())
  const { tcpUrl } = await frozen.listen({ tcp: 0 })
  const waiting = await connected(t, tcpUrl, { connectTimeout: 300 })
  frozen.freeze()
  for (const qos of [1, 2]) {
    // @ts-expect-error: 1 or 2
    waiting.publish('a', 'b', { qos }, () => {})
  }
  await timed(waiting, false)
})
