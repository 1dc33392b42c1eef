// Headless Chromium for the tests: Debian's, found on the PATH.
import { chromium } from 'playwright-core'
import { findCommand } from '../../scripts/tools.mjs'

// Without the background flags it asks its maker's hosts now and then, which the tests would have to tell from the page's own requests.
const ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** A browser that goes with the test. `args` are for its command line. */
export async function startChromium(t, args = []) {
  const executablePath = findCommand('chromium', 'chromium-browser', 'google-chrome')
  const browser = await chromium.launch({ executablePath, args: [...ARGS, ...args] })
  t.after(() => browser.close())
  return browser
}

/** A page, and what went wrong on it: console errors, uncaught errors, requests to other hosts than `host` and failed ones. */
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
