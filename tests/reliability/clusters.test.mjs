// The short form of `npm run test:clusters`.

import { deepEqual, equal, ok } from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from '../../pkg/node.js'
import { findCommand } from '../../scripts/tools.mjs'
import { credentials, kinds, natsPresent } from './brokers.mjs'
import { failover, passDead, startBridge, startNats } from './clusters.mjs'
import { faultsOfPublisher, faultsOfSubscriber } from './recorder.mjs'

/** A connection as a recorder keeps it: `out publish 1 2 a` is a PUBLISH of QoS 1 with identifier 2 and payload a, `publish!` has DUP. */
function recorded(sessionPresent, lines) {
  const packets = lines.map((line, index) => {
    const [way, name, ...words] = line.split(' ')
    const [qos, id] = name.startsWith('publish') ? words : [0, words[0]]
    const packet = { cmd: name.replace('!', ''), messageId: Number(id), qos: Number(qos) }
    return {
      way,
      at: index,
      packet: { ...packet, dup: name.endsWith('!'), topic: 't', payload: words[2] },
    }
  })
  const connack = { way: 'in', at: -1, packet: { cmd: 'connack', returnCode: 0, sessionPresent } }
  const end = { way: 'in', at: 1e6, packet: { cmd: 'pingresp' } }
  return { server: '', clientId: '', packets: [connack, ...packets, end] }
}

test('clusters: the judge of recorded packets finds what a client does wrong', () => {
  const first = recorded(false, ['out publish 1 1 a', 'out publish 2 2 b', 'in pubrec 2'])
  const publisher = (...lines) => faultsOfPublisher([first, recorded(true, lines)])
  deepEqual(publisher('out publish! 1 1 a', 'out pubrel 2', 'in puback 1', 'out publish 1 1 c'), [])
  deepEqual(publisher('out publish! 1 1 a'), [])
  equal(publisher('out publish 1 1 a').length, 3)
  equal(publisher('out publish! 1 3 a', 'out pubrel 2').length, 1)
  equal(publisher('out publish! 1 1 a', 'out publish! 2 2 b').length, 1)
  equal(publisher('out publish 1 3 c').length, 1)
  equal(faultsOfPublisher([recorded(false, ['out publish 2 2 b', 'out pubrel 2'])]).length, 1)

  const lines = ['in publish 1 1 a', 'out puback 1', 'in publish 2 2 b', 'out pubrec 2']
  const again = ['in publish! 2 2 b', 'out pubrec 2', 'in pubrel 2']
  const subscriber = (delivered, ...more) =>
    faultsOfSubscriber([recorded(false, lines), recorded(true, more)], delivered)
  deepEqual(subscriber(['t a', 't b'], ...again), [])
  equal(subscriber(['t a', 't b', 't b'], ...again).length, 1)
  equal(subscriber(['t b'], ...again).length, 1)
  equal(subscriber(['t a', 't b'], 'in publish 1 3 c').length, 2)
})

test('clusters: dead servers of a list are passed over', { timeout: 60_000 }, async (t) => {
  const broker = await kinds.find(({ name }) => name === 'wasmqtt/testing').run(t)
  const times = await passDead(t, broker.url('TCP', 5))
  t.diagnostic(JSON.stringify(times))
  for (const time of Object.values(times)) ok(time < 5_000, JSON.stringify(times))
})

test('clusters: a node of three NATS is killed, and the clients send and deliver all that they owe', {
  timeout: 240_000,
  skip: !natsPresent() && 'NATS is not installed: apt-get install nats-server',
}, async (t) => {
  const cluster = await startNats(t)
  const result = await failover(cluster, 'kill', 1)
  t.diagnostic(JSON.stringify(result))
  // What the server has acknowledged and lost is its own, and stands in the diagnostic.
  const { clients, unsettled, rejected, delivered } = result
  deepEqual(
    { clients, unsettled, rejected },
    { clients: { neverSent: [], publisher: [], subscriber: [] }, unsettled: 0, rejected: 0 },
  )
  ok(delivered > 0)
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
