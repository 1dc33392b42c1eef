// @ts-nocheck: mistakes that the types refuse are tested here.
// What must hold whatever the network, the server and the application do, and what MQTT.js' users rely on.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import mqtt, { connect, MqttClient } from '../../pkg/mqttjs.node.js'
import { accepting, startServer } from './server.mjs'

async function connected(t, url, options) {
  const client = mqtt.connect(url, { reconnectPeriod: 20, ...options })
  t.after(() => client.endAsync(true))
  await once(client, 'connect')
  return client
}

test('import and require give the same library', () => {
  const required = createRequire(import.meta.url)(
    fileURLToPath(new URL('../../pkg/mqttjs.cjs', import.meta.url)),
  )
  assert.equal(required.MqttClient, MqttClient)
  assert.equal(required.default.connect, connect)
  assert.equal(mqtt.connect, connect)
})

test('publish, then end() at once: everything arrives', async (t) => {
  const server = await startServer(t)
  const client = mqtt.connect(server.url)
  for (let n = 0; n < 3; n++) client.publish('a', String(n), { qos: n })
  await client.endAsync()
  assert.deepEqual(
    server.packets('publish').map(({ payload }) => payload.toString()),
    ['0', '1', '2'],
  )
  await server.packet('disconnect')
})

test('a message is sent again with DUP when the session goes on, and its callback comes once', async (t) => {
  let isFirst = true
  const server = await startServer(t, {
    connect: (connection) =>
      connection.send({ cmd: 'connack', returnCode: 0, sessionPresent: !isFirst }),
    publish: (connection, { messageId }) => {
      if (!isFirst) return connection.send({ cmd: 'puback', messageId })
      isFirst = false
      connection.stream.destroy()
    },
  })
  const client = await connected(t, server.url, { clean: false, clientId: 'dup' })
  let calls = 0
  client.publish('a', 'b', { qos: 1 }, () => calls++)
  const packet = await server.packet('publish', 2)
  assert.equal(packet.dup, true)
  assert.equal(packet.messageId, server.packets('publish')[0].messageId)
  await sleep(30)
  assert.equal(calls, 1)
})

test('no more messages are in flight than the server takes', async (t) => {
  const waiting = []
  const server = await startServer(t, {
    connect: accepting({ receiveMaximum: 3 }),
    publish: (connection, { messageId }) =>
      waiting.push(() => connection.send({ cmd: 'puback', messageId })),
  })
  const client = await connected(t, server.url, { protocolVersion: 5 })
  const published = Array.from({ length: 10 }, () => client.publishAsync('a', 'b', { qos: 1 }))
  await server.packet('publish', 3)
  await sleep(30)
  assert.equal(waiting.length, 3)
  while (server.packets('publish').length < 10 || waiting.length > 0) {
    waiting.shift()?.()
    await sleep(2)
  }
  await Promise.all(published)
})

test('a session that was taken over is left to the other client', async (t) => {
  const server = await startServer(t)
  const client = await connected(t, server.url, { protocolVersion: 5 })
  const errors = []
  const packets = []
  client.on('error', (error) => errors.push(error))
  client.on('disconnect', (packet) => packets.push(packet))
  server.connections[0].send({ cmd: 'disconnect', reasonCode: 0x8e })
  await new Promise((resolve) => client.on('close', resolve))
  await sleep(80)
  assert.equal(server.connections.length, 1)
  assert.equal(packets[0].reasonCode, 0x8e)
  assert.equal(errors[0].code, 0x8e)
  client.reconnect()
  await once(client, 'connect')
})

test('what a listener throws is an uncaught exception, and the client goes on', async (t) => {
  const server = await startServer(t)
  const client = await connected(t, server.url)
  await client.subscribeAsync('a', { qos: 1 })
  const listeners = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  t.after(() => {
    for (const each of listeners) process.on('uncaughtException', each)
  })
  const caught = once(process, 'uncaughtException')
  client.once('message', () => {
    throw new Error('mine')
  })
  server.connections[0].send({ cmd: 'publish', topic: 'a', payload: '', qos: 1, messageId: 9 })
  const [error] = await caught
  assert.equal(error.message, 'mine')
  assert.equal((await server.packet('puback')).messageId, 9)
  assert.equal(client.connected, true)
})

test('end() is bounded where the server acknowledges nothing', async (t) => {
  const server = await startServer(t, { publish: () => {} })
  const client = await connected(t, server.url, { connectTimeout: 200 })
  let failure
  client.publish('a', 'b', { qos: 1 }, (error) => (failure = error))
  const began = Date.now()
  await client.endAsync()
  assert.ok(Date.now() - began < 2_000)
  await sleep(10)
  assert.equal(failure.message, 'Connection closed')
})

test('handleMessage gets one message at a time, and acknowledges when it is done', async (t) => {
  const server = await startServer(t)
  const client = await connected(t, server.url)
  const seen = []
  let done
  client.handleMessage = (packet, callback) => {
    seen.push(packet.messageId)
    done = callback
  }
  await client.subscribeAsync('#', { qos: 1 })
  for (const messageId of [1, 2])
    server.connections[0].send({ cmd: 'publish', topic: 'a', payload: '', qos: 1, messageId })
  await sleep(50)
  assert.deepEqual(seen, [1])
  assert.equal(server.packets('puback').length, 0)
  done()
  await server.packet('puback')
  assert.deepEqual(seen, [1, 2])
})

test('messages are packets as MQTT.js makes them', async (t) => {
  const server = await startServer(t)
  const client = await connected(t, server.url, { protocolVersion: 5 })
  await client.subscribeAsync('a', { qos: 1, properties: { subscriptionIdentifier: 7 } })
  const properties = {
    contentType: 'text/plain',
    payloadFormatIndicator: true,
    correlationData: Buffer.from([1, 2]),
    userProperties: { k: ['v', 'w'] },
    subscriptionIdentifier: 7,
  }
  const message = once(client, 'message')
  server.connections[0].send({
    cmd: 'publish',
    topic: 'a',
    payload: 'hé',
    qos: 1,
    messageId: 3,
    properties,
  })
  const [topic, payload, packet] = await message
  assert.equal(topic, 'a')
  assert.ok(Buffer.isBuffer(payload))
  assert.equal(payload.toString(), 'hé')
  const { userProperties, ...rest } = packet.properties
  assert.deepEqual({ ...rest, userProperties: { ...userProperties } }, properties)
  const { cmd, qos, retain, dup, messageId } = packet
  assert.deepEqual([cmd, qos, retain, dup, messageId], ['publish', 1, false, false, 3])
})

test('after end(), reconnect() begins again, subscriptions included', async (t) => {
  const server = await startServer(t)
  const client = await connected(t, server.url)
  await client.subscribeAsync('a')
  await client.endAsync()
  assert.equal(client.disconnected, true)
  client.reconnect()
  await once(client, 'connect')
  await server.packet('subscribe', 2)
  await client.publishAsync('a', 'b', { qos: 1 })
})

test('a server that breaks the protocol is one error, and the client connects again', async (t) => {
  let isFirst = true
  const server = await startServer(t, {
    connect: (connection) => {
      connection.stream.write(Buffer.from([0x20, 2, 0, isFirst ? 135 : 0]))
      isFirst = false
    },
  })
  const client = mqtt.connect(server.url, { reconnectPeriod: 10 })
  t.after(() => client.endAsync(true))
  const codes = []
  client.on('error', ({ code }) => codes.push(code))
  await new Promise((resolve) => client.once('connect', resolve))
  assert.deepEqual(codes, [130])
})

test('a refused filter is an error that says which answer came', async (t) => {
  const server = await startServer(t, {
    subscribe: (connection, { messageId }) =>
      connection.send({ cmd: 'suback', messageId, granted: [0, 0x80] }),
  })
  const client = await connected(t, server.url)
  const [error, granted] = await new Promise((resolve) =>
    client.subscribe(['a', 'b'], (...args) => resolve(args)),
  )
  assert.ok(error instanceof mqtt.ErrorWithSubackPacket)
  assert.equal(error.message, 'Subscribe error: Unspecified error')
  assert.deepEqual(error.packet.granted, [0, 0x80])
  assert.deepEqual(
    granted.map(({ qos }) => qos),
    [0, 0x80],
  )
})
