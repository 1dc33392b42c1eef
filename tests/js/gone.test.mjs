// What "resolved" means for end() and drain(): handlers are done, and everything has left the process.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { cert } from './certificate.mjs'
import { connected, makeClient, record, settle, startBroker, until } from './scripted-broker.mjs'
import { secure } from './secure-broker.mjs'

const node = new URL('../../pkg/node.js', import.meta.url).href
const MIB = 1024 * 1024

/** Runs a script that ends with process.exit(). */
function run(url, script) {
  const source = `
    import * as wasmqtt from ${JSON.stringify(node)}
    const client = await wasmqtt.connect(${JSON.stringify(url)}, { protocolVersion: 5, tls: { ca: ${JSON.stringify(cert)} } })
    ${script}
    await client.end()
    process.exit()`
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      ['--input-type=module', '-e', source],
      { timeout: 30_000 },
      (error, _, stderr) =>
        error ? reject(new Error(stderr || error.message)) : resolve(undefined),
    )
  })
}

const many =
  "for (let n = 0; n < 1_000; n++) client.publish('a', String(n).padEnd(300)); await client.publish('a', 'last')"
const large = `await client.publish('a', new Uint8Array(8 * ${MIB}))`
const unawaited = `client.publish('a', new Uint8Array(8 * ${MIB}))`

for (const scheme of ['ws', 'wss']) {
  /** @type {[what: string, script: string, count: number][]} */
  const losses = [
    ['1,000 messages', many, 1_001],
    ['8 MiB', large, 1],
    ['8 MiB that nobody waits for', unawaited, 1],
  ]
  for (const [what, script, count] of losses) {
    // Contract: and resolves when the transport has written all of it: process.exit() right after loses nothing.
    test(`${scheme}: end() and process.exit() lose nothing of ${what}`, async (t) => {
      let url
      let accept
      if (scheme === 'ws') {
        const broker = await startBroker(t)
        url = broker.url
        accept = async () => {
          const peer = await broker.accept()
          await peer.welcome()
          return peer
        }
      } else {
        const broker = await secure(t)
        url = broker.url
        accept = async () => {
          await until(() => broker.peers.some(({ frames }) => frames.length > 0))
          await settle(2)
          return broker.peers[0]
        }
      }
      const over = run(url, script)
      const peer = await accept()
      for (let n = 0; n < count; n++) await peer.expect('publish')
      await peer.expect('disconnect')
      await over
    })
  }
}

/** A client whose handler is at work on a message of QoS 1 until `finish` is called. */
async function atWork(t, options) {
  const { client, peer, broker } = await connected(t, options)
  const work = Promise.withResolvers?.() ?? withResolvers()
  const calls = []
  const subscribing = client.subscribe('a', { qos: 1, ack: 'settled' }, (message) => {
    calls.push(message.text())
    return work.promise
  })
  await peer.grant()
  await subscribing
  peer.send({ type: 'publish', topic: 'a', payload: '1', qos: 1, id: 1 })
  await until(() => calls.length === 1)
  return { client, peer, broker, calls, finish: work.resolve }
}

function withResolvers() {
  const all = {}
  all.promise = new Promise((resolve) => (all.resolve = resolve))
  return all
}

// Contract: Takes no more messages (what still arrives is not delivered and not acknowledged: the server keeps it for the session), waits for
// handlers at work and for what is in flight, sends DISCONNECT, closes
test('end() waits for handlers at work, and takes no more messages', async (t) => {
  const { client, peer, calls, finish } = await atWork(t)
  const messages = record(client, 'message')
  const ended = client.end()
  assert.equal(client.state, 'closing')
  await assert.rejects(client.publish('a'), { code: 'CLOSED' })
  peer.send({ type: 'publish', topic: 'a', payload: '2', qos: 1, id: 2 })
  await settle()
  assert.deepEqual(peer.pending, [])
  finish()
  await peer.expect('puback', { id: 1 })
  await peer.expect('disconnect')
  await ended
  assert.deepEqual(calls, ['1'])
  assert.deepEqual(messages, [])
})

// Contract: `timeout` bounds all of it, and the peer's close frame is never waited for.
test('`timeout` bounds the handlers, too', async (t) => {
  const { client, peer } = await atWork(t)
  const began = performance.now()
  await client.end({ timeout: 100 })
  assert.ok(performance.now() - began < 1_000)
  await peer.expect('disconnect')
})

// Contract: No 'disconnect' after end().
test('end() with handlers at work, and the connection goes', async (t) => {
  const { client, peer } = await atWork(t)
  const events = record(client, 'state', 'disconnect', 'reconnecting', 'close')
  const ended = client.end()
  peer.drop()
  await ended
  assert.deepEqual(
    events.map(([name, value]) => (name === 'state' ? value : name)),
    ['closing', 'closed', 'close'],
  )
})

test('what is wrong with the options of end() is told after the handlers', async (t) => {
  const { client, finish } = await atWork(t)
  const ended = client.end({ reasonCode: 1 })
  finish()
  await assert.rejects(ended, { code: 'INVALID_ARGUMENT' })
  await until(() => client.state === 'closed')
})

// Contract: Resolves when nothing is queued or in flight, in either direction: handlers at work have settled and their acknowledgements have left.
test('drain() waits for handlers at work, and until their acknowledgements have left', async (t) => {
  const { client, peer, finish } = await atWork(t)
  let isDone = false
  const drained = client.drain().then(() => (isDone = true))
  await settle()
  assert.equal(isDone, false)
  finish()
  await drained
  await peer.expect('puback', { id: 1 })
  await client.drain()
  client.publish('a', 'b', { qos: 1 }).catch(() => {})
  await assert.rejects(client.drain({ timeout: 5 }), { code: 'TIMEOUT' })
})

test('a handler whose thenable throws, or settles more than once, is at work no longer', async (t) => {
  const { client, peer } = await connected(t)
  const failures = []
  client.on('error', (/** @type {any} */ error) => failures.push([error.code, error.cause.message]))
  /** @type {any[]} */
  const thenables = [
    {
      then() {
        throw new Error('thrown')
      },
    },
    {
      then(resolve, reject) {
        resolve()
        resolve()
        reject(new Error('late'))
        throw new Error('later')
      },
    },
  ]
  const subscribing = client.subscribe('a', { qos: 1, ack: 'settled' }, () => thenables.shift())
  await peer.grant()
  await subscribing
  for (const id of [1, 2]) {
    peer.send({ type: 'publish', topic: 'a', payload: '1', qos: 1, id })
    await peer.expect('puback', { id })
    await client.drain({ timeout: 1_000 })
  }
  assert.deepEqual(failures, [['HANDLER_FAILED', 'thrown']])
  const ended = client.end({ timeout: 60_000 })
  await peer.expect('disconnect')
  await ended
})

/** A socket as browsers have it, whose buffer empties when the test says so. */
function slowSocket() {
  const socket = {
    binaryType: '',
    readyState: 1,
    bufferedAmount: 0,
    sent: [],
    send(data) {
      socket.sent.push(Buffer.from(data))
    },
    close() {
      socket.readyState = 2
    },
  }
  return socket
}

/** A client whose transport is a slowSocket(). */
async function connectedSlowly(t) {
  const socket = slowSocket()
  const client = makeClient(t, 'ws://broker', { transport: () => socket })
  const connecting = client.connect()
  await until(() => socket.sent.length > 0)
  socket.onmessage({ data: Uint8Array.of(0x20, 3, 0, 0, 0) })
  await connecting
  return { socket, client }
}

// Contract: and resolves when the transport has written all of it: process.exit() right after loses nothing.
test('end() waits until bufferedAmount is 0, and not for the close frame of the peer', async (t) => {
  const { socket, client } = await connectedSlowly(t)
  socket.bufferedAmount = 100
  let isDone = false
  const ended = client.end().then(() => (isDone = true))
  await settle()
  assert.equal(isDone, false)
  assert.equal(client.state, 'closed')
  assert.equal(socket.sent.at(-1)[0], 0xe0)
  socket.bufferedAmount = 0
  await ended
})

// Contract: `timeout` bounds all of it, and the peer's close frame is never waited for.
test('`timeout` bounds the writing, too', async (t) => {
  const { socket, client } = await connectedSlowly(t)
  socket.bufferedAmount = 100
  const began = performance.now()
  await client.end({ timeout: 50 })
  assert.ok(performance.now() - began < 1_000)
})

test('drain() that nobody waits for any more looks at the socket no longer', async (t) => {
  const { socket, client } = await connectedSlowly(t)
  let looks = 0
  Object.defineProperty(socket, 'bufferedAmount', { get: () => (looks++, 100) })
  await assert.rejects(client.drain({ timeout: 20 }), { code: 'TIMEOUT' })
  await settle()
  const before = looks
  assert.ok(before > 1)
  await settle(50)
  assert.equal(looks, before)
})

/** A client on such a socket, and what waits in its buffer. */
async function withBuffer(t) {
  const socket = slowSocket()
  const options = { transport: () => socket, keepalive: 0, connectTimeout: 300 }
  const client = makeClient(t, 'ws://broker', options)
  const connecting = client.connect()
  await until(() => socket.sent.length > 0)
  socket.onmessage({ data: Uint8Array.of(0x20, 3, 0, 0, 0) })
  await connecting
  socket.bufferedAmount = 100
  return { client, socket }
}

// Contract: Close at once, without DISCONNECT: the server publishes the will.
test('end({ force: true }) waits for no buffer, and for no handler', async (t) => {
  const { client } = await withBuffer(t)
  const began = performance.now()
  await client.end({ force: true })
  assert.ok(performance.now() - began < 500)
  const { client: busy, peer } = await atWork(t)
  await busy.end({ force: true })
  await peer.closed
  assert.deepEqual(peer.pending, [])
})

test('with fake timers end() and drain() still see that the buffer is empty', async (t) => {
  const { client, socket } = await withBuffer(t)
  const empty = setTimeout
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const drained = client.drain()
  empty(() => (socket.bufferedAmount = 0), 20)
  await drained
  await client.end()
})

test("drain() waits for listeners of 'message' that return promises", async (t) => {
  const { client, peer } = await connected(t)
  let finish
  let isDone = false
  client.on('message', () => new Promise((resolve) => (finish = resolve)))
  peer.send({ type: 'publish', topic: 'a', payload: '1' })
  await until(() => finish !== undefined)
  const drained = client.drain().then(() => (isDone = true))
  await settle()
  assert.equal(isDone, false)
  finish()
  await drained
})
