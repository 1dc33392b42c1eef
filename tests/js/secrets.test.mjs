// Credentials and the secrets of a query stand in nothing that an application might log. Options change no prototype.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { homedir } from 'node:os'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { Client, connect } from '../../pkg/node.js'
import { TestBroker } from '../../pkg/testing-node.js'
import { portOf, root } from '../../scripts/tools.mjs'

const SECRETS = ['s3cr3t-word', 's3cr3t-token', 's3cr3t-header', 's3cr3t-url']
const [WORD, TOKEN, HEADER, IN_URL] = SECRETS
const EVENTS = /** @type {const} */ ([
  'connect',
  'disconnect',
  'reconnecting',
  'error',
  'close',
  'state',
  'packet',
  'message',
])

/** Every form in which somebody might print a value. */
function forms(value) {
  const texts = [
    inspect(value, {
      depth: Number.POSITIVE_INFINITY,
      showHidden: true,
      getters: true,
      maxStringLength: null,
    }),
    inspect(value),
    String(value),
  ]
  if (value instanceof Error)
    texts.push(
      value.stack ?? '',
      inspect(value.cause),
      JSON.stringify(Object.getOwnPropertyNames(value).map((name) => String(value[name]))),
    )
  try {
    texts.push(JSON.stringify(value) ?? '')
  } catch {
    // What has no JSON cannot be logged as JSON.
  }
  return texts
}

function clean(value, what) {
  for (const text of forms(value))
    for (const secret of SECRETS)
      for (const form of [
        secret,
        encodeURIComponent(secret),
        Buffer.from(secret).toString('base64'),
        Buffer.from(secret).toString('hex'),
      ])
        assert.ok(!text.includes(form), `${what} shows '${secret}': ${text.slice(0, 500)}`)
}

/** Collects what the console prints until the test ends. */
function listenToConsole(t) {
  const printed = []
  for (const name of /** @type {const} */ (['log', 'info', 'warn', 'error', 'debug', 'trace']))
    t.mock.method(console, name, (...args) => void printed.push(args))
  return printed
}

const options = (more = {}) => ({
  username: 'somebody',
  password: WORD,
  websocket: { headers: { authorization: `Bearer ${HEADER}` } },
  reconnect: { minDelay: 10, maxDelay: 20, maxAttempts: 2 },
  connectTimeout: 2_000,
  ...more,
})

/** A server that answers HTTP with a status, as a proxy that refuses does. */
async function refusing(t, status) {
  const server = createServer((_request, response) => response.writeHead(status).end('no'))
  server.on('upgrade', (_request, socket) =>
    socket.end(`HTTP/1.1 ${status} No\r\ncontent-length: 0\r\n\r\n`),
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return portOf(server)
}

/** Connects, and checks everything that the client shows on the way and at its end. */
async function watched(t, url, more) {
  const printed = listenToConsole(t)
  const shown = []
  const client = new Client(url, options(more))
  for (const event of EVENTS) client.on(event, (...args) => shown.push([event, ...args]))
  const error = await client.connect().then(
    () => undefined,
    (error) => error,
  )
  if (error === undefined) {
    await client.subscribe('a', { qos: 1 })
    await client.publish('a', 'x', { qos: 1 })
    clean(client.server, 'server')
    clean(await client.connect(), 'the result of connect()')
  }
  clean(client, 'the client')
  clean(client.stats(), 'stats()')
  await client.end({ timeout: 500 })
  if (error) clean(error, 'the error')
  for (const event of shown) clean(event, `event ${event[0]}`)
  clean(printed, 'the console')
  clean(client, 'the client that has ended')
  return { error, shown }
}

test('secrets: nothing of a connection that works shows them', async (t) => {
  const broker = new TestBroker({ users: { somebody: WORD } })
  const listener = await broker.listen()
  t.after(() => listener.close())
  const { error, shown } = await watched(t, `${listener.url}?token=${TOKEN}`)
  assert.equal(error, undefined)
  assert.ok(shown.length > 5)
})

// Contract: `user:password@` in it become username and password where those options are absent, and appear in no error, event or log.
test('secrets: nothing of a refusal shows them, whoever refuses', async (t) => {
  const broker = new TestBroker({ users: { somebody: 'another' } })
  const listener = await broker.listen({ tcp: 0 })
  t.after(() => listener.close())
  const url = new URL(`${listener.url}?token=${TOKEN}`)
  url.username = 'somebody'
  url.password = IN_URL
  const urls = [
    `${url}`,
    `${listener.tcpUrl}`.replace('mqtt://', `mqtt://somebody:${IN_URL}@`),
    `ws://somebody:${IN_URL}@127.0.0.1:1/?token=${TOKEN}`,
    `wss://somebody:${IN_URL}@${url.host}/?token=${TOKEN}`,
    ...(await Promise.all(
      [301, 401, 403, 404, 502, 503].map(
        async (status) =>
          `ws://somebody:${IN_URL}@127.0.0.1:${await refusing(t, status)}/?token=${TOKEN}`,
      ),
    )),
  ]
  for (const url of urls) {
    const { error } = await watched(t, url, url.includes('?') ? {} : { websocket: undefined })
    assert.ok(error, url)
  }
})

test('secrets: an argument that is wrong is named, and a secret in it is not shown', async () => {
  const wrong = [
    () => new Client(`ws://somebody:${IN_URL}@host:port/?token=${TOKEN}`),
    () => new Client(`gopher://somebody:${IN_URL}@host/?token=${TOKEN}`),
    () => new Client('ws://host', /** @type {any} */ ({ username: 'somebody', password: [WORD] })),
    () =>
      new Client(
        'ws://host',
        /** @type {any} */ ({ username: 'somebody', password: { word: WORD } }),
      ),
    () => new Client('ws://host', { username: 'somebody', password: `${WORD}\ud800` }),
    () => new Client('ws://host', /** @type {any} */ ({ websocket: { headers: [HEADER] } })),
    () => new Client('ws://host', /** @type {any} */ ({ tls: { passphrase: [WORD] } })),
  ]
  for (const make of wrong) {
    let thrown
    try {
      const client = make()
      thrown = await client.connect({ timeout: 500 }).catch((error) => error)
      await client.end({ force: true })
    } catch (error) {
      thrown = error
    }
    assert.ok(thrown instanceof Error, `${make}`)
    clean(thrown, `${make}`)
  }
})

test('secrets: a provider that throws is the cause, and what it gave before is not shown', async (t) => {
  let calls = 0
  const { error } = await watched(t, `ws://127.0.0.1:1/?token=${TOKEN}`, {
    password: () => {
      if (++calls > 1) throw new Error('no password today')
      return WORD
    },
  })
  assert.ok(error)
})

test('secrets: source maps and bundles hold no path of the machine that built them', () => {
  const folder = new URL('../../pkg/', import.meta.url)
  for (const name of readdirSync(folder).filter((name) => /\.(js|cjs|map|wasm)$/.test(name))) {
    const text = readFileSync(new URL(name, folder), 'latin1')
    for (const path of [root, `${homedir()}/`])
      assert.ok(!text.includes(path), `${name} names ${path}`)
  }
})

test('prototypes: options, properties and messages with names of prototypes change no object', async (t) => {
  const tricks = [
    '{"__proto__":{"polluted":true}}',
    '{"constructor":{"prototype":{"polluted":true}}}',
    '{"properties":{"__proto__":{"polluted":true}}}',
    '{"will":{"topic":"a","__proto__":{"polluted":true}}}',
  ]
  for (const text of tricks) {
    try {
      await new Client('ws://host', JSON.parse(text)).end({ force: true })
    } catch (error) {
      assert.equal(error.code, 'INVALID_ARGUMENT')
    }
    assert.equal(/** @type {any} */ ({}).polluted, undefined, text)
  }
  const broker = new TestBroker()
  const client = await connect('ws://broker', { transport: broker.transport })
  t.after(() => client.end({ force: true }))
  const names = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty']
  const received = []
  await client.subscribe('#', { qos: 1 }, (message) => void received.push(message))
  for (const name of names) {
    const userProperties = /** @type {[string, string][]} */ ([[name, 'polluted']])
    await client.publish(name, JSON.stringify({ [name]: { polluted: true } }), {
      qos: 1,
      properties: { userProperties, contentType: name, responseTopic: name },
    })
  }
  await client.drain()
  assert.deepEqual(
    received.map(({ topic, properties }) => [topic, ...properties.userProperties[0]]),
    names.map((name) => [name, name, 'polluted']),
  )
  for (const message of received) message.json()
  assert.equal(/** @type {any} */ ({}).polluted, undefined)
  assert.equal(Object.keys(Object.prototype).length, 0)
})

test('prototypes: what a polluted prototype holds is no option', async (t) => {
  const prototype = /** @type {any} */ (Object.prototype)
  t.after(() => {
    delete prototype.password
    delete prototype.transport
  })
  const broker = new TestBroker()
  prototype.password = WORD
  const client = await connect('ws://broker', { transport: broker.transport, clientId: 'plain' })
  delete prototype.password
  t.after(() => client.end({ force: true }))
  const [packet] = broker.packets.filter(({ type }) => type === 'connect')
  clean(packet, 'CONNECT')
})
