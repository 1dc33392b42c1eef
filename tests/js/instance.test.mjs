// The instance under the clients: a trap, and other sockets than WebSockets.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc')

// The memory of each instance that is made, so that a test can break it.
const memories = []
const { Instance } = WebAssembly
function RecordedInstance(module, imports) {
  const instance = new Instance(module, imports)
  memories.push(
    Object.values(instance.exports).find((value) => value instanceof WebAssembly.Memory),
  )
  return instance
}
WebAssembly.Instance = /** @type {any} */ (RecordedInstance)

const { Client, fromMessagePort, matches } = await import('../../pkg/node.js')
const { connected, encode, event, makeClient, record, settle } = await import(
  './scripted-broker.mjs'
)

/** Makes the instance's next call trap. */
const wreck = () => new Uint8Array(memories.at(-1).buffer).fill(0xff)

// Contract: Importing does nothing. The module is instantiated synchronously at first use (new Client, connect, matches)
// Contract: Whether a topic matches a filter, by the rules of the specification ($-topics, shared subscriptions).
test('importing does nothing; matches() makes the instance', () => {
  assert.equal(memories.length, 0)
  assert.equal(matches('a/+', 'a/b'), true)
  assert.equal(matches('#', '$SYS/x'), false)
  assert.equal(matches('$share/g/a', 'a'), true)
  assert.throws(() => matches('a/#/b', 'a'), { argument: 'filter' })
  assert.throws(() => matches('a', 'a/#'), { argument: 'topic' })
  assert.throws(() => matches(/** @type {any} */ (5), 'a'), { argument: 'filter' })
  assert.throws(() => matches('a', '\ud800'), { argument: 'topic' })
  assert.equal(memories.length, 1)
})

// Contract: InternalError: the wasm instance trapped; every client of it is closed, the next one gets a fresh instance
test('a trap in a call: every client ends with InternalError, the next one works', async (t) => {
  const one = await connected(t)
  const two = await connected(t)
  const events = [
    record(one.client, 'state', 'close', 'disconnect'),
    record(two.client, 'state', 'close'),
  ]
  const calls = [
    one.client.publish('a', 'b', { qos: 1 }),
    one.client.subscribe('a'),
    one.client.drain(),
    two.client.publish('a', 'b', { qos: 2 }),
    two.client.messages('a').next(),
  ].map((call) => call.catch((error) => error))
  const called = new Promise((resolve) => two.client.publish('a', 'b', { qos: 1 }, resolve))
  await settle()
  const unsent = one.client.publish('a', 'b').catch((error) => error)
  wreck()
  calls.push(one.client.publish('a', 'b').catch((error) => error))
  for (const error of [await called, await unsent, ...(await Promise.all(calls))]) {
    assert.equal(error.name, 'InternalError')
    assert.equal(error.code, 'INTERNAL')
  }
  for (const log of events) {
    assert.deepEqual(
      log.map(([name]) => name),
      ['state', 'close'],
    )
    assert.deepEqual(log[0].slice(1), ['closed', 'connected'])
    assert.equal(log[1][1].code, 'INTERNAL')
  }
  await Promise.all([one.peer.closed, two.peer.closed])
  assert.equal((await one.client.publish('a').catch((error) => error)).code, 'INTERNAL')
  assert.throws(() => one.client.reconnect(), { code: 'INTERNAL' })
  assert.equal(one.client.stats().connections, 0)
  await one.client.end()
  const { client, peer } = await connected(t)
  const publish = client.publish('a', 'fresh', { qos: 1 })
  const { id } = await peer.expect('publish', { payload: 'fresh' })
  peer.send({ type: 'puback', id })
  assert.deepEqual(await publish, { reasonCode: 0 })
})

test('a trap while a message is read, in a timer, under a handler', async (t) => {
  const reading = await connected(t)
  reading.client.on('message', () => assert.fail('no message'))
  wreck()
  const closed = event(reading.client, 'close')
  reading.peer.send({ type: 'publish', topic: 'a' })
  assert.equal((await closed)[0].code, 'INTERNAL')

  const handling = await connected(t)
  const seen = []
  handling.client.on('message', (message) => {
    seen.push(message.text())
    wreck()
    handling.client.publish('a', 'b').catch((error) => seen.push(error.code))
  })
  handling.peer.send(
    { type: 'publish', topic: 'a', payload: '1' },
    { type: 'publish', topic: 'a', payload: '2' },
  )
  assert.equal((await event(handling.client, 'close'))[0].code, 'INTERNAL')
  await settle()
  assert.deepEqual(seen, ['1', 'INTERNAL'])

  const timing = await connected(t, { keepalive: 1 })
  wreck()
  assert.equal((await event(timing.client, 'close'))[0].code, 'INTERNAL')
  const next = await connected(t)
  assert.equal(next.client.connected, true)
})

test('nothing of the old instance is freed into the new one', async (t) => {
  for (let round = 0; round < 5; round++) {
    const { client } = await connected(t)
    wreck()
    await client.publish('a').catch(() => {})
    collect()
    await settle(5)
  }
  const { client, peer } = await connected(t)
  collect()
  await settle()
  for (let n = 0; n < 100; n++) {
    client.publish('a', `${n}`)
    await peer.expect('publish', { payload: `${n}` })
  }
})

test('the properties of a message outlive its client and its instance', async (t) => {
  const { client, peer } = await connected(t)
  const pending = event(client, 'message')
  peer.send({ type: 'publish', topic: 'a', properties: { contentType: 'x' } })
  const [message] = await pending
  await client.end()
  wreck()
  assert.throws(() => new Client('ws://127.0.0.1:1'), { code: 'INTERNAL' })
  assert.deepEqual(message.properties, { contentType: 'x' })
})

test('the memory grows in few steps: for each the engine collects garbage', async () => {
  const client = new Client('ws://127.0.0.1:1', { queue: { maxMessages: 200_000 } })
  const sizes = new Set()
  for (let index = 0; index < 200_000; index++) {
    client.publish('a/b', 'some payload', { qos: 1 }, () => {})
    if (index % 100 === 0) sizes.add(client.stats().wasmMemoryBytes)
  }
  assert.ok(sizes.size < 60, `${sizes.size} steps`)
  const [least, most] = [Math.min(...sizes), Math.max(...sizes)]
  assert.ok(most > 10 * least && most < 40e6, `from ${least} to ${most}`)
  await client.end({ force: true })
})

// Contract: Makes the socket. Default: by URL scheme and runtime.
// Contract: Browsers' WebSocket and Node's `ws` (always used on Node, with perMessageDeflate off) satisfy it; fromMessagePort() and the tcp and tls
// transports make one.
test('transport: a socket of the application, and fromMessagePort', async (t) => {
  const { port1, port2 } = /** @type {any} */ (new MessageChannel())
  const sent = []
  const { decode } = await import('./scripted-broker.mjs')
  port2.on('message', (data) => {
    if (data === null) return sent.push(null)
    const packet = decode(Buffer.from(data), 5)
    sent.push(packet.type)
    if (packet.type === 'connect') port2.postMessage(encode({ type: 'connack' }))
    if (packet.type === 'publish')
      port2.postMessage(encode({ type: 'publish', topic: 'back', payload: packet.payload }))
  })
  const asked = []
  const client = makeClient(t, 'custom://user:secret@somewhere/x', {
    transport: (url, context) => (
      asked.push([url.href, context.protocols, context.signal.aborted]), fromMessagePort(port1)
    ),
  })
  await client.connect()
  assert.deepEqual(asked, [['custom://somewhere/x', ['mqtt'], false]])
  const pending = event(client, 'message')
  await client.publish('a', 'hello')
  const [message] = await pending
  assert.equal(message.text(), 'hello')
  await client.end()
  await settle()
  assert.deepEqual(sent, ['connect', 'publish', 'disconnect', null])
})

test('transport: the other end of a port goes away', async (t) => {
  const { port1, port2 } = /** @type {any} */ (new MessageChannel())
  port2.on('message', () => port2.postMessage(encode({ type: 'connack' })))
  const client = makeClient(t, 'port://x', {
    transport: async () => fromMessagePort(port1),
    reconnect: false,
  })
  await client.connect()
  port2.postMessage(null)
  const [error] = await event(client, 'close')
  assert.equal(error.code, 'CONNECTION_LOST')
})

test('transport: one that throws, rejects, or is no socket', async (t) => {
  const cause = new Error('no way')
  for (const transport of [
    () => {
      throw cause
    },
    () => Promise.reject(cause),
  ]) {
    const error = await makeClient(t, 'x://y', { transport })
      .connect()
      .catch((error) => error)
    assert.equal(error.code, 'CONNECTION_FAILED')
    assert.equal(error.cause, cause)
  }
  const error = await makeClient(t, 'x://y', { transport: () => ({}) })
    .connect()
    .catch((error) => error)
  assert.equal(error.cause.argument, 'transport')
})

test('transport: one that cannot send any more is left for the next, and nothing is lost', async (t) => {
  const { Loopback } = await import('./loopback.mjs')
  const broker = new Loopback()
  const client = makeClient(t, 'x://y', { transport: broker.transport, reconnect: { minDelay: 0 } })
  await client.connect()
  broker.socket.send = () => {
    throw new Error('broken')
  }
  const lost = event(client, 'disconnect')
  const published = client.publish('a', 'x', { qos: 1 })
  const [error] = await lost
  assert.equal(error.code, 'CONNECTION_LOST')
  assert.match(error.message, /could not send/)
  await published
  assert.equal(broker.made, 2)
})

test('transport: given up while it is being made', async (t) => {
  let made
  const socket = {
    closed: 0,
    send() {},
    close() {
      this.closed++
    },
  }
  const signals = []
  const client = makeClient(t, 'x://y', {
    connectTimeout: 20,
    transport: (_, { signal }) => (
      signals.push(signal), new Promise((resolve) => (made = resolve))
    ),
  })
  const error = await client.connect().catch((error) => error)
  assert.equal(error.code, 'CONNECTION_FAILED')
  assert.equal(signals[0].aborted, true)
  made(socket)
  await settle()
  assert.equal(socket.closed, 1)
})

test('a text frame is a protocol error', async (t) => {
  const { client, peer } = await connected(t, { reconnect: false })
  client.on('error', () => {})
  peer.sendText('hello')
  const [error] = await event(client, 'close')
  assert.ok(['PROTOCOL_ERROR', 'CONNECTION_LOST'].includes(error.code), error)
})

test('a trap while end() waits for a handler at work: it is over, and no timer is left', async (t) => {
  const { client, peer } = await connected(t)
  let isCalled = false
  const subscribing = client.subscribe('a', () => {
    isCalled = true
    return new Promise(() => {})
  })
  await peer.grant()
  await subscribing
  peer.send({ type: 'publish', topic: 'a', payload: '1' })
  while (!isCalled) await settle(1)
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  const closed = event(client, 'close')
  const before = timers()
  const ended = client.end({ timeout: 600_000 })
  assert.ok(timers() > before)
  const other = new Client('mqtt://127.0.0.1:1')
  wreck()
  await other.publish('a', 'b').catch(() => {})
  const [{ code }] = await closed
  assert.equal(code, 'INTERNAL')
  await ended
  assert.ok(timers() <= before)
})
