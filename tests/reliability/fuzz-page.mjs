// The hostile server in a page of Chromium.

import { serveScripts, startChromium } from '../browser/chromium.mjs'

/**
 * @param {{ after: (end: () => any) => void }} t
 * @param {{ seconds: number, seed?: number }} options
 */
export async function fuzzInPage(t, options) {
  const server = await serveScripts()
  t.after(() => server.close())
  const browser = await startChromium(t)
  const page = await browser.newPage()
  const loose = []
  page.on('pageerror', (error) => loose.push(`uncaught: ${error.stack}`))
  page.on('crash', () => loose.push('the page crashed'))
  await page.goto(server.url)
  const result = await page.evaluate(async (given) => {
    const { fuzz } = await import('/tests/reliability/fuzz.mjs')
    const { Client } = await import('/pkg/index.js')
    return fuzz(Client, given)
  }, options)
  return { ...result, faults: [...result.faults, ...loose] }
}
