// Page life: what the events of a page and a clock that jumps make the client do. tests/browser/page.test.mjs shows the same in Chromium.
import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import {
  connected,
  event,
  makeClient,
  record,
  settle,
  startBroker,
  until,
} from './scripted-broker.mjs'

/** A target of events that knows how many listeners it has. */
class Target extends EventTarget {
  listeners = 0
  visibilityState = 'visible'
  addEventListener(name, listener) {
    this.listeners++
    super.addEventListener(name, listener)
  }
  removeEventListener(name, listener) {
    this.listeners--
    super.removeEventListener(name, listener)
  }
}

let page
let document

beforeEach(() => {
  page = new Target()
  document = new Target()
  Object.assign(globalThis, {
    document,
    addEventListener: (name, listener) => page.addEventListener(name, listener),
    removeEventListener: (name, listener) => page.removeEventListener(name, listener),
  })
})

const fire = (target, name, fields) =>
  target.dispatchEvent(Object.assign(new Event(name), { ...fields }))
const listeners = () => page.listeners + document.listeners

test('page life: every event asks whether the connection lives', async (t) => {
  const { client, peer } = await connected(t)
  const back = [
    [page, 'online'],
    [page, 'offline'],
    [page, 'pageshow', { persisted: true }],
    [document, 'resume'],
    [document, 'visibilitychange'],
  ]
  for (const [target, name, fields] of back) {
    fire(target, name, fields)
    await peer.expect('pingreq')
    fire(target, name, fields)
    await settle()
    assert.deepEqual(peer.pending, [], 'one question at a time')
    peer.send({ type: 'pingresp' })
    await until(() => client.stats().roundTrip !== undefined)
    await settle()
  }
  document.visibilityState = 'hidden'
  fire(document, 'visibilitychange')
  fire(page, 'pageshow', { persisted: false })
  await settle()
  assert.deepEqual(peer.pending, [])
  fire(page, 'online')
  await peer.expect('pingreq')
})

test('page life: a client that waits tries at once, but not when the network goes', async (t) => {
  const { client, peer, broker } = await connected(t, { reconnect: { minDelay: 600_000 } })
  peer.drop()
  await event(client, 'reconnecting')
  fire(page, 'offline')
  await settle()
  assert.equal(client.state, 'waiting')
  fire(page, 'online')
  const second = await broker.accept()
  await second.welcome()
  await until(() => client.connected)
})

test('page life: a server that does not answer is given up after five seconds', async (t) => {
  const { client, peer } = await connected(t, { reconnect: { minDelay: 600_000 } })
  const gone = event(client, 'disconnect')
  const began = performance.now()
  fire(page, 'online')
  await peer.expect('pingreq')
  const [error] = await gone
  assert.equal(error.code, 'KEEPALIVE_TIMEOUT')
  const took = performance.now() - began
  assert.ok(took > 4_900 && took < 15_000, `${took} ms`)
})

test('page life: listeners are there from connect to close, and nowhere else', async (t) => {
  const broker = await startBroker(t)
  const client = makeClient(t, broker.url)
  assert.equal(listeners(), 0)
  const refused = client.connect()
  assert.equal(listeners(), 5)
  const first = await broker.accept()
  await first.welcome({ reasonCode: 0x87 })
  await assert.rejects(refused)
  assert.equal(client.state, 'idle')
  assert.equal(listeners(), 0)
  const connecting = client.connect()
  const second = await broker.accept()
  await second.welcome()
  await connecting
  assert.equal(listeners(), 5)
  client.reconnect()
  const third = await broker.accept()
  await third.welcome()
  await until(() => client.connected)
  assert.equal(listeners(), 5)
  await client.end()
  assert.equal(listeners(), 0)
  fire(page, 'online')
  const forced = makeClient(t, broker.url)
  forced.connect().catch(() => {})
  await forced.end({ force: true })
  assert.equal(listeners(), 0)
})

test('page life: a runtime that has none of it', async (t) => {
  for (const name of ['document', 'addEventListener', 'removeEventListener'])
    Reflect.deleteProperty(globalThis, name)
  const { client } = await connected(t)
  await client.end()
})

test('page life: a clock that jumped: the machine has slept', async (t) => {
  Reflect.deleteProperty(globalThis, 'document')
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: Date.now() })
  const { client, peer, broker } = await connected(t, {
    reconnect: { minDelay: 60_000, jitter: 0 },
  })
  const packets = record(client, 'packet')
  t.mock.timers.tick(15_000)
  t.mock.timers.tick(15_000)
  await client.publish('a')
  await peer.expect('publish')
  assert.deepEqual(
    packets.map(([, { type }]) => type),
    ['publish'],
  )
  t.mock.timers.setTime(Date.now() + 3_600_000)
  t.mock.timers.tick(15_000)
  await peer.expect('pingreq')
  peer.drop()
  await event(client, 'reconnecting')
  t.mock.timers.setTime(Date.now() + 3_600_000)
  t.mock.timers.tick(15_000)
  const second = await broker.accept()
  await second.welcome()
})
