import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Client, connect, version } from '../../pkg/node.js'
import {
  connected,
  encode,
  event,
  makeClient,
  record,
  settle,
  startBroker,
  until,
} from './scripted-broker.mjs'

// Contract: While connecting: the pending result; when connected: the current info; while waiting: tries now.
// Contract: url: without credentials. reconnect: false on the first connect
// Contract: The CONNACK properties exactly as received (MQTT 5), only those that were there.
test('connect: CONNECT, CONNACK, state and events in order', async (t) => {
  const broker = await startBroker(t)
  const client = makeClient(t, broker.url)
  const events = record(client, 'state', 'connect')
  assert.equal(client.state, 'idle')
  const pending = client.connect()
  assert.equal(client.state, 'connecting')
  const again = client.connect()
  const peer = await broker.accept()
  assert.equal(peer.request.url, '/mqtt')
  assert.equal(peer.request.headers['sec-websocket-protocol'], 'mqtt')
  const packet = await peer.expect('connect', {
    protocol: 'MQTT',
    version: 5,
    clean: true,
    keepalive: 60,
    clientId: '',
  })
  assert.equal(packet.properties.sessionExpiryInterval, 300)
  client.once('connect', () => assert.equal(client.state, 'connected'))
  peer.send({
    type: 'connack',
    properties: {
      assignedClientIdentifier: 'given',
      serverKeepAlive: 10,
      userProperties: [
        ['a', '1'],
        ['a', '2'],
      ],
    },
  })
  const info = await pending
  assert.equal(await again, info)
  assert.equal(await client.connect(), info)
  assert.deepEqual(
    events.map(([name, value]) => (name === 'state' ? value : name)),
    ['connecting', 'connected', 'connect'],
  )
  assert.equal(info.clientId, 'given')
  assert.equal(client.clientId, 'given')
  assert.equal(info.url, `${broker.url}/mqtt`)
  assert.equal(info.reconnect, false)
  assert.equal(info.sessionPresent, false)
  assert.equal(info.server.keepalive, 10)
  assert.equal(info.server.protocolVersion, 5)
  assert.equal(client.server, info.server)
  assert.deepEqual(info.properties, {
    assignedClientIdentifier: 'given',
    serverKeepAlive: 10,
    userProperties: [
      ['a', '1'],
      ['a', '2'],
    ],
  })
  assert.equal(client.connected, true)
})

// Contract: Creates a client and connects it. Resolves on the first successful CONNACK.
test('connect(): promise and callback', async (t) => {
  const broker = await startBroker(t)
  const serve = async () => (await broker.accept()).welcome()
  const [client] = await Promise.all([connect(broker.url), serve()])
  assert.ok(client instanceof Client)
  await client.end()
  /** @type {any} */
  let returned = 'nothing'
  const [error, other] = await Promise.all([
    new Promise((resolve) => {
      let late = false
      returned = connect(broker.url, undefined, (...args) => {
        assert.ok(late)
        resolve(args)
      })
      late = true
    }),
    serve(),
  ]).then(([args]) => args)
  assert.equal(returned, undefined)
  assert.equal(error, null)
  assert.equal(other.connected, true)
  await other.end()
  const untyped = /** @type {any} */ (connect)
  await assert.rejects(untyped(broker.url, {}, 5), { argument: 'callback' })
  const cause = new Error('thrown by the test')
  const reported = new Promise((resolve) => {
    connect(broker.url, {}, (error, client) => {
      client.once('error', (error) => client.end({}, () => resolve(error)))
      throw cause
    })
  })
  await serve()
  assert.equal((await reported).cause, cause)
  const failed = await new Promise((resolve) => connect('nonsense', {}, resolve))
  assert.equal(failed.argument, 'url')
})

// Contract: A failed first connect() (without reconnect.initial) leads back to idle, and connect() may be called again.
// Contract: MQTT reason code, also for 3.1.1 return codes (mapped to their MQTT 5 equivalent).
test('connect: refused by the server', async (t) => {
  const broker = await startBroker(t)
  const client = makeClient(t, broker.url)
  const [error] = await Promise.all([
    client.connect().catch((error) => error),
    broker.accept().then((peer) =>
      peer.welcome({
        reasonCode: 0x87,
        properties: { reasonString: 'not you', userProperties: [['why', 'so']] },
      }),
    ),
  ])
  assert.equal(error.name, 'ConnectError')
  assert.equal(error.code, 'CONNECTION_REFUSED')
  assert.equal(error.phase, 'mqtt')
  assert.equal(error.reasonCode, 0x87)
  assert.equal(error.reasonString, 'not you')
  assert.deepEqual(error.userProperties, [['why', 'so']])
  assert.equal(error.retryable, false)
  assert.match(error.message, /not authorized \(0x87\)/)
  assert.match(error.message, /not you/)
  assert.equal(client.state, 'idle')
  const [info] = await Promise.all([
    client.connect(),
    broker.accept().then((peer) => peer.welcome()),
  ])
  assert.equal(info.reconnect, false)
})

test('connect: nobody there', async (t) => {
  const broker = await startBroker(t)
  await broker.stop()
  const error = await connect(`${broker.url.replace('ws://', 'ws://user:secret@')}/x`).catch(
    (error) => error,
  )
  assert.equal(error.name, 'ConnectError')
  assert.equal(error.code, 'CONNECTION_FAILED')
  assert.equal(error.phase, 'transport')
  assert.equal(error.url, `${broker.url}/x`)
  assert.equal(error.retryable, true)
  assert.match(error.message, /ECONNREFUSED/)
  assert.ok(!JSON.stringify([error.message, error.stack, error.url]).includes('secret'))
})

test('connect: connectTimeout', async (t) => {
  const broker = await startBroker(t)
  const client = makeClient(t, broker.url, { connectTimeout: 50 })
  const error = await client.connect().catch((error) => error)
  assert.equal(error.code, 'CONNECTION_FAILED')
  assert.equal(client.state, 'idle')
})

test('connect: timeout and signal of the call lead back to idle', async (t) => {
  const broker = await startBroker(t)
  const client = makeClient(t, broker.url)
  const controller = new AbortController()
  const first = client.connect({ signal: controller.signal }).catch((error) => error)
  const peer = await broker.accept()
  await peer.expect('connect')
  controller.abort(new Error('enough'))
  const error = await first
  assert.equal(error.name, 'AbortError')
  assert.equal(error.code, 'ABORTED')
  assert.equal(error.cause.message, 'enough')
  await peer.closed
  assert.equal(client.state, 'idle')
  const late = await client.connect({ timeout: 30 }).catch((error) => error)
  assert.equal(late.name, 'TimeoutError')
  await settle()
  assert.equal(client.state, 'idle')
  const aborted = await client.connect({ signal: AbortSignal.abort() }).catch((error) => error)
  assert.equal(aborted.name, 'AbortError')
})

// Contract: 3.1.1: 'wasmqtt' + 16 random hex digits: 23 letters and digits, which every server must take
// Contract: 'auto' takes a 3.1.1-form refusal (20 02 00 01) of a version 5 CONNECT for what it means, and remembers the version for the next
// connects.
test('connect: falls back to 3.1.1 and remembers it', async (t) => {
  const broker = await startBroker(t)
  const client = makeClient(t, broker.url, {
    protocolVersion: 'auto',
    reconnect: { minDelay: 1, maxDelay: 1 },
  })
  const pending = client.connect()
  const first = await broker.accept()
  await first.expect('connect', { version: 5 })
  first.version = 4
  first.send({ type: 'connack', returnCode: 1 })
  const second = await broker.accept()
  const packet = await second.expect('connect', { version: 4, protocol: 'MQTT' })
  assert.match(packet.clientId, /^wasmqtt[0-9a-f]{16}$/)
  second.send({ type: 'connack' })
  const info = await pending
  assert.equal(info.server.protocolVersion, 4)
  assert.deepEqual(info.properties, {})
  assert.equal(client.clientId, packet.clientId)
  second.drop()
  const third = await broker.accept()
  await third.expect('connect', { version: 4 })
})

// Contract: A value, or a function that yields it; the function is called (and awaited) before every connection attempt.
// Contract: `user:password@` in it become username and password where those options are absent, and appear in no error, event or log.
// Contract: url: without credentials. reconnect: false on the first connect
test('credentials: from the URL, from options, from functions; never shown', async (t) => {
  const broker = await startBroker(t)
  const withUser = broker.url.replace('ws://', 'ws://us%20er:p%40ss@')
  const attempt = async (url, options, fields) => {
    const client = makeClient(t, url, options)
    const pending = client.connect()
    const peer = await broker.accept()
    await peer.expect('connect', fields)
    peer.send({ type: 'connack' })
    const info = await pending
    assert.ok(!info.url.includes('@'), info.url)
    await client.end()
  }
  await attempt(withUser, {}, { username: 'us er', password: 'p@ss' })
  await attempt(withUser, { username: 'other' }, { username: 'other', password: 'p@ss' })
  await attempt(
    [new URL(withUser)],
    { password: new TextEncoder().encode('bytes') },
    { username: 'us er', password: 'bytes' },
  )
  const contexts = []
  const seen = (value) => async (context) => (contexts.push(context), value)
  await attempt(
    seen(broker.url),
    { username: seen('u'), password: seen('p') },
    { username: 'u', password: 'p' },
  )
  assert.equal(contexts.length, 3)
  assert.equal(contexts[0].attempt, 1)
  assert.ok(contexts[0].signal instanceof AbortSignal)
})

test('a function for the URL that fails is a ConnectError with its cause', async (t) => {
  const cause = new Error('no token')
  const client = makeClient(t, () => Promise.reject(cause))
  const error = await client.connect().catch((error) => error)
  assert.equal(error.code, 'CONNECTION_FAILED')
  assert.equal(error.cause, cause)
  assert.equal(client.state, 'idle')
  const other = makeClient(t, () => 'nonsense')
  const second = await other.connect().catch((error) => error)
  assert.equal(second.code, 'CONNECTION_FAILED')
  assert.equal(second.cause.argument, 'url')
})

// Contract: The path of a ws URL is kept as written; '/mqtt' where a string has none, and where a URL object has only '/'.
test('path: as written; /mqtt where there is none', async (t) => {
  const broker = await startBroker(t)
  const paths = [
    [broker.url, '/mqtt'],
    [`${broker.url}?a=b`, '/mqtt?a=b'],
    [`${broker.url}/`, '/'],
    [`${broker.url}/a/b?c#d`, '/a/b?c'],
    [new URL(broker.url), '/mqtt'],
    [new URL(`${broker.url}/x`), '/x'],
  ]
  for (const [url, path] of paths) {
    const client = makeClient(t, url)
    client.connect().catch(() => {})
    const peer = await broker.accept()
    assert.equal(peer.request.url, path)
    await client.end({ force: true })
  }
})

// Contract: Also retry the first attempt instead of rejecting connect(). Default false.
// Contract: reconnecting: Waiting `delay` ms before attempt number `attempt`.
test('failover: goes through the list', async (t) => {
  const gone = await startBroker(t)
  await gone.stop()
  const broker = await startBroker(t)
  const client = makeClient(t, [gone.url, broker.url], {
    reconnect: { initial: true, minDelay: 1 },
  })
  const [[info]] = await Promise.all([
    event(client, 'reconnecting'),
    client.connect(),
    broker.accept().then((peer) => peer.welcome()),
  ])
  assert.equal(info.attempt, 2)
  assert.equal(info.error.code, 'CONNECTION_FAILED')
  assert.equal(client.connected, true)
})

// Contract: connect: After every successful CONNACK.
// Contract: disconnect: A connection that was up is gone.
// Contract: url: without credentials. reconnect: false on the first connect
test('reconnects: disconnect, reconnecting, connect', async (t) => {
  const { client, peer, broker } = await connected(t, { reconnect: { minDelay: 5, maxDelay: 5 } })
  const events = record(client, 'state', 'disconnect', 'reconnecting', 'connect')
  peer.drop()
  const second = await broker.accept()
  const packet = await second.welcome({ sessionPresent: true })
  assert.equal(packet.clean, false)
  await settle()
  assert.deepEqual(
    events.map(([name, value]) => (name === 'state' ? value : name)),
    ['waiting', 'disconnect', 'reconnecting', 'connecting', 'connected', 'connect'],
  )
  const [, cause, willReconnect] = events[1]
  assert.equal(cause.code, 'CONNECTION_LOST')
  assert.equal(cause.closeCode, 1006)
  assert.equal(willReconnect, true)
  assert.equal(events.at(-1)[1].reconnect, true)
  assert.equal(events.at(-1)[1].sessionPresent, true)
})

// Contract: Overrides the built-in verdict on an error; false ends the client.
test('shouldRetry decides; one that throws is reported', async (t) => {
  const asked = []
  const { client, peer } = await connected(t, {
    reconnect: { shouldRetry: (error, attempt) => (asked.push([error.code, attempt]), false) },
  })
  peer.drop()
  const [error] = await event(client, 'close')
  assert.equal(error.code, 'CONNECTION_LOST')
  assert.deepEqual(asked, [['CONNECTION_LOST', 1]])
  assert.equal(client.state, 'closed')
  const cause = new Error('oops')
  const other = await connected(t, {
    reconnect: {
      minDelay: 1,
      shouldRetry: () => {
        throw cause
      },
    },
  })
  other.peer.drop()
  const [reported] = await event(other.client, 'error')
  assert.equal(reported.code, 'HANDLER_FAILED')
  assert.equal(reported.cause, cause)
  await (await other.broker.accept()).welcome()
})

// Contract: close: For good: ended, aborted, given up or refused for good. `error` undefined after end().
test('session taken over ends the client', async (t) => {
  const { client, peer } = await connected(t)
  const events = record(client, 'disconnect', 'close')
  peer.send({ type: 'disconnect', reasonCode: 0x8e })
  await event(client, 'close')
  assert.equal(events[0][1].code, 'SERVER_DISCONNECTED')
  assert.equal(events[0][2], false)
  assert.equal(events[1][1].reasonCode, 0x8e)
  assert.match(events[1][1].message, /same clientId/)
  const error = await client.publish('a').catch((error) => error)
  assert.equal(error.code, 'CLOSED')
  assert.equal(error.cause.reasonCode, 0x8e)
})

// Contract: Drops the connection, if any, and connects again at once; in-flight messages and subscriptions stay.
test('reconnect() drops the connection and connects at once', async (t) => {
  const { client, peer, broker } = await connected(t, { reconnect: { minDelay: 60_000 } })
  client.reconnect()
  const second = await broker.accept()
  await second.welcome()
  await peer.closed
  await settle()
  assert.equal(client.connected, true)
})

test('what came behind a CONNACK is not read on the next connection', async (t) => {
  const broker = await startBroker(t)
  const client = makeClient(t, broker.url)
  const errors = record(client, 'error', 'disconnect')
  client.once('connect', () => client.reconnect())
  const connecting = client.connect()
  const first = await broker.accept()
  await first.expect('connect')
  first.send({ type: 'connack' }, { type: 'publish', topic: 'a', payload: 'old' })
  const second = await broker.accept()
  await second.welcome()
  await connecting
  await settle()
  assert.equal(client.connected, true)
  assert.deepEqual(
    errors.map(([name, { code }]) => [name, code]),
    [['disconnect', 'CONNECTION_LOST']],
  )
})

// Contract: No 'disconnect' after end().
// Contract: closed is for good; publish, subscribe and connect then reject with ClosedError.
// Contract: Idempotent: a second call gets the first one's promise.
// Contract: MQTT 5. 0x04 makes the server publish the will. Default 0.
// Contract: close: For good: ended, aborted, given up or refused for good. `error` undefined after end().
test('end: DISCONNECT, idempotent, no disconnect event', async (t) => {
  const { client, peer } = await connected(t)
  const events = record(client, 'disconnect', 'close', 'state')
  const ended = client.end({ properties: { sessionExpiryInterval: 7 }, reasonCode: 4 })
  assert.equal(client.end(), ended)
  await peer.expect('disconnect', { reasonCode: 4, properties: { sessionExpiryInterval: 7 } })
  await ended
  assert.deepEqual(
    events.map(([name, value]) => (name === 'state' ? value : name)),
    ['closing', 'closed', 'close'],
  )
  assert.equal(events[2][1], undefined)
  assert.equal(client.state, 'closed')
  assert.equal(client.end(), ended)
  for (const call of [
    client.publish('a'),
    client.subscribe('a'),
    client.connect(),
    client.drain(),
    client.unsubscribe('a'),
  ]) {
    const error = await call.catch((error) => error)
    assert.equal(error.name, 'ClosedError')
    assert.equal(error.code, 'CLOSED')
  }
  assert.throws(() => client.reconnect(), { code: 'CLOSED' })
  assert.equal(client.stats().connections, 1)
})

test('end: what is wrong is named, and ends nothing', async (t) => {
  const { client, peer } = await connected(t)
  /** @type {Record<string, any>} */
  const wrong = {
    timeout: { timeout: -1 },
    force: { force: 1 },
    reasonCode: { reasonCode: 260 },
    'reasonCode ': { reasonCode: 1.5 },
    'reasonCode  ': { reasonCode: 3 },
    'properties.reasonString': { properties: { reasonString: 5 } },
    'properties.foo': { properties: { foo: 5 } },
    signal: { signal: 5 },
    foo: { foo: 5 },
    options: 5,
  }
  for (const [argument, options] of Object.entries(wrong)) {
    await assert.rejects(client.end(options), {
      code: 'INVALID_ARGUMENT',
      argument: argument.trim(),
    })
  }
  assert.equal(client.connected, true)
  const pending = client.publish('a', 'b', { qos: 1 }).catch((error) => error)
  const controller = new AbortController()
  const ended = client.end({ timeout: Infinity, signal: controller.signal })
  await peer.expect('publish')
  controller.abort()
  await assert.rejects(ended, { name: 'AbortError' })
  assert.equal(client.state, 'closing')
  peer.drop()
  assert.equal((await pending).code, 'CLOSED')
})

// Contract: Takes no more messages (what still arrives is not delivered and not acknowledged: the server keeps it for the session), waits for
// handlers at work and for what is in flight, sends DISCONNECT, closes
// Contract: What is still pending then rejects with ClosedError.
test('end: waits for what is in flight; what is left is rejected', async (t) => {
  const { client, peer } = await connected(t)
  const pending = client.publish('a', 'b', { qos: 1 })
  const ended = client.end()
  const { id } = await peer.expect('publish')
  await settle()
  assert.equal(client.state, 'closing')
  peer.send({ type: 'puback', id })
  assert.deepEqual(await pending, { reasonCode: 0 })
  await peer.expect('disconnect')
  await ended
  const other = await connected(t)
  const lost = other.client.publish('a', 'b', { qos: 1 }).catch((error) => error)
  await other.client.end({ timeout: 30 })
  assert.equal((await lost).code, 'CLOSED')
})

// Contract: Close at once, without DISCONNECT: the server publishes the will.
test('end: force sends nothing; callback form', async (t) => {
  const { client, peer } = await connected(t)
  let calls = 0
  const returned = client.end({ force: true }, (error, result) => {
    assert.equal(error, null)
    assert.equal(result, undefined)
    calls++
  })
  assert.equal(returned, undefined)
  assert.equal(calls, 0)
  assert.equal(await peer.next(), undefined)
  await settle()
  assert.equal(calls, 1)
})

// Contract: `timeout` bounds all of it, and the peer's close frame is never waited for.
test('end: a peer that answers nothing is not waited for', async (t) => {
  const { client, peer } = await connected(t)
  peer.pause()
  const start = Date.now()
  await client.end()
  assert.ok(Date.now() - start < 500)
})

// Contract: Offline it closes at once; with CONNECT unanswered it sends DISCONNECT first, so that no will is published.
test('end: while connecting, and before', async (t) => {
  const broker = await startBroker(t)
  const client = makeClient(t, broker.url)
  const pending = client.connect().catch((error) => error)
  const peer = await broker.accept()
  await peer.expect('connect')
  await client.end()
  assert.equal((await pending).code, 'CLOSED')
  await peer.expect('disconnect')
  const idle = new Client(broker.url)
  await idle.end()
  assert.equal(idle.state, 'closed')
})

// Contract: Aborting ends the client for good, as end({ timeout: 0 }) does: with DISCONNECT, so no will is published.
// Contract: close: For good: ended, aborted, given up or refused for good. `error` undefined after end().
test('signal of the options: aborting ends with DISCONNECT', async (t) => {
  const controller = new AbortController()
  const { client, peer } = await connected(t, {
    signal: controller.signal,
    will: { topic: 'gone' },
  })
  const closed = event(client, 'close')
  controller.abort()
  await peer.expect('disconnect', { reasonCode: 0 })
  assert.deepEqual(await closed, [undefined])
  const error = await connect('ws://127.0.0.1:1', { signal: controller.signal }).catch(
    (error) => error,
  )
  assert.equal(error.name, 'AbortError')
  const idle = new Client('ws://127.0.0.1:1', { signal: controller.signal })
  await settle()
  assert.equal(idle.state, 'closed')
})

test('signal of the options: connect() in progress rejects with AbortError', async (t) => {
  const broker = await startBroker(t)
  const controller = new AbortController()
  const pending = connect(broker.url, { signal: controller.signal }).catch((error) => error)
  await (await broker.accept()).expect('connect')
  controller.abort()
  assert.equal((await pending).code, 'ABORTED')
})

test('await using ends the client', async (t) => {
  const { client, peer } = await connected(t)
  await client[Symbol.asyncDispose]()
  await peer.expect('disconnect')
  assert.equal(client.state, 'closed')
})

// Contract: User properties keep order and duplicates. A record is accepted as input; the output is always pairs.
// Contract: Last will, sent in every CONNECT. `client.will = …` changes it for the next one.
// Contract: never set by default, as for publish
test('will: in CONNECT, and changed for the next one', async (t) => {
  const will = {
    topic: 'status',
    payload: 'gone',
    qos: 1,
    retain: true,
    properties: {
      willDelayInterval: 5,
      contentType: 'text/plain',
      userProperties: { a: ['1', '2'], b: '3' },
    },
  }
  const broker = await startBroker(t)
  const client = makeClient(t, broker.url, { will, reconnect: { minDelay: 1 } })
  assert.equal(client.will, will)
  client.connect()
  const peer = await broker.accept()
  const packet = await peer.welcome()
  assert.deepEqual(packet.will, {
    ...{ topic: 'status', payload: 'gone', qos: 1, retain: true },
    properties: {
      willDelayInterval: 5,
      contentType: 'text/plain',
      userProperties: [
        ['a', '1'],
        ['a', '2'],
        ['b', '3'],
      ],
    },
  })
  assert.throws(() => (client.will = { topic: 'a/#' }), {
    code: 'INVALID_ARGUMENT',
    argument: 'will.topic',
  })
  assert.throws(() => (client.will = /** @type {any} */ ({ topic: 'a', qos: 3 })), {
    argument: 'will.qos',
  })
  client.will = { topic: 'new', payload: new Uint8Array([65]) }
  peer.drop()
  const second = await broker.accept()
  assert.deepEqual((await second.welcome()).will, {
    topic: 'new',
    payload: 'A',
    qos: 0,
    retain: false,
    properties: {},
  })
  client.will = undefined
  second.drop()
  assert.equal((await (await broker.accept()).welcome()).will, undefined)
})

// Contract: A caller's mistake (bad topic, bad option, wrong type, unknown option name) is an InvalidArgumentError that names the argument; from a
// promise-returning method it is a rejection, from a constructor a throw. Nothing is sent.
// Contract: ws:, wss: everywhere; mqtt: (tcp), mqtts: (tls) in Node, Deno and Bun.
// Contract: Validates everything, opens nothing. Publishes and subscribes before connect() are queued.
test('options: what is wrong is named', async () => {
  const url = 'ws://127.0.0.1:1'
  /** @type {Record<string, any>} */
  const wrong = {
    foo: { foo: 1 },
    keepalive: { keepalive: -1 },
    clientId: { clientId: 5 },
    'clientId ': { clientId: '\ud800' },
    protocolVersion: { protocolVersion: 3 },
    clean: { clean: 'yes' },
    connectTimeout: { connectTimeout: '1' },
    username: { username: 1 },
    password: { password: 1 },
    transport: { transport: 1 },
    signal: { signal: {} },
    reconnect: { reconnect: 1 },
    'reconnect.minDelay': { reconnect: { minDelay: -1 } },
    'reconnect.foo': { reconnect: { foo: 1 } },
    'reconnect.shouldRetry': { reconnect: { shouldRetry: 1 } },
    queue: { queue: 5 },
    'queue.maxMessages': { queue: { maxMessages: 'x' } },
    'queue.overflow': { queue: { overflow: 'burst' } },
    properties: { properties: [] },
    'properties.receiveMaximum': { properties: { receiveMaximum: 0 } },
    'properties.foo': { properties: { foo: 0 } },
    'properties.userProperties': { properties: { userProperties: [['a']] } },
    'websocket.protocols': { websocket: { protocols: 'mqtt' } },
    'websocket.headers': { websocket: { headers: 5 } },
    'websocket.foo': { websocket: { foo: 5 } },
    'tls.ca': { tls: { ca: 5 } },
    'tls.foo': { tls: { foo: 5 } },
    'will.topic': { will: { topic: 5 } },
    'will.payload': { will: { topic: 'a', payload: 5 } },
    'will.foo': { will: { topic: 'a', foo: 5 } },
    'will.properties.foo': { will: { topic: 'a', properties: { foo: 5 } } },
    'authentication.method': { authentication: { method: 5, start() {}, continue() {} } },
    'authentication.start': { authentication: { method: 'x' } },
    store: { clientId: 'a', store: 5 },
    'store.load': { clientId: 'a', store: {} },
  }
  for (const [argument, options] of Object.entries(wrong)) {
    const frozen = Object.freeze(options)
    assert.throws(
      () => new Client(url, frozen),
      {
        name: 'InvalidArgumentError',
        code: 'INVALID_ARGUMENT',
        argument: argument.trim(),
        retryable: false,
      },
      argument,
    )
    const error = await connect(url, frozen).catch((error) => error)
    assert.equal(error.argument, argument.trim())
  }
  assert.throws(() => new Client(url, /** @type {any} */ (5)), { argument: 'options' })
  /** @type {any[]} */
  const bads = [
    '',
    'nonsense',
    'http://h',
    'ws://',
    5,
    null,
    undefined,
    [],
    ['ws://h', 5],
    'ws://u:secret@h:x',
  ]
  for (const bad of bads) {
    assert.throws(
      () => new Client(bad),
      (/** @type {any} */ error) =>
        error.argument === 'url' && !error.stack.includes('secret') && error.cause === undefined,
    )
  }
  // A browser has WebSockets only.
  const web = await import('../../pkg/index.js')
  for (const scheme of ['mqtt', 'mqtts']) {
    new Client(`${scheme}://h`)
    assert.throws(() => new web.Client(`${scheme}://h`), {
      code: 'NOT_SUPPORTED',
      message: `Not supported: ${scheme}: URLs in this runtime, use ws: or wss:`,
    })
  }
  assert.equal(version.split('.').length, 3)
})

// Contract: Options objects are never mutated.
// Contract: Seconds; 0xFFFFFFFF or Infinity: never expires. Default 300 with reconnect on, so that a short cut loses nothing (end() then tells the
// server to drop the session); absent with reconnect off.
// Contract: Every optional field in this file also takes undefined (exactOptionalPropertyTypes).
test('options are not mutated, and undefined ones are absent', async (t) => {
  const freeze = (value) => {
    if (typeof value === 'object' && value !== null)
      Object.values(Object.freeze(value)).forEach(freeze)
    return value
  }
  const options = freeze({
    clientId: undefined,
    username: undefined,
    reconnect: { maxAttempts: Infinity },
    properties: { sessionExpiryInterval: Infinity, userProperties: [['a', 'b']] },
    queue: {},
    websocket: { protocols: ['mqtt'] },
  })
  const { info } = await connected(t, options)
  assert.equal(info.server.sessionExpiryInterval, 0xffffffff)
})

// Contract: WebSocket subprotocols, default ['mqtt']; headers and TLS options where the runtime can send them (not in browsers).
test('headers and subprotocols reach the server', async (t) => {
  const broker = await startBroker(t)
  const client = makeClient(t, broker.url, {
    websocket: {
      protocols: ['mqtt', 'mqttv3.1'],
      headers: async () => ({ authorization: 'token' }),
    },
  })
  client.connect().catch(() => {})
  const peer = await broker.accept()
  assert.equal(peer.request.headers.authorization, 'token')
  assert.equal(peer.request.headers['sec-websocket-protocol'], 'mqtt,mqttv3.1')
})

// Contract: Enhanced authentication (MQTT 5 AUTH), also used by client.reauthenticate().
// Contract: Initial data, also for re-authentication.
test('enhanced authentication', async (t) => {
  const broker = await startBroker(t)
  const calls = []
  const authentication = {
    method: 'TEST',
    start: (context) => (calls.push(context), Buffer.from('hello')),
    continue: async (challenge, properties) => (
      calls.push([Buffer.from(challenge).toString(), properties]), Buffer.from('answer')
    ),
  }
  const client = makeClient(t, broker.url, { authentication })
  const pending = client.connect()
  const peer = await broker.accept()
  const { properties } = await peer.expect('connect')
  assert.equal(properties.authenticationMethod, 'TEST')
  assert.equal(properties.authenticationData.toString(), 'hello')
  peer.send({
    type: 'auth',
    reasonCode: 0x18,
    properties: {
      authenticationMethod: 'TEST',
      authenticationData: Buffer.from('riddle'),
      reasonString: 'hm',
      userProperties: [['a', 'b']],
    },
  })
  assert.equal(
    (await peer.expect('auth', { reasonCode: 0x18 })).properties.authenticationData.toString(),
    'answer',
  )
  peer.send({ type: 'connack', properties: { authenticationMethod: 'TEST' } })
  await pending
  assert.deepEqual(calls, [
    { reauthentication: false },
    ['riddle', { reasonString: 'hm', userProperties: [['a', 'b']] }],
  ])
  const again = client.reauthenticate()
  assert.equal(
    (await peer.expect('auth', { reasonCode: 0x19 })).properties.authenticationData.toString(),
    'hello',
  )
  assert.deepEqual(calls.at(-1), { reauthentication: true })
  peer.send({ type: 'auth', properties: { authenticationMethod: 'TEST' } })
  await again
})

// Contract: Answer to a server challenge. Throwing or rejecting ends the attempt with AuthenticationError.
test('an Authenticator that throws: AuthenticationError with the cause', async (t) => {
  const broker = await startBroker(t)
  const cause = new Error('no key')
  const authentication = {
    method: 'X',
    start: () => undefined,
    continue: () => {
      throw cause
    },
  }
  const client = makeClient(t, broker.url, { authentication, reconnect: false })
  const pending = client.connect().catch((error) => error)
  const peer = await broker.accept()
  await peer.expect('connect')
  peer.send({ type: 'auth', reasonCode: 0x18, properties: { authenticationMethod: 'X' } })
  const error = await pending
  assert.equal(error.name, 'AuthenticationError')
  assert.equal(error.cause, cause)
})

test('a protocol error of the server ends the connection and is reported', async (t) => {
  const { client, peer, broker } = await connected(t, { reconnect: { minDelay: 1 } })
  const [cause] = await Promise.all([
    event(client, 'disconnect').then(([cause]) => cause),
    peer.send(Buffer.from([0x30, 0x01, 0x00])),
  ])
  assert.equal(cause.code, 'PROTOCOL_ERROR')
  await peer.expect('disconnect', { reasonCode: 0x81 })
  await (await broker.accept()).welcome()
})

test('packets that come in pieces, many in one, and after CONNACK in the same frame', async (t) => {
  const broker = await startBroker(t)
  const client = makeClient(t, broker.url)
  const got = []
  const pending = client.connect()
  const peer = await broker.accept()
  await peer.expect('connect')
  const publish = (n) => encode({ type: 'publish', topic: 'a', payload: `${n}` })
  peer.send({ type: 'connack' }, publish(1), publish(2))
  await pending
  client.on('message', (message) => got.push(message.text()))
  await until(() => got.length === 2)
  peer.sendPieces(
    Buffer.concat([
      publish(3),
      publish(4),
      encode({ type: 'publish', topic: 'a', payload: 'x'.repeat(300) }),
    ]),
    1,
  )
  await until(() => got.length === 5)
  assert.deepEqual(got, ['1', '2', '3', '4', 'x'.repeat(300)])
})

// Contract: 5, 4 (= 3.1.1) or 'auto': try 5 and fall back to 3.1.1 if the server refuses the version, or answers the CONNECT with a bare close or
// with 5 s of silence and has not yet accepted version 5 from this client: many 3.1.1 servers do. Default 'auto'.
test("'auto' tries 3.1.1 where a CONNECT of version 5 gets a bare close", async (t) => {
  const broker = await startBroker(t)
  const client = makeClient(t, broker.url, { protocolVersion: 'auto' })
  const connecting = client.connect()
  const first = await broker.accept()
  assert.equal((await first.expect('connect')).version, 5)
  first.drop()
  const second = await broker.accept()
  const connect = await second.welcome()
  assert.equal(connect.version, 4)
  assert.match(connect.clientId, /^wasmqtt[0-9a-f]{16}$/)
  assert.equal((await connecting).server.protocolVersion, 4)
})

// Contract: On 3.1.1 no server knows it: a larger message is skipped as it comes in, acknowledged, and reported by 'error' with its topic
test('on 3.1.1 a message above maximumPacketSize is skipped, acknowledged and reported', async (t) => {
  const options = { protocolVersion: 4, clientId: 'me', properties: { maximumPacketSize: 200_000 } }
  const { client, peer } = await connected(t, options)
  const errors = []
  client.on('error', (error) => errors.push(error))
  const received = []
  client.on('message', (message) => received.push(message.text()))
  const large = { type: 'publish', topic: 'large', qos: 1, id: 1, payload: 'x'.repeat(1_000_000) }
  peer.send(large, { type: 'publish', topic: 'a', qos: 1, id: 2, payload: 'small' })
  await peer.expect('puback', { id: 1 })
  await peer.expect('puback', { id: 2 })
  assert.deepEqual(received, ['small'])
  assert.equal(errors.length, 1)
  assert.equal(errors[0].code, 'PACKET_TOO_LARGE')
  assert.equal(errors[0].message, "Skipped a message over maximumPacketSize to 'large'")
  assert.equal(client.connected, true)
})
