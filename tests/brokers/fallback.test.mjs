// Brokers that speak only one version: protocolVersion 'auto' finds the one that both sides speak.

import { deepStrictEqual, equal, ok, rejects } from 'node:assert/strict'
import { test } from 'node:test'
import { ConnectError, connect } from '../../pkg/node.js'
import { TestBroker } from '../../pkg/testing-node.js'
import { startMosquitto } from './mosquitto.mjs'
import { exactly, join, next, qualities, quiet } from './support.mjs'

/** Starts a broker in this process that speaks only MQTT 3.1.1. */
async function startOldBroker(t) {
  const broker = new TestBroker({ versions: [4] })
  t.after(() => broker[Symbol.asyncDispose]())
  const { url } = await broker.listen()
  return {
    url,
    connections: () => broker.packets.filter(({ type }) => type === 'connack').length,
    cut: () => broker.drop(),
  }
}

test("'auto' speaks MQTT 5 with Mosquitto", async (t) => {
  const broker = await startMosquitto(t)
  const client = await join(t, broker.url)
  equal(client.server.protocolVersion, 5)
})

test("MQTT 3.1.1: 'auto' falls back to it with a broker that speaks nothing else, and remembers it [MQTT3-7.0.0-2]", async (t) => {
  const broker = await startOldBroker(t)
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

test('a client that speaks only MQTT 5 is refused by a broker of MQTT 3.1.1, once', async (t) => {
  const broker = await startOldBroker(t)
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
