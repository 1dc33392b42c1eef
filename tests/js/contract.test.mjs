// What the API promises and no other test shows. Each test quotes the contract: tests/contract.md lists its statements and their tests.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import * as wasmqtt from '../../pkg/node.js'
import { Client, connect, MqttError, ReasonCode } from '../../pkg/node.js'
import { TestBroker } from '../../pkg/testing-node.js'
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

// Contract: Every promise settles: with a result, or with an MqttError subclass, whatever the network, the broker or the caller does; at the latest
// when the client closes.
// Contract: What is still pending then rejects with ClosedError.
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

// Contract: `timeout` (ms) bounds any call, `signal` withdraws it
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

// Contract: Where an overload below has a callback `(error, result)`, the method returns undefined, creates no promise, and calls back exactly once,
// never synchronously.
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

// Contract: `state` is set first, then 'state' is emitted, then the specific event, then promises settle.
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

// Contract: Life: idle -> connecting -> connected -> (waiting -> connecting)* -> closing -> closed.
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

// Contract: Every string is checked to be well formed (isWellFormed) before it crosses into wasm: a lone surrogate is refused, never replaced.
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

// Contract: An event name that does not exist is an InvalidArgumentError.
test('an event that does not exist is a mistake of the caller', async (t) => {
  const { client } = await connected(t)
  const name = /** @type {any} */ ('offline')
  const mistake = { name: 'InvalidArgumentError', argument: 'event' }
  for (const method of ['on', 'once', 'off'])
    assert.throws(() => client[method](name, () => {}), mistake, method)
  await assert.rejects(client.once(name), mistake)
})

// Contract: The same at once, without waiting for a third time, where the server's DISCONNECT judges a packet and not the client (0x8F, 0x90, 0x95,
// 0x99, 0x9A, 0x9B, 0x9E, 0xA1, 0xA2) and only one packet can be meant.
test('a DISCONNECT with any of the codes that judge a packet fails it at once, and the client goes on', async (t) => {
  const publishes = [0x90, 0x95, 0x99, 0x9a, 0x9b].map((code) => ['publish', code, 'PublishError'])
  const subscribes = [0x8f, 0x95, 0x9e, 0xa1, 0xa2].map((code) => [
    'subscribe',
    code,
    'SubscribeError',
  ])
  for (const [type, reasonCode, name] of [...publishes, ...subscribes]) {
    const { client, peer, broker } = await connected(t, { reconnect: { minDelay: 1 } })
    const call =
      type === 'publish'
        ? client.publish('a', 'b', { qos: 1, retain: true })
        : client.subscribe('$share/g/#', () => {})
    const failed = assert.rejects(call, { name, reasonCode }, `0x${reasonCode.toString(16)}`)
    await peer.expect(type)
    const lost = event(client, 'disconnect')
    peer.send({ type: 'disconnect', reasonCode })
    await failed
    assert.equal((await lost)[1], true)
    const next = await broker.accept()
    await next.welcome({ sessionPresent: true })
    await until(() => client.connected)
    assert.ok(next.pending.every(({ type }) => type === 'pingreq'))
  }
})

// Contract: Beyond what the server offers (maximum QoS, retain, wildcards, shared subscriptions, identifiers): NotSupportedError, never a silent
// downgrade.
test('beyond what the server offers: wildcards, shared subscriptions and identifiers', async (t) => {
  const none = {
    wildcardSubscriptionAvailable: 0,
    sharedSubscriptionAvailable: 0,
    subscriptionIdentifiersAvailable: 0,
  }
  const { client, peer } = await connected(t, {}, { properties: none })
  for (const call of [
    () => client.subscribe('a/#'),
    () => client.subscribe({ b: {}, 'a/+': {} }),
    () => client.subscribe('$share/g/a'),
    () => client.subscribe('a', { subscriptionIdentifier: 5 }),
    () => client.messages('a/#').next(),
    () => client.watch('a/#').ready,
    () => client.respond('a/#', () => ''),
  ])
    await assert.rejects(call(), { name: 'NotSupportedError', code: 'NOT_SUPPORTED' })
  await settle()
  assert.deepEqual(peer.pending, [])
  assert.equal(client.subscriptions.size, 0)
})

// ------------------------------------------------------------------------------------------------ defaults

// Contract: Default: MQTT 5: empty, the id that the server assigns is kept for reconnects
// Contract: Seconds; 0 turns it off; a Server Keep Alive wins. Default 60.
// Contract: WebSocket subprotocols, default ['mqtt']; headers and TLS options where the runtime can send them (not in browsers).
// Contract: Seconds; 0xFFFFFFFF or Infinity: never expires. Default 300 with reconnect on, so that a short cut loses nothing (end() then tells the
// server to drop the session); absent with reconnect off.
// Contract: 1..65535, default 65535 (not sent). A server that oversteps it gets DISCONNECT 0x93; after the second time in a row (Mosquitto 2.0.11
// does so) the limit is left out and 'error' says so.
// Contract: bytes; sent and enforced on what comes in. Default 16 MiB; Infinity: the protocol's limit, not sent.
// Contract: aliases from the server. Default 64; 0: none, not sent
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

// Contract: On 3.1.1, MQTT 5 connect and publish properties and subscribe options are left out
// Contract: MQTT 5 CONNECT properties; ignored (not an error) on 3.1.1.
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

// Contract: 5, 4 (= 3.1.1) or 'auto': try 5 and fall back to 3.1.1 if the server refuses the version, or answers the CONNECT with a bare close or
// with 5 s of silence and has not yet accepted version 5 from this client: many 3.1.1 servers do. Default 'auto'.
// Contract: false: never reconnect. Default: on, with the defaults below.
// Contract: Also retry the first attempt instead of rejecting connect(). Default false.
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

// Contract: minDelay: ms, default 1_000. maxDelay: ms, default 30_000. factor: default 2. maxAttempts: in a row, default Infinity
// Contract: reconnecting: Waiting `delay` ms before attempt number `attempt`.
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

// Contract: maxMessages: default 10_000. maxBytes: default 64 MiB
// Contract: 'reject': the new publish rejects with QueueFullError. 'wait': publish() waits for room before it takes the message, bounded by its
// timeout and signal, in the order of the calls. Default 'reject'.
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

// Contract: Assign topic aliases automatically within the server's limit (MQTT 5). Default true.
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

// Contract: 'pause' withholds acknowledgements, so that the server's own flow control slows QoS 1 and 2 down (up to receiveMaximum more may arrive);
// QoS 0 then drops the oldest. Default 1_000, 'pause'.
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

// Contract: Default QoS 0; bounded by `limit` topics (default 10_000, the least recently changed gives way).
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

// Contract: Default 3_000 ms.
// Contract: MQTT 5. 0x04 makes the server publish the will. Default 0.
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

// Contract: Browsers' WebSocket and Node's `ws` (always used on Node, with perMessageDeflate off) satisfy it; fromMessagePort() and the tcp and tls
// transports make one.
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

// Contract: QoS 0: resolves when handed to the transport (which waits while its buffer is over 1 MiB); 1: on PUBACK; 2: on PUBCOMP.
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

// Contract: The handler is in force from the call on.
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

// Contract: `signal` ends the Subscription whenever it is aborted, as with addEventListener.
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

// Contract: `signal` ends the Subscription whenever it is aborted, as with addEventListener.
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

// Contract: code <-> class, one to one. `name` is the class name; an AbortError's name is 'AbortError', as the platform's.
// Contract: `message` is one line, shows the argument or topic, and says what to do; an unknown option names the nearest one, and the one that users
// of MQTT.js or Paho mean (reconnectPeriod: reconnect.minDelay).
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

// Contract: `instanceof` holds between 'wasmqtt', 'wasmqtt/slim' and a second copy of the package.
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

// Contract: code <-> class, one to one. `name` is the class name; an AbortError's name is 'AbortError', as the platform's.
test('errors: an AbortError is called as the one of the platform', async () => {
  const reason = new Error('enough')
  const error = await connect('ws://h', { signal: AbortSignal.abort(reason) }).catch(
    (error) => error,
  )
  assert.deepEqual([error.name, error.code, error.cause], ['AbortError', 'ABORTED', reason])
  assert.equal(AbortSignal.abort().reason.name, error.name)
})

// Contract: Whether the same call can succeed later without a change.
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

// Contract: `url` is without credentials and without the values of its query. `status`: of an HTTP answer that was no upgrade, where the runtime
// tells. `retryable` is false where a retry cannot cure it: certificate refused, HTTP 401, 403 and 404, CSP, mixed content.
test('errors: mixed content, which no retry cures', async (t) => {
  const original = globalThis.WebSocket
  t.after(() => Object.assign(globalThis, { WebSocket: original }))
  class Insecure {
    constructor() {
      throw new DOMException('The operation is insecure.', 'SecurityError')
    }
  }
  Object.assign(globalThis, { WebSocket: Insecure })
  const web = await import('../../pkg/index.js')
  await assert.rejects(web.connect('ws://example.org'), {
    code: 'CONNECTION_FAILED',
    retryable: false,
    message: /The operation is insecure/,
  })
})

// Contract: init() fails with MqttErrors only, compiles while it downloads where the server's content type allows, and takes what a bundler's asset
// import gives.
test('init() compiles while it downloads, and takes what an asset import gives', async (t) => {
  const { init, matches } = await import('../../pkg/slim.js')
  const wasm = readFileSync(new URL('../../pkg/wasmqtt.wasm', import.meta.url))
  const streaming = t.mock.method(WebAssembly, 'compileStreaming')
  const response = (type) => new Response(wasm, { headers: { 'content-type': type } })
  await init(response('application/octet-stream'))
  assert.equal(streaming.mock.callCount(), 0)
  await init(Promise.resolve(response('application/wasm')))
  assert.equal(streaming.mock.callCount(), 1)
  const url = `data:application/wasm;base64,${wasm.toString('base64')}`
  for (const given of [url, { default: url }, Promise.resolve({ default: new URL(url) })])
    await init(/** @type {any} */ (given))
  assert.equal(matches('a/+', 'a/b'), true)
})

// Contract: every name of the MQTT 5 specification, camelCase, as a literal
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

// ------------------------------------------------------------------------------------------------ the test broker

/** Clients of one test broker. */
function house(t) {
  const broker = new TestBroker()
  t.after(() => broker[Symbol.asyncDispose]())
  const join = async (clientId, options) => {
    const client = await connect('ws://broker', {
      ...{ transport: broker.transport, clientId, ...options },
    })
    t.after(() => client.end({ force: true }))
    return client
  }
  return { broker, join }
}

// Contract: A broker for tests and demos, in the same page or process: MQTT 5.0 and 3.1.1 with sessions, QoS 0 to 2, retained messages, wills, shared
// subscriptions, and faults on demand.
test('the test broker: wills and shared subscriptions, at both versions', async (t) => {
  for (const protocolVersion of /** @type {const} */ ([5, 4])) {
    const { broker, join } = house(t)
    const counts = [0, 0]
    for (const number of counts.keys()) {
      const client = await join(`worker ${number}`, { protocolVersion })
      await client.subscribe('$share/team/jobs', { qos: 1 }, () => void counts[number]++)
    }
    const watcher = await join('watcher', { protocolVersion })
    const wills = []
    await watcher.subscribe('gone', (message) => void wills.push(message.text()))
    const will = { topic: 'gone', payload: 'by accident' }
    await join('mortal', { protocolVersion, will, reconnect: false })
    for (let n = 0; n < 10; n++) await watcher.publish('jobs', `${n}`, { qos: 1 })
    broker.drop('mortal')
    await until(() => wills.length === 1 && counts[0] + counts[1] === 10)
    assert.deepEqual(wills, ['by accident'])
    assert.ok(counts[0] > 0 && counts[1] > 0, `${counts}`)
  }
})

// Contract: What clients sent and got, decoded, oldest first; bounded.
test('the test broker: packets are bounded, the oldest give way', async (t) => {
  const { broker, join } = house(t)
  const client = await join('me')
  for (let n = 0; n < 10_100; n++) client.publish('a', `${n}`)
  await client.publish('a', 'last', { qos: 1 })
  const { packets } = broker
  assert.equal(packets.length, 10_000)
  assert.ok(!packets.some(({ type }) => type === 'connect'))
  assert.equal(packets.at(-1).type, 'puback')
  const numbers = packets.map(({ number }) => number)
  assert.deepEqual(
    numbers,
    [...numbers].sort((a, b) => a - b),
  )
})
