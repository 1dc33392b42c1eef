import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connected, settle } from './scripted-broker.mjs'

const publish = (n, qos = 0) => ({ type: 'publish', topic: 'a', payload: `${n}`, qos, id: n })

/** A stream whose subscription is granted, with its first next() pending. */
async function open(client, peer, options) {
  const stream = client.messages('a', options)
  const first = stream.next()
  await peer.grant()
  return { stream, first }
}

// Contract: Subscribes at the first next(); leaving the loop unsubscribes. A message is acknowledged when the next one is asked for. Ends when the
// client ends; throws what went wrong otherwise.
test('iterates, acknowledges when the next one is asked for, unsubscribes', async (t) => {
  const { client, peer } = await connected(t)
  const got = []
  const serve = async () => {
    await peer.grant()
    peer.send(publish(1, 1), publish(2, 1), publish(3, 1))
    await peer.expect('puback', { id: 1 })
    await peer.expect('puback', { id: 2 })
    await peer.expect('puback', { id: 3 })
    await peer.release({ filters: ['a'] })
  }
  const serving = serve()
  for await (const message of client.messages('a', { qos: 1 })) {
    got.push(message.text())
    if (got.length === 3) break
  }
  await serving
  assert.deepEqual(got, ['1', '2', '3'])
  assert.equal(client.subscriptions.size, 0)
})

// Contract: Subscribes at the first next(); leaving the loop unsubscribes. A message is acknowledged when the next one is asked for. Ends when the
// client ends; throws what went wrong otherwise.
test('subscribes at the first next() only', async (t) => {
  const { client, peer } = await connected(t)
  const stream = client.messages('a')
  assert.equal(stream[Symbol.asyncIterator](), stream)
  await settle()
  assert.equal(peer.pending.length, 0)
  assert.deepEqual(await stream.return(), { value: undefined, done: true })
  assert.deepEqual(await stream.next(), { value: undefined, done: true })
  await settle()
  assert.equal(peer.pending.length, 0)
})

test('a slow reader is not acknowledged for', async (t) => {
  const { client, peer } = await connected(t)
  const { stream, first } = await open(client, peer, { qos: 1 })
  peer.send(publish(1, 1), publish(2, 1))
  assert.equal((await first).value.text(), '1')
  await settle()
  assert.equal(peer.pending.length, 0)
  assert.equal((await stream.next()).value.text(), '2')
  await peer.expect('puback', { id: 1 })
  const done = stream.return()
  await peer.expect('puback', { id: 2 })
  await peer.release()
  await done
})

test('several next() at once', async (t) => {
  const { client, peer } = await connected(t)
  const { stream, first } = await open(client, peer)
  const second = stream.next()
  peer.send(publish(1), publish(2))
  assert.equal((await second).value.text(), '2')
  assert.equal((await first).value.text(), '1')
})

const payloads = async (stream, count) => {
  const got = []
  for (let n = 0; n < count; n++) got.push((await stream.next()).value?.text())
  return got
}

// Contract: 'pause' withholds acknowledgements, so that the server's own flow control slows QoS 1 and 2 down (up to receiveMaximum more may arrive);
// QoS 0 then drops the oldest. Default 1_000, 'pause'.
test("overflow 'pause': QoS 0 gives way, QoS 1 does not", async (t) => {
  const { client, peer } = await connected(t)
  const { stream, first } = await open(client, peer, { buffer: 2, qos: 1 })
  peer.send(publish(9))
  await first
  peer.send(publish(1), publish(2, 1), publish(3), publish(4, 1), publish(5, 1), publish(6))
  await settle()
  assert.equal(stream.dropped, 2)
  assert.deepEqual(await payloads(stream, 4), ['2', '4', '5', '6'])
})

for (const [overflow, expected] of [
  ['drop-oldest', ['3', '4']],
  ['drop-newest', ['1', '2']],
]) {
  test(`overflow '${overflow}'`, async (t) => {
    const { client, peer } = await connected(t)
    const { stream, first } = await open(client, peer, { buffer: 2, qos: 1, overflow })
    peer.send(publish(9))
    await first
    peer.send(publish(1, 1), publish(2, 1), publish(3, 1), publish(4, 1))
    await settle()
    assert.equal(stream.dropped, 2)
    assert.deepEqual(await payloads(stream, 2), expected)
  })
}

test("overflow 'error'", async (t) => {
  const { client, peer } = await connected(t)
  const { stream, first } = await open(client, peer, { buffer: 1, overflow: 'error' })
  peer.send(publish(9))
  await first
  peer.send(publish(1), publish(2))
  await peer.release()
  assert.deepEqual(await payloads(stream, 1), ['1'])
  await assert.rejects(stream.next(), { name: 'QueueFullError' })
  assert.equal((await stream.next()).done, true)
})

// Contract: Subscribes at the first next(); leaving the loop unsubscribes. A message is acknowledged when the next one is asked for. Ends when the
// client ends; throws what went wrong otherwise.
test('ends when the client ends', async (t) => {
  const { client, peer } = await connected(t)
  const { stream, first } = await open(client, peer)
  await client.end()
  assert.deepEqual(await first, { value: undefined, done: true })
  assert.equal((await stream.next()).done, true)
})

// Contract: Subscribes at the first next(); leaving the loop unsubscribes. A message is acknowledged when the next one is asked for. Ends when the
// client ends; throws what went wrong otherwise.
test('throws what ended the client', async (t) => {
  const { client, peer } = await connected(t, { reconnect: false })
  const { stream, first } = await open(client, peer)
  peer.send(publish(1))
  await first
  const failed = assert.rejects(stream.next(), { code: 'CONNECTION_LOST' })
  peer.drop()
  await failed
})

test('throws what is wrong with it', async (t) => {
  const { client, peer } = await connected(t)
  /** @type {[string, string, any][]} */
  const wrong = [
    ['filter', 'a/#/b', undefined],
    ['buffer', 'a', { buffer: 0 }],
    ['overflow', 'a', { overflow: 'burst' }],
    ['qos', 'a', { qos: 5 }],
    ['ack', 'a', { ack: 'manual' }],
    ['foo', 'a', { foo: 1 }],
    ['options', 'a', 5],
  ]
  for (const [argument, filter, options] of wrong) {
    await assert.rejects(client.messages(filter, options).next(), {
      code: 'INVALID_ARGUMENT',
      argument,
    })
  }
  const refused = client.messages('a').next()
  const failed = assert.rejects(refused, { code: 'SUBSCRIBE_REFUSED' })
  await peer.grant([0x87])
  await failed
})

test('signal ends it', async (t) => {
  const { client, peer } = await connected(t)
  const controller = new AbortController()
  const { stream, first } = await open(client, peer, { signal: controller.signal })
  const failed = assert.rejects(first, { name: 'AbortError' })
  controller.abort()
  await failed
  await peer.release()
  assert.equal((await stream.next()).done, true)
  await assert.rejects(client.messages('a', { signal: AbortSignal.abort() }).next(), {
    code: 'ABORTED',
  })
})

test('timeout bounds the subscribe', async (t) => {
  const { client, peer } = await connected(t)
  const pending = client.messages('a', { timeout: 10 }).next()
  const failed = assert.rejects(pending, { name: 'TimeoutError' })
  await peer.expect('subscribe')
  await failed
  // It has left nothing: the next ones are Subscriptions of their own.
  await peer.release()
  const next = ['b', 'c'].map((filter) => client.subscribe(filter))
  for (const filter of ['b', 'c'])
    await peer.grant(undefined, { filters: [{ filter, options: 0 }] })
  for (const subscription of await Promise.all(next)) assert.equal(subscription.active, true)
})

test('ends when its filter is unsubscribed elsewhere', async (t) => {
  const { client, peer } = await connected(t)
  const { first } = await open(client, peer)
  const done = client.unsubscribe('a')
  await peer.release()
  await done
  assert.equal((await first).done, true)
})

test('await using', async (t) => {
  const { client, peer } = await connected(t)
  const { stream } = await open(client, peer)
  const disposed = stream[Symbol.asyncDispose]()
  await peer.release()
  await disposed
})
