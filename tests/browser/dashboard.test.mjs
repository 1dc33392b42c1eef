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

describe('the dashboard on Mosquitto', () => {
  let run
  before(async () => (run = await start(...FREE, '--broker', 'mosquitto', '--crash-every', '8')))
  after(() => stop(run))

  async function open(t, options) {
    const browser = await startChromium(t)
    const opened = await openPage(browser, run.page, {
      viewport: { width: 1400, height: 900 },
      ...options,
    })
    const { page } = opened
    await page.waitForSelector('#state[data-state="connected"]', { timeout: 20_000 })
    return {
      ...opened,
      device: (name, state) =>
        page.waitForSelector(`#devices li.${state}:has-text("${name}")`, { timeout: 30_000 }),
    }
  }

  test('shows the messages of the fleet as they arrive', async (t) => {
    const { page, problems, device } = await open(t)
    for (const name of [
      'home/garden/weather',
      'home/kitchen/lamp',
      'home/living-room/climate',
      'home/utility/meter',
    ])
      await device(name, 'online')
    await page.waitForSelector('.node:has-text("temperature")')
    await page.waitForSelector('.message:has-text("home/utility/meter/power")')
    assert.match(await page.textContent('#state-text'), /Connected, MQTT 5\.0/)
    assert.match(await page.textContent('#notice'), /Mosquitto/)
    await page.waitForFunction(() => /max/.test(document.getElementById('readout').textContent))
    const total = () => page.textContent('#tree-count')
    const before = await total()
    await eventually(async () => (await total()) !== before, 'new messages')
    await page.click('.node:has-text("power")')
    await page.click('text=JSON')
    await page.waitForFunction(() =>
      document.getElementById('payload').textContent.includes('"watts": '),
    )
    await page.screenshot({ path: 'target/dashboard.png' })
    assert.deepEqual(problems, [])
  })

  test('shows the will of a device that crashes, and its return', async (t) => {
    const { problems, device } = await open(t)
    await device('home/garage/door', 'online')
    await device('home/garage/door', 'offline')
    await device('home/garage/door', 'online')
    assert.deepEqual(problems, [])
  })

  test('other clients receive what the page publishes, and the other way round', async (t) => {
    const observer = await observe(t, run.mqtt, ['from/page', 'home/kitchen/lamp/state'])
    const { page, problems } = await open(t)
    for (const qos of ['0', '1', '2']) {
      await page.fill('#publish [name=topic]', 'from/page')
      await page.fill('#publish [name=payload]', `hello at ${qos} ✓`)
      await page.selectOption('#publish [name=qos]', qos)
      await page.click('#publish button')
      await observer.has(`from/page hello at ${qos} ✓`)
    }
    await page.waitForSelector('#published:has-text("Acknowledged after")')
    await observer.client.publishAsync('to/page', 'hello yourself', { qos: 1 })
    await page.waitForSelector('.message:has-text("hello yourself")')
    await page.fill('#publish [name=topic]', 'home/kitchen/lamp/set')
    await page.fill('#publish [name=payload]', 'off')
    await page.click('#publish button')
    await observer.has('home/kitchen/lamp/state off')
    assert.deepEqual(problems, [])
  })

  test('text from the network never becomes markup', async (t) => {
    const { page, problems } = await open(t)
    const { client } = await observe(t, run.mqtt)
    const evil = '<img src=/x onerror="document.title=1"><b>bold</b>'
    await client.publishAsync(`evil/${evil}/status`, evil, { qos: 1 })
    await client.publishAsync(`evil/${evil}/value`, `{"${evil}": 1}`, { qos: 1 })
    // Show only this branch, because the list of all messages moves on under a click.
    await page.click('.node:has-text("onerror")')
    await page.click('.message:has-text("onerror")')
    await page.waitForFunction(() =>
      document.getElementById('payload').textContent.includes('onerror'),
    )
    assert.equal(await page.locator('main img, main b').count(), 0)
    assert.equal(await page.title(), 'wasmqtt dashboard')
    assert.deepEqual(problems, [])
  })

  test('a flood of messages leaves the document small and the page responsive', async (t) => {
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
    await page.waitForSelector('.node:has-text("flood")')
    assert.ok(sent > 5_000, `${sent} sent`)
    assert.deepEqual(problems, [])
  })

  test('the last will of the form is published when the connection is dropped, and not after a DISCONNECT', async (t) => {
    const observer = await observe(t, run.mqtt, 'wills/#')
    const { page, problems } = await open(t)
    const connectWithWill = async (topic) => {
      await page.fill('[name=willTopic]', topic)
      await page.click('#connect')
      await page.waitForSelector('#state[data-state="connected"]')
    }
    await page.click('summary:has-text("Last will")')
    await page.check('[name=will]')
    await page.uncheck('[name=willRetain]')
    await connectWithWill('wills/goodbye')
    await page.click('#disconnect')
    await page.waitForSelector('#state[data-state="closed"]')
    await connectWithWill('wills/dropped')
    await page.click('#drop')
    await observer.has('wills/dropped offline')
    assert.deepEqual(observer.messages, ['wills/dropped offline'])
    assert.deepEqual(problems, [])
  })

  test('shows the reason, a countdown and a button to stop if there is no broker', async (t) => {
    const { page } = await open(t)
    await page.fill('[name=url]', 'ws://127.0.0.1:1/mqtt')
    await page.click('#connect')
    await page.waitForSelector('#state-text:has-text("next try in")')
    await page.click('#retry')
    await page.waitForSelector('#state-text:has-text("next try in")')
    await page.fill('[name=url]', run.websocket)
    await page.selectOption('[name=version]', '4')
    await page.click('#connect')
    await page.waitForSelector('#state-text:has-text("Connected, MQTT 3.1.1")')
    await page.fill('[name=url]', 'http://127.0.0.1/')
    await page.click('#connect')
    await page.waitForSelector('#state[data-state="closed"]')
  })

  test('can be used with the keyboard', async (t) => {
    const { page, problems } = await open(t)
    await page.waitForSelector('.node:has-text("power")')
    await page.focus('#tree')
    await page.keyboard.press('Home')
    await page.keyboard.press('ArrowLeft')
    await page.waitForSelector('.node[aria-expanded="false"]:has-text("home")')
    await page.keyboard.press('ArrowRight')
    await page.keyboard.press('ArrowDown')
    await page.waitForSelector('.node[aria-selected="true"]:has-text("garage")')
    await page.waitForSelector('#branch:has-text("home/garage")')
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
})

test('npm start stops when npm is asked to stop', async (t) => {
  const run = await start(...FREE)
  t.after(() => stop(run))
  run.child.kill('SIGTERM')
  for (const url of [run.page, run.websocket, run.mqtt])
    await eventually(async () => !(await accepts(new URL(url).port)), `${url} is closed`)
})

test('the dashboard on the embedded broker speaks MQTT 5', async (t) => {
  const run = await start(...FREE)
  t.after(() => stop(run))
  const browser = await startChromium(t)
  const { page, problems } = await openPage(browser, run.page)
  await page.waitForSelector('#state-text:has-text("Connected, MQTT 5.0")', { timeout: 20_000 })
  await page.waitForSelector('#devices li.online:has-text("home/kitchen/lamp")')
  await page.waitForSelector('.message:has-text("home/utility/meter/power")')
  assert.match(await page.textContent('#notice'), /embedded broker/)
  assert.deepEqual(problems, [])
})

test('only the page and the package are served', async (t) => {
  const run = await start(...FREE)
  t.after(() => stop(run))
  const get = (path) => fetch(new URL(path, run.page))
  assert.match((await get('/pkg/index.js')).headers.get('content-type'), /^text\/javascript/)
  assert.equal((await get('/pkg/wasmqtt.wasm')).headers.get('content-type'), 'application/wasm')
  for (const path of [
    '/package.json',
    '/scripts/start.mjs',
    '/pkg/%2e%2e/package.json',
    '/..%2fpackage.json',
    '/pkg/..%2fpackage.json',
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
