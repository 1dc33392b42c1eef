// A client with an IndexedDBStore in Chromium, whose page is reloaded or whose renderer is killed at random moments, and a Mosquitto that
// keeps its session: QoS 1 loses nothing, QoS 2 arrives exactly once, and the order is kept.
import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import mqtt from 'mqtt'
import { startMosquitto } from '../brokers/mosquitto.mjs'
import { serveScripts, startChromium } from './chromium.mjs'

/** Pages that are reloaded, and renderers that are killed. `STORE_RELOADS=200 STORE_CRASHES=50 node --test …` is the long run. */
const RELOADS = Number(process.env.STORE_RELOADS ?? 5)
const CRASHES = Number(process.env.STORE_CRASHES ?? 5)

let server
before(async () => {
  server = await serveScripts()
})
after(() => server.close())

/** Runs in a page: publishes numbers of this life until the page ends, QoS 1 and 2 in turn, and tells of each that has arrived. */
async function keepPublishing([url, life, version]) {
  const { connect } = await import('/pkg/index.js')
  const { IndexedDBStore } = await import('/pkg/stores.js')
  const client = await connect(url, {
    clientId: 'page',
    protocolVersion: version,
    clean: false,
    // 3.1.1 has none, and needs none.
    properties: { sessionExpiryInterval: 3_600 },
    store: new IndexedDBStore(),
  })
  client.on('error', (error) => globalThis.tell(`error ${error.message}`))
  client.on('message', (message) => globalThis.tell(`got ${message.text()}`))
  await client.subscribe('down', { qos: 2 })
  let next = 0
  const work = async () => {
    for (;;) {
      const number = life * 1_000_000 + next++
      const qos = /** @type {1 | 2} */ (1 + (number % 2))
      await client.publish(`up/${qos}`, String(number), { qos })
      globalThis.tell(`done ${number}`)
    }
  }
  for (let each = 0; each < 16; each++) work()
}

/** Where numbers do not ascend. */
const disorder = (numbers) =>
  numbers.flatMap((each, at) => (at > 0 && numbers[at - 1] > each ? [[numbers[at - 1], each]] : []))

/** Lets pages publish for a random time, and ends each; then checks what has arrived. */
async function endAgainAndAgain(t, version, rounds, newPage, end) {
  const broker = await startMosquitto(t, {
    // With a limit of messages in flight, Mosquitto 2.0.11 sends some before those that wait.
    config: 'max_queued_messages 0\nmax_inflight_messages 0',
  })
  await broker.hurry(t)
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${broker.tcpPort}`, {
    protocolVersion: 5,
  })
  t.after(() => client.endAsync(true))
  const arrived = { 1: [], 2: [] }
  client.on('message', (topic, payload) => arrived[topic.slice(-1)].push(Number(payload)))
  await client.subscribeAsync('up/#', { qos: 2 })

  const said = []
  const numbers = (word) =>
    said.flatMap((line) => (line.startsWith(word) ? [Number(line.slice(word.length))] : []))
  let sent = 0
  for (let round = 0; ; round++) {
    const page = await newPage((line) => said.push(line))
    await page.evaluate(keepPublishing, [broker.url, round, version])
    // While a page is being ended, nothing is published to it: Mosquitto 2.0.11 would not keep the order.
    const until = Date.now() + randomInt(150)
    while (Date.now() < until) {
      await client.publishAsync('down', String(sent++), { qos: 2 })
      await sleep(3)
    }
    if (round === rounds) break
    await end(page)
  }
  // Nothing is published any more, and the last page has sent what the others left.
  await sleep(1_000)
  assert.deepEqual(
    said.filter((line) => line.startsWith('error')),
    [],
  )
  const done = numbers('done ')
  for (const qos of [1, 2]) {
    const unique = [...new Set(arrived[qos])]
    const missing = done.filter((each) => 1 + (each % 2) === qos && !arrived[qos].includes(each))
    // What has been told of since is under way.
    assert.ok(
      missing.every((each) => each >= rounds * 1_000_000),
      `QoS ${qos}: lost ${missing}`,
    )
    assert.deepEqual(disorder(unique), [], `QoS ${qos}: the order is kept`)
    t.diagnostic(`QoS ${qos}: ${unique.length}, ${arrived[qos].length - unique.length} twice`)
    if (qos === 2) assert.equal(arrived[qos].length, unique.length, 'QoS 2: twice')
  }
  const got = [...new Set(numbers('got '))]
  t.diagnostic(`received: ${got.length} of ${sent}`)
  // The last words of a page that is ended are not heard, so what it got may be missing here.
  assert.deepEqual(disorder(got), [])
}

for (const version of [5, 4]) {
  const title = version === 5 ? 'MQTT 5' : 'MQTT 3.1.1'

  test(`${title}: reloads at random moments`, async (t) => {
    const browser = await startChromium(t)
    const page = await (await browser.newContext()).newPage()
    let tell
    await page.exposeFunction('tell', (line) => tell(line))
    const reload = async (listener) => {
      tell = listener
      await page.goto(server.url)
      return page
    }
    await endAgainAndAgain(t, version, RELOADS, reload, () => page.reload())
  })

  test(`${title}: renderers that are killed at random moments`, async (t) => {
    const browser = await startChromium(t)
    const context = await browser.newContext()
    const another = async (listener) => {
      const page = await context.newPage()
      await page.goto(server.url)
      await page.exposeFunction('tell', listener)
      return page
    }
    await endAgainAndAgain(t, version, CRASHES, another, async (page) => {
      const crashed = new Promise((resolve) => page.once('crash', resolve))
      const session = await page.context().newCDPSession(page)
      session.send('Page.crash').catch(() => {})
      await crashed
      await page.close()
    })
  })
}
