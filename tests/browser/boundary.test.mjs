// The boundary between JavaScript and WebAssembly in headless Chromium. The stories of tests/js/stories/index.mjs run in Node as well.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { STORIES } from '../js/stories/index.mjs'
import { openPage, serveScripts, startChromium } from './chromium.mjs'

let server
before(async () => {
  server = await serveScripts()
})
after(() => server.close())

test('the stories of the boundary', async (t) => {
  const browser = await startChromium(t, ['--js-flags=--expose-gc'])
  for (const title of Object.keys(STORIES)) {
    await t.test(`in Chromium: ${title}`, async (t) => {
      const { page, problems } = await openPage(browser, server.url)
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
