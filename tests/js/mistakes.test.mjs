// Mistakes and failures, and what the user reads about them.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { Client, connect } from '../../pkg/node.js'
import { portOf } from '../../scripts/tools.mjs'
import { connected, makeClient, record, startBroker, until } from './scripted-broker.mjs'

const client = new Client('ws://127.0.0.1:1')
/** Options that a user gets wrong, whatever the types say. @type {(given: any) => any} */
const wrong = (options) => options
class Settings {
  get keepalive() {
    return 70_000
  }
}
class Publish {
  get qos() {
    return 7
  }
}
const WHAT_A_URL_IS = 'must be a string or a URL, as wss://example.org/mqtt, not'
const SCHEMES = 'must begin with mqtt:, mqtts:, ws:, wss: or unix:, not'
const EVENTS = 'connect, disconnect, reconnecting, message, error, close, state, packet'

/**
 * What callers get wrong, and what they read: the whole message.
 * @type {[mistake: string, make: () => any, message: string][]}
 */
const table = [
  // The URL
  [
    "connect('localhost')",
    () => connect('localhost'),
    'Invalid argument url: is not an absolute URL, as wss://example.org/mqtt',
  ],
  [
    "connect('localhost:9001')",
    () => connect('localhost:9001'),
    `Invalid argument url: ${SCHEMES} localhost:`,
  ],
  ["connect('http://a')", () => connect('http://a'), `Invalid argument url: ${SCHEMES} http:`],
  [
    'connect({ host, port })',
    () => connect(wrong({ host: 'a', port: 1 })),
    `Invalid argument url: ${WHAT_A_URL_IS} object`,
  ],
  [
    'connect()',
    () => connect(wrong(undefined)),
    `Invalid argument url: ${WHAT_A_URL_IS} undefined`,
  ],
  [
    "connect('ws://localhost:99999')",
    () => connect('ws://localhost:99999'),
    'Invalid argument url: has a host or a port that is not valid',
  ],
  [
    'connect(url, callback)',
    () =>
      connect(
        'ws://a',
        wrong(() => {}),
      ),
    'Invalid argument options: must be an object, not function: a callback comes last',
  ],
  // Options that do not exist
  ...[
    ['keepAlive', 'keepalive'],
    ['clientID', 'clientId'],
    ['reconnectPeriod', 'reconnect.minDelay'],
    ['cleanSession', 'clean'],
    ['mqttVersion', 'protocolVersion'],
    ['userName', 'username'],
    ['wsOptions', 'websocket'],
    ['queueQoSZero', 'queue.qos0'],
    ['willMessage', 'will'],
    ['useSSL', 'url'],
    ['port', 'url'],
    ['rejectUnauthorized', 'tls.rejectUnauthorized'],
    ['ca', 'tls.ca'],
    ['headers', 'websocket.headers'],
    ['sessionExpiryInterval', 'properties.sessionExpiryInterval'],
  ].map(([name, meant]) => unknown(name, meant, () => connect('ws://a', wrong({ [name]: 1 })))),
  ...[
    ['reconnect', 'mindelay', 'minDelay'],
    ['queue', 'maxMessage', 'maxMessages'],
    ['properties', 'receiveMax', 'receiveMaximum'],
    ['properties', 'foo', undefined],
    ['properties', 'recieveMaximum', 'receiveMaximum'],
    ['websocket', 'protocol', 'protocols'],
    ['tls', 'serverName', 'servername'],
    ['will', 'topics', 'topic'],
  ].map(([group, name, meant]) =>
    unknown(`${group}.${name}`, meant && `${group}.${meant}`, () =>
      connect('ws://a', { [group]: { [name]: 1 } }),
    ),
  ),
  unknown('will.properties.willDelay', 'will.properties.willDelayInterval', () =>
    connect('ws://a', { will: { topic: 'a', properties: wrong({ willDelay: 1 }) } }),
  ),
  unknown('Qos', 'qos', () => client.publish('a', 'b', wrong({ Qos: 1 }))),
  unknown('properties.contenttype', 'properties.contentType', () =>
    client.publish('a', 'b', { properties: wrong({ contenttype: 'a' }) }),
  ),
  unknown('rap', 'retainAsPublished', () => client.subscribe('a', wrong({ rap: true }))),
  unknown('nl', 'noLocal', () => client.subscribe({ a: wrong({ nl: true }) })),
  unknown('retained', 'retain', () => client.publish('a', 'b', wrong({ retained: true }))),
  // Values
  [
    "keepalive: '60'",
    () => connect('ws://a', wrong({ keepalive: '60' })),
    "Invalid argument keepalive '60': must be a whole number from 0 to 65535",
  ],
  [
    'a getter of a class, wrong',
    () => connect('ws://a', new Settings()),
    'Invalid argument keepalive 70000: must be a whole number from 0 to 65535',
  ],
  [
    "reconnect: 'never'",
    () => connect('ws://a', wrong({ reconnect: 'never' })),
    "Invalid argument reconnect 'never': must be true, false or an object",
  ],
  [
    'a getter of a class, wrong, of a publish',
    () => client.publish('a', 'b', wrong(new Publish())),
    'Invalid argument qos: must be one of 0, 1, 2, not 7',
  ],
  // Topics, filters and payloads
  ...[
    ['42', 42, 'number: try JSON.stringify'],
    ['{}', {}, 'object: try JSON.stringify'],
    ['[]', [], 'array: try JSON.stringify'],
    ['a Date', new Date(), 'date: try JSON.stringify'],
    ['a promise', Promise.resolve('a'), 'promise: await it'],
  ].map(
    ([title, payload, message]) =>
      /** @type {[string, () => any, string]} */ ([
        `publish('a', ${title})`,
        () => client.publish('a', wrong(/** @type {any} */ (payload))),
        `Invalid argument payload: must be a string, an ArrayBuffer or a view of one, not ${message}`,
      ]),
  ),
  [
    "publish('a/#')",
    () => client.publish('a/#'),
    "Invalid argument topic 'a/#': must not contain the wildcards + and #",
  ],
  ["publish('')", () => client.publish(''), "Invalid argument topic '': must not be empty"],
  [
    "subscribe('a#')",
    () => client.subscribe('a#'),
    "Invalid argument filter 'a#': must have + and # only as whole levels, and # only as the last",
  ],
  // Events, handlers, and how they are called
  [
    "on('mesage')",
    async () => client.on(wrong('mesage'), () => {}),
    `Invalid argument event: must be one of ${EVENTS}, not 'mesage'`,
  ],
  [
    "off('offline')",
    async () => client.off(wrong('offline'), () => {}),
    `Invalid argument event: must be one of ${EVENTS}, not 'offline'`,
  ],
  [
    "once('offline')",
    () => client.once(wrong('offline')),
    `Invalid argument event: must be one of ${EVENTS}, not 'offline'`,
  ],
  [
    "subscribe('a', {}, {})",
    () => client.subscribe('a', {}, wrong({})),
    'Invalid argument handler: must be a function, not object',
  ],
  [
    'for await (… of client.subscribe())',
    async () => {
      for await (const _ of wrong(client.subscribe('a')));
    },
    'Invalid argument iterable: is the promise of a call: iterate over client.messages()',
  ],
]

/** An option that does not exist, and what was meant. @returns {[string, () => any, string]} */
function unknown(name, meant, make) {
  const hint = meant === undefined ? '' : ` Did you mean '${meant}'?`
  return [name, make, `Unknown option '${name}'.${hint}`]
}

for (const [mistake, make, message] of table) {
  // Contract: `message` is one line, shows the argument or topic, and says what to do; an unknown option names the nearest one, and the one that
  // users of MQTT.js or Paho mean (reconnectPeriod: reconnect.minDelay).
  test(`mistake: ${mistake}`, async () => {
    await assert.rejects(
      async () => make(),
      (/** @type {any} */ error) => {
        assert.equal(error.message, message)
        assert.equal(error.code, 'INVALID_ARGUMENT')
        assert.equal(error.retryable, false)
        return true
      },
    )
  })
}

/** A server that answers every request with this status. */
async function startWeb(t, status) {
  const server = createServer((_, response) => response.writeHead(status).end())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return portOf(server)
}

/** What a first connection reads. */
const failure = (url, options) =>
  connect(url, { reconnect: false, ...options }).then(
    () => assert.fail('it connected'),
    (error) => error,
  )

test('mistake: no server', async () => {
  const { message, retryable } = await failure('ws://127.0.0.1:7')
  assert.equal(
    message,
    'Cannot connect to ws://127.0.0.1:7/mqtt: nothing listens at 127.0.0.1:7 (ECONNREFUSED): check that the server is running, and the port',
  )
  assert.equal(retryable, true)
})

test('mistake: a web server', async (t) => {
  const port = await startWeb(t, 200)
  const { message, status } = await failure(`ws://127.0.0.1:${port}`)
  assert.equal(
    message,
    `Cannot connect to ws://127.0.0.1:${port}/mqtt: the server answered HTTP 200 (OK): this is a web server, no WebSocket: check the port and the path '/mqtt'`,
  )
  assert.equal(status, 200)
})

test('mistake: a wrong password', async (t) => {
  const broker = await startBroker(t)
  const refused = failure(broker.url, { protocolVersion: 5, password: 'secret' })
  const peer = await broker.accept()
  await peer.welcome({ reasonCode: 0x87 })
  const { message, code } = await refused
  assert.equal(
    message,
    `The server refused the connection (${broker.url}/mqtt): not authorized (0x87), check the credentials and what the server lets them do`,
  )
  assert.equal(code, 'CONNECTION_REFUSED')
})

test('mistake: connect() is never called', async () => {
  const idle = new Client('ws://127.0.0.1:1')
  await assert.rejects(idle.publish('a', 'b', { qos: 1, timeout: 5 }), {
    code: 'TIMEOUT',
    message: 'No answer within 5 ms, the client is idle: call connect()',
  })
})

// Contract: A function in second or third place is the handler; a callback is only the fourth.
test('mistake: a callback in the place of the handler', async (t) => {
  const { client, peer } = await connected(t)
  const errors = record(client, 'error')
  const subscribing = client.subscribe('a/#', {}, (error) => {
    if (error) throw error
  })
  await peer.grant()
  await subscribing
  peer.send({ type: 'publish', topic: 'a/b', payload: '1' })
  await until(() => errors.length === 1)
  const [[, { message, topic, filter, code }]] = errors
  assert.deepEqual([topic, filter, code], ['a/b', 'a/#', 'HANDLER_FAILED'])
  assert.equal(
    message,
    "The handler of subscription 'a/#' threw the message itself: a callback is the fourth argument",
  )
})

// Contract: A user callback that throws (or whose promise rejects) never disturbs the client: it surfaces as 'error', a HandlerError that names the
// topic and the filter.
test('a handler and a listener that throw: topic and filter are named', async (t) => {
  const { client, peer } = await connected(t)
  const errors = record(client, 'error')
  client.on('message', () => Promise.reject(new RangeError('late')))
  const subscribing = client.subscribe('a/#', () => {
    throw new TypeError('x is not a function')
  })
  await peer.grant()
  await subscribing
  peer.send({ type: 'publish', topic: 'a/b', payload: '1' })
  await until(() => errors.length === 2)
  assert.deepEqual(
    errors.map(([, { message, topic, filter }]) => [message, topic, filter]),
    [
      [
        "The handler of subscription 'a/#' threw: TypeError: x is not a function (at topic 'a/b')",
        'a/b',
        'a/#',
      ],
      ["The listener of 'message' threw: RangeError: late (at topic 'a/b')", 'a/b', undefined],
    ],
  )
})

test('the token of a query is in no message, URL or log', async (t) => {
  const { broker, client } = await connected(t)
  const token = /sesame/
  const withToken = makeClient(t, `${broker.url}/mqtt?token=sesame`, {
    reconnect: { minDelay: 1 },
  })
  const events = record(withToken, 'connect', 'disconnect', 'reconnecting', 'close')
  const connecting = withToken.connect()
  const peer = await broker.accept()
  await peer.welcome()
  const { url } = await connecting
  assert.equal(url, `${broker.url}/mqtt?token=...`)
  peer.drop()
  await until(() => events.some(([name]) => name === 'reconnecting'))
  await withToken.end({ force: true })
  assert.doesNotMatch(inspect(events, { depth: 10 }), token)
  for (const transport of [
    (/** @type {URL} */ url) => {
      throw new Error(`cannot open ${url}`)
    },
    undefined,
  ]) {
    const error = await failure('ws://127.0.0.1:1/?token=sesame', { transport })
    assert.equal(error.url, 'ws://127.0.0.1:1/?token=...')
    assert.doesNotMatch(error.message + error.stack, token)
  }
  await client.end()
})

test('a socket that delivers a Blob is named', async (t) => {
  const { url } = await startBroker(t)
  const socket = { binaryType: '', readyState: 1, bufferedAmount: 0, send() {}, close() {} }
  const client = makeClient(t, url, {
    transport: () => /** @type {any} */ (socket),
    reconnect: false,
  })
  const refused = client.connect().catch((error) => error)
  await until(() => 'onmessage' in socket)
  socket.onmessage({ data: new Blob([Uint8Array.of(0x20, 3, 0, 0, 0)]) })
  const { message, code } = await refused
  assert.equal(code, 'PROTOCOL_ERROR')
  assert.equal(
    message,
    "The transport delivered a blob: it must heed its binaryType, 'arraybuffer'",
  )
})

// Contract: Every promise settles: with a result, or with an MqttError subclass, whatever the network, the broker or the caller does; at the latest
// when the client closes.
test('what waits when the server ends the client for good says why', async (t) => {
  const { client, peer } = await connected(t)
  const stream = client.messages('a')
  const next = stream.next()
  await peer.grant()
  const waiting = [
    client.publish('a', 'b', { qos: 1 }),
    client.subscribe('b'),
    client.unsubscribe('c'),
    client.drain(),
    client.once('message'),
  ].map((promise) => assert.rejects(promise, isWhy))
  await peer.expect('publish')
  peer.send({ type: 'disconnect', reasonCode: 0x8e })
  await assert.rejects(next, { code: 'SERVER_DISCONNECTED', reasonCode: 0x8e })
  await Promise.all(waiting)
  await assert.rejects(client.messages('a').next(), isWhy)
  await assert.rejects(client.publish('a'), isWhy)

  function isWhy(/** @type {any} */ { code, message, cause }) {
    assert.equal(code, 'CLOSED')
    assert.equal(cause.code, 'SERVER_DISCONNECTED')
    assert.match(message, /^The client is closed: .*session taken over/)
    return true
  }
})

test('options that are inherited are read', async (t) => {
  const options = Object.create({ clientId: 'inherited' })
  const { client, peer } = await connected(t, {})
  assert.equal(new Client('ws://a', options).clientId, 'inherited')
  class Retained {
    qos = 1
    get retain() {
      return true
    }
  }
  client.publish('a', null, /** @type {any} */ (new Retained()))?.catch(() => {})
  const { payload, retain, qos } = await peer.expect('publish')
  assert.deepEqual([payload.length, retain, qos], [0, true, 1])
})

// Contract: Resolves with the arguments of the next such event; rejects with ClosedError where it cannot come any more.
test('once() as a promise', async (t) => {
  const { client, peer } = await connected(t)
  const next = client.once('message', { timeout: 2_000 })
  peer.send({ type: 'publish', topic: 'a', payload: 'b' })
  assert.equal((await next)[0].text(), 'b')
  await assert.rejects(client.once('message', { timeout: 1 }), { code: 'TIMEOUT' })
  const never = assert.rejects(client.once('message'), { code: 'CLOSED' })
  const closed = client.once('close')
  await client.end()
  await never
  assert.deepEqual(await closed, [undefined])
  await assert.rejects(client.once('message'), { code: 'CLOSED' })
})

test('a message of QoS 1 that finds nobody is reported once', async (t) => {
  const { client, peer } = await connected(t)
  const errors = record(client, 'error')
  const subscribing = client.subscribe('a', { qos: 1 })
  await peer.grant()
  await subscribing
  for (const id of [1, 2]) peer.send({ type: 'publish', topic: 'a', payload: 'b', qos: 1, id })
  await peer.expect('puback')
  await peer.expect('puback')
  assert.equal(errors.length, 1)
  assert.match(errors[0][1].message, /'a' found no handler/)
})

test('messages on their way to a Subscription that has ended are no mistake', async (t) => {
  const { client, peer } = await connected(t)
  const errors = record(client, 'error')
  const got = []
  const subscribing = client.subscribe('a', { qos: 1 }, (message, subscription) => {
    got.push(message.text())
    subscription.unsubscribe()
  })
  await peer.grant()
  await subscribing
  const publish = (id) => ({ type: 'publish', topic: 'a', payload: `${id}`, qos: 1, id })
  peer.send(publish(1), publish(2))
  await until(() => peer.pending.length === 3)
  peer.send(publish(3))
  await until(() => peer.pending.length === 4)
  assert.deepEqual(got, ['1'])
  assert.deepEqual(errors, [])
})

// Contract: `url` is without credentials and without the values of its query. `status`: of an HTTP answer that was no upgrade, where the runtime
// tells. `retryable` is false where a retry cannot cure it: certificate refused, HTTP 401, 403 and 404, CSP, mixed content.
test('a page without connect-src: only an error event comes', async (t) => {
  class Forbidden extends EventTarget {
    readyState = 0
    bufferedAmount = 0
    onclose = null
    constructor() {
      super()
      setTimeout(() => {
        this.readyState = 3
        this.dispatchEvent(new Event('error'))
      }, 1)
    }
    close() {}
    send() {}
  }
  const { WebSocket } = globalThis
  Object.assign(globalThis, { WebSocket: Forbidden })
  t.after(() => Object.assign(globalThis, { WebSocket }))
  const web = await import('../../pkg/index.js')
  await assert.rejects(web.connect('ws://example.org', { connectTimeout: 5_000 }), {
    code: 'CONNECTION_FAILED',
    retryable: false,
    message:
      'Cannot connect to ws://example.org/mqtt: the page may not connect to it: a Content-Security-Policy lacks it in connect-src',
  })
})

// Contract: init() fails with MqttErrors only, compiles while it downloads where the server's content type allows, and takes what a bundler's asset
// import gives.
test('init() fails with errors of the package only', async (t) => {
  const { init, MqttError } = await import('../../pkg/slim.js')
  const wasm = readFileSync(new URL('../../pkg/wasmqtt.wasm', import.meta.url))
  const server = createServer((request, response) => {
    if (request.url === '/html') response.setHeader('content-type', 'text/html').end('<html>')
    else
      response
        .setHeader('content-type', 'application/wasm')
        .end(request.url === '/good' ? wasm : 'no')
  })
  server.listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  t.after(() => server.close())
  const url = `http://127.0.0.1:${portOf(server)}`
  /** @type {[any, string][]} */
  const wrong = [
    ['http://127.0.0.1:1/', 'CONNECTION_FAILED'],
    [`${url}/html`, 'INVALID_ARGUMENT'],
    [`${url}/bad`, 'INVALID_ARGUMENT'],
    [new Uint8Array(4), 'INVALID_ARGUMENT'],
    [undefined, 'INVALID_ARGUMENT'],
    ['not a url', 'CONNECTION_FAILED'],
  ]
  for (const [source, code] of wrong)
    await assert.rejects(init(source), (/** @type {any} */ error) => {
      assert.ok(error instanceof MqttError, String(error))
      assert.equal(error.code, code, error.message)
      return true
    })
  await init(`${url}/good`)
})
