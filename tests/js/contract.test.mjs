// What the API promises and no other test shows. Each test quotes the contract: tests/contract.md lists its statements and their tests.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as wasmqtt from '../../pkg/node.js'
import { Client, connect, MqttError, ReasonCode } from '../../pkg/node.js'
import {
  connected,
  event,
  makeClient,
  record,
  settle,
  startBroker,
  until,
} from './scripted-broker.mjs'

/** How a call ends: the code of its error, or 'done'. */
const fate = (promise) =>
  Promise.resolve(promise).then(
    () => 'done',
    (error) => (error instanceof MqttError ? error.code : error),
  )

/**
 * Every call that waits for something, with these options.
 * @param {any} options
 * @returns {Record<string, (client: Client) => Promise<unknown>>}
 */
const calls = (options) => ({
  'publish, QoS 1': (client) => client.publish('a', 'b', { qos: 1, ...options }),
  'publish, QoS 2': (client) => client.publish('a', 'b', { qos: 2, ...options }),
  subscribe: (client) => client.subscribe('a', options),
  unsubscribe: (client) => client.unsubscribe('a', options),
  'messages().next': (client) => client.messages('b', options).next(),
  request: (client) => client.request('a', 'b', options),
  respond: (client) => client.respond('c', () => '', options),
  drain: (client) => client.drain(options),
  once: async (client) => client.once('message', options),
})

/** A socket as browsers have it, which says nothing by itself. */
function quietSocket() {
  const socket = {
    binaryType: '',
    readyState: 1,
    bufferedAmount: 0,
    sent: [],
    send: (data) => void socket.sent.push(Buffer.from(data)),
    close: () => (socket.readyState = 3),
  }
  return socket
}

/** Options of a client whose server does not answer. */
const silent = () => ({ transport: () => /** @type {any} */ (quietSocket()) })

/** The CONNECT of a client with these options. */
async function connectOf(t, options) {
  const broker = await startBroker(t)
  const client = makeClient(t, broker.url, options)
  client.connect().catch(() => {})
  const peer = await broker.accept()
  const packet = await peer.expect('connect')
  await client.end({ force: true })
  return { packet, request: peer.request }
}

// ------------------------------------------------------------------------------------------------ how calls settle

test('every call that waits settles when the client closes, in every state', async (t) => {
  const idle = makeClient(t, 'ws://127.0.0.1:1')
  const { client: up } = await connected(t)
  const { client: waiting, peer } = await connected(t, { reconnect: { minDelay: 60_000 } })
  peer.drop()
  await event(waiting, 'reconnecting')
  for (const client of [idle, up, waiting]) {
    // drain() has nothing to wait for but the calls before it.
    const pending = Object.entries({
      ...calls(undefined),
      'watch().ready': (client) => client.watch('d').ready,
    }).map(async ([name, call]) => [name, await fate(call(client))])
    await settle()
    await client.end({ timeout: 10 })
    const fates = Object.fromEntries(await Promise.all(pending))
    // The end of the client is the end of a stream.
    assert.equal(fates['messages().next'], 'done')
    delete fates['messages().next']
    assert.deepEqual(new Set(Object.values(fates)), new Set(['CLOSED']), JSON.stringify(fates))
  }
})

test('`timeout` bounds every call, and `signal` withdraws it, also when it is aborted before', async (t) => {
  const { client } = await connected(t)
  for (const [options, code] of [
    [{ timeout: 5 }, 'TIMEOUT'],
    [{ timeout: 0 }, 'TIMEOUT'],
    [{ signal: AbortSignal.timeout(5) }, 'ABORTED'],
    [{ signal: AbortSignal.abort() }, 'ABORTED'],
  ])
    for (const [name, call] of Object.entries(calls(options)))
      assert.equal(await fate(call(client)), code, `${name}, ${JSON.stringify(options)}`)
  for (const [options, code] of /** @type {[any, string][]} */ ([
    [{ timeout: 5 }, 'TIMEOUT'],
    [{ signal: AbortSignal.timeout(5) }, 'ABORTED'],
  ]))
    assert.equal(await fate(makeClient(t, 'ws://broker', silent()).connect(options)), code)
})

test('callbacks: every overload returns undefined, and calls back once and later, whatever comes of it', async (t) => {
  const { client, broker } = await connected(t)
  const { client: ended } = await connected(t)
  await ended.end()
  const left = []
  const back = (name) => {
    const state = { name, isLate: false, count: 0 }
    left.push(state)
    return {
      state,
      callback: (error, result) => {
        assert.ok(state.isLate, `${name} calls back at once`)
        assert.equal(error === null || error instanceof MqttError, true)
        if (error !== null) assert.equal(result, undefined)
        if (result instanceof Client) t.after(() => result.end({ force: true }))
        state.count++
      },
    }
  }
  const make = (name, call) => {
    const { state, callback } = back(name)
    assert.equal(call(callback), undefined, name)
    state.isLate = true
  }
  for (const one of [client, ended]) {
    make('publish, short', (callback) => one.publish('a', 'b', callback))
    make('publish', (callback) => one.publish('a', 'b', { qos: 1 }, callback))
    make('subscribe', (callback) => one.subscribe('a', {}, undefined, callback))
    make('unsubscribe', (callback) => one.unsubscribe('a', {}, callback))
    make('end', (callback) => one.end({ timeout: 50 }, callback))
  }
  make('publish, wrong', (callback) => client.publish('#', 'b', callback))
  make('connect', (callback) => connect(broker.url, { protocolVersion: 5 }, callback))
  make('connect, wrong', (callback) => connect('nonsense', {}, callback))
  const second = await broker.accept()
  await second.welcome()
  await until(() => left.every(({ count }) => count > 0))
  await settle()
  assert.deepEqual(
    left.filter(({ count }) => count !== 1),
    [],
  )
})

test('state, then its event, then the specific event, then promises', async (t) => {
  /** Notes the order of everything, and that `state` is what the event says. */
  const watched = (client) => {
    const log = []
    client.on('state', (state) => {
      assert.equal(client.state, state)
      log.push(state)
    })
    for (const name of ['connect', 'disconnect', 'close']) client.on(name, () => log.push(name))
    const settles = (promise) =>
      promise.then(
        () => log.push('resolved'),
        (error) => log.push(error.code),
      )
    return { log, settles }
  }
  const broker = await startBroker(t)
  const client = makeClient(t, broker.url, { reconnect: false })
  const { log, settles } = watched(client)
  const connecting = settles(client.connect())
  const peer = await broker.accept()
  await peer.welcome()
  await connecting
  assert.deepEqual(log.splice(0), ['connecting', 'connected', 'connect', 'resolved'])
  const published = settles(client.publish('a', 'b', { qos: 1 }))
  await peer.expect('publish')
  peer.drop()
  await published
  assert.deepEqual(log, ['closed', 'disconnect', 'close', 'CLOSED'])

  const { client: ending } = await connected(t)
  const end = watched(ending)
  const ended = end.settles(ending.end())
  assert.deepEqual(end.log, ['closing'], 'it shows at once')
  assert.equal(ending.connected, false)
  await ended
  assert.deepEqual(end.log, ['closing', 'closed', 'close', 'resolved'])

  for (const [options, code] of /** @type {[(controller: AbortController) => any, string][]} */ ([
    [() => ({ timeout: 20 }), 'TIMEOUT'],
    [({ signal }) => ({ signal }), 'ABORTED'],
  ])) {
    const client = makeClient(t, 'ws://broker', silent())
    const { log, settles } = watched(client)
    const controller = new AbortController()
    const failed = settles(client.connect(options(controller)))
    await settle(5)
    controller.abort()
    await failed
    assert.deepEqual(log, ['connecting', 'idle', code])
  }

  const controller = new AbortController()
  const aborted = makeClient(t, 'ws://broker', { ...silent(), signal: controller.signal })
  const abort = watched(aborted)
  const failed = abort.settles(aborted.connect())
  await settle(5)
  controller.abort()
  await failed
  assert.deepEqual(abort.log, ['connecting', 'closing', 'closed', 'close', 'ABORTED'])
})

test('a whole life, with every state', async (t) => {
  const broker = await startBroker(t)
  const client = makeClient(t, broker.url, { reconnect: { minDelay: 1, maxDelay: 1 } })
  const states = [client.state]
  client.on('state', (state) => states.push(state))
  client.connect()
  const first = await broker.accept()
  await first.welcome()
  await until(() => client.connected)
  first.drop()
  const second = await broker.accept()
  await second.welcome({ sessionPresent: true })
  await until(() => client.connected)
  await client.end()
  assert.equal(
    states.join(),
    'idle,connecting,connected,waiting,connecting,connected,closing,closed',
  )
})

test('a lone surrogate is refused wherever a string is given', async (t) => {
  const { client, peer } = await connected(t)
  const lone = 'a\ud800'
  const make = (options) => async () => new Client('ws://h', options)
  const properties = (name, value) => () =>
    client.publish('a', 'b', { properties: { [name]: value } })
  for (const [argument, call] of /** @type {[string, () => any][]} */ ([
    ['url', async () => new Client(`ws://${lone}`)],
    ['clientId', make({ clientId: lone })],
    ['username', make({ username: lone })],
    ['password', make({ password: lone })],
    ['will.topic', make({ will: { topic: lone } })],
    ['will.payload', make({ will: { topic: 'a', payload: lone } })],
    [
      'will.properties.contentType',
      make({ will: { topic: 'a', properties: { contentType: lone } } }),
    ],
    ['presence.topic', make({ presence: { topic: lone } })],
    ['presence.online', make({ presence: { topic: 'a', online: lone } })],
    ['properties.userProperties', make({ properties: { userProperties: { [lone]: 'a' } } })],
    ['websocket.protocols', make({ websocket: { protocols: [lone] } })],
    ['websocket.headers.a', make({ websocket: { headers: { a: lone } } })],
    ['authentication.method', make({ authentication: { method: lone } })],
    ['topic', () => client.publish(lone)],
    ['payload', () => client.publish('a', lone)],
    ['properties.contentType', properties('contentType', lone)],
    ['properties.responseTopic', properties('responseTopic', lone)],
    ['properties.userProperties', properties('userProperties', [['a', lone]])],
    ['filter', () => client.subscribe(lone)],
    ['filter', () => client.subscribe({ [lone]: {} })],
    ['userProperties', () => client.subscribe('a', { userProperties: { a: [lone] } })],
    ['filter', () => client.unsubscribe(lone)],
    ['filter', () => client.messages(lone).next()],
    ['filter', () => client.watch(lone).ready],
    ['topic', () => client.request(lone)],
    ['payload', () => client.request('a', lone)],
    ['filter', () => client.respond(lone, () => '')],
    ['properties.reasonString', () => client.end({ properties: { reasonString: lone } })],
    ['topic', async () => wasmqtt.matches('a', lone)],
    ['filter', async () => wasmqtt.matches(lone, 'a')],
  ])) {
    const failed = assert.rejects(call(), { name: 'InvalidArgumentError', argument }, argument)
    await failed
  }
  assert.deepEqual(peer.pending, [])
  // What a function yields is checked, too.
  const late = makeClient(t, 'ws://127.0.0.1:1', { username: () => lone })
  await assert.rejects(late.connect(), (/** @type {any} */ { code, cause }) => {
    assert.deepEqual([code, cause.argument], ['CONNECTION_FAILED', 'username'])
    return true
  })
})

test('an event that does not exist is a mistake of the caller', async (t) => {
  const { client } = await connected(t)
  const name = /** @type {any} */ ('offline')
  const mistake = { name: 'InvalidArgumentError', argument: 'event' }
  for (const method of ['on', 'once', 'off'])
    assert.throws(() => client[method](name, () => {}), mistake, method)
  await assert.rejects(client.once(name), mistake)
})

// ------------------------------------------------------------------------------------------------ defaults

test('defaults: what CONNECT holds, and what it does not', async (t) => {
  const { packet, request } = await connectOf(t, {})
  assert.deepEqual(packet, {
    ...{ type: 'connect', protocol: 'MQTT', version: 5, clean: true, keepalive: 60, clientId: '' },
    properties: {
      sessionExpiryInterval: 300,
      maximumPacketSize: 16 * 1024 * 1024,
      topicAliasMaximum: 64,
    },
  })
  assert.equal(request.headers['sec-websocket-protocol'], 'mqtt')
  const once = await connectOf(t, { reconnect: false })
  assert.equal(once.packet.properties.sessionExpiryInterval, undefined)
  const unlimited = await connectOf(t, {
    properties: { maximumPacketSize: Infinity, topicAliasMaximum: 0, receiveMaximum: 65_535 },
  })
  assert.deepEqual(unlimited.packet.properties, { sessionExpiryInterval: 300 })
})

test('on 3.1.1 CONNECT has none of the properties, and nothing is refused for them', async (t) => {
  const { packet } = await connectOf(t, {
    protocolVersion: 4,
    clientId: 'me',
    properties: { sessionExpiryInterval: 5, receiveMaximum: 3, userProperties: { a: 'b' } },
    will: { topic: 'w', payload: 'x', properties: { willDelayInterval: 5, contentType: 'x' } },
    authentication: { method: 'X', start: () => undefined, continue: () => undefined },
  })
  assert.deepEqual(packet, {
    ...{ type: 'connect', protocol: 'MQTT', version: 4, clean: true, keepalive: 60 },
    ...{ clientId: 'me', properties: {} },
    will: { topic: 'w', payload: 'x', qos: 0, retain: false, properties: {} },
  })
})

test("defaults: version 'auto', a reconnect that goes on, no retry of the first attempt", async (t) => {
  const broker = await startBroker(t)
  const client = new Client(broker.url)
  t.after(() => client.end({ force: true }))
  const connecting = client.connect()
  const first = await broker.accept()
  await first.expect('connect', { version: 5 })
  first.send({ type: 'connack', reasonCode: 0x84 })
  const second = await broker.accept()
  await second.expect('connect', { version: 4 })
  second.send({ type: 'connack' })
  await connecting
  second.drop()
  assert.equal((await event(client, 'disconnect'))[1], true)
  const never = new Client('ws://127.0.0.1:1')
  await assert.rejects(never.connect(), { code: 'CONNECTION_FAILED' })
  assert.equal(never.state, 'idle')
})

test('defaults: delays from 1 to 30 seconds, twice as long each time, without end', async (t) => {
  const { client, broker } = await connected(t, { reconnect: { jitter: 0 } })
  const waits = record(client, 'reconnecting')
  await broker.stop()
  for (let attempt = 1; attempt <= 9; attempt++) {
    await until(() => waits.length === attempt)
    assert.equal(waits[attempt - 1][1].attempt, attempt)
    // Instead of the wait.
    client.connect().catch(() => {})
  }
  assert.deepEqual(
    waits.map(([, { delay }]) => delay / 1_000),
    [1, 2, 4, 8, 16, 30, 30, 30, 30],
  )
})

test('defaults: a queue of 10,000 messages and 64 MiB that refuses what is too much', async (t) => {
  const many = makeClient(t, 'ws://127.0.0.1:1')
  for (let n = 0; n < 10_000; n++) many.publish('a', 'b', n % 2 ? { qos: 1 } : {}, () => {})
  await assert.rejects(many.publish('a', 'b'), { name: 'QueueFullError' })
  assert.equal(many.stats().queuedMessages, 10_000)
  const large = makeClient(t, 'ws://127.0.0.1:1')
  const payload = new Uint8Array(1024 * 1024 - 1_000)
  for (let n = 0; n < 64; n++) large.publish('a', payload, () => {})
  await assert.rejects(large.publish('a', payload), { name: 'QueueFullError' })
  const { queuedMessages, queuedBytes } = large.stats()
  assert.equal(queuedMessages, 64)
  assert.ok(queuedBytes <= 64 * 1024 * 1024, `${queuedBytes} bytes`)
})

test('defaults: topics become aliases, within the limit of the server', async (t) => {
  const connack = { properties: { topicAliasMaximum: 2 } }
  const { client, peer } = await connected(t, {}, connack)
  for (let n = 0; n < 30; n++) client.publish(`topic/${n % 3}`, 'x')
  const aliases = new Set()
  for (let n = 0; n < 30; n++)
    aliases.add((await peer.expect('publish')).properties.topicAlias ?? 'none')
  assert.ok(aliases.has(1) && aliases.has(2), [...aliases].join())
  assert.deepEqual(
    [...aliases].filter((alias) => alias > 2),
    [],
  )
})

test("defaults: a stream holds 1,000 messages, and 'pause'", async (t) => {
  const { client, peer } = await connected(t)
  const stream = client.messages('a', { qos: 1 })
  const first = stream.next()
  await peer.grant()
  const send = (count, qos) =>
    peer.send(
      ...Array.from({ length: count }, (_, n) => ({
        ...{ type: 'publish', topic: 'a', payload: `${n}`, qos, id: n + 1 },
      })),
    )
  send(1_011, 0)
  await first
  await until(() => client.stats().messagesReceived === 1_011)
  assert.equal(stream.dropped, 10)
  send(20, 1)
  await until(() => client.stats().messagesReceived === 1_031)
  await settle()
  assert.equal(stream.dropped, 10, 'QoS 1 waits without acknowledgements')
  assert.deepEqual(peer.pending, [])
})

test('defaults: a watch holds 10,000 topics', async (t) => {
  const { client, peer } = await connected(t)
  const watch = client.watch('#')
  const { filters } = await peer.grant()
  assert.equal(filters[0].options & 3, 0)
  await watch.ready
  for (let n = 0; n < 10_010; n += 1_001)
    peer.send(
      ...Array.from({ length: 1_001 }, (_, k) => ({
        ...{ type: 'publish', topic: `t/${n + k}`, payload: 'x' },
      })),
    )
  await until(() => watch.has('t/10009'))
  assert.equal(watch.size, 10_000)
  assert.equal(watch.has('t/0'), false)
})

test('defaults: end() waits 3 seconds for what is in flight', async (t) => {
  const { client, peer } = await connected(t)
  const lost = client.publish('a', 'b', { qos: 1 }).catch((error) => error.code)
  const began = performance.now()
  await client.end()
  const took = performance.now() - began
  assert.ok(took > 2_900 && took < 20_000, `${took} ms`)
  assert.equal(await lost, 'CLOSED')
  await peer.expect('publish')
  await peer.expect('disconnect', { reasonCode: 0 })
})

// ------------------------------------------------------------------------------------------------ connections

test('on Node the WebSocket is that of the package, and compresses nothing', async (t) => {
  const original = globalThis.WebSocket
  t.after(() => Object.assign(globalThis, { WebSocket: original }))
  class Forbidden {
    constructor() {
      assert.fail('the WebSocket of the runtime is not used')
    }
  }
  Object.assign(globalThis, { WebSocket: Forbidden })
  const { request } = await connectOf(t, {})
  assert.equal(request.headers['sec-websocket-extensions'], undefined)
})

test('QoS 0 waits for a transport whose buffer holds more than 1 MiB', async (t) => {
  const socket = quietSocket()
  const transport = () => /** @type {any} */ (socket)
  const client = makeClient(t, 'ws://broker', { transport, keepalive: 0 })
  const connecting = client.connect()
  await until(() => socket.sent.length > 0)
  socket.onmessage({ data: Uint8Array.of(0x20, 3, 0, 0, 0) })
  await connecting
  socket.bufferedAmount = 1024 * 1024
  await client.publish('a', 'there is room')
  socket.bufferedAmount++
  // That is found out with the next packet.
  await client.publish('a', 'x')
  let isDone = false
  client.publish('a', 'waits').then(() => (isDone = true))
  const leaves = (text) => Buffer.concat(socket.sent).includes(text)
  await settle(50)
  assert.deepEqual([isDone, leaves('there is room'), leaves('waits')], [false, true, false])
  socket.bufferedAmount = 0
  await until(() => isDone)
  assert.equal(leaves('waits'), true)
})

// ------------------------------------------------------------------------------------------------ subscriptions

test('a handler gets what comes before the SUBACK', async (t) => {
  const { client, peer } = await connected(t)
  const got = []
  const subscribing = client.subscribe('a', (message) => void got.push(message.text()))
  const { id, properties } = await peer.expect('subscribe')
  peer.send({ type: 'publish', topic: 'a', payload: 'early', properties })
  await until(() => got.length === 1)
  peer.send({ type: 'suback', id, codes: [0] })
  assert.equal((await subscribing).active, true)
  assert.deepEqual(got, ['early'])
})

test('a signal ends its Subscription, whenever it is aborted', async (t) => {
  const { client, peer } = await connected(t)
  const controller = new AbortController()
  const { signal } = controller
  const listeners = t.mock.method(signal, 'removeEventListener')
  const got = []
  const add = async (call) => {
    const [subscription] = await Promise.all([call, peer.grant()])
    return subscription
  }
  const one = await add(client.subscribe('a', { signal }, (message) => void got.push(message)))
  const two = await add(client.respond('b', () => '', { signal }))
  const three = await add(client.subscribe('c', { signal }))
  const left = three.unsubscribe()
  await peer.release({ filters: ['c'] })
  await left
  controller.abort()
  assert.deepEqual([one.active, two.active], [false, false])
  assert.equal(client.subscriptions.size, 0)
  peer.send({ type: 'publish', topic: 'a' })
  const released = [await peer.release(), await peer.release()].flatMap(({ filters }) => filters)
  assert.deepEqual(released, ['a', 'b'])
  await settle()
  assert.deepEqual(got, [])
  // Nothing listens to the signal any more: two listeners for each call, and one of them until its Subscription ends.
  assert.equal(listeners.mock.callCount(), 6)
  assert.deepEqual(peer.pending, [])
})

test('a signal that is aborted while there is no connection, and an UNSUBSCRIBE that is refused', async (t) => {
  const { client, peer, broker } = await connected(t, { reconnect: { minDelay: 1 } })
  const errors = record(client, 'error')
  const [first, second] = [new AbortController(), new AbortController()]
  const one = client.subscribe('a', { signal: first.signal })
  await peer.grant()
  const two = client.subscribe('b', { signal: second.signal })
  await peer.grant()
  await Promise.all([one, two])
  second.abort()
  const { id } = await peer.expect('unsubscribe', { filters: ['b'] })
  peer.send({ type: 'unsuback', id, codes: [0x87] })
  await until(() => errors.length === 1)
  assert.equal(errors[0][1].code, 'UNSUBSCRIBE_REFUSED')
  peer.drop()
  await event(client, 'disconnect')
  first.abort()
  assert.equal((await one).active, false)
  const next = await broker.accept()
  await next.welcome({ sessionPresent: true })
  await next.release({ filters: ['a'] })
  const { client: ended, peer: other } = await connected(t)
  const last = ended.subscribe('a', { signal: new AbortController().signal })
  await other.grant()
  await last
  await ended.end()
  await settle()
  assert.equal(errors.length, 1)
})

// ------------------------------------------------------------------------------------------------ errors and helpers

/** The code of every class of errors. ConnectError has two. */
const CLASSES = {
  InvalidArgumentError: ['INVALID_ARGUMENT'],
  ConnectError: ['CONNECTION_FAILED', 'CONNECTION_REFUSED'],
  ConnectionLostError: ['CONNECTION_LOST'],
  SessionLostError: ['SESSION_LOST'],
  ServerDisconnectedError: ['SERVER_DISCONNECTED'],
  KeepaliveTimeoutError: ['KEEPALIVE_TIMEOUT'],
  ProtocolError: ['PROTOCOL_ERROR'],
  AuthenticationError: ['AUTHENTICATION_FAILED'],
  PublishError: ['PUBLISH_REFUSED'],
  SubscribeError: ['SUBSCRIBE_REFUSED'],
  UnsubscribeError: ['UNSUBSCRIBE_REFUSED'],
  PacketTooLargeError: ['PACKET_TOO_LARGE'],
  NotSupportedError: ['NOT_SUPPORTED'],
  QueueFullError: ['QUEUE_FULL'],
  ExpiredError: ['EXPIRED'],
  TimeoutError: ['TIMEOUT'],
  AbortError: ['ABORTED'],
  ClosedError: ['CLOSED'],
  HandlerError: ['HANDLER_FAILED'],
  StoreError: ['STORE_FAILED'],
  InternalError: ['INTERNAL'],
}

test('errors: a class for each code, by its name, and fields that are there', async () => {
  const exported = Object.keys(wasmqtt).filter(
    (name) => /Error$/.test(name) && name !== 'MqttError',
  )
  assert.deepEqual(exported.sort(), Object.keys(CLASSES).sort())
  const classes = new Map(Object.entries(wasmqtt))
  for (const [name, codes] of Object.entries(CLASSES))
    for (const code of codes) {
      const error = new /** @type {any} */ (classes.get(name))({
        code,
        what: 'it happened\nin two lines',
      })
      assert.equal(error.name, name)
      assert.ok(error instanceof MqttError && error instanceof Error)
      assert.equal(error.code, code)
      assert.ok(!/[\r\n]/.test(error.message), error.message)
      assert.equal(error.retryable, false)
      for (const field of ['reasonCode', 'reasonString', 'userProperties', 'serverReference'])
        assert.ok(field in error && error[field] === undefined, field)
    }
})

test('errors: instanceof holds between the entries, and a second copy of the package', async () => {
  const [mistake, failure] = await Promise.all(
    ['nonsense', 'ws://127.0.0.1:1'].map((url) => connect(url).catch((error) => error)),
  )
  const copy = /** @type {string} */ ('../../pkg/index.js?copy')
  const entries = await Promise.all([
    import('../../pkg/slim.js'),
    import('../../pkg/slim-node.js'),
    import('../../pkg/index.js'),
    import(copy),
  ])
  for (const entry of entries) {
    assert.ok(mistake instanceof entry.MqttError && failure instanceof entry.MqttError)
    assert.ok(mistake instanceof entry.InvalidArgumentError)
    assert.ok(failure instanceof entry.ConnectError)
    assert.ok(!(mistake instanceof entry.ConnectError))
    class Own extends entry.MqttError {}
    for (const other of [mistake, new Error('other'), { code: 'CLOSED' }, null, 'text'])
      assert.ok(!(/** @type {any} */ (other instanceof Own)))
    for (const other of [new Error('other'), { code: 'INVALID_ARGUMENT' }, undefined, null, 5])
      assert.ok(!(/** @type {any} */ (other instanceof entry.InvalidArgumentError)))
  }
})

test('errors: an AbortError is called as the one of the platform', async () => {
  const reason = new Error('enough')
  const error = await connect('ws://h', { signal: AbortSignal.abort(reason) }).catch(
    (error) => error,
  )
  assert.deepEqual([error.name, error.code, error.cause], ['AbortError', 'ABORTED', reason])
  assert.equal(AbortSignal.abort().reason.name, error.name)
})

test('errors: retryable says whether the same call can succeed later', async (t) => {
  const { client, peer } = await connected(t)
  const codes = [
    [0x80, true],
    [0x87, false],
    [0x90, false],
    [0x97, true],
    [0x99, false],
  ]
  for (const [reasonCode, retryable] of codes) {
    const refused = client.publish('a', 'b', { qos: 1 }).catch((error) => error)
    peer.send({ type: 'puback', id: (await peer.expect('publish')).id, reasonCode })
    const error = await refused
    assert.deepEqual([error.reasonCode, error.retryable], [reasonCode, retryable])
  }
  const late = await client.publish('a', 'b', { qos: 1, timeout: 1 }).catch((error) => error)
  assert.equal(late.retryable, true)
  const wrong = await client.publish('#').catch((error) => error)
  assert.equal(wrong.retryable, false)
})

test('ReasonCode has every name of the specification', () => {
  // MQTT 5.0, section 2.4.
  const names = `
    00 Success, 00 Normal disconnection, 00 Granted QoS 0, 01 Granted QoS 1, 02 Granted QoS 2, 04 Disconnect with Will Message,
    10 No matching subscribers, 11 No subscription existed, 18 Continue authentication, 19 Re-authenticate, 80 Unspecified error,
    81 Malformed Packet, 82 Protocol Error, 83 Implementation specific error, 84 Unsupported Protocol Version,
    85 Client Identifier not valid, 86 Bad User Name or Password, 87 Not authorized, 88 Server unavailable, 89 Server busy, 8A Banned,
    8B Server shutting down, 8C Bad authentication method, 8D Keep Alive timeout, 8E Session taken over, 8F Topic Filter invalid,
    90 Topic Name invalid, 91 Packet Identifier in use, 92 Packet Identifier not found, 93 Receive Maximum exceeded,
    94 Topic Alias invalid, 95 Packet too large, 96 Message rate too high, 97 Quota exceeded, 98 Administrative action,
    99 Payload format invalid, 9A Retain not supported, 9B QoS not supported, 9C Use another server, 9D Server moved,
    9E Shared Subscriptions not supported, 9F Connection rate exceeded, A0 Maximum connect time,
    A1 Subscription Identifiers not supported, A2 Wildcard Subscriptions not supported`
  const expected = names.split(',').map((entry) => {
    const [code, ...words] = entry.trim().split(/[ -]/)
    const [first, ...rest] = words.map((word) => (word === 'QoS' ? word : word.toLowerCase()))
    const name =
      first.replace('QoS', 'qos') +
      rest.map((word) => word[0].toUpperCase() + word.slice(1)).join('')
    return [name, Number.parseInt(code, 16)]
  })
  assert.deepEqual(ReasonCode, Object.fromEntries(expected))
})
