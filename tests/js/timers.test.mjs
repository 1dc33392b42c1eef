// What needs no time uses no timer, and what needs time follows mocked timers.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { connected, event, makeClient, startBroker } from './scripted-broker.mjs'

const APIS = ['setTimeout', 'setInterval', 'setImmediate', 'Date']

// Contract: What needs no time waits for no timer: fake timers of a test framework or the slow ones of a hidden tab delay no delivery and no flush.
test('with fake timers connect, subscribe, publish and end need no tick', async (t) => {
  const broker = await startBroker(t)
  // @ts-expect-error: a list of names
  t.mock.timers.enable({ apis: APIS })
  const client = makeClient(t, broker.url, { keepalive: 0 })
  const connecting = client.connect()
  const peer = await broker.accept()
  await peer.welcome()
  await connecting
  const subscribing = client.subscribe('a', { qos: 1 })
  await peer.grant()
  await subscribing
  const arrived = event(client, 'message')
  peer.send({ type: 'publish', topic: 'a', payload: 'b', qos: 1, id: 1 })
  assert.equal((await arrived)[0].text(), 'b')
  await peer.expect('puback')
  await client.publish('a', 'b')
  await client.end()
})

test('with queueMicrotask faked too, as Jest does', async (t) => {
  const { client, peer } = await connected(t)
  t.mock.method(globalThis, 'queueMicrotask', () => {})
  const publishing = client.publish('a', 'b', { qos: 1 })
  const { id } = await peer.expect('publish')
  peer.send({ type: 'puback', id })
  await publishing
})

test('also where the runtime has no MessageChannel, as in a simulated DOM', async (t) => {
  const broker = await startBroker(t)
  const script = `
    delete globalThis.MessageChannel
    const { connect } = await import('${new URL('../../pkg/node.js', import.meta.url)}')
    globalThis.setTimeout = () => 0
    const client = await connect('${broker.url}', { protocolVersion: 5, keepalive: 0 })
    await client.publish('a', 'b', { qos: 1 })
    console.log('published')
    process.exit()`
  const ended = promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
    timeout: 10_000,
  })
  const peer = await broker.accept()
  await peer.welcome()
  const { id } = await peer.expect('publish')
  peer.send({ type: 'puback', id })
  assert.equal((await ended).stdout, 'published\n')
})

// Contract: Messages of a resumed session are delivered from a new task after 'connect', so that code after `await connect()` can add its handlers
// first.
test("messages of a resumed session come in a new task after 'connect'", async (t) => {
  const broker = await startBroker(t)
  // @ts-expect-error: a list of names
  t.mock.timers.enable({ apis: APIS })
  const client = makeClient(t, broker.url, { keepalive: 0, clientId: 'me', clean: false })
  const connecting = client.connect()
  const peer = await broker.accept()
  await peer.expect('connect')
  peer.send(
    { type: 'connack', sessionPresent: true },
    { type: 'publish', topic: 'a', payload: 'early', qos: 1, id: 1 },
  )
  await connecting
  for (let n = 0; n < 20; n++) await undefined
  const [message] = await event(client, 'message')
  assert.equal(message.text(), 'early')
})

for (const both of [true, false]) {
  const mocked = both ? 'timers and performance' : 'timers only'
  test(`the client follows mocks: ${mocked}`, async (t) => {
    const broker = await startBroker(t)
    const client = makeClient(t, broker.url, { keepalive: 10, reconnect: false })
    // As libraries do it, the mock comes after the client and begins at 0.
    let now = 0
    if (both) {
      const real = Object.getOwnPropertyDescriptor(globalThis, 'performance')
      Object.defineProperty(globalThis, 'performance', { ...mock(() => now) })
      t.after(() => Object.defineProperty(globalThis, 'performance', real))
    }
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const pass = (ms) => {
      now += ms
      t.mock.timers.tick(ms)
    }
    const connecting = client.connect()
    const peer = await broker.accept()
    await peer.welcome()
    await connecting
    await turns()
    pass(5_000)
    await turns()
    assert.equal(peer.pending.length, 0)
    pass(5_000)
    await peer.expect('pingreq')
    const lost = event(client, 'close')
    for (let n = 0; n < 30; n++) {
      pass(1_000)
      await turns()
    }
    assert.equal((await lost)[0].code, 'KEEPALIVE_TIMEOUT')
  })
}

/** Lets what needs no time happen. */
async function turns() {
  for (let n = 0; n < 10; n++) await new Promise((resolve) => setImmediate(resolve))
}

const mock = (now) => ({ value: { now }, configurable: true, writable: true })
