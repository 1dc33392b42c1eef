// What keeps messages from handlers, and publishes from the queue: `conflate`, `concurrency`, `ack`, and queue.overflow 'wait'.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { connect } from '../../pkg/node.js'
import { TestBroker } from '../../pkg/testing-node.js'
import { connected, event, settle, until } from './scripted-broker.mjs'

const run = promisify(execFile)
const message = (n, qos = 0, topic = 'a') => ({
  type: 'publish',
  topic,
  payload: `${n}`,
  qos,
  id: n,
})
const range = (count, qos) => Array.from({ length: count }, (_, n) => message(n + 1, qos))
const timer = setTimeout
/** As `settle`, while timers are mocked. */
const rest = () => new Promise((resolve) => timer(resolve, 30))

/** A handler whose promises settle when the test says so. */
function slow() {
  const got = []
  const settlers = []
  const handler = (message) => {
    got.push(message.text())
    return new Promise((resolve, reject) => settlers.push({ resolve, reject }))
  }
  return { got, handler, settlers }
}

async function subscribed(t, options, handler, connack) {
  const { client, peer } = await connected(t, undefined, connack)
  const subscribing = client.subscribe('a', options, handler)
  await peer.grant()
  return { client, peer, subscription: await subscribing }
}

const acknowledged = (peer) => peer.pending.map(({ type, id }) => `${type} ${id}`)

// ------------------------------------------------------------------------------------------------ conflate

// Contract: For user interfaces: at most one message per topic every so many ms, the latest one. Default 0: every message.
test('conflate: the first message at once, then the latest of each time', async (t) => {
  const got = []
  const { client, peer } = await connected(t, { keepalive: 0 })
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let now = 1_000
  t.mock.method(performance, 'now', () => now)
  const pass = (time) => {
    now += time
    t.mock.timers.tick(time)
  }
  const events = []
  client.on('message', (message) => events.push(message.text()))
  const subscribing = client.subscribe('#', { conflate: 100 }, (message) => {
    got.push(message.topic + message.text())
  })
  await peer.grant()
  await subscribing
  peer.send(message(1), message(2), message(3), message(4, 0, 'b'))
  await rest()
  assert.deepEqual(got, ['a1', 'b4'])
  pass(60)
  peer.send(message(5))
  await rest()
  pass(39)
  assert.deepEqual(got, ['a1', 'b4'])
  pass(1)
  assert.deepEqual(got, ['a1', 'b4', 'a5'])
  peer.send(message(6))
  await rest()
  assert.equal(got.length, 3)
  pass(100)
  assert.deepEqual(got.slice(3), ['a6'])
  pass(200)
  peer.send(message(7))
  await rest()
  assert.deepEqual(got.slice(4), ['a7'])
  assert.deepEqual(events, ['1', '2', '3', '4', '5', '6', '7'])
})

test('conflate: timers that come late, as in a hidden tab, and mocked ones without a mocked clock', async (t) => {
  const got = []
  const { client, peer } = await connected(t, { keepalive: 0 })
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const subscribing = client.subscribe('#', { conflate: 60 }, (message) => {
    got.push(message.topic + message.text())
  })
  await peer.grant()
  await subscribing
  peer.send(message(1), message(2))
  await rest()
  assert.deepEqual(got, ['a1'])
  await new Promise((resolve) => timer(resolve, 70))
  // No timer has fired. Another topic moves the time on.
  peer.send(message(3, 0, 'b'))
  await rest()
  assert.deepEqual(got, ['a1', 'a2', 'b3'])
  peer.send(message(4, 0, 'b'))
  await rest()
  t.mock.timers.tick(60)
  assert.deepEqual(got, ['a1', 'a2', 'b3', 'b4'])
})

test("conflate with 'auto': acknowledged as they come", async (t) => {
  const got = []
  const { peer } = await subscribed(t, { qos: 2, conflate: 60_000 }, (message) => {
    got.push(message.text())
  })
  peer.send(message(1, 1), message(2, 2), message(3, 1))
  await settle()
  assert.deepEqual(got, ['1'])
  assert.deepEqual(acknowledged(peer), ['puback 1', 'pubrec 2', 'puback 3'])
})

test("conflate with 'settled' and 'manual': in order, those that are replaced with those before them", async (t) => {
  for (const ack of /** @type {const} */ (['settled', 'manual'])) {
    const { peer, subscription } = await subscribed(
      t,
      { qos: 1, conflate: 60_000, ack },
      (message) => message.ack(),
    )
    peer.send(message(1, 1), message(2, 1), message(3, 1), message(4, 1))
    await settle()
    assert.deepEqual(acknowledged(peer), ['puback 1', 'puback 2', 'puback 3'])
    const ending = subscription.unsubscribe()
    while (peer.pending.length > 0) await peer.next()
    await settle()
    // The end of the Subscription lets go of the last one.
    const rest = [await peer.next(), await peer.next()].map(({ type }) => type).sort()
    assert.deepEqual(rest, ['puback', 'unsubscribe'])
    peer.send({ type: 'unsuback', id: 2, codes: [0] })
    await ending
  }
})

// ------------------------------------------------------------------------------------------------ concurrency

// Contract: Handlers at work at once, for handlers that return promises: further QoS 1 and 2 messages wait unacknowledged, up to Receive Maximum; of
// QoS 0 at most 10,000 wait, then the oldest gives way (stats().droppedMessages). Default 1_000.
test('concurrency: further QoS 1 messages wait without an acknowledgement', async (t) => {
  const { got, handler, settlers } = slow()
  const { peer } = await subscribed(t, { qos: 1, concurrency: 2 }, handler)
  peer.send(...range(5, 1))
  await settle()
  assert.deepEqual(got, ['1', '2'])
  // 'auto': the handlers of the first two have returned.
  assert.deepEqual(acknowledged(peer), ['puback 1', 'puback 2'])
  settlers[0].resolve()
  await settle()
  assert.deepEqual(got, ['1', '2', '3'])
  settlers[1].reject(new Error('not the concern of this test'))
  settlers[2].resolve()
  await settle()
  assert.deepEqual(got, ['1', '2', '3', '4', '5'])
  assert.deepEqual(
    acknowledged(peer),
    [1, 2, 3, 4, 5].map((id) => `puback ${id}`),
  )
})

test("concurrency with 'settled' and 'manual'", async (t) => {
  const { got, handler, settlers } = slow()
  const { peer } = await subscribed(t, { qos: 1, concurrency: 1, ack: 'settled' }, handler)
  peer.send(...range(3, 1))
  await settle()
  assert.deepEqual([got, acknowledged(peer)], [['1'], []])
  settlers[0].resolve()
  await settle()
  assert.deepEqual([got, acknowledged(peer)], [['1', '2'], ['puback 1']])

  const messages = []
  const other = await subscribed(t, { qos: 2, concurrency: 1, ack: 'manual' }, (message) => {
    messages.push(message)
    return new Promise((resolve) => settlers.push({ resolve, reject: resolve }))
  })
  other.peer.send(message(1, 2), message(2, 1))
  await settle()
  assert.equal(messages.length, 1)
  settlers.at(-1).resolve()
  await settle()
  messages[1].ack()
  await settle()
  assert.deepEqual(acknowledged(other.peer), [])
  messages[0].ack()
  await settle()
  assert.deepEqual(acknowledged(other.peer), ['pubrec 1', 'puback 2'])
})

// Contract: Handlers at work at once, for handlers that return promises: further QoS 1 and 2 messages wait unacknowledged, up to Receive Maximum; of
// QoS 0 at most 10,000 wait, then the oldest gives way (stats().droppedMessages). Default 1_000.
test('concurrency: 1,000 by default, in order of arrival, over both kinds of QoS', async (t) => {
  const { got, handler, settlers } = slow()
  const { client, peer } = await subscribed(t, { qos: 1 }, handler)
  const all = Array.from({ length: 1_010 }, (_, n) => message(n + 1, n % 2))
  peer.send(...all)
  await settle()
  assert.equal(got.length, 1_000)
  for (const { resolve } of settlers) resolve()
  await until(() => got.length === 1_010)
  assert.deepEqual(
    got,
    all.map(({ payload }) => payload),
  )
  assert.equal(client.stats().droppedMessages, 0)
})

test('concurrency: a handler that returns no promise is never busy, and one that throws is free', async (t) => {
  const got = []
  const { client, peer } = await subscribed(t, { concurrency: 1 }, (message) => {
    got.push(message.text())
    if (got.length === 2) throw new Error('oops')
  })
  client.on('error', () => {})
  peer.send(...range(4, 0))
  await settle()
  assert.deepEqual(got, ['1', '2', '3', '4'])
})

// Contract: Handlers at work at once, for handlers that return promises: further QoS 1 and 2 messages wait unacknowledged, up to Receive Maximum; of
// QoS 0 at most 10,000 wait, then the oldest gives way (stats().droppedMessages). Default 1_000.
test('concurrency: of QoS 0, 10,000 wait, then the oldest gives way', async (t) => {
  const { got, handler, settlers } = slow()
  const { client, peer } = await subscribed(t, { qos: 1, concurrency: 1 }, handler)
  peer.send(message(1, 1), message(2, 1))
  for (let n = 0; n < 10; n++)
    peer.send(...Array.from({ length: 1_001 }, (_, k) => message(n * 1_001 + k)))
  await until(() => client.stats().messagesReceived === 10_012)
  assert.equal(client.stats().droppedMessages, 10)
  settlers[0].resolve()
  await settle(3)
  settlers[1].resolve()
  await settle(3)
  assert.deepEqual(got, ['1', '2', '10'])
})

test('concurrency: what waits is nobody’s once the Subscription has ended', async (t) => {
  const { got, handler, settlers } = slow()
  const { peer, subscription } = await subscribed(t, { qos: 1, concurrency: 1 }, handler)
  peer.send(...range(3, 1))
  await settle()
  const ending = subscription.unsubscribe()
  await settle()
  settlers[0].resolve()
  await settle()
  assert.deepEqual(got, ['1'])
  assert.deepEqual(
    acknowledged(peer).filter((each) => each.startsWith('puback')),
    ['puback 1', 'puback 2', 'puback 3'],
  )
  peer.send({ type: 'unsuback', id: 2, codes: [0] })
  await ending
})

/** So many QoS 0 messages to a handler that never settles: MiB that the process grew by, and what was dropped. */
async function flood(count) {
  const script = fileURLToPath(new URL('flood.mjs', import.meta.url))
  const { stdout } = await run(process.execPath, ['--expose-gc', script, `${count}`])
  return JSON.parse(stdout)
}

// By hand: node --expose-gc tests/js/flood.mjs 1000000
test('concurrency: a handler that never settles costs a bounded amount of memory', async () => {
  const { grown, dropped, wasm } = await flood(100_000)
  assert.equal(dropped, 100_000 - 1_000 - 10_000)
  assert.ok(grown < 200, `${grown} MiB`)
  assert.ok(wasm < 32, `${wasm} MiB`)
})

test('options: what is wrong is named', async (t) => {
  const { client, peer } = await connected(t)
  for (const [name, value] of /** @type {[string, any][]} */ ([
    ['concurrency', 0],
    ['concurrency', '5'],
    ['conflate', -1],
    ['conflate', NaN],
  ]))
    await assert.rejects(client.subscribe('a', { [name]: value }), { argument: name })
  for (const name of ['ack', 'conflate', 'concurrency'])
    await assert.rejects(client.messages('a', { [name]: 1 }).next(), { argument: name })
  assert.equal(peer.pending.length, 0)
})

// ------------------------------------------------------------------------------------------------ queue.overflow: 'wait'

// Contract: 'reject': the new publish rejects with QueueFullError. 'wait': publish() waits for room before it takes the message, bounded by its
// timeout and signal, in the order of the calls. Default 'reject'.
test("overflow 'wait': calls wait for room in their order, bounded by timeout and signal", async (t) => {
  const { client, peer, broker } = await connected(t, {
    queue: { maxMessages: 2, overflow: 'wait' },
    clientId: 'me',
    reconnect: { minDelay: 1, maxDelay: 1 },
  })
  peer.drop()
  await event(client, 'disconnect')
  const fate = (promise) =>
    promise.then(
      () => 'published',
      (error) => error.code,
    )
  const controller = new AbortController()
  const late = []
  const calls = [
    client.publish('a', '1', { qos: 1 }),
    client.publish('a', '2', { qos: 1 }),
    client.publish('a', '3', { qos: 1, timeout: 1 }),
    client.publish('a', '4', { qos: 1, signal: controller.signal }),
    client.publish('a', '5', { qos: 1 }),
    client.publish('a', '6'),
  ].map(fate)
  client.publish('a', '7', { qos: 1 }, (error) => late.push(error))
  assert.equal(client.stats().queuedMessages, 2)
  controller.abort()
  assert.equal(await calls[2], 'TIMEOUT')
  assert.equal(await calls[3], 'ABORTED')
  const next = await broker.accept()
  await next.welcome({ sessionPresent: true })
  for (const payload of ['1', '2', '5', '6', '7']) {
    const { id, qos } = await next.expect('publish', { payload })
    if (qos > 0) next.send({ type: 'puback', id })
  }
  assert.deepEqual(await Promise.all(calls), [
    'published',
    'published',
    'TIMEOUT',
    'ABORTED',
    'published',
    'published',
  ])
  await until(() => late.length === 1)
  assert.deepEqual(late, [null])
  assert.equal(client.stats().droppedMessages, 0)
})

test("overflow 'wait': a program that publishes each line of its input neither fails nor grows", async (t) => {
  const broker = new TestBroker({ receiveMaximum: 20 })
  const { url, close } = await broker.listen({ port: 0 })
  t.after(async () => {
    await close()
    await broker[Symbol.asyncDispose]()
  })
  const got = []
  const reader = await connect(url)
  t.after(() => reader.end({ force: true }))
  await reader.subscribe('lines', { qos: 1 }, (message) => {
    got.push(message.text())
  })
  const script = fileURLToPath(new URL('lines.mjs', import.meta.url))
  const { stdout } = await run(
    'sh',
    ['-c', `seq 20000 | "${process.execPath}" --expose-gc "${script}" ${url}`],
    { timeout: 60_000 },
  )
  await until(() => got.length === 20_000)
  assert.deepEqual([got[0], got.at(-1), new Set(got).size], ['1', '20000', 20_000])
  const { grown, most } = JSON.parse(stdout)
  assert.equal(most, 100)
  assert.ok(grown < 64, `${grown} MiB`)
})
