// What the dashboard can do: explorer, charts, publishing, connection, offline. On Mosquitto, and with BROKER=embedded on the test broker.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { choose, eventually, noProblems, stage, tab } from './dashboard-harness.mjs'

let s
before(async () => {
  s = await stage()
})
after(() => s?.stop())

const focused = (page) =>
  page.evaluate(
    () =>
      document.activeElement.id ||
      document.activeElement.className ||
      document.activeElement.tagName,
  )

async function downloaded(page, selector) {
  const [file] = await Promise.all([page.waitForEvent('download'), page.click(selector)])
  return { name: file.suggestedFilename(), content: readFileSync(await file.path()) }
}

describe('explorer', () => {
  test('the tree: values, counts, a search that keeps the selection, $SYS', async (t) => {
    const { publish } = await s.client(t)
    for (const name of ['alpha', 'beta', 'gamma'])
      for (let n = 0; n < 3; n++) await publish(`tree/${name}/value`, String(n))
    const { page, problems } = await s.open(t, { hash: { sub: ['1:tree/#', '0:$SYS/#'] } })
    for (const name of ['alpha', 'beta', 'gamma'])
      for (const value of ['6', '7']) await publish(`tree/${name}/value`, value)
    await choose(page, 'tree/beta/value')
    await page.fill('#search', '')
    await page.waitForSelector(
      '.node[title="tree/beta/value"][aria-selected="true"] .value:text-is("7")',
    )
    await page.waitForSelector('.node[title="tree"] .count:text-is("6")')
    await page.waitForSelector('.node[title="tree"] .rate:has-text("/s")')
    // The line of a topic are its values, that of a branch its rate; one that is silent has none.
    for (const path of ['tree/beta/value', 'tree'])
      await page.waitForSelector(`.node[title="${path}"] polyline[points*=" "]`)
    await page.waitForSelector('.node[title="tree"] polyline[points=""]', {
      state: 'attached',
      timeout: 25_000,
    })
    assert.equal(await page.locator('.node[title="$SYS"]').count(), 0)
    if (s.broker.tellsOfItself) {
      await page.getByLabel('$SYS').check()
      await page.waitForSelector('.node[title="$SYS"]')
      await page.getByLabel('$SYS').uncheck()
      await page.waitForSelector('.node[title="$SYS"]', { state: 'detached' })
    }
    noProblems(problems)
  })

  test('the keyboard: arrows, Home, End, type-ahead, Escape; the focus is never lost', async (t) => {
    const { publish } = await s.client(t)
    const { page, problems } = await s.open(t, { hash: { sub: '1:keys/#' } })
    for (const name of ['alpha', 'beta', 'bravo']) await publish(`keys/${name}/value`, '1')
    await page.waitForSelector('.node[title="keys/bravo/value"]')
    await page.keyboard.press('/')
    assert.equal(await focused(page), 'search')
    await page.keyboard.type('value')
    await page.keyboard.press('ArrowDown')
    assert.equal(await focused(page), 'tree')
    await page.keyboard.press('/')
    await page.keyboard.press('Escape')
    assert.equal(await focused(page), 'tree')
    const selected = (path) => page.waitForSelector(`.node[title="${path}"][aria-selected="true"]`)
    await page.keyboard.press('Home')
    await selected('keys')
    await page.keyboard.press('End')
    await selected('keys/bravo/value')
    await page.keyboard.press('Home')
    await page.keyboard.type('br')
    await selected('keys/bravo')
    await page.keyboard.press('ArrowLeft')
    await page.waitForSelector('.node[title="keys/bravo"][aria-expanded="false"]')
    await page.keyboard.press('ArrowRight')
    await page.keyboard.press('ArrowRight')
    await selected('keys/bravo/value')
    assert.ok(await page.getAttribute('#tree', 'aria-activedescendant'))

    // Dialogs give the focus back, and tabs keep it.
    await page.focus('#broker')
    await page.keyboard.press('Enter')
    await page.waitForSelector('dialog')
    await page.keyboard.press('Escape')
    await page.waitForSelector('dialog', { state: 'detached' })
    assert.equal(await focused(page), 'broker')
    await page.focus('#tab-messages')
    for (const name of ['charts', 'retained', 'traffic', 'messages']) {
      await page.keyboard.press('ArrowRight')
      assert.equal(await focused(page), `tab-${name}`)
    }
    // Through the whole page with Tab: the body has the focus at its end only.
    await page.focus('#broker')
    const seen = new Set()
    for (let n = 0; n < 60; n++) {
      await page.keyboard.press('Tab')
      const at = await page.evaluate(() => document.activeElement === document.body)
      if (at) break
      seen.add(await focused(page))
    }
    // What had the focus goes away: it stays near.
    await page.getByRole('tab', { name: 'Subscriptions' }).click()
    await page.focus('[aria-label="Unsubscribe from keys/#"]')
    await page.keyboard.press('Enter')
    await page.waitForSelector('text=No subscription')
    assert.notEqual(await focused(page), 'BODY')
    for (const id of ['tree', 'messages', 'publish-payload', 'publish-send', 'pause'])
      assert.ok(seen.has(id), `${id} among ${[...seen]}`)
    noProblems(problems)
  })

  test('the detail: change, history of the last hundred, difference, a message of the past', async (t) => {
    const { publish } = await s.client(t)
    const { page, problems } = await s.open(t, { hash: { sub: '1:detail/#' } })
    for (let n = 1; n <= 120; n++) await publish('detail/count', String(n))
    await choose(page, 'detail/count')
    await page.waitForSelector('#value:has-text("120")')
    await page.waitForSelector('.delta.up:has-text("1")')
    await tab(page, 'History')
    await page.waitForFunction(() => document.querySelectorAll('#history tbody tr').length === 100)
    await page.locator('#history tbody tr').nth(99).locator('button').click()
    await page.waitForSelector('#value:has-text("21")')
    await page.click('#unpin')
    await page.waitForSelector('#value:has-text("120")')
    await publish('detail/json', '{"a":1,"b":{"c":"x"}}')
    await publish('detail/json', '{"a":1,"b":{"c":"y"},"d":true}')
    await choose(page, 'detail/json')
    await tab(page, 'Difference')
    await page.waitForSelector('.diff .removed:has-text(\'b.c: "x"\')')
    await page.waitForSelector('.diff .added:has-text(\'b.c: "y"\')')
    await page.waitForSelector('.diff .added:has-text("d: true")')
    await tab(page, 'JSON')
    await page.waitForSelector('.json-row.changed:has-text("y")')
    noProblems(problems)
  })

  test('the messages: a branch, selection while time goes on, pause, clear, export', async (t) => {
    const { publish } = await s.client(t)
    const { page, problems } = await s.open(t, { hash: { sub: '1:list/#', topic: 'list/a' } })
    await publish('list/a/1', 'one', { properties: { userProperties: { k: 'v' } } })
    await publish('list/b/1', '=cmd()')
    await page.waitForSelector('.message:has-text("list/a/1"):has-text("Q1 P")')
    assert.equal(await page.locator('.message').count(), 1)
    await page.click('text=All topics')
    await page.waitForSelector('.message:has-text("list/b/1")')
    await page.click('.message:has-text("list/a/1")')
    await page.waitForSelector('.properties:has-text("k")')
    await publish('list/a/1', 'two')
    await page.waitForSelector('.message:has-text("two")')
    await page.waitForSelector('.message[aria-selected="true"]:has-text("one")')
    await page.click('#pause')
    await publish('list/a/1', 'three')
    await sleep(400)
    assert.equal(await page.locator('.message:has-text("three")').count(), 0)
    const json = await downloaded(page, '#export-json')
    const rows = JSON.parse(String(json.content))
    assert.deepEqual(
      rows.map(({ topic, payload }) => `${topic} ${payload}`),
      ['list/a/1 one', 'list/b/1 =cmd()', 'list/a/1 two'],
    )
    assert.deepEqual(rows[0].properties.userProperties, [['k', 'v']])
    const csv = String((await downloaded(page, '#export-csv')).content).split('\r\n')
    assert.equal(csv[0], 'time,topic,qos,retain,dup,size,encoding,payload')
    assert.match(csv[2], /"list\/b\/1",1,false,false,6,text,"'=cmd\(\)"$/)
    await page.click('#pause')
    await page.waitForSelector('.message:has-text("three")')
    await page.click('#clear')
    await page.waitForFunction(() => document.querySelectorAll('.message').length === 0)
    noProblems(problems)
  })

  test('rows stay where they are while somebody reads', async (t) => {
    const { client, publish } = await s.client(t)
    const { page } = await s.open(t, { hash: { sub: '1:read/#' } })
    for (let n = 0; n < 200; n++) client.publish('read/a', `old ${n}`)
    await page.waitForSelector('.message:has-text("old 199")')
    await page.locator('#messages').evaluate((box) => (box.scrollTop = 1_000))
    await sleep(200)
    const inView = () =>
      page.evaluate(() => {
        const box = document.querySelector('#messages').getBoundingClientRect()
        const row = [...document.querySelectorAll('.message')]
          .sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top)
          .find((r) => r.getBoundingClientRect().top >= box.top)
        return row.querySelector('.payload').textContent
      })
    const before = await inView()
    for (let n = 0; n < 50; n++) await publish('read/a', `new ${n}`)
    await page.waitForSelector('.newer')
    await sleep(300)
    assert.equal(await inView(), before)
    await page.click('.newer')
    await page.waitForSelector('.message:has-text("new 49")')
  })

  test('topics that come in above leave the tree where it is', async (t) => {
    const { client, publish } = await s.client(t)
    const { page } = await s.open(t, { hash: { sub: '1:grow/#' } })
    for (let n = 0; n < 100; n++) client.publish(`grow/m${n}`, '1')
    await page.waitForSelector('.node[title="grow/m10"]')
    await page.locator('#tree').evaluate((box) => (box.scrollTop = 780))
    await page.waitForSelector('.node[title="grow/m40"]')
    const top = () =>
      page
        .locator('.node[title="grow/m40"]')
        .evaluate((row) => Math.round(row.getBoundingClientRect().top))
    const before = await top()
    for (let n = 0; n < 60; n++) await publish(`grow/a${n}`, '1')
    await page.waitForFunction(() =>
      /^160 topics/.test(document.querySelector('#tree-count').textContent),
    )
    await sleep(200)
    assert.equal(await top(), before)
  })

  test('the retained messages: a branch is deleted after a question', async (t) => {
    const { publish } = await s.client(t)
    for (let n = 0; n < 5; n++)
      await publish(`shelf/${n % 2 ? 'a' : 'b'}/${n}`, String(n), { retain: true })
    const { page, problems } = await s.open(t, { hash: { sub: '1:shelf/#', topic: 'shelf/a' } })
    await tab(page, 'Retained')
    await page.waitForFunction(() => document.querySelectorAll('#retained li').length === 5)
    await page.getByLabel('Selected branch').check()
    await page.waitForFunction(() => document.querySelectorAll('#retained li').length === 2)
    await page.click('#clear-branch')
    await page.waitForSelector('dialog:has-text("Delete 2 retained messages?")')
    await page.click('dialog .danger')
    await page.waitForSelector('text=2 retained messages deleted.')
    await page.getByLabel('Selected branch').uncheck()
    await page.waitForFunction(() => document.querySelectorAll('#retained li').length === 3)
    await page.click('[aria-label="Delete the retained message of shelf/b/2"]')
    await page.click('dialog .danger')
    await page.waitForSelector('text=Deleted.')
    const late = await s.client(t, 'shelf/#')
    await eventually(
      () => late.got.length === 2,
      () => late.got.map(({ text }) => text).join(),
    )
    noProblems(problems)
  })
})

test('a crowd of retained messages is deleted without filling the queue, with its progress', async (t) => {
  const { client, publish } = await s.client(t)
  for (let n = 0; n < 1_500; n++) client.publish(`crowd/${n}`, String(n), { retain: true })
  await publish('crowd/end', '1', { retain: true })
  const { page, problems } = await s.open(t, { hash: { sub: '1:crowd/#' } })
  await tab(page, 'Retained')
  await page.waitForSelector('.retained [role="status"]:has-text("1501 messages")')
  await page.evaluate(() => {
    globalThis.said = new Set()
    globalThis.queued = 0
    const look = () => {
      globalThis.said.add(document.querySelector('.retained [role="status"]').textContent)
      const queued = Number(document.querySelector('#queued')?.textContent ?? 0)
      globalThis.queued = Math.max(globalThis.queued, queued)
    }
    new MutationObserver(look).observe(document.body, {
      subtree: true,
      childList: true,
      characterData: true,
    })
  })
  await page.click('#clear-branch')
  await page.click('dialog .danger')
  await page.waitForSelector('text=1501 retained messages deleted.', { timeout: 30_000 })
  const { said, queued } = await page.evaluate(() => ({
    said: [...globalThis.said],
    queued: globalThis.queued,
  }))
  assert.ok(
    said.some((text) => /^\d+ of 1501 deleted…$/.test(text)),
    said.slice(-5).join(),
  )
  assert.ok(queued <= 200, `${queued} queued`)
  assert.equal(await page.locator('#alerts p').count(), 0)
  const late = await s.client(t, 'crowd/#')
  await sleep(300)
  assert.deepEqual(late.got, [])
  noProblems(problems)
})

test('charts: dragged fields, several lines, windows, pause, zoom, PNG', async (t) => {
  const { publish } = await s.client(t)
  const { page, problems } = await s.open(t, { hash: { sub: '1:lines/#' } })
  for (let n = 0; n < 20; n++) {
    await publish('lines/json', JSON.stringify({ in: { t: 20 + n } }))
    await publish('lines/plain', String(n % 3))
  }
  await choose(page, 'lines/json')
  await tab(page, 'Charts')
  await page.locator('.json-row:has(.json-name:text-is("t"))').dragTo(page.locator('.panel.charts'))
  await page.waitForSelector(
    '.legend-row:has-text("lines/json › in.t") .readout:has-text("min 20  mean 29.5  max 39")',
  )
  await page.fill('#search', 'plain')
  await page.locator('.node[title="lines/plain"]').dragTo(page.locator('.panel.charts'))
  await page.waitForSelector('.legend-row:has-text("lines/plain") .readout:has-text("max 2")')
  assert.equal(await page.locator('.uplot').count(), 2)
  await page.getByLabel('One chart').check()
  await page.waitForFunction(() => document.querySelectorAll('.uplot').length === 1)
  // The window grows with the data up to what was chosen; what is chosen is said.
  await page.getByRole('button', { name: '30 s', exact: true }).click()
  await page.waitForSelector('button[aria-pressed="true"]:text-is("30 s")')
  await page.getByRole('button', { name: 'all', exact: true }).click()
  await page.waitForSelector('button[aria-pressed="true"]:text-is("all")')
  await page.click('#chart-pause')
  await publish('lines/plain', '50')
  await sleep(300)
  assert.doesNotMatch(
    await page.locator('.legend-row:has-text("lines/plain")').textContent(),
    /max 50/,
  )
  await page.click('#chart-pause')
  await page.waitForSelector('.legend-row:has-text("lines/plain") .readout:has-text("max 50")')
  const box = await page.locator('.u-over').boundingBox()
  await page.mouse.move(box.x + box.width * 0.3, box.y + 20)
  await page.mouse.down()
  await page.mouse.move(box.x + box.width * 0.6, box.y + 40, { steps: 4 })
  await page.mouse.up()
  await page.waitForSelector('#chart-pause[aria-pressed="true"]')
  await page.locator('.u-over').dblclick()
  await page.waitForSelector('#chart-pause[aria-pressed="false"]')
  const png = await downloaded(page, '#chart-png')
  assert.match(png.name, /\.png$/)
  assert.equal(png.content.subarray(1, 4).toString(), 'PNG')
  // The address keeps the lines, and the history fills them again.
  assert.match(
    decodeURIComponent(await page.evaluate(() => location.hash)),
    /chart=lines\/json\n\/in\/t/,
  )
  await page.click('[aria-label="Remove lines/plain"]')
  await page.waitForFunction(() => document.querySelectorAll('.legend-row').length === 1)
  noProblems(problems)
})

describe('publishing', () => {
  test('properties, the check, templates, repetition', async (t) => {
    const { got, has } = await s.client(t, 'pub/#')
    const { page, problems } = await s.open(t)
    await page.fill('[name=topic]', 'pub/a')
    await page.fill('#publish [name=payload]', '{"a":1,}')
    await page.waitForSelector('#payload-check.mistake:has-text("Not JSON")')
    await page.fill('#publish [name=payload]', '{"a":1}')
    await page.waitForSelector('#payload-check:has-text("JSON, 7 B")')
    await page.click('summary:has-text("Properties")')
    await page.fill('[name=contentType]', 'application/json')
    await page.fill('[name=expiry]', '60')
    await page.fill('[name=responseTopic]', 'pub/answers')
    await page.fill('[name=correlation]', '0x0102ff')
    await page.fill('[name=userProperties]', 'one: 1\none: 2')
    await page.keyboard.press('Control+Enter')
    await page.click('#publish-send')
    await has('pub/a {"a":1}')
    const { properties } = got[0].packet
    assert.equal(properties.contentType, 'application/json')
    assert.equal(properties.messageExpiryInterval, 60)
    assert.equal(properties.correlationData.toString('hex'), '0102ff')
    assert.deepEqual({ ...properties.userProperties }, { one: ['1', '2'] })
    await page.waitForSelector('#sent li:has-text("pub/a"):has-text("ms")')
    // The history brings all of a message back.
    await page.fill('#publish [name=payload]', 'changed')
    await page.fill('[name=userProperties]', '')
    await page.click('#sent li button')
    assert.equal(await page.inputValue('#publish [name=payload]'), '{"a":1}')
    assert.equal(await page.inputValue('[name=userProperties]'), 'one: 1\none: 2')

    await page.click('summary:has-text("Repeat")')
    await page.fill('[name=template]', 'my template')
    await page.click('#save-template')
    await page.fill('[name=every]', '50')
    await page.click('#repeat')
    await eventually(
      () => got.length >= 6,
      () => `${got.length} messages`,
    )
    await page.click('#repeat')
    // What stands in the form, and the templates, are there after a reload.
    await page.reload()
    await page.waitForSelector('#state[data-state="connected"]')
    assert.equal(await page.inputValue('[name=topic]'), 'pub/a')
    await page.fill('[name=topic]', 'something/else')
    await page.click('summary:has-text("Repeat")')
    await page.click('#templates button:has-text("my template")')
    assert.equal(await page.inputValue('[name=topic]'), 'pub/a')
    assert.equal(await page.inputValue('[name=userProperties]'), 'one: 1\none: 2')
    await page.selectOption('[name=format]', 'hex')
    await page.fill('#publish [name=payload]', 'zz')
    await page.click('#publish-send')
    await page.waitForSelector('#published.failed')
    noProblems(problems)
  })

  test('a request gets its response', async (t) => {
    const { client } = await s.client(t, 'ask/me')
    client.on('message', (topic, payload, { properties }) => {
      if (topic === 'ask/me')
        client.publish(properties.responseTopic, `you said ${payload}`, {
          properties: { correlationData: properties.correlationData },
        })
    })
    const { page, problems } = await s.open(t)
    await page.fill('[name=topic]', 'ask/me')
    await page.fill('#publish [name=payload]', 'hello')
    await page.click('#request')
    await page.waitForSelector('#response:has-text("you said hello")').catch(async (error) => {
      throw new Error(await page.textContent('#published'), { cause: error })
    })
    noProblems(problems)
  })
})

describe('connection', () => {
  test('subscriptions: added, granted, counted, removed; kept over a reload', async (t) => {
    const { publish } = await s.client(t)
    const { page, problems } = await s.open(t, { hash: { sub: '1:subs/a' } })
    await tab(page, 'Subscriptions')
    await page.fill('#subscribe [name=filter]', 'subs/+/x')
    await page.click('#subscribe button')
    await page.waitForSelector('#subscriptions .granted:has-text("subs/+/x"):has-text("QoS 1")')
    await publish('subs/b/x', '1')
    await publish('subs/a', '1')
    await page.waitForSelector('.message[data-colour="1"]:has-text("subs/b/x")')
    await page.reload()
    await page.waitForSelector('#subscriptions .granted:has-text("subs/+/x")')
    await page.click('[aria-label="Unsubscribe from subs/+/x"]')
    await page.waitForFunction(() => document.querySelectorAll('#subscriptions li').length === 1)
    noProblems(problems)
  })

  test('filters are typed line by line, and each is subscribed to', async (t) => {
    const { page, problems } = await s.open(t, { hash: { sub: '1:typed/a' } })
    await page.click('#broker')
    await page.focus('[name=filters]')
    await page.keyboard.press('Control+End')
    for (const line of ['', 'typed/b/#', '', 'typed/+/c'])
      if (line === '') await page.keyboard.press('Enter')
      else await page.keyboard.type(line)
    assert.equal(await page.inputValue('[name=filters]'), 'typed/a\ntyped/b/#\ntyped/+/c')
    await page.click('#connect')
    await tab(page, 'Subscriptions')
    for (const filter of ['typed/a', 'typed/b/#', 'typed/+/c'])
      await page.waitForSelector(`#subscriptions .granted:has-text("${filter}")`)
    noProblems(problems)
  })

  test('profiles keep no password unless asked, and the address never', async (t) => {
    const { page } = await s.open(t)
    await page.click('#broker')
    await page.fill('#connection [name=username]', 'me')
    await page.fill('#connection [name=password]', 'sesame')
    await page.fill('[aria-label="Name of this connection"]', 'secret one')
    await page.click('#save-profile')
    await page.waitForSelector('#profiles:has-text("secret one")')
    await page.click('#connect')
    await page.waitForSelector('#state[data-state="connected"]')
    const kept = () =>
      page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage, at: location.href }))
    assert.doesNotMatch(await kept(), /sesame/)
    await page.click('#broker')
    // What was saved comes back with a click.
    await page.fill('#connection [name=username]', 'somebody else')
    await page.click('#profiles button:has-text("secret one")')
    assert.equal(await page.inputValue('#connection [name=username]'), 'me')
    assert.equal(await page.inputValue('#connection [name=password]'), '')
    await page.fill('#connection [name=password]', 'sesame')
    await page.check('[name=remember]')
    await page.click('#save-profile')
    assert.match(await kept(), /sesame/)
    assert.doesNotMatch(await page.evaluate(() => location.href), /sesame|me@/)
    await page.click('[aria-label="Delete secret one"]')
    await page.waitForSelector('#profiles:has-text("None yet")')
  })

  test('the will: set, the connection cut, the will seen', async (t) => {
    const witness = await s.client(t, 'wills/#')
    const { page } = await s.open(t)
    await page.click('#broker')
    await page.click('#will summary')
    await page.check('#connection [name=will]')
    await page.fill('#connection [name=willTopic]', 'wills/page')
    await page.fill('#connection [name=willPayload]', 'farewell')
    await page.click('#connect')
    await page.waitForSelector('#state[data-state="connected"]')
    await tab(page, 'Offline')
    await page.click('#cut-and-watch')
    await page.waitForSelector('#will-said:has-text("The will arrived after"):has-text("farewell")')
    await witness.has('wills/page farewell')
    await page.waitForSelector('#state[data-state="connected"]', { timeout: 20_000 })
    // A goodbye is none.
    await page.click('#action')
    await page.waitForSelector('#state[data-state="off"]')
    await sleep(300)
    assert.equal(witness.got.length, 1)
  })

  test('traffic: what was agreed, statistics, packets as text', async (t) => {
    const { page, problems } = await s.open(t, {
      permissions: ['clipboard-read', 'clipboard-write'],
    })
    await tab(page, 'Traffic')
    await page.waitForSelector('#limits:has-text("Receive maximum")')
    await page.waitForSelector('#statistics:has-text("WebAssembly")')
    await page.waitForSelector('#timeline:has-text("CONNACK")')
    await page.click('text=Copy as text')
    await page.waitForSelector('text=Copied')
    const copied = await page.evaluate(() => navigator.clipboard.readText())
    assert.match(copied, /→ {2}CONNECT[\s\S]*← {2}CONNACK[\s\S]*→ {2}SUBSCRIBE[\s\S]*← {2}SUBACK/)
    noProblems(problems)
  })

  test('MQTT 3.1.1 works as well', async (t) => {
    const { page, problems } = await s.open(t, { hash: { version: '4', sub: '1:old/#' } })
    await page.waitForSelector('.version:has-text("MQTT 3.1.1")')
    await page.fill('[name=topic]', 'old/a')
    await page.check('[name=retain]')
    await page.click('#publish-send')
    await page.waitForSelector('.node[title="old/a"]')
    noProblems(problems)
  })
})

test('offline: the queue fills, drains in order, and nothing is lost', async (t) => {
  const { got } = await s.client(t, 'dashboard/offline-test')
  const { page, problems } = await s.open(t)
  await tab(page, 'Offline')
  await page.click('#network')
  await page.waitForSelector('#state[data-state="waiting"]')
  assert.equal(await page.textContent('#state-text'), 'The network is switched off on this page.')
  await page.click('#burst')
  await page.click('#burst')
  // At once, and not with the next count of the second.
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(resolve)))
  assert.equal(await page.textContent('#queue-length'), '20')
  assert.equal(await page.locator('#waiting li').count(), 20)
  await page.waitForSelector('#stale')
  await page.click('#network')
  await page.waitForSelector('#state[data-state="connected"]')
  await eventually(
    () => got.length === 20,
    () => `${got.length} arrived`,
  )
  assert.deepEqual(
    got.map(({ payload }) => Number(payload)),
    Array.from({ length: 20 }, (_, n) => n + 1),
  )
  await page.waitForFunction(
    () => [...document.querySelectorAll('#drained li')].at(-1)?.textContent === '20',
  )
  assert.equal(await page.textContent('#queue-length'), '0')
  assert.equal(await page.locator('#restored').count(), 0)
  noProblems(problems)
})

test('offline: a reload in between loses nothing', async (t) => {
  const { got } = await s.client(t, 'dashboard/offline-test')
  const { page, problems } = await s.open(t)
  page.on('dialog', (dialog) => dialog.accept())
  await tab(page, 'Offline')
  await page.click('#network')
  await page.waitForSelector('#state[data-state="waiting"]')
  await page.click('#burst')
  await page.waitForSelector('#queue-length:has-text("10")')
  for (const total of [10, 20]) {
    await page.reload()
    await page.waitForSelector(`#restored:has-text("${total} messages")`)
    assert.equal(await page.isChecked('#network'), false)
    await page.click('#burst')
    await page.waitForSelector(`#queue-length:has-text("${total + 10}")`)
  }
  await page.click('#network')
  await page.waitForSelector('#state[data-state="connected"]')
  await page.waitForSelector('#queue-length:text-is("0")')
  assert.deepEqual(
    got.map(({ payload }) => Number(payload)),
    Array.from({ length: 30 }, (_, n) => n + 1),
  )
  // Nothing is left to be sent a second time, and what somebody gives up stays away.
  await page.reload()
  await page.waitForSelector('#state[data-state="connected"]')
  await page.click('#network')
  await page.waitForSelector('#state[data-state="waiting"]')
  await page.click('#burst')
  await page.waitForSelector('#queue-length:has-text("10")')
  await page.click('#broker')
  await page.click('#connect')
  await page.click('button:has-text("Give them up")')
  await page.waitForSelector('#queue-length:text-is("0")')
  await page.reload()
  await page.click('#network')
  await page.waitForSelector('#state[data-state="connected"]')
  await tab(page, 'Publish')
  await page.fill('#publish [name=topic]', 'dashboard/offline-test')
  await page.fill('#publish [name=payload]', 'last')
  await page.click('#publish-send')
  await eventually(
    () => String(got.at(-1).payload) === 'last',
    () => `${got.at(-1).payload}`,
  )
  assert.equal(got.length, 31)
  noProblems(problems)
})
