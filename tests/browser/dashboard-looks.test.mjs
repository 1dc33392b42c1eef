// How the dashboard looks and is reached, whatever the broker: the demo in the page, each view in each width and theme with what axe says of it,
// zoom, motion, forced colours, screen readers; and the page of the guide to a dashboard of one's own.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import mqtt from 'mqtt'
import { portOf, root } from '../../scripts/tools.mjs'
import { openPage } from './chromium.mjs'
import { choose, noProblems, stage, startBroker, tab } from './dashboard-harness.mjs'

let s
before(async () => {
  s = await stage()
})
after(() => s?.stop())

describe('the demo, from a static host and without a broker', () => {
  test('a first visit, the button, a will, and the whole in the page', async (t) => {
    const { page, problems } = await openPage(s.browser, s.host.url, {
      viewport: { width: 1440, height: 900 },
    })
    t.after(() => page.close())
    const sockets = []
    page.on('websocket', (socket) => sockets.push(socket.url()))
    await page.click('#demo')
    await page.waitForSelector('#state[data-state="connected"]')
    await page.waitForSelector('#broker:has-text("Demo in this page")')
    await page.waitForSelector('#value:has-text("2")')
    await page.waitForSelector('.readout:has-text("max")')
    await tab(page, 'Devices')
    for (const name of ['garden/weather', 'kitchen/lamp', 'garage/door'])
      await page.waitForSelector(`#devices li.online:has-text("home/${name}")`)
    await page.waitForSelector('#devices li.offline:has-text("home/garage/door")', {
      timeout: 40_000,
    })
    await tab(page, 'Publish')
    await page.click('#publish-send')
    await choose(page, 'home/kitchen/lamp/state')
    await page.waitForSelector('#value:has-text("off")')
    // The next visit goes on with it.
    await page.reload()
    await page.waitForSelector('#state[data-state="connected"]')
    await page.waitForSelector('.node[title="home/garden/weather"]')
    assert.deepEqual(sockets, [])
    noProblems(problems)
  })

  test('an address that begins with it; its will; the house', async (t) => {
    const { page, problems } = await openPage(s.browser, `${s.host.url}#demo`, {
      viewport: { width: 1440, height: 900 },
    })
    t.after(() => page.close())
    await page.waitForSelector('#state[data-state="connected"]')
    await tab(page, 'Charts')
    await page.waitForSelector('.readout:has-text("max")')
    await page.click('#broker')
    await page.click('#will summary')
    await page.check('[name=will]')
    await page.click('#connect')
    await page.waitForSelector('#state[data-state="connected"]')
    await tab(page, 'Offline')
    await page.click('#cut-and-watch')
    await page.waitForSelector('#will-said:has-text("The will arrived")')
    await page.waitForSelector('#state[data-state="connected"]')
    await page.click('.fleet-link')
    await page.waitForSelector('[data-device="kitchen/lamp"] >> text=Light on')
    await page.getByRole('switch').click()
    await page.waitForSelector('[data-device="kitchen/lamp"] >> text=Light off')
    noProblems(problems)
  })
})

describe('everyone', () => {
  const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
  const shots = join(root, 'target', 'screenshots')
  mkdirSync(shots, { recursive: true })

  // The page allows no script but its own: axe comes in by the debugger, which no policy binds.
  async function check(page, where) {
    const results = await page.evaluate(
      `(async () => { ${axe}; return axe.run(document, { resultTypes: ['violations'] }) })()`,
    )
    const found = results.violations.map(
      ({ id, nodes }) =>
        `${where}: ${id}: ${nodes.map(({ html, failureSummary }) => `${html.slice(0, 140)} ${failureSummary}`).join('; ')}`,
    )
    assert.deepEqual(found, [])
  }

  const SCHEMES = ['light', 'dark']
  const WIDTHS = [
    [1440, 900],
    [1024, 768],
    [390, 844],
  ]
  const SECONDS_OF_DATA = 20

  /** The demo in the page, as a visitor has it after a while: the explorer and the house, light and dark. */
  const demos = {}
  before(async () => {
    for (const colorScheme of SCHEMES)
      for (const name of ['', 'fleet.html']) {
        const opened = await openPage(s.browser, `${s.host.url}${name}#demo`, {
          colorScheme,
          viewport: { width: 1440, height: 900 },
        })
        opened.page.setDefaultTimeout(10_000)
        await opened.page.waitForSelector('#state[data-state="connected"]')
        demos[colorScheme + name] = opened
      }
    await sleep(SECONDS_OF_DATA * 1_000)
  })

  /** What somebody looks at, and how to get there. The first ones are the panels. */
  const PANELS = [
    'Messages',
    'Charts',
    'Retained',
    'Traffic',
    'Publish',
    'Devices',
    'Subscriptions',
    'Offline',
  ]
  const FORMS = ['JSON', 'Text', 'Bytes', 'Difference', 'History']
  const front = async (page, name) => {
    const found = page.getByRole('tab', { name: new RegExp(`^${name}`) }).first()
    if (await found.count()) await found.click()
  }
  const tree = async (page, path) => {
    await front(page, 'Topics')
    await page.locator(`.node[title="${path}"]`).click()
    await front(page, 'Detail')
    await page.waitForSelector('.detail .path')
  }
  const unfold = (page, title) =>
    page
      .locator(`details:has(> summary:has-text("${title}"))`)
      .evaluate((/** @type {HTMLDetailsElement} */ details) => (details.open = true))
  const VIEWS = {
    ...Object.fromEntries(PANELS.map((name) => [name.toLowerCase(), (page) => front(page, name)])),
    topics: (page) => front(page, 'Topics'),
    detail: (page) => tree(page, 'home/living-room/climate/temperature'),
    branch: (page) => tree(page, 'home'),
    ...Object.fromEntries(
      FORMS.map((name) => [
        `as-${name.toLowerCase()}`,
        async (page) => {
          if (name === FORMS[0]) await tree(page, 'home/utility/meter/power')
          await front(page, name)
        },
      ]),
    ),
    properties: async (page) => {
      await page.click('#reuse')
      await unfold(page, 'Properties')
      await page.fill('#publish [name=userProperties]', 'site: north')
      await page.fill('#publish [name=payload]', '{"watts": 740,}')
      await page.click('#publish-send')
    },
    refused: async (page) => {
      await front(page, 'Subscriptions')
      await page.fill('#subscribe [name=filter]', 'home/#/power')
      await page.click('#subscribe button')
      await page.waitForSelector('#subscriptions .refused')
    },
    'no-network': async (page) => {
      await page.click('[aria-label="Unsubscribe from home/#/power"]')
      await page.click('[aria-label="Put this away"]')
      await front(page, 'Offline')
      await page.click('#network')
      await page.click('#burst')
      await page.waitForSelector('#stale')
    },
    question: async (page) => {
      await page.click('#network')
      await page.waitForSelector('#state[data-state="connected"]')
      await front(page, 'Retained')
      await page.click('#clear-branch')
      await page.waitForSelector('dialog')
    },
    connection: async (page) => {
      await page.keyboard.press('Escape')
      await page.click('#broker')
      await page.waitForSelector('#connection')
      await unfold(page, 'Last will')
    },
  }

  async function look(page, scheme, width, view, fullPage = false) {
    await page.screenshot({ path: join(shots, `${scheme}-${width}-${view}.png`), fullPage })
    assert.ok(
      await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth),
      `${view} is wider than ${width} px`,
    )
  }

  for (const colorScheme of SCHEMES) {
    test(`axe and a look at each view, ${colorScheme}`, async (t) => {
      const { page, problems } = demos[colorScheme]
      t.after(() => page.close())
      for (const [width, height] of WIDTHS) {
        await page.setViewportSize({ width, height })
        for (const [view, show] of Object.entries(VIEWS)) {
          await show(page)
          await sleep(200)
          // On a phone no field makes the page zoom.
          if (width === 390)
            assert.deepEqual(
              await page.evaluate(() =>
                [...document.querySelectorAll('input:not([type=checkbox]), select, textarea')]
                  .map((field) => Number.parseFloat(getComputedStyle(field).fontSize))
                  .filter((size) => size < 16),
              ),
              [],
            )
          await look(page, colorScheme, width, view)
          if (width !== 1024) await check(page, `${view} at ${width}`)
        }
        await page.keyboard.press('Escape')
        await page.waitForSelector('dialog', { state: 'detached' })
      }
      noProblems(problems)
    })

    test(`axe and a look at the house, ${colorScheme}`, async (t) => {
      const { page, problems } = demos[`${colorScheme}fleet.html`]
      t.after(() => page.close())
      for (const [width, height] of WIDTHS) {
        await page.setViewportSize({ width, height })
        await sleep(200)
        await check(page, `house at ${width}`)
        await look(page, colorScheme, width, 'house', width === 390)
      }
      await page.setViewportSize({ width: 1440, height: 900 })
      await page.waitForSelector('.tile.lost', { timeout: 30_000 })
      await sleep(600)
      await check(page, 'house with a device that is lost')
      await look(page, colorScheme, 1440, 'house-lost')
      noProblems(problems)
    })

    test(`axe and a look at a first visit and at a broker that is gone, ${colorScheme}`, async (t) => {
      const { page } = await openPage(s.browser, s.host.url, { colorScheme })
      t.after(() => page.close())
      await page.waitForSelector('dialog')
      await check(page, 'a first visit')
      await look(page, colorScheme, 1280, 'first-visit')
      await page.fill('#connection [name=url]', 'ws://127.0.0.1:1/mqtt')
      await page.click('#connect')
      await page.waitForSelector('#state[data-state="waiting"]')
      await check(page, 'no connection')
      await look(page, colorScheme, 1280, 'no-connection')

      const broker = await startBroker()
      t.after(() => broker.stop())
      const { page: house } = await s.open(t, { colorScheme, page: 'fleet.html', url: broker.url })
      const lamp = await mqtt.connectAsync(broker.tcp)
      t.after(() => lamp.endAsync(true))
      for (const [name, payload] of Object.entries({ status: 'online', state: 'on' }))
        await lamp.publishAsync(`home/kitchen/lamp/${name}`, payload, { retain: true })
      await house.waitForSelector('text=Light on')
      broker.close()
      await house.waitForSelector('#stale')
      await check(house, 'a house that is not live')
      await look(house, colorScheme, 1440, 'house-not-live')
    })
  }

  test('at 400 % zoom all of it can be reached', async (t) => {
    // 1280 × 1024 at 400 % is a viewport of 320 × 256.
    const { page } = await s.open(t, { viewport: { width: 320, height: 256 } })
    for (const panel of [...PANELS, 'Topics', 'Detail']) {
      await front(page, panel)
      assert.ok(
        await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth),
        panel,
      )
    }
    await page.getByRole('tab', { name: 'Publish' }).click()
    await page.locator('#publish-send').scrollIntoViewIfNeeded()
    await page.click('#publish-send')
    await page.waitForSelector('#published:has-text("Acknowledged")')
  })

  test('less motion and forced colours', async (t) => {
    const { page, problems } = await s.open(t, { reducedMotion: 'reduce', forcedColors: 'active' })
    await tab(page, 'Devices')
    assert.equal(
      await page.evaluate(
        () => getComputedStyle(document.querySelector('[role=tab]')).transitionDuration,
      ),
      '0s',
    )
    // What a colour says otherwise is said by a line: the tab that is in front.
    assert.equal(
      await page.evaluate(
        () =>
          getComputedStyle(document.querySelector('[role=tab][aria-selected=true]')).outlineStyle,
      ),
      'solid',
    )
    await page.screenshot({ path: join(shots, 'forced-colours.png') })
    noProblems(problems)
  })

  test('light and dark by choice, kept over a reload', async (t) => {
    const { page } = await s.open(t, { colorScheme: 'light' })
    const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
    const light = await background()
    await page.click('#theme')
    await page.click('#theme')
    assert.notEqual(await background(), light)
    await page.reload()
    await page.waitForSelector('#state[data-state="connected"]')
    assert.notEqual(await background(), light)
    await page.click('#theme')
    assert.equal(await background(), light)
  })

  test('a screen reader hears states and refusals, and no countdown', async (t) => {
    const { page } = await s.open(t, { url: 'ws://127.0.0.1:1/mqtt', wait: 'waiting' })
    await page.waitForSelector('.countdown')
    assert.equal(await page.getAttribute('.countdown', 'aria-hidden'), 'true')
    const live = await page.evaluate(() =>
      [...document.querySelectorAll('[role=status], [role=alert], [aria-live]')].map(
        (e) => e.id || e.className,
      ),
    )
    for (const id of ['state-text', 'alerts', 'published'])
      assert.ok(live.includes(id), `${id} among ${live}`)
    assert.ok(!live.some((id) => /tree|messages|rate/.test(id)), `${live}`)
  })
})

describe('your own dashboard', () => {
  const path = join(root, 'examples', 'dashboard.html')

  test('the page of the guide has fewer than 40 lines, and shows, publishes and greys', async (t) => {
    assert.ok(readFileSync(path, 'utf8').trim().split('\n').length < 40)
    const server = createServer(({ url }, response) => {
      const { pathname } = new URL(url, 'http://localhost')
      response.setHeader('content-type', pathname.endsWith('.js') ? 'text/javascript' : 'text/html')
      response.end(readFileSync(join(root, pathname)))
    }).listen(0, '127.0.0.1')
    t.after(() => server.close())
    await once(server, 'listening')
    const broker = await startBroker()
    t.after(() => broker.stop())
    const lamp = await mqtt.connectAsync(broker.tcp)
    t.after(() => lamp.endAsync(true))
    lamp.on('message', (_, payload) =>
      lamp.publish('home/kitchen/lamp/state', payload, { retain: true }),
    )
    await lamp.subscribeAsync('home/kitchen/lamp/set')
    const { page, problems } = await openPage(
      s.browser,
      `http://127.0.0.1:${portOf(server)}/examples/dashboard.html?url=${broker.url}`,
    )
    t.after(() => page.close())
    await page.waitForSelector('#link:has-text("connected")')
    await lamp.publishAsync('home/utility/meter/power', '{"watts":512}', { retain: true })
    const shows = (topic, value) =>
      page.waitForFunction(
        ([topic, value]) =>
          document.querySelector(`output[data-topic="${topic}"]`).textContent === value,
        [topic, value],
      )
    await shows('home/utility/meter/power', '512')
    await page.click('button:text-is("off")')
    await shows('home/kitchen/lamp/state', 'off')
    await page.click('button:text-is("on")')
    await shows('home/kitchen/lamp/state', 'on')
    broker.close()
    await page.waitForSelector('body.stale #link:has-text("Trying again.")')
    await broker.reopen()
    await page.waitForSelector('body:not(.stale) #link:has-text("connected")', { timeout: 20_000 })
    noProblems(problems, /WebSocket connection/)
  })

  test('the guide quotes the page as it is', () => {
    const page = readFileSync(path, 'utf8').replace(/\s+/g, ' ')
    const guide = readFileSync(join(root, 'docs', 'your-own-dashboard.md'), 'utf8')
    const quoted = [...guide.matchAll(/```js compile\n([\s\S]*?)```/g)]
    assert.ok(quoted.length >= 5, `${quoted.length} quotes`)
    for (const [, code] of quoted)
      for (const part of code
        .split('…')
        .map((text) => text.replace(/\s+/g, ' ').trim().replace(/\)$/, '')))
        assert.ok(page.includes(part), part)
  })
})
