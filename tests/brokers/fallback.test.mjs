// Brokers that speak only one version: protocolVersion 'auto' finds the one that both sides speak.

import { deepStrictEqual, equal, ok, rejects } from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { test } from 'node:test'
import { Aedes } from 'aedes'
import { createWebSocketStream, WebSocketServer } from 'ws'
import { ConnectError, connect } from '../../pkg/node.js'
import { portOf } from '../../scripts/tools.mjs'
import { startMosquitto } from './mosquitto.mjs'
import { exactly, join, next, qualities, quiet } from './support.mjs'

/** Starts an Aedes broker in this process, over WebSocket. Aedes speaks only MQTT 3.1.1. */
async function startAedes(t) {
  const broker = await Aedes.createBroker()
  const server = createServer()
  const sockets = new WebSocketServer({ server, handleProtocols: () => 'mqtt' })
  sockets.on('connection', (socket, request) =>
    broker.handle(createWebSocketStream(socket), request),
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(async () => {
    for (const socket of sockets.clients) socket.terminate()
    server.close()
    await new Promise((resolve) => broker.close(() => resolve(undefined)))
  })
  let connections = 0
  sockets.on('connection', () => connections++)
  return {
    url: `ws://127.0.0.1:${portOf(server)}/mqtt`,
    connections: () => connections,
    cut: () => {
      for (const socket of sockets.clients) socket.terminate()
    },
  }
}

test("'auto' speaks MQTT 5 with Mosquitto", async (t) => {
  const broker = await startMosquitto(t)
  const client = await join(t, broker.url)
  equal(client.server.protocolVersion, 5)
})

test("MQTT 3.1.1: 'auto' falls back to it with Aedes, and remembers it [MQTT3-7.0.0-2]", async (t) => {
  const broker = await startAedes(t)
  const client = await join(t, broker.url)
  equal(client.server.protocolVersion, 4)
  equal(broker.connections(), 2)
  const received = []
  await client.subscribe(
    'a/#',
    { qos: 2 },
    (message) => void received.push([message.topic, message.text(), message.qos]),
  )
  for (const qos of qualities)
    await client.publish('a/ü', `${qos}`, { qos, properties: { contentType: 'left out' } })
  await exactly(received, [
    ['a/ü', '0', 0],
    ['a/ü', '1', 1],
    ['a/ü', '2', 2],
  ])

  const back = next(client, 'connect')
  broker.cut()
  const [info] = await back
  equal(info.server.protocolVersion, 4)
  equal(broker.connections(), 3)
  received.length = 0
  await client.publish('a/again', 'x', { qos: 1 })
  await exactly(received, [['a/again', 'x', 1]])
})

test('a client that speaks only MQTT 5 is refused by Aedes, once', async (t) => {
  const broker = await startAedes(t)
  await rejects(
    connect(broker.url, { protocolVersion: 5, reconnect: { minDelay: 10, initial: true } }),
    (error) => {
      ok(error instanceof ConnectError)
      deepStrictEqual(
        [error.name, error.code, error.reasonCode, error.retryable],
        ['ConnectError', 'CONNECTION_REFUSED', 0x84, false],
      )
      return true
    },
  )
  await quiet()
  equal(broker.connections(), 1)
})
