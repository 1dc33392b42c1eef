// The entry without the module, and the one for browsers, in a runtime that has no WebSocket of its own.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import * as browser from '../../pkg/index.js'
import * as node from '../../pkg/node.js'
import * as slim from '../../pkg/slim.js'
import { startBroker } from './scripted-broker.mjs'

const bytes = readFileSync(new URL('../../pkg/wasmqtt.wasm', import.meta.url))

// Contract: `wasmqtt/slim` needs `await init(source)` first and says so otherwise.
test('slim: says that init() is needed, and takes every source', async () => {
  assert.throws(() => slim.matches('a', 'a'), { code: 'NOT_SUPPORTED', message: /await init/ })
  assert.throws(() => new slim.Client('ws://h'), { code: 'NOT_SUPPORTED', message: /await init/ })
  await assert.rejects(slim.connect('ws://h'), { code: 'NOT_SUPPORTED' })
  await assert.rejects(slim.init(5), { code: 'INVALID_ARGUMENT', argument: 'source' })
  await assert.rejects(slim.init(undefined), { argument: 'source' })
  await assert.rejects(slim.init(new Response('', { status: 404 })), {
    code: 'CONNECTION_FAILED',
    message: /404/,
  })
  await assert.rejects(slim.init(new Uint8Array([1, 2, 3])), {
    code: 'INVALID_ARGUMENT',
    argument: 'source',
  })
  await slim.init(
    Promise.resolve(
      new Response(bytes, { headers: { 'content-type': 'application/octet-stream' } }),
    ),
  )
  assert.equal(slim.matches('a/+', 'a/b'), true)
  await slim.init(await WebAssembly.compile(bytes))
  await slim.init(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length))
  await slim.init(`data:application/wasm;base64,${bytes.toString('base64')}`)
})

test('every entry exports the same', () => {
  const names = Object.keys(node)
    .filter((name) => name !== 'default')
    .sort()
  assert.deepEqual(Object.keys(browser).sort(), names)
  assert.deepEqual(Object.keys(slim).sort(), [...names, 'init'].sort())
  assert.equal(
    createRequire(import.meta.url)(fileURLToPath(new URL('../../pkg/node.cjs', import.meta.url)))
      .Client,
    node.Client,
  )
})

// Contract: WebSocket subprotocols, default ['mqtt']; headers and TLS options where the runtime can send them (not in browsers).
test('where there is no WebSocket, or one without headers and TLS options, that is said', async (t) => {
  const original = globalThis.WebSocket
  t.after(() => (globalThis.WebSocket = original))
  globalThis.WebSocket = undefined
  const client = new browser.Client('ws://127.0.0.1:1')
  const error = await client.connect().catch((error) => error)
  assert.equal(error.code, 'CONNECTION_FAILED')
  assert.equal(error.cause.code, 'NOT_SUPPORTED')
  await client.end()
  assert.throws(() => new browser.Client('ws://h', { websocket: { headers: { a: 'b' } } }), {
    code: 'NOT_SUPPORTED',
    message: /headers/,
  })
  assert.throws(() => new browser.Client('ws://h', { tls: {} }), {
    code: 'NOT_SUPPORTED',
    message: /tls/,
  })
})

// Contract: Browsers' WebSocket and Node's `ws` (always used on Node, with perMessageDeflate off) satisfy it; fromMessagePort() and the tcp and tls
// transports make one.
test('a WebSocket like that of browsers', async (t) => {
  const { WebSocket } = await import('ws')
  const original = globalThis.WebSocket
  t.after(() => (globalThis.WebSocket = original))
  globalThis.WebSocket = /** @type {any} */ (WebSocket)
  const broker = await startBroker(t)
  const connecting = browser.connect(broker.url, { protocolVersion: 5 })
  const peer = await broker.accept()
  await peer.welcome()
  const client = await connecting
  const message = new Promise((resolve) => client.once('message', resolve))
  peer.send({ type: 'publish', topic: 'a', payload: 'x'.repeat(100) })
  assert.equal((await message).text(), 'x'.repeat(100))
  await client.publish('b', 'c')
  await peer.expect('publish', { payload: 'c' })
  await client.end()
})
