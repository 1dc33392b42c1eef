// `npm start` with the dashboard in headless Chromium, and MQTT.js as the independent client.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import mqtt from 'mqtt'
import { root } from '../../scripts/tools.mjs'
import { openPage, startChromium } from './chromium.mjs'

const FREE = ['--port', '0', '--broker-port', '0', '--tcp-port', '0']

/** Runs `npm start` in its own process group, as a terminal does, and resolves when it says that it runs. */
async function start(...args) {
  const began = Date.now()
  const child = spawn('npm', ['start', '--', ...args], {
    cwd: root,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const run = { child, output: '', interrupt: () => process.kill(-child.pid, 'SIGINT') }
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (text) => (run.output += text))
  await eventually(
    () => run.output.includes('Try\n') || child.exitCode !== null,
    () => run.output,
    120_000,
  )
  assert.equal(child.exitCode, null, run.output)
  run.took = Date.now() - began
  run.page = /http:\S+/.exec(run.output)[0]
  run.websocket = /ws:\S+/.exec(run.output)[0]
  run.mqtt = /mqtt:\S+/.exec(run.output)[0]
  return run
}

async function stop({ child, interrupt }) {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  interrupt()
  await exit
}

async function eventually(isSo, what, timeout = 20_000) {
  const deadline = Date.now() + timeout
  while (!(await isSo())) {
    if (Date.now() > deadline)
      throw new Error(`not in ${timeout} ms: ${typeof what === 'function' ? await what() : what}`)
    await sleep(50)
  }
}

async function observe(t, url, filter) {
  const client = await mqtt.connectAsync(url, { protocolVersion: 4 })
  t.after(() => client.endAsync(true))
  const messages = []
  client.on('message', (topic, payload) => messages.push(`${topic} ${payload}`))
  if (filter) await client.subscribeAsync(filter, { qos: 1 })
  return {
    client,
    messages,
    has: (message) =>
      eventually(
        () => messages.includes(message),
        () => `${message} among ${messages}`,
      ),
  }
}

for (const broker of ['mosquitto', 'embedded'])
  describe(`npm start with the broker ${broker}`, () => stories(broker))

function stories(broker) {
  let run
  before(async () => (run = await start(...FREE, '--broker', broker, '--crash-every', '6')))
  after(() => stop(run))

  async function open(t, { path = '', ...options } = {}) {
    const browser = await startChromium(t)
    const opened = await openPage(browser, `${run.page}${path}`, {
      viewport: { width: 1440, height: 900 },
      ...options,
    })
    const { page } = opened
    page.setDefaultTimeout(20_000)
    await page.waitForSelector('#state[data-state="connected"]')
    return {
      ...opened,
      device: (name, state) =>
        page.waitForSelector(`#devices li.${state}:has-text("${name}")`, { timeout: 30_000 }),
    }
  }

  test('a first visit shows the fleet live, with a topic and charts', async (t) => {
    const { page, problems, device } = await open(t)
    await page.getByRole('tab', { name: 'Devices' }).click()
    for (const name of [
      'home/garden/weather',
      'home/kitchen/lamp',
      'home/living-room/climate',
      'home/utility/meter',
    ])
      await device(name, 'online')
    await page.waitForSelector('.node[title="home/living-room/climate/temperature"]')
    assert.match(await page.textContent('#state'), /Connected.*MQTT 5\.0/)
    await page.waitForSelector('#value:has-text("2")')
    await page.getByRole('tab', { name: 'Charts' }).click()
    await page.waitForSelector('.readout:has-text("max")')
    const total = () => page.textContent('#tree-count')
    const before = await total()
    await eventually(async () => (await total()) !== before, 'new messages')
    await page.getByRole('tab', { name: 'Retained' }).click()
    await page.waitForSelector('#retained li:has-text("home/utility/meter/status")')
    await page.getByRole('tab', { name: 'Traffic' }).click()
    await page.waitForSelector(
      `#limits:has-text("${{ mosquitto: 'Mosquitto', embedded: 'the embedded broker' }[broker]}")`,
    )
    assert.deepEqual(problems, [])
  })

  test('a device that crashes shows its will, and comes back', async (t) => {
    const { page, problems, device } = await open(t)
    await page.getByRole('tab', { name: 'Devices' }).click()
    await device('home/garage/door', 'online')
    await device('home/garage/door', 'offline')
    await device('home/garage/door', 'online')
    assert.deepEqual(problems, [])
  })

  test('the house: shows, publishes, and greys what is gone', async (t) => {
    const observer = await observe(t, run.mqtt, [
      'home/kitchen/lamp/state',
      'home/living-room/climate/target',
      'home/garage/door/set',
    ])
    const { page, problems } = await open(t, { path: 'fleet.html' })
    const tile = (device) => page.locator(`[data-device="${device}"]`)
    await tile('utility/meter').locator('.huge', { hasText: /\d/ }).waitFor()
    await tile('living-room/climate').locator('.gauge text', { hasText: /\d/ }).first().waitFor()
    // A switch, a slider and a button publish, and the devices answer.
    const lamp = tile('kitchen/lamp').getByRole('switch')
    await tile('kitchen/lamp').locator('text=Light on').waitFor()
    await lamp.click()
    await observer.has('home/kitchen/lamp/state off')
    await tile('kitchen/lamp').locator('text=Light off').waitFor()
    const thermostat = tile('living-room/climate').getByRole('slider')
    await thermostat.focus()
    await page.keyboard.press('End')
    await observer.has('home/living-room/climate/target 26.0')
    await thermostat.fill('21.5')
    await observer.has('home/living-room/climate/target 21.5')
    await page.waitForSelector('[data-device="garage/door"].online')
    await tile('garage/door').getByRole('button', { name: 'Stop' }).click()
    await observer.has('home/garage/door/set stop')
    // The crash is a moment one notices: the tile, the time, the list of events.
    await page.waitForSelector('[data-device="garage/door"].offline.lost:has-text("last seen")', {
      timeout: 30_000,
    })
    await page.waitForSelector('.events .bad:has-text("its last will has arrived")')
    assert.ok((await tile('garage/door').locator('.tile-body').getAttribute('inert')) !== null)
    await page.waitForSelector('[data-device="garage/door"].online', { timeout: 30_000 })
    await lamp.click()
    await observer.has('home/kitchen/lamp/state on')
    assert.deepEqual(problems, [])
  })

  test('what the page publishes arrives elsewhere, and the other way round', async (t) => {
    const observer = await observe(t, run.mqtt, ['from/page', 'home/kitchen/lamp/state'])
    const { page, problems } = await open(t)
    for (const qos of ['0', '1', '2']) {
      await page.fill('#publish [name=topic]', 'from/page')
      await page.fill('#publish [name=payload]', `hello at ${qos} ✓`)
      await page.selectOption('#publish [name=qos]', qos)
      await page.click('#publish-send')
      await observer.has(`from/page hello at ${qos} ✓`)
    }
    await page.waitForSelector('#published:has-text("Acknowledged after")')
    await observer.client.publishAsync('to/page', 'hello yourself', { qos: 1 })
    await page.getByRole('button', { name: 'All topics' }).click()
    await page.waitForSelector('.message:has-text("hello yourself")')
    await page.fill('#publish [name=topic]', 'home/kitchen/lamp/set')
    await page.fill('#publish [name=payload]', 'off')
    await page.click('#publish-send')
    await observer.has('home/kitchen/lamp/state off')
    assert.deepEqual(problems, [])
  })

  test('a flood leaves the document small and the page awake', async (t) => {
    const { page, problems } = await open(t)
    const { client } = await observe(t, run.mqtt)
    const elements = () => page.evaluate(() => document.querySelectorAll('*').length)
    let sent = 0
    for (const until = Date.now() + 4_000; Date.now() < until; await sleep(10)) {
      for (let at = 0; at < 40; at++)
        client.publish(`flood/${sent % 100}/${sent % 3_000}`, String(sent++))
    }
    const frames = await page.evaluate(
      () =>
        new Promise((resolve) => {
          let seen = 0
          const end = performance.now() + 1_000
          const frame = () => (
            seen++, performance.now() < end ? requestAnimationFrame(frame) : resolve(seen)
          )
          requestAnimationFrame(frame)
        }),
    )
    assert.ok(frames >= 10, `${frames} frames in a second`)
    assert.ok((await elements()) < 2_500, `${await elements()} elements`)
    await page.fill('#search', 'flood')
    await page.waitForSelector('.node[title="flood"]')
    assert.ok(sent > 5_000, `${sent} sent`)
    assert.deepEqual(problems, [])
  })

  test('a port that is in use is replaced, with a message, and Ctrl-C frees all ports', async (t) => {
    const { port } = new URL(run.page)
    const second = await start(
      '--port',
      port,
      '--broker-port',
      new URL(run.websocket).port,
      '--tcp-port',
      new URL(run.mqtt).port,
    )
    t.after(() => stop(second))
    assert.ok(second.took < 5_000, `ready after ${second.took} ms`)
    assert.ok(second.output.includes(`Port ${port} is in use`), second.output)
    assert.notEqual(new URL(second.page).port, port)
    assert.equal((await fetch(second.page)).status, 200)
    const began = Date.now()
    await stop(second)
    assert.ok(Date.now() - began < 5_000, 'slow to stop')
    for (const url of [second.page, second.websocket, second.mqtt])
      assert.ok(!(await accepts(new URL(url).port)), `${url} still open`)
  })
}

test('npm start stops when npm is asked to stop', async (t) => {
  const run = await start(...FREE)
  t.after(() => stop(run))
  run.child.kill('SIGTERM')
  for (const url of [run.page, run.websocket, run.mqtt])
    await eventually(async () => !(await accepts(new URL(url).port)), `${url} is closed`)
})

test('only the built pages are served', async (t) => {
  const run = await start(...FREE)
  t.after(() => stop(run))
  const get = (path) => fetch(new URL(path, run.page))
  const page = await get('/')
  assert.match(page.headers.get('content-type'), /^text\/html/)
  const script = /src="(\S+\.js)"/.exec(await page.text())[1]
  assert.match((await get(script)).headers.get('content-type'), /^text\/javascript/)
  for (const path of [
    '/package.json',
    '/pkg/index.js',
    '/scripts/start.mjs',
    '/assets/%2e%2e/package.json',
    '/..%2fpackage.json',
    '/assets/..%2f..%2fpackage.json',
    '/.inputs',
    '/.git/config',
  ])
    assert.equal((await get(path)).status, 404, path)
})

function accepts(port) {
  return new Promise((resolve) => {
    const socket = connectTcp(port, '127.0.0.1', () => resolve(true)).on('error', () =>
      resolve(false),
    )
    socket.on('connect', () => socket.destroy())
  })
}
