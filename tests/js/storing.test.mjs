// A client with a store, through the package: what waits for it, what the next client finds in it, and what happens when it fails.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { StoreError } from '../../pkg/node.js'
import { FileStore } from '../../pkg/stores-node.js'
import { event, makeClient, record, settle, startBroker } from './scripted-broker.mjs'

/** A store in memory whose writes can be held back, or fail. */
class MemoryStore {
  records = new Map()
  /** How many changes each write had. */
  writes = []
  failure = undefined
  closed = 0
  #gate = undefined

  async load() {
    if (this.failure) throw this.failure
    return [...this.records]
  }

  async write(_clientId, changes) {
    this.writes.push(changes.length)
    await this.#gate?.promise
    if (this.failure) throw this.failure
    for (const [key, value] of changes) {
      if (value === null) this.records.delete(key)
      else this.records.set(key, value)
    }
  }

  async close() {
    this.closed++
  }

  /** Holds writes back until the returned function is called. */
  stall() {
    const gate = {}
    gate.promise = new Promise((resolve) => (gate.open = resolve))
    this.#gate = gate
    return () => {
      this.#gate = undefined
      gate.open()
    }
  }
}

const kept = { clientId: 'me', clean: false, properties: { sessionExpiryInterval: 60 } }

/** A connected client with this store. */
async function begin(t, store, connack = {}, options = {}) {
  const broker = await startBroker(t)
  const client = makeClient(t, broker.url, { ...kept, store, ...options })
  const connecting = client.connect()
  const peer = await broker.accept()
  await peer.welcome(connack)
  await connecting
  return { broker, client, peer }
}

function folder(t) {
  const path = mkdtempSync(join(tmpdir(), 'wasmqtt-'))
  t.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

// Contract: Needs a clientId. load() runs before the first CONNECT; PUBLISH, PUBREC and PUBREL leave only after the write that records them has
// resolved.
test('a store needs a clientId, and its functions', async (t) => {
  const store = new MemoryStore()
  const mistake = (options) => {
    try {
      makeClient(t, 'ws://h', options)
    } catch (error) {
      return `${error.name} ${error.argument}`
    }
  }
  assert.equal(mistake({ store }), 'InvalidArgumentError clientId')
  assert.equal(mistake({ clientId: 'a', store: {} }), 'InvalidArgumentError store.load')
  const load = async () => []
  assert.equal(mistake({ clientId: 'a', store: { load } }), 'InvalidArgumentError store.write')
  assert.equal(mistake({ clientId: 'a', store: 'path' }), 'InvalidArgumentError store')
  const close = 1
  assert.equal(
    mistake({ clientId: 'a', store: { load, write: load, close } }),
    'InvalidArgumentError store.close',
  )
})

// Contract: Needs a clientId. load() runs before the first CONNECT; PUBLISH, PUBREC and PUBREL leave only after the write that records them has
// resolved.
test('PUBLISH, PUBREL, PUBREC and PUBCOMP leave after the write that records them', async (t) => {
  const store = new MemoryStore()
  const { client, peer } = await begin(t, store)
  const nothing = async () => {
    await sleep(30)
    assert.deepEqual(peer.pending, [])
  }
  let release = store.stall()
  const publishing = client.publish('a', 'b', { qos: 2 })
  await nothing()
  release()
  const { id } = await peer.expect('publish', { qos: 2, payload: 'b' })
  release = store.stall()
  peer.send({ type: 'pubrec', id })
  await nothing()
  release()
  await peer.expect('pubrel', { id })
  release = store.stall()
  peer.send({ type: 'pubcomp', id })
  // Nothing depends on that the record is gone.
  await publishing
  release()

  const messages = record(client, 'message')
  release = store.stall()
  peer.send({ type: 'publish', qos: 2, id: 7, topic: 'c', payload: 'd' })
  await nothing()
  assert.equal(messages.length, 1)
  release()
  await peer.expect('pubrec', { id: 7 })
  release = store.stall()
  peer.send({ type: 'pubrel', id: 7 })
  await nothing()
  release()
  await peer.expect('pubcomp', { id: 7 })
  assert.equal(store.records.size, 0)
})

test('what one turn publishes is one write, and one write is under way at a time', async (t) => {
  const store = new MemoryStore()
  const { client, peer } = await begin(t, store)
  const release = store.stall()
  for (let n = 0; n < 50; n++) client.publish('a', `${n}`, { qos: 1 }).catch(() => {})
  await sleep(10)
  for (let n = 50; n < 70; n++) client.publish('a', `${n}`, { qos: 1 }).catch(() => {})
  await sleep(10)
  for (let n = 70; n < 80; n++) client.publish('a', `${n}`, { qos: 1 }).catch(() => {})
  release()
  for (let n = 0; n < 80; n++) await peer.expect('publish', { payload: `${n}` })
  assert.deepEqual(store.writes, [50, 30])
})

test('the next client sends what the last one has left, in order', async (t) => {
  const store = new MemoryStore()
  const first = await begin(t, store)
  const publish = (payload, qos) => first.client.publish('a', payload, { qos, retain: true })
  const pending = [publish('1', 1), publish('2', 2), publish('3', 1)]
  for (const promise of pending) promise.catch(() => {})
  for (const id of [1, 2, 3]) await first.peer.expect('publish', { id })
  await first.client.end({ force: true })
  assert.equal(store.closed, 1)

  const { client, peer } = await begin(t, store, { sessionPresent: true })
  await peer.expect('publish', { id: 1, payload: '1', dup: true, retain: true })
  await peer.expect('publish', { id: 2, payload: '2', dup: true, qos: 2 })
  await peer.expect('publish', { id: 3, payload: '3' })
  peer.send({ type: 'puback', id: 1 }, { type: 'puback', id: 3 }, { type: 'pubrec', id: 2 })
  await peer.expect('pubrel', { id: 2 })
  peer.send({ type: 'pubcomp', id: 2 })
  await client.drain()
  await client.end()
  assert.equal(store.records.size, 0)
  assert.equal(store.closed, 2)
})

test('messages of a kept subscription that nobody asked for come by the event', async (t) => {
  const { client, peer } = await begin(t, new MemoryStore(), { sessionPresent: true })
  const messages = record(client, 'message')
  peer.send({ type: 'publish', qos: 1, id: 1, topic: 'a/b', payload: 'x' })
  await peer.expect('puback', { id: 1 })
  assert.deepEqual(
    messages.map(([, message]) => [message.topic, message.text()]),
    [['a/b', 'x']],
  )
})

test('a load that fails rejects connect(), and the next one tries again', async (t) => {
  const store = new MemoryStore()
  store.failure = Object.assign(new Error('no luck'), { code: 'EIO' })
  const broker = await startBroker(t)
  const client = makeClient(t, broker.url, { ...kept, store })
  await assert.rejects(client.connect(), (error) => {
    assert(error instanceof StoreError)
    assert.equal(error.code, 'STORE_FAILED')
    assert.equal(error.cause, store.failure)
    assert.equal(error.message, 'The store could not be read: no luck')
    return true
  })
  assert.equal(client.state, 'idle')
  assert.equal(broker.waiting, 0)
  store.failure = undefined
  const connecting = client.connect()
  await (await broker.accept()).welcome()
  await connecting
})

test('what a store yields that no client wrote rejects connect()', async (t) => {
  for (const entries of [[['x', new Uint8Array([9])]], [['x', 'text']], [[]], undefined, 7]) {
    const store = { load: async () => entries, write: async () => {} }
    const client = makeClient(t, 'ws://127.0.0.1:9', { ...kept, store })
    await assert.rejects(client.connect(), { name: 'StoreError' })
  }
  const throwing = {
    load() {
      throw new Error('at once')
    },
    write: async () => {},
  }
  const client = makeClient(t, 'ws://127.0.0.1:9', { ...kept, store: throwing })
  await assert.rejects(client.connect(), { name: 'StoreError', message: /at once/ })
})

// Contract: error: What belongs to no call: a throwing handler, a peer's protocol error, a failed store. No listener: reported to the console, never
// thrown.
test('a publish that cannot be recorded rejects, and nothing else is lost', async (t) => {
  const store = new MemoryStore()
  const { client, peer } = await begin(t, store)
  const errors = record(client, 'error')
  const first = client.publish('a', '1', { qos: 2 })
  const { id } = await peer.expect('publish')
  store.failure = Object.assign(new Error('disk full'), { code: 'ENOSPC' })
  await assert.rejects(client.publish('b', '2', { qos: 1 }), {
    name: 'StoreError',
    message: "The store did not take the message to 'b': disk full",
    cause: store.failure,
  })
  assert.deepEqual(
    errors.map(([, error]) => error.message),
    ['The store could not be written: disk full'],
  )
  peer.send({ type: 'pubrec', id })
  await sleep(50)
  assert.deepEqual(peer.pending, [])
  store.failure = undefined
  // A second later it is written again.
  await peer.expect('pubrel', { id })
  peer.send({ type: 'pubcomp', id })
  await first
  await client.drain()
  assert.equal(errors.length, 1)
})

test('a store that stalls at the end holds end() up no longer than its timeout', async (t) => {
  const store = new MemoryStore()
  const { client, peer } = await begin(t, store)
  const release = store.stall()
  client.publish('a', '1', { qos: 1 }).catch(() => {})
  await sleep(10)
  const started = performance.now()
  const ended = client.end({ timeout: 200 })
  await peer.expect('disconnect')
  await ended
  assert(performance.now() - started < 1_000)
  assert.equal(store.closed, 0)
  release()
  await settle()
  assert.equal(store.closed, 1)
  assert.equal(store.records.size, 1)
})

test('end() waits for the last write and for close()', async (t) => {
  const store = new MemoryStore()
  const { client, peer } = await begin(t, store)
  const publishing = client.publish('a', '1', { qos: 1 })
  const { id } = await peer.expect('publish')
  const release = store.stall()
  peer.send({ type: 'puback', id })
  await publishing
  setTimeout(release, 100)
  await client.end()
  assert.equal(store.records.size, 0)
  assert.equal(store.closed, 1)
})

test('a close() that fails is an error event, and end() resolves', async (t) => {
  const store = Object.assign(new MemoryStore(), {
    async close() {
      throw new Error('stuck')
    },
  })
  const { client } = await begin(t, store)
  const failed = event(client, 'error')
  await client.end()
  assert.equal((await failed)[0].message, 'The store could not be closed: stuck')
})

test('a store may call the client while it writes', async (t) => {
  const store = new MemoryStore()
  const calls = []
  const { client, peer } = await begin(t, {
    load: () => store.load(),
    write(clientId, changes) {
      if (calls.length === 0) calls.push(client.publish('again', '', { qos: 1 }))
      return store.write(clientId, changes)
    },
  })
  client.publish('a', '', { qos: 1 }).catch(() => {})
  await peer.expect('publish', { topic: 'a' })
  await peer.expect('publish', { topic: 'again' })
  calls[0].catch(() => {})
})

test('with a FileStore the next client goes on, and a second one at a time is told', async (t) => {
  const path = folder(t)
  const { client, peer } = await begin(t, new FileStore(path))
  client.publish('a', 'x'.repeat(5_000), { qos: 2 }).catch(() => {})
  await peer.expect('publish', { id: 1 })
  const second = makeClient(t, 'ws://127.0.0.1:9', { ...kept, store: new FileStore(path) })
  const told = await second.connect().catch((error) => error)
  assert.equal(told.code, 'STORE_FAILED')
  assert.match(told.message, /^The store could not be read: .*'me'.*use/)
  await second.end()
  await client.end({ force: true })
  const next = await begin(t, new FileStore(path), { sessionPresent: true })
  await next.peer.expect('publish', { id: 1, dup: true, payload: 'x'.repeat(5_000) })
})

test('keys sort in the order of the messages', async (t) => {
  const store = new MemoryStore()
  const { client, peer } = await begin(t, store)
  for (let n = 0; n < 12; n++) client.publish('a', `${n}`, { qos: 1 }).catch(() => {})
  for (let n = 0; n < 12; n++) await peer.expect('publish')
  const keys = [...store.records.keys()]
  assert.deepEqual([...keys].sort(), keys)
})
