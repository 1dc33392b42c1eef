// The boundary between JavaScript and WebAssembly in headless Chromium. The stories of tests/js/stories/index.mjs run in Node as well.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { createServer } from 'node:http'
import { join, normalize } from 'node:path'
import { after, before, test } from 'node:test'
import { portOf, root } from '../../scripts/tools.mjs'
import { STORIES } from '../js/stories/index.mjs'
import { openPage, startChromium } from './chromium.mjs'

let server
before(async () => {
  server = createServer(({ url }, response) => {
    if (url === '/')
      return response
        .setHeader('content-type', 'text/html')
        .end('<!doctype html><link rel="icon" href="data:,"><title>test</title>')
    response.setHeader('content-type', 'text/javascript')
    createReadStream(join(root, normalize(url)))
      .on('error', () => response.writeHead(404).end())
      .pipe(response)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
})
after(() => server.close())

test('the stories of the boundary', async (t) => {
  const browser = await startChromium(t, ['--js-flags=--expose-gc'])
  for (const title of Object.keys(STORIES)) {
    await t.test(`in Chromium: ${title}`, async (t) => {
      const { page, problems } = await openPage(browser, `http://127.0.0.1:${portOf(server)}/`)
      const said = await page.evaluate(async (title) => {
        const { STORIES } = await import('/tests/js/stories/index.mjs')
        const wasmqtt = await import('/pkg/index.js')
        return STORIES[title](wasmqtt, { collect: () => globalThis.gc() })
      }, title)
      if (said !== undefined) t.diagnostic(said)
      assert.deepEqual(
        problems.filter((problem) => !problem.startsWith('console')),
        [],
      )
      await page.close()
    })
  }
})
