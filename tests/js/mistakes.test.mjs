// Mistakes and failures, and what the user reads about them.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { test } from 'node:test'
import { Client, connect } from '../../pkg/node.js'
import { portOf } from '../../scripts/tools.mjs'
import { connected, record } from './scripted-broker.mjs'

const client = new Client('ws://127.0.0.1:1')
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

/** @type {[string, () => any, string][]} */
const table = [
  [
    "connect('localhost')",
    () => connect('localhost'),
    'Invalid argument url: is not an absolute URL, as wss://example.org/mqtt',
  ],
  ["subscribe('a#')", () => client.subscribe('a#'), "Invalid argument filter 'a#': "],
  ["publish('a/#')", () => client.publish('a/#'), "Invalid argument topic 'a/#': "],
  [
    "publish('a', 42)",
    () => client.publish('a', /** @type {any} */ (42)),
    'Invalid argument payload: must be a string, an ArrayBuffer or a view of one, not number: try JSON.stringify',
  ],
  [
    "on('mesage')",
    async () => client.on(/** @type {any} */ ('mesage'), () => {}),
    "Invalid argument event: must be one of connect, disconnect, reconnecting, message, error, close, state, packet, not 'mesage'",
  ],
  [
    "off('offline')",
    async () => client.off(/** @type {any} */ ('offline'), () => {}),
    'Invalid argument event: must be one of ',
  ],
  [
    "once('offline')",
    () => client.once(/** @type {any} */ ('offline')),
    'Invalid argument event: must be one of ',
  ],
  [
    'keepAlive',
    () => connect('ws://a', /** @type {any} */ ({ keepAlive: 1 })),
    "Unknown option 'keepAlive'. Did you mean 'keepalive'?",
  ],
  [
    'Qos',
    () => client.publish('a', 'b', /** @type {any} */ ({ Qos: 1 })),
    "Unknown option 'Qos'. Did you mean 'qos'?",
  ],
  [
    'a getter of a class, wrong',
    () => connect('ws://a', /** @type {any} */ (new Settings())),
    'Invalid argument keepalive: ',
  ],
  [
    'a getter of a class, wrong, of a publish',
    () => client.publish('a', 'b', /** @type {any} */ (new Publish())),
    'Invalid argument qos: ',
  ],
]
for (const [mistake, make, message] of table) {
  test(mistake, async () => {
    await assert.rejects(
      async () => make(),
      (/** @type {any} */ error) => {
        assert.equal(error.code, 'INVALID_ARGUMENT')
        assert.ok(error.message.startsWith(message), error.message)
        assert.doesNotMatch(error.message, /\n/)
        return true
      },
    )
  })
}

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
