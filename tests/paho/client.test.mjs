// @ts-nocheck: mistakes that the types refuse are tested here.
// What users of Paho rely on, against a scripted server. Paho's own tests: suite.mjs.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { runInNewContext } from 'node:vm'
import { WebSocket } from 'ws'
import Paho, { Client, Message, MQTT } from '../../pkg/paho.node.js'
import { startServer } from '../mqttjs/server.mjs'

/** A client, and functions that wait for its callbacks. It goes with the test. */
function makeClient(t, server, clientId = 'client') {
  const client = new Client('127.0.0.1', server.port, '/mqtt', clientId)
  t.after(() => {
    try {
      client.disconnect()
    } catch {}
  })
  const next = (name) => new Promise((resolve) => (client[name] = (...args) => resolve(args)))
  const connect = (options) =>
    new Promise((onSuccess, onFailure) => client.connect({ ...options, onSuccess, onFailure }))
  return { client, next, connect }
}

/** A localStorage for the test. */
function stubStorage(t) {
  const items = new Map()
  globalThis.localStorage = {
    get length() {
      return items.size
    },
    key: (at) => [...items.keys()][at] ?? null,
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => items.set(key, String(value)),
    removeItem: (key) => items.delete(key),
    clear: () => items.clear(),
  }
  t.after(() => delete globalThis.localStorage)
  return items
}

test('has the names of Paho 1.1 and of earlier versions', () => {
  assert.equal(Paho.Client, Client)
  assert.equal(Paho.Message, Message)
  assert.equal(MQTT.Client, Client)
  assert.equal(Paho.MQTT.Message, Message)
})

test('a classic script has the global Paho', async (t) => {
  const server = await startServer(t, {}, { ws: true })
  const page = {
    WebSocket,
    WebAssembly,
    TextEncoder,
    TextDecoder,
    URL,
    AbortController,
    performance,
    atob,
  }
  const globals = {
    ...page,
    setTimeout,
    clearTimeout,
    queueMicrotask,
    console,
    ArrayBuffer,
    Uint8Array,
  }
  const code = readFileSync(new URL('../../pkg/paho.script.js', import.meta.url), 'utf8')
  const { Paho } = runInNewContext(`${code};({ Paho })`, globals)
  const client = new Paho.MQTT.Client('127.0.0.1', server.port, 'page')
  t.after(() => client.disconnect())
  await new Promise((onSuccess, onFailure) => client.connect({ onSuccess, onFailure }))
  assert.equal((await server.packet('connect')).clientId, 'page')
})

test('says what the CONNECT holds', async (t) => {
  const server = await startServer(t, {}, { ws: true })
  const { connect, client } = makeClient(t, server)
  const willMessage = new Message('gone')
  willMessage.destinationName = 'will'
  willMessage.qos = 1
  willMessage.retained = true
  await connect({ userName: 'u', password: 'p', keepAliveInterval: 7, willMessage })
  const packet = await server.packet('connect')
  assert.equal(packet.username, 'u')
  assert.equal(packet.password.toString(), 'p')
  assert.equal(packet.keepalive, 7)
  assert.equal(packet.will.topic, 'will')
  assert.equal(packet.will.payload.toString(), 'gone')
  assert.equal(packet.will.retain, true)
  assert.equal(client.isConnected(), true)
  assert.throws(() => client.connect(), /AMQJS0011E/)
})

test('refuses what Paho refuses', (t) => {
  assert.throws(() => new Client(1, 2, 'c'), /AMQJS0012E Invalid type number for host/)
  assert.throws(() => new Client('http://x', 'c'), /AMQJS0013E/)
  assert.throws(() => new Message(7), /AMQJS0013E/)
  const { client } = makeClient(t, { port: 1 })
  assert.throws(() => client.send('a', 'b'), /AMQJS0011E Invalid state not connected/)
  assert.throws(() => client.subscribe('a'), /AMQJS0011E/)
  assert.throws(() => client.disconnect(), /AMQJS0011E/)
  assert.throws(() => client.connect({ wrong: 1 }), /Unknown property, wrong/)
  assert.throws(
    () => client.connect({ timeout: '1' }),
    /AMQJS0012E Invalid type string for timeout/,
  )
  assert.throws(() => client.connect({ mqttVersion: 3 }), /only 4, MQTT 3.1.1, is supported/)
  assert.throws(() => client.connect({ password: 'p' }), /AMQJS0013E/)
  assert.throws(() => (client.host = 'x'), /AMQJS0014E/)
  assert.throws(() => (client.onConnected = 1), /AMQJS0012E/)
})

test('publishes, subscribes, and shows messages', async (t) => {
  const server = await startServer(t, {}, { ws: true })
  const { client, connect, next } = makeClient(t, server)
  await connect()
  const granted = await new Promise((onSuccess) =>
    client.subscribe('a/#', { qos: 2, onSuccess, invocationContext: { mine: 1 } }),
  )
  assert.deepEqual([...granted.grantedQos], [2])
  assert.deepEqual(granted.invocationContext, { mine: 1 })
  const arrived = next('onMessageArrived')
  server.connections[0].send({ cmd: 'publish', topic: 'a/b', payload: 'hé', qos: 1, messageId: 1 })
  const [message] = await arrived
  assert.equal(message.destinationName, 'a/b')
  assert.equal(message.payloadString, 'hé')
  assert.equal(message.qos, 1)
  for (const qos of [0, 1, 2]) {
    const delivered = next('onMessageDelivered')
    client.send('out', 'x', qos, true)
    assert.equal((await delivered)[0].qos, qos)
  }
  assert.deepEqual(
    server.packets('publish').map(({ qos, retain }) => [qos, retain]),
    [
      [0, true],
      [1, true],
      [2, true],
    ],
  )
  await new Promise((onSuccess) => client.unsubscribe('a/#', { onSuccess }))
  const lost = next('onConnectionLost')
  client.disconnect()
  const [why] = await lost
  assert.equal(why.errorCode, 0)
  assert.equal(why.errorMessage, 'AMQJSC0000I OK.')
})

test('tells what went wrong with the codes of Paho', async (t) => {
  const refusing = await startServer(
    t,
    { connect: (connection) => connection.send({ cmd: 'connack', returnCode: 5 }) },
    { ws: true },
  )
  const failure = await makeClient(t, refusing)
    .connect()
    .catch((error) => error)
  assert.equal(failure.errorCode, 6)
  assert.match(failure.errorMessage, /code:5 Connection Refused: not authorized/)
  const silent = await startServer(t, { connect: () => {} }, { ws: true })
  const late = await makeClient(t, silent)
    .connect({ timeout: 0.05 })
    .catch((error) => error)
  assert.equal(late.errorCode, 1)
  const gone = await makeClient(t, { port: 1 })
    .connect()
    .catch((error) => error)
  assert.equal(gone.errorCode, 7)
  const server = await startServer(t, { subscribe: () => {} }, { ws: true })
  const { client, connect, next } = makeClient(t, server)
  await connect()
  const slow = await new Promise((onFailure) =>
    client.subscribe('a', { timeout: 0.05, onFailure, invocationContext: { a: 1 } }),
  )
  assert.equal(slow.errorCode, 2)
  const lost = next('onConnectionLost')
  server.connections[0].stream.destroy()
  const [why] = await lost
  assert.equal(why.errorCode, 8)
  assert.equal(client.isConnected(), false)
})

test('tries the hosts one after the other', async (t) => {
  const server = await startServer(t, {}, { ws: true })
  const { client, next, connect } = makeClient(t, server)
  const connected = next('onConnected')
  await connect({ hosts: ['127.0.0.1', '127.0.0.1'], ports: [1, server.port] })
  assert.deepEqual(await connected, [false, `ws://127.0.0.1:${server.port}/mqtt`])
  client.disconnect()
  const other = makeClient(t, server)
  await other.connect({ hosts: ['ws://127.0.0.1:1/a', `ws://127.0.0.1:${server.port}/b`] })
  assert.equal(server.requests[1].url, '/b')
})

test('connects again, and sends what was published meanwhile', async (t) => {
  const server = await startServer(t, {}, { ws: true })
  const { client, connect, next } = makeClient(t, server)
  await connect({ reconnect: true })
  client.disconnectedPublishing = true
  client.disconnectedBufferSize = 2
  const lost = next('onConnectionLost')
  server.connections[0].stream.destroy()
  assert.equal((await lost)[0].reconnect, true)
  const again = next('onConnected')
  client.send('a', '1', 1)
  client.send('a', '2', 0)
  client.send('a', '3', 1)
  assert.throws(() => client.send('a', '4', 1), /AMQJS0018E/)
  assert.equal((await again)[0], true)
  await server.packet('publish', 3)
  assert.deepEqual(
    server.packets('publish').map(({ payload }) => payload.toString()),
    ['1', '2', '3'],
  )
})

test('keeps messages in localStorage, in the form of Paho, until they are acknowledged', async (t) => {
  const items = stubStorage(t)
  const answers = { publish: () => {} }
  const server = await startServer(t, answers, { ws: true })
  const { client, connect, next } = makeClient(t, server, 'keeper')
  await connect({ cleanSession: false })
  client.send('a', 'kept', 1)
  const key = `Sent:127.0.0.1:${server.port}:keeper:1`
  assert.deepEqual(JSON.parse(items.get(key)), {
    type: 3,
    messageIdentifier: 1,
    version: 1,
    sequence: 1,
    payloadMessage: { payloadHex: '6b657074', qos: 1, destinationName: 'a' },
  })
  await server.packet('publish')
  const lost = next('onConnectionLost')
  server.connections[0].stream.destroy()
  await lost
  delete answers.publish
  // Another page.
  const other = makeClient(t, server, 'keeper')
  const delivered = other.next('onMessageDelivered')
  await other.connect({ cleanSession: false })
  assert.equal((await delivered)[0].payloadString, 'kept')
  assert.equal(items.size, 0)
})

test('shows what an earlier Paho had received and not shown, and forgets it with a clean session', async (t) => {
  const items = stubStorage(t)
  const server = await startServer(t, {}, { ws: true })
  const stored = (id) =>
    items.set(
      `Received:127.0.0.1:${server.port}:keeper:${id}`,
      JSON.stringify({
        type: 3,
        messageIdentifier: id,
        version: 1,
        payloadMessage: { payloadHex: '6869', qos: 2, destinationName: 'in' },
      }),
    )
  stored(7)
  const { client, connect, next } = makeClient(t, server, 'keeper')
  const arrived = next('onMessageArrived')
  await connect({ cleanSession: false })
  assert.equal((await arrived)[0].payloadString, 'hi')
  assert.equal(items.size, 0)
  client.disconnect()
  stored(8)
  await makeClient(t, server, 'keeper').connect({ cleanSession: true })
  assert.equal(items.size, 0)
})

test('a callback that throws does not disturb the client', async (t) => {
  const server = await startServer(t, {}, { ws: true })
  const { client, connect } = makeClient(t, server)
  await connect()
  const caught = new Promise((resolve) => process.once('uncaughtException', resolve))
  // The test runner listens too.
  const listeners = process.listeners('uncaughtException')
  for (const each of listeners.slice(0, -1)) process.off('uncaughtException', each)
  t.after(() => {
    for (const each of listeners.slice(0, -1)) process.on('uncaughtException', each)
  })
  client.onMessageArrived = () => {
    throw new Error('mine')
  }
  server.connections[0].send({ cmd: 'publish', topic: 'a', payload: 'b', qos: 1, messageId: 1 })
  assert.equal((await caught).message, 'mine')
  await server.packet('puback')
  assert.equal(client.isConnected(), true)
})

test('traces', async (t) => {
  const server = await startServer(t, {}, { ws: true })
  const { client, connect } = makeClient(t, server)
  const lines = []
  client.trace = ({ severity, message }) => lines.push([severity, message])
  client.startTrace()
  await connect({ userName: 'u', password: 'secret' })
  assert.ok(lines.some(([severity, text]) => severity === 'Debug' && text.includes('connect')))
  assert.ok(!JSON.stringify(lines).includes('secret'))
  assert.ok(client.getTraceLog().length > 0)
  client.stopTrace()
  assert.equal(client.getTraceLog(), undefined)
  await sleep(1)
})
