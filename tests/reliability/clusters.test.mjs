// The short form of `npm run test:clusters`.

import { deepEqual, equal, ok } from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from '../../pkg/node.js'
import { findCommand } from '../../scripts/tools.mjs'
import { credentials, kinds, natsPresent } from './brokers.mjs'
import { failover, passDead, startBridge, startNats } from './clusters.mjs'

test('clusters: dead servers of a list are passed over', { timeout: 60_000 }, async (t) => {
  const broker = await kinds.find(({ name }) => name === 'wasmqtt/testing').run(t)
  const times = await passDead(t, broker.url('TCP', 5))
  t.diagnostic(JSON.stringify(times))
  for (const time of Object.values(times)) ok(time < 5_000, JSON.stringify(times))
})

test('clusters: a node of three NATS is killed, and no QoS 1 message is lost', {
  timeout: 180_000,
  skip: !natsPresent() && 'NATS is not installed: apt-get install nats-server',
}, async (t) => {
  const cluster = await startNats(t)
  const result = await failover(cluster, 'kill', 1)
  t.diagnostic(JSON.stringify(result))
  const { lost, unsettled, rejected } = result
  deepEqual({ lost, unsettled, rejected }, { lost: 0, unsettled: 0, rejected: 0 })
})

test('clusters: a bridge keeps two Mosquittos in sync', {
  timeout: 90_000,
  skip: !findCommand('mosquitto') && 'Mosquitto is not installed: apt-get install mosquitto',
}, async (t) => {
  const { inner, outer } = await startBridge(t)
  const options = { reconnect: { minDelay: 50, maxDelay: 300 }, ...credentials }
  const [a, b] = [await connect(inner.url, options), await connect(outer.url, options)]
  t.after(() => Promise.all([a.end({ force: true }), b.end({ force: true })]))
  const got = { a: [], b: [] }
  await a.subscribe('from/outer', { qos: 2 }, (message) => void got.a.push(message.text()))
  await b.subscribe('from/inner', { qos: 2 }, (message) => void got.b.push(message.text()))
  await sleep(1_000)
  for (let index = 0; index < 20; index++) {
    await a.publish('from/inner', `${index}`, { qos: 2 })
    await b.publish('from/outer', `${index}`, { qos: 2 })
  }
  const numbers = Array.from({ length: 20 }, (_, index) => `${index}`)
  const deadline = Date.now() + 20_000
  while (got.a.length + got.b.length < 40 && Date.now() < deadline) await sleep(20)
  deepEqual(got, { a: numbers, b: numbers })
  equal(a.stats().connections, 1)
})
