// Headless Chromium for the tests, found on the PATH.
import { chromium } from 'playwright-core'
import { findChromium } from '../../scripts/commands.mjs'

// Without the flags about background work, the browser itself sends requests to Google, and the tests would count them as the page's.
const ARGS = [
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
