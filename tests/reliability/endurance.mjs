// Mixed traffic against the test broker with a fault every few seconds, and what the process holds before, during and after.

import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from '../../pkg/node.js'
import { serveScripts, startChromium } from '../browser/chromium.mjs'
import { BadProxy } from './bad-proxy.mjs'
import { credentials, kinds } from './brokers.mjs'
import { exchange } from './exchange.mjs'
import { random } from './random.mjs'

const MIB = 1_048_576

/** ms between two samples of the memory. */
const PERIOD = 5_000

/**
 * What the memory was, in MiB. `rss` is that of the process: with a page or a worker, that of the renderer.
 * @typedef {{ second: number, heap?: number, rss: number, wasm: number }} Sample
 */

/**
 * Where the clients run: begins their traffic, and takes samples of their memory.
 * @typedef {{ traffic: ReturnType<typeof exchange>, sample: () => Promise<Omit<Sample, 'second'>> }} Place
 */

/** @type {Record<string, (t: { after: (end: () => any) => void }, given: any) => Promise<Place>>} */
export const places = { Node: inNode, tab: inTab, worker: inWorker }

/**
 * @param {{ seconds: number, seed?: number, clients?: number, where?: string, tell?: (sample: Sample) => void }} options
 */
export async function endure({ seconds, seed = 1, clients = 8, where = 'Node', tell = () => {} }) {
  const ends = []
  const t = { after: (end) => ends.push(end) }
  const kind = kinds.find(({ name }) => name === 'wasmqtt/testing')
  const broker = await kind.run(t)
  const before = held()
  const chance = random(seed)
  const proxies = []
  const urls = []
  for (let index = 0; index < clients; index++) {
    const url = new URL(broker.url(index % 2 === 0 || where !== 'Node' ? 'WebSocket' : 'TCP', 5))
    // A connection has no more faults than the loop below allows: one every few seconds.
    const proxy = new BadProxy(Number(url.port), random(seed + index), 0)
    url.port = `${await proxy.listen()}`
    proxies.push(proxy)
    urls.push(url.href)
  }

  const place = await places[where](t, { urls, seconds, seed, credentials })
  const until = Date.now() + 1_000 * seconds
  const trouble = async () => {
    while (Date.now() < until) {
      await sleep(1_000 + chance() * 3_000)
      proxies[Math.floor(chance() * clients)].allow(1)
    }
  }
  /** @type {Sample[]} */
  const samples = []
  const sampling = async () => {
    const began = Date.now()
    while (Date.now() < until) {
      const second = Math.round((Date.now() - began) / 1_000)
      const sample = { second, ...(await place.sample()) }
      samples.push(sample)
      tell(sample)
      await sleep(PERIOD)
    }
  }
  const [total] = await Promise.all([place.traffic, trouble(), sampling()])
  const faults = proxies.reduce(
    (all, proxy) => all + Object.values(proxy.faults).reduce((sum, one) => sum + one, 0),
    0,
  )
  await sleep(500)
  /** Connections that the clients have left open. */
  const open = proxies.reduce((all, proxy) => all + proxy.connections, 0)
  for (const proxy of proxies) proxy.close()
  for (const end of ends.reverse()) await end()
  await sleep(1_000)
  return { seconds, ...total, faults, open, samples, before, after: held() }
}

/** @type {typeof places.Node} */
async function inNode(_t, given) {
  let client
  const traffic = exchange(connect, given, (started) => {
    client = started
  })
  const sample = async () => {
    globalThis.gc?.()
    const { heapUsed, rss } = process.memoryUsage()
    const wasm = client?.stats().wasmMemoryBytes ?? 0
    return { heap: heapUsed / MIB, rss: rss / MIB, wasm: wasm / MIB }
  }
  return { traffic, sample }
}

/** @type {typeof places.tab} */
async function inTab(t, given) {
  const { page, rss } = await openPage(t)
  const traffic = page.evaluate(async (options) => {
    const { exchange } = await import('/tests/reliability/exchange.mjs')
    const { connect } = await import('/pkg/index.js')
    return exchange(connect, options, (client) => {
      Object.assign(globalThis, { client })
    })
  }, given)
  const sample = async () => {
    const { heap, wasm } = await page.evaluate(() => {
      Reflect.get(globalThis, 'gc')()
      return {
        heap: Reflect.get(performance, 'memory').usedJSHeapSize,
        wasm: Reflect.get(globalThis, 'client')?.stats().wasmMemoryBytes ?? 0,
      }
    })
    return { heap: heap / MIB, rss: await rss(), wasm: wasm / MIB }
  }
  return { traffic, sample }
}

/** @type {typeof places.worker} */
async function inWorker(t, given) {
  const { page, rss } = await openPage(t)
  const traffic = page.evaluate(
    (options) =>
      new Promise((resolve, reject) => {
        const worker = new Worker('/tests/reliability/exchange-worker.mjs', { type: 'module' })
        worker.onerror = ({ message }) => reject(new Error(message))
        worker.onmessage = ({ data }) => {
          Object.assign(globalThis, data)
          if (data.total) resolve(data.total)
        }
        worker.postMessage(options)
      }),
    given,
  )
  const sample = async () => {
    const wasm = await page.evaluate(() => Reflect.get(globalThis, 'wasm') ?? 0)
    return { rss: await rss(), wasm: wasm / MIB }
  }
  return { traffic, sample }
}

/** Opens a page, and resolves with it and a function that measures its renderer. */
async function openPage(t) {
  const server = await serveScripts()
  t.after(() => server.close())
  const browser = await startChromium(t, ['--enable-precise-memory-info', '--js-flags=--expose-gc'])
  const page = await browser.newPage()
  await page.goto(server.url)
  const devtools = await browser.newBrowserCDPSession()
  const rss = async () => {
    const { processInfo } = await devtools.send('SystemInfo.getProcessInfo')
    const renderers = processInfo.filter(({ type }) => type === 'renderer')
    return Math.max(...renderers.map(({ id }) => residentSize(id)))
  }
  return { page, rss }
}

/** MiB of a process that are in memory; 0 where the system does not tell. */
function residentSize(pid) {
  try {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1_024
  } catch {
    return 0
  }
}

/** What keeps the process alive, by kind. */
function held() {
  const resources = process.getActiveResourcesInfo()
  const of = (pattern) => resources.filter((name) => pattern.test(name)).length
  return {
    sockets: of(/^TCPSocketWrap|^TLSWrap/),
    servers: of(/^TCPServerWrap/),
    timers: of(/^Timeout/),
    listeners: process.eventNames().reduce((all, name) => all + process.listenerCount(name), 0),
  }
}

/** MiB an hour by which a value grows: the slope of the line that fits the second half of the samples best. */
export function slope(samples, key) {
  const half = samples.slice(Math.floor(samples.length / 2))
  const mean = (values) => values.reduce((all, value) => all + value, 0) / values.length
  const [x, y] = [mean(half.map(({ second }) => second)), mean(half.map((sample) => sample[key]))]
  const over = half.reduce((all, sample) => all + (sample.second - x) * (sample[key] - y), 0)
  const under = half.reduce((all, { second }) => all + (second - x) ** 2, 0)
  return under === 0 ? 0 : (3_600 * over) / under
}
