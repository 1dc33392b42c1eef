// What the dashboard must not do again: one test for each fault that the page of before had.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { choose, eventually, noProblems, stage, startBroker, tab } from './dashboard-harness.mjs'

let s
before(async () => {
  s = await stage()
})
after(() => s?.stop())

const text = (page, selector) => page.locator(selector).first().textContent()
const awake = (page) =>
  Promise.race([
    page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => resolve(true)))),
    sleep(3_000).then(() => false),
  ])

test('numbers at the edge of double precision do not freeze the chart', async (t) => {
  const { publish } = await s.client(t)
  const { page, problems } = await s.open(t, {
    hash: { chart: 'edge/value\n', topic: 'edge/value' },
  })
  await tab(page, 'Charts')
  const values = [
    '10000000000000000',
    '10000000000000002',
    '5e-324',
    '1.7e308',
    '-1.7e308',
    '9007199254740993',
  ]
  for (const value of values) {
    await publish('edge/value', value)
    await sleep(150)
    assert.ok(await awake(page), `the page is awake after ${value}`)
  }
  await page.waitForSelector('.readout:has-text("max")')
  await page.waitForSelector('#value:has-text("9007199254740993")')
  noProblems(problems)
})

test('a panel that fails leaves the others alone', async (t) => {
  const { publish } = await s.client(t)
  const { page } = await s.open(t, { hash: { chart: 'fails/value\n', sub: '1:fails/#' } })
  await page.evaluate(() => {
    CanvasRenderingContext2D.prototype.fillText = () => {
      throw new Error('no text today')
    }
  })
  await publish('fails/value', '1')
  await publish('fails/value', '2')
  await tab(page, 'Charts')
  await page.waitForSelector('.charts .failure:has-text("no text today")')
  await publish('fails/value', '3')
  await page.waitForSelector('.node[title="fails/value"] .value:text-is("3")')
  await tab(page, 'Messages')
  await page.waitForSelector('.message:has-text("fails/value")')
})

test('any number can be charted: of 10,000 topics, of 300 fields, nested, and late', async (t) => {
  const { client, publish } = await s.client(t)
  const { page, problems } = await s.open(t)
  for (let n = 0; n < 10_000; n++) client.publish(`many/${n % 100}/${n}`, String(n))
  await page.waitForFunction(() =>
    /^1\d\.\d k topics|^10000 topics|^10\.\d k/.test(
      document.querySelector('#tree-count').textContent,
    ),
  )
  await choose(page, 'many/99/9999')
  await page.click('.value-row .chart-this')
  await page.waitForSelector('.legend-row:has-text("many/99/9999") .readout:has-text("9999")')

  const fields = Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`f${n}`, { deep: [n] }]))
  await publish('wide', JSON.stringify(fields))
  await choose(page, 'wide')
  await page.locator('.json .chart-this').first().waitFor()
  await page.locator('button:has-text("Show more rows")').click()
  await page.locator('button:has-text("Show more rows")').click()
  await page.click('[aria-label="Chart f299.deep[0]"]')
  await page.waitForSelector('.legend-row:has-text("wide › f299.deep[0]") .readout:has-text("299")')

  await publish('late', 'starting')
  await choose(page, 'late')
  await publish('late', '7')
  await page.click('.value-row .chart-this')
  await page.waitForSelector('.legend-row:has-text("late") .readout:has-text("7")')
  noProblems(problems)
})

test('what is stale looks stale, says since when, and goes with its broker', async (t) => {
  const broker = await startBroker()
  t.after(() => broker.stop())
  const secured = await startBroker({ closed: true })
  t.after(() => secured.stop())
  const { page } = await s.open(t, { url: broker.url })
  await page.fill('#publish [name=topic]', 'plant/status')
  await page.fill('#publish [name=payload]', 'online')
  await page.click('#publish-send')
  await tab(page, 'Devices')
  await page.waitForSelector('#devices .online:has-text("plant")')
  assert.equal(await text(page, '#devices-count'), '1 of 1 device online')

  broker.close()
  await page.waitForSelector('#state[data-state="waiting"]')
  await page.waitForSelector('#stale:has-text("last seen")')
  await page.waitForSelector('#devices .unknown:has-text("last seen")')
  assert.match(await text(page, '#devices-count'), /unknown/)
  assert.ok(await page.evaluate(() => document.documentElement.hasAttribute('data-stale')))
  await broker.reopen()
  await page.click('#action')
  await page.waitForSelector('#state[data-state="connected"]')
  await page.waitForSelector('#stale', { state: 'detached' })
  await page.waitForSelector('#devices .online')

  // Another broker, which refuses: the reason stands in the bar, and nothing of the old one is left.
  await page.click('#broker')
  await page.fill('#connection [name=url]', secured.url)
  await page.fill('#connection [name=username]', 'me')
  await page.fill('#connection [name=password]', 'wrong')
  await page.click('#connect')
  await page.waitForSelector('#state[data-state="failed"]')
  assert.match(await text(page, '#state-text'), /not authori[sz]ed|user name or password/i)
  // Each panel is drawn in its own time.
  await page.waitForFunction(() => document.querySelectorAll('.node, #devices li').length === 0)
  await page.waitForSelector('#tree-count:has-text("0 topics, 0 messages")')
  assert.equal(await page.locator('#stale').count(), 0)
})

test('while the client waits, nothing throws the queue away without asking', async (t) => {
  const broker = await startBroker()
  t.after(() => broker.stop())
  const { page } = await s.open(t, { url: broker.url })
  broker.close()
  await page.waitForSelector('#state[data-state="waiting"]')
  assert.equal((await text(page, '#action')).trim(), 'Try now')
  await page.fill('#publish [name=topic]', 'queued')
  await page.click('#publish-send')
  await page.waitForSelector('#queued:has-text("1")')
  await page.click('#action')
  await page.waitForSelector('#state[data-state="waiting"]')
  await page.waitForSelector('#queued:has-text("1")')
  await page.click('#broker')
  await page.click('#connect')
  await page.waitForSelector('dialog:has-text("Give up what is queued?")')
  await page.click('button:has-text("Keep waiting")')
  await page.keyboard.press('Escape')
  await page.waitForSelector('#queued:has-text("1")')
  // The browser asks as well, where somebody leaves with a queue.
  const asked = page.waitForEvent('dialog')
  const leaving = page.reload().catch(() => {})
  await (await asked).dismiss()
  await broker.reopen()
  await page.click('#action')
  await page.waitForSelector('#sent .acknowledged:has-text("queued")')
  await Promise.race([leaving, sleep(100)])
})

test('ten reloads leave no session behind', async (t) => {
  const { page } = await s.open(t)
  const before = await s.broker.sessions()
  for (let n = 0; n < 10; n++) {
    await page.reload()
    await page.waitForSelector('#state[data-state="connected"]')
  }
  assert.equal(await s.broker.sessions(), before)
  // A tab that is closed goes as well.
  await page.goto('about:blank')
  let now
  await eventually(
    async () => (now = await s.broker.sessions()) === before - 1,
    () => `${now} sessions, ${before} before`,
  )
})

test('a refusal is said where the person looks', async (t) => {
  const { page } = await s.open(t, { hash: { sub: ['1:good/#', '1:bad/#/filter'] } })
  await page.waitForSelector('#alerts:has-text("bad/#/filter")')
  await page.getByRole('tab', { name: /Subscriptions/ }).click()
  await page.waitForSelector('#subscriptions .granted:has-text("good/#")')
  await page.waitForSelector('#subscriptions .refused:has-text("bad/#/filter")')

  await page.click('#broker')
  await page.fill('#connection [name=url]', 'http://127.0.0.1/')
  await page.click('#connect')
  await page.waitForSelector('.mistake:has-text("ws:// or wss://")')
  await page.fill('#connection [name=url]', 'localhost:9001')
  await page.waitForSelector('.mistake:has-text("no URL")')
  await page.fill('#connection [name=url]', s.broker.url)
  await page.click('#will summary')
  await page.check('#connection [name=will]')
  await page.fill('#connection [name=willTopic]', '')
  await page.click('#connect')
  await page.waitForSelector('.mistake:has-text("A will needs a topic.")')
  await page.waitForSelector('#connection [name=willTopic]:focus')
  // What the connection is has not changed by that.
  assert.equal(await page.getAttribute('#state', 'data-state'), 'connected')
})

test('data are shown and sent as they came', async (t) => {
  const { got, publish } = await s.client(t, 'as-it-came/#')
  const { page, problems } = await s.open(t, { hash: { sub: '2:as-it-came/#' } })
  const big = JSON.stringify({
    id: 'NUMBER',
    list: Array.from({ length: 4_000 }, (_, n) => `é${n}`),
  }).replace('"NUMBER"', '9007199254740993')
  const properties = {
    contentType: 'application/json',
    responseTopic: 'answers/here',
    correlationData: Buffer.from([1, 2, 255]),
    messageExpiryInterval: 600,
    payloadFormatIndicator: true,
    userProperties: { a: ['1', '2'] },
  }
  await publish('as-it-came/json', big, { qos: 2, retain: true, properties })
  await choose(page, 'as-it-came/json')
  await page.waitForSelector('#json .json-number:has-text("9007199254740993")')
  await tab(page, 'Text')
  await page.waitForFunction(
    (length) => document.querySelector('#payload').textContent.length === length,
    big.length,
  )
  await page.click('#reuse')
  await page.click('#publish-send')
  await eventually(() => got.length === 2, 'the copy')
  const [first, copy] = got
  assert.ok(first.payload.equals(copy.payload))
  for (const key of ['qos', 'retain']) assert.equal(copy.packet[key], first.packet[key], key)
  assert.deepEqual({ ...copy.packet.properties }, { ...first.packet.properties })

  const binary = Buffer.from(Array.from({ length: 3_000 }, (_, n) => n % 256))
  await publish('as-it-came/bytes', binary)
  await choose(page, 'as-it-came/bytes')
  await tab(page, 'Bytes')
  await page.waitForSelector('.hex-row:has-text("000010  10 11 12")')
  await page.click('#reuse')
  await page.click('#publish-send')
  await eventually(() => got.length === 4, 'the copy of the bytes')
  assert.ok(got[3].payload.equals(binary))

  // A character that the edge of the shown part cuts is no reason to call it binary.
  await publish('as-it-came/cut', `x${'é'.repeat(40_000)}`)
  await choose(page, 'as-it-came/cut')
  await tab(page, 'Text')
  await page.waitForSelector('#payload:has-text("xéé")')
  await page.waitForSelector('.more:has-text("78.1 KiB")')
  noProblems(problems)
})

test('what the broker retains is known, whatever came last', async (t) => {
  const { publish } = await s.client(t)
  await publish('kept/topic', 'first', { retain: true })
  const { page, problems } = await s.open(t, { hash: { sub: '1:kept/#' } })
  const badge = page.locator('.node[title="kept/topic"] .badge')
  await page.waitForSelector('.node[title="kept/topic"] .badge:has-text("R")')
  await publish('kept/topic', 'live')
  await page.waitForSelector('.node[title="kept/topic"] .value:text-is("live")')
  assert.equal(await badge.textContent(), 'R')
  await choose(page, 'kept/topic')
  await page.waitForSelector('#facts:has-text("the broker retains an earlier one: first")')
  await page.click('#unretain')
  await page.waitForSelector('dialog:has-text("Delete the retained message?")')
  await page.keyboard.press('Escape')
  await sleep(200)
  assert.equal(await badge.textContent(), 'R', 'nothing is deleted without a yes')
  await page.click('#unretain')
  await page.click('dialog .danger')
  await page.waitForFunction(
    () => document.querySelector('.node[title="kept/topic"] .badge').textContent === '',
  )
  const late = await s.client(t, 'kept/#')
  await sleep(300)
  assert.deepEqual(late.got, [])
  noProblems(problems)
})

test('presence is honest about what it does not know', async (t) => {
  const { client, publish } = await s.client(t)
  await publish('tele/plug/LWT', 'Online', { retain: true })
  for (let n = 0; n < 250; n++) client.publish(`crowd/${n}/status`, 'online', { retain: true })
  const { page, problems } = await s.open(t)
  await tab(page, 'Devices')
  await page.waitForSelector('#devices-count:has-text("251 of 251 devices online")')
  await page.waitForSelector('#devices li:has-text("plug"):has-text("already when we came")')
  await publish('tele/plug/LWT', 'Offline', { retain: true })
  await page.waitForSelector('#devices li.offline:has-text("plug"):has-text("Offline since")')
  await page.waitForSelector('#devices-count:has-text("250 of 251 devices online")')
  noProblems(problems)
})

test('JSON of 4,000 levels stays as large as what can be shown', async (t) => {
  const { publish } = await s.client(t)
  const { page, problems } = await s.open(t)
  await publish('deep', '['.repeat(4_000) + ']'.repeat(4_000))
  const began = Date.now()
  await choose(page, 'deep')
  await page.waitForSelector('#json .json-row')
  assert.ok(Date.now() - began < 3_000, `${Date.now() - began} ms`)
  assert.ok((await page.locator('.json-row').count()) < 10)
  await page.locator('#json .twist[aria-expanded=false]').click()
  await page.waitForFunction(() => document.querySelectorAll('.json-row').length === 5)
  assert.ok((await page.evaluate(() => document.body.textContent.length)) < 20_000)
  await tab(page, 'Text')
  await tab(page, 'Difference')
  assert.ok(await awake(page))
  noProblems(problems)
})

test('silence is shown long before the keep-alive ends it', async (t) => {
  const broker = await startBroker()
  t.after(() => broker.stop())
  const { page } = await s.open(t, { url: broker.url })
  const timer = setInterval(
    () => page.evaluate(() => document.getElementById('publish-send').click()).catch(() => {}),
    300,
  )
  t.after(() => clearInterval(timer))
  await page.waitForFunction(() => !/^0\/s$/.test(document.querySelector('#rate-in').textContent))
  await sleep(6_500)
  broker.freeze()
  await page.waitForSelector('#state[data-state="quiet"]', { timeout: 8_000 })
  assert.match(await text(page, '#state-text'), /silent for \d+ s/)
})

test('labels have the room they need, and names are isolated', async (t) => {
  const { publish } = await s.client(t)
  const { page, problems } = await s.open(t, {
    hash: { chart: 'million\n', sub: ['1:million', '1:+'] },
  })
  await tab(page, 'Charts')
  for (const value of [1_234_567.25, 1_234_568.5, 1_234_567.75]) {
    await publish('million', String(value))
    await sleep(120)
  }
  await page.waitForSelector('.readout:has-text("max")')
  // The plot begins to the right of its widest label: a million with digits needs more than the 52 px that all labels had.
  await page.waitForFunction(
    () =>
      document.querySelector('.u-wrap canvas') &&
      document.querySelector('.u-over').getBoundingClientRect().left -
        document.querySelector('.u-wrap').getBoundingClientRect().left >
        62,
  )
  // Half of a time has room to the right of the plot, where the last one may stand.
  const [wrap, plot] = await page.evaluate(() =>
    ['.u-wrap', '.u-over'].map(
      (name) => document.querySelector(name).getBoundingClientRect().right,
    ),
  )
  assert.ok(wrap - plot >= 26, `${wrap - plot} px`)
  await publish('turned\u202Eround', 'x\u202Ey')
  await page.waitForSelector('.node .name:has-text("turned⟨U+202E⟩round")')
  const isolated = await page.evaluate(() =>
    [...document.querySelectorAll('.node .name, .node .value')].every(
      (e) => getComputedStyle(e).unicodeBidi === 'isolate',
    ),
  )
  assert.ok(isolated)
  noProblems(problems)
})

test('the page needs nothing of its host but its files', async (t) => {
  const page = await s.browser.newPage()
  t.after(() => page.close())
  const asked = []
  page.on('request', (request) => asked.push(request.url()))
  page.on('response', (response) => assert.ok(response.status() < 400, response.url()))
  await page.goto(s.host.url)
  await page.waitForSelector('dialog:has-text("Connection")')
  await page.fill('#connection [name=url]', s.broker.url)
  await page.click('#connect')
  await page.waitForSelector('#state[data-state="connected"]')
  assert.ok(
    asked.every((url) => url.startsWith(s.host.url) || url.startsWith('ws:')),
    asked.join('\n'),
  )
  // A visit later goes on where this one was.
  await page.goto('about:blank')
  await page.goto(s.host.url)
  await page.waitForSelector('#state[data-state="connected"]')
  for (const name of ['', 'fleet.html']) {
    await page.goto(`${s.host.url}${name}#url=${encodeURIComponent(s.broker.url)}`)
    await page.waitForSelector('#state[data-state="connected"]')
    // Its policy is in the page itself: no text becomes a script or markup.
    await assert.rejects(
      page.evaluate(() => {
        document.createElement('script').textContent = 'document.title = "run"'
      }),
      /TrustedScript/,
    )
    await assert.rejects(
      page.evaluate(() => {
        document.body.innerHTML = '<b>bold</b>'
      }),
      /TrustedHTML/,
    )
  }
})

test('what comes from the network never becomes markup', async (t) => {
  const { publish } = await s.client(t)
  const { page, problems } = await s.open(t, { hash: { sub: '1:evil/#' } })
  const evil = '<img src=/x onerror="document.title=1"><b>bold</b>'
  await publish(`evil/${evil}/status`, 'online', {
    properties: { userProperties: { [evil]: evil }, contentType: evil },
  })
  await publish('evil/json', JSON.stringify({ [evil]: [evil, 1] }))
  await page.fill('#search', 'status')
  await page.locator('.node:has-text("status")').last().click()
  await page.waitForSelector('.properties:has-text("onerror")')
  await tab(page, 'Devices')
  await page.waitForSelector('#devices:has-text("onerror")')
  await choose(page, 'evil/json')
  await page.waitForSelector('#json:has-text("onerror")')
  assert.equal(await page.locator('#app img, #json b, .properties b').count(), 0)
  assert.equal(await page.title(), 'wasmqtt dashboard')
  noProblems(problems)
})
