// Headless Chromium for the tests, found on the PATH.
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { createServer } from 'node:http'
import { join, normalize } from 'node:path'
import { chromium } from 'playwright-core'
import { findChromium } from '../../scripts/commands.mjs'
import { portOf, root } from '../../scripts/tools.mjs'

/** Without the flags about background work, the browser itself sends requests to Google, and the tests would count them as the page's. */
export const ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** Starts a browser that is closed after the test. `args` are added to its command line. */
export async function startChromium(t, args = []) {
  const browser = await chromium.launch({
    executablePath: findChromium(),
    args: [...ARGS, ...args],
  })
  t.after(() => browser.close())
  return browser
}

/** Opens a page and lists its problems: messages of the console, uncaught errors, failed requests, and requests to other hosts. */
export async function openPage(browser, url, options) {
  const page = await browser.newPage(options)
  const problems = []
  const { hostname } = new URL(url)
  const foreign = (address) =>
    new URL(address).hostname !== hostname && problems.push(`request to another host: ${address}`)
  page.on(
    'console',
    (message) =>
      ['error', 'warning'].includes(message.type()) && problems.push(`console: ${message.text()}`),
  )
  page.on('pageerror', (error) => problems.push(`uncaught: ${error.stack}`))
  page.on('request', (request) => /^https?:/.test(request.url()) && foreign(request.url()))
  page.on('websocket', (socket) => foreign(socket.url()))
  page.on('requestfailed', (request) =>
    problems.push(`failed: ${request.url()} ${request.failure()?.errorText}`),
  )
  await page.goto(url)
  return { page, problems }
}

/** Serves an empty page, and the scripts of this repository by their paths. Resolves with the address of the page, and what ends it. */
export async function serveScripts() {
  const server = createServer(({ url }, response) => {
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
  return { url: `http://127.0.0.1:${portOf(server)}/`, close: () => server.close() }
}
