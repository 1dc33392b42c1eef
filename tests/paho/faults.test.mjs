// @ts-nocheck: scripted servers.
// What servers and networks do wrong, through the API of Paho. Quotas and a session that was taken over are MQTT 5, which Paho does not speak.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from '../../pkg/paho.node.js'
import { startServer } from '../mqttjs/server.mjs'

/** A client that is connected, and a list of what its callbacks got. It goes with the test. */
async function connected(t, server, options) {
  const client = new Client('127.0.0.1', server.port, '/mqtt', 'client')
  const calls = []
  for (const name of ['onConnected', 'onConnectionLost', 'onMessageDelivered', 'onMessageArrived'])
    client[name] = (...args) => calls.push([name, ...args])
  await new Promise((onSuccess, onFailure) => client.connect({ ...options, onSuccess, onFailure }))
  t.after(() => {
    try {
      client.disconnect()
    } catch {}
  })
  const of = (name) => calls.filter(([each]) => each === name)
  return { client, of }
}

test('a message is sent again with DUP when the session goes on, and is delivered once', async (t) => {
  let connections = 0
  let published = 0
  const server = await startServer(
    t,
    {
      connect: (connection) =>
        connection.send({ cmd: 'connack', returnCode: 0, sessionPresent: ++connections > 1 }),
      publish: (connection, { messageId }) => {
        if (++published === 1) connection.stream.destroy()
        else connection.send({ cmd: 'puback', messageId })
      },
    },
    { ws: true },
  )
  const { client, of } = await connected(t, server, { cleanSession: false, reconnect: true })
  client.send('a', 'b', 1)
  await server.packet('publish', 2)
  while (of('onMessageDelivered').length === 0) await sleep(5)
  await sleep(20)
  assert.deepEqual(
    server.packets('publish').map(({ dup }) => dup),
    [false, true],
  )
  assert.equal(of('onMessageDelivered').length, 1)
})

test('whatever bytes a server sends, nothing is thrown and the client connects again', {
  timeout: 60_000,
}, async (t) => {
  let seed = 1
  const random = (below) => {
    seed = (seed * 48_271) % 2_147_483_647
    return seed % below
  }
  let rounds = 0
  const server = await startServer(
    t,
    {
      connect: (connection) => {
        connection.send({ cmd: 'connack', returnCode: 0, sessionPresent: false })
        if (++rounds > 100) return
        const length = 1 + random(40)
        connection.stream.write(Buffer.from(Array.from({ length }, () => random(256))))
        connection.stream.end()
      },
    },
    { ws: true },
  )
  // An exception that nobody catches fails the test.
  const { client, of } = await connected(t, server, { reconnect: true })
  while (rounds <= 100 || !client.isConnected()) await sleep(5)
  assert.ok(of('onConnectionLost').every(([, { errorCode }]) => errorCode > 0))
})

test('disconnect() is bounded where the server acknowledges nothing', {
  timeout: 20_000,
}, async (t) => {
  const server = await startServer(t, { publish: () => {} }, { ws: true })
  const { client, of } = await connected(t, server)
  client.send('a', 'b', 2)
  await server.packet('publish')
  client.disconnect()
  assert.equal(client.isConnected(), false)
  assert.throws(() => client.send('a', 'c', 1), /AMQJS0011E/)
  while (of('onConnectionLost').length === 0) await sleep(20)
  assert.equal(of('onConnectionLost')[0][1].errorCode, 0)
  assert.equal(of('onMessageDelivered').length, 0)
})
