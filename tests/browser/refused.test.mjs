// What a page reads that may not connect: the browser says so in its own ways, and never in the words of the server.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { test } from 'node:test'
import { portOf, root } from '../../scripts/tools.mjs'
import { openPage, startChromium } from './chromium.mjs'

/** Serves the package, and a page with this Content-Security-Policy. */
async function serve(t, policy) {
  const server = createServer(({ url }, response) => {
    if (url !== '/')
      return response
        .setHeader('content-type', url.endsWith('.wasm') ? 'application/wasm' : 'text/javascript')
        .end(readFileSync(join(root, url)))
    response.setHeader('content-security-policy', policy).setHeader('content-type', 'text/html')
    response.end('<!doctype html><link rel="icon" href="data:,"><title>test</title>')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return `http://127.0.0.1:${portOf(server)}`
}

const SCRIPTS = "script-src 'self' 'unsafe-eval'"

test('a Content-Security-Policy without the server in connect-src: the error says so at once', async (t) => {
  const origin = await serve(t, `${SCRIPTS}; connect-src 'none'`)
  const { page } = await openPage(await startChromium(t), origin)
  const { error, took } = await page.evaluate(async (url) => {
    const { connect } = await import('/pkg/index.js')
    const began = performance.now()
    const { message, retryable, code } = await connect(url).catch((error) => error)
    return { error: { message, retryable, code }, took: performance.now() - began }
  }, 'ws://127.0.0.1:9/mqtt?token=hidden')
  assert.deepEqual(error, {
    code: 'CONNECTION_FAILED',
    retryable: false,
    message:
      'Cannot connect to ws://127.0.0.1:9/mqtt?token=...: the page may not connect to it: a Content-Security-Policy lacks it in connect-src',
  })
  assert.ok(took < 5_000)
})

test('a server that is not there is no matter of the policy', async (t) => {
  const origin = await serve(t, `${SCRIPTS}; connect-src *`)
  const { page } = await openPage(await startChromium(t), origin)
  const error = await page.evaluate(async () => {
    const { connect } = await import('/pkg/index.js')
    const { message, retryable, closeCode } = await connect('ws://127.0.0.1:9').catch(
      (error) => error,
    )
    return { message, retryable, closeCode }
  })
  assert.equal(error.retryable, true)
  assert.equal(error.closeCode, 1006)
  assert.doesNotMatch(error.message, /Content-Security-Policy/)
})

test('init() where the policy forbids it, and where the module comes', async (t) => {
  const forbidden = await serve(t, "script-src 'self' 'unsafe-eval'; connect-src 'none'")
  const browser = await startChromium(t)
  const init = async (origin) => {
    const { page } = await openPage(browser, origin)
    return page.evaluate(async () => {
      const { init, MqttError } = await import('/pkg/slim.js')
      return init('/pkg/wasmqtt.wasm').then(
        () => 'loaded',
        (error) => [error instanceof MqttError, error.code],
      )
    })
  }
  assert.deepEqual(await init(forbidden), [true, 'CONNECTION_FAILED'])
  assert.equal(await init(await serve(t, `${SCRIPTS}; connect-src 'self'`)), 'loaded')
  assert.deepEqual(await init(await serve(t, "script-src 'self'; connect-src 'self'")), [
    true,
    'INVALID_ARGUMENT',
  ])
})
