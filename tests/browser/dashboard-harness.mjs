// What the tests of the dashboard share: the built pages on a static host, in a folder and with no help from it; a broker behind WebSockets
// that can be frozen and cut; an independent client.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createReadStream, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect as connectTcp } from 'node:net'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import mqtt from 'mqtt'
import { createWebSocketStream, WebSocketServer } from 'ws'
import { TestBroker } from '../../pkg/testing-node.js'
import { freePort } from '../../scripts/broker.mjs'
import { portOf, stopChild } from '../../scripts/tools.mjs'
import { buildDashboard, site } from '../../www/build.mjs'
import { openPage, startChromium } from './chromium.mjs'

const TYPES = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
}

/** A plain host of static files: nothing but what the build has made, at /any/folder/. */
export async function staticHost() {
  const server = createServer(({ url }, response) => {
    const { pathname } = new URL(url, 'http://localhost')
    const path = join(site, pathname.replace('/any/folder', '').replace(/\/$/, '/index.html'))
    if (
      !pathname.startsWith('/any/folder/') ||
      !statSync(path, { throwIfNoEntry: false })?.isFile()
    )
      return response.writeHead(404).end()
    response.setHeader('content-type', TYPES[extname(path)] ?? 'application/octet-stream')
    createReadStream(path).pipe(response)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${portOf(server)}/any/folder/`,
    stop: () => server.close(),
  }
}

/** The broker that the tests are about: Mosquitto, or with BROKER=embedded the test broker of the package. */
const start = process.env.BROKER === 'embedded' ? startEmbedded : startMosquitto

/** What either broker is started with: its TCP port, and whether it lets nobody in. Resolves with what ends it, and what counts its clients. */
async function startMosquitto(tcpPort, closed) {
  const folder = mkdtempSync(join(tmpdir(), 'wasmqtt-dashboard-'))
  writeFileSync(join(folder, 'passwords'), '', { mode: 0o644 })
  const config = [
    `listener ${tcpPort} 127.0.0.1`,
    'persistence false',
    // Root gives itself up for another user otherwise, who may not read the folder.
    ...(process.getuid() === 0 ? ['user root'] : []),
    'log_dest none',
    'sys_interval 1',
    'max_queued_messages 0',
    'set_tcp_nodelay true',
    `allow_anonymous ${!closed}`,
    ...(closed ? [`password_file ${join(folder, 'passwords')}`] : []),
  ]
  writeFileSync(join(folder, 'mosquitto.conf'), `${config.join('\n')}\n`)
  const child = spawn('mosquitto', ['-c', join(folder, 'mosquitto.conf')], { stdio: 'inherit' })
  await eventually(() => accepts(tcpPort), 'Mosquitto takes connections')
  return {
    /** By topics that begin with $SYS. */
    tellsOfItself: true,
    /** Clients that are connected or have a session, the one that asks left out. */
    async sessions() {
      const asking = await mqtt.connectAsync(`mqtt://127.0.0.1:${tcpPort}`)
      let total
      asking.on('message', (_, payload) => (total = Number(payload)))
      await asking.subscribeAsync('$SYS/broker/clients/total')
      // It counts once a second, and says what has changed.
      await sleep(2_200)
      await asking.endAsync()
      return total - 1
    },
    async stop() {
      await stopChild(child)
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

async function startEmbedded(tcpPort, closed) {
  const broker = new TestBroker(closed ? { users: { nobody: 'knows' } } : {})
  const listener = await broker.listen({ tcp: tcpPort })
  return {
    tellsOfItself: false,
    sessions: async () => broker.clients.length,
    stop: () => listener.close(),
  }
}

/** A broker with WebSockets in front, whose connections can be frozen (nothing goes through) and cut. `closed`: it lets nobody in. */
export async function startBroker({ closed = false } = {}) {
  const tcpPort = await freePort(0)
  const { sessions, tellsOfItself, stop } = await start(tcpPort, closed)
  const http = createServer().listen(0, '127.0.0.1')
  await once(http, 'listening')
  const sockets = new WebSocketServer({ server: http, handleProtocols: () => 'mqtt' })
  const pairs = new Set()
  sockets.on('connection', (socket) => {
    const stream = createWebSocketStream(socket)
    const tcp = connectTcp(tcpPort, '127.0.0.1').setNoDelay()
    const pair = { stream, tcp }
    pairs.add(pair)
    const end = () => {
      pairs.delete(pair)
      stream.destroy()
      tcp.destroy()
    }
    for (const side of [stream, tcp]) side.on('error', end).on('close', end)
    stream.pipe(tcp)
    tcp.pipe(stream)
  })
  const port = portOf(http)
  return {
    url: `ws://127.0.0.1:${port}/mqtt`,
    tcp: `mqtt://127.0.0.1:${tcpPort}`,
    freeze() {
      for (const { stream, tcp } of pairs) {
        stream.unpipe(tcp)
        tcp.unpipe(stream)
      }
    },
    cut() {
      for (const { stream } of pairs) stream.destroy()
    },
    /** No further connection comes through, and those that are there are cut. */
    close() {
      http.close()
      for (const socket of sockets.clients) socket.terminate()
    },
    async reopen() {
      http.listen(port, '127.0.0.1')
      await once(http, 'listening')
    },
    sessions,
    tellsOfItself,
    async stop() {
      http.close()
      for (const socket of sockets.clients) socket.terminate()
      await stop()
    },
  }
}

const accepts = (port) =>
  new Promise((resolve) => {
    const socket = connectTcp(port, '127.0.0.1', () => resolve(true)).on('error', () =>
      resolve(false),
    )
    socket.on('connect', () => socket.destroy())
  })

export async function eventually(isSo, what, timeout = 15_000) {
  const deadline = Date.now() + timeout
  while (!(await isSo())) {
    if (Date.now() > deadline)
      throw new Error(`not in ${timeout} ms: ${typeof what === 'function' ? await what() : what}`)
    await sleep(40)
  }
}

/** The pages, a browser and a broker for the tests of one file. */
export async function stage() {
  const ends = []
  await buildDashboard()
  const host = await staticHost()
  const broker = await startBroker()
  const browser = await startChromium({ after: (end) => ends.push(end) })
  return {
    host,
    broker,
    browser,
    async stop() {
      for (const end of ends) await end()
      await broker.stop()
      host.stop()
    },
    /** The dashboard, connected to the broker, with what `hash` adds to its address. */
    async open(
      t,
      { hash = {}, url = broker.url, wait = 'connected', page: name = '', ...options } = {},
    ) {
      const address = new URLSearchParams([
        ['url', url],
        ...Object.entries(hash).flatMap(([key, value]) => [value].flat().map((one) => [key, one])),
      ])
      const opened = await openPage(browser, `${host.url}${name}#${address}`, {
        viewport: { width: 1440, height: 900 },
        ...options,
      })
      t.after(() => opened.page.close())
      opened.page.setDefaultTimeout(10_000)
      if (wait) await opened.page.waitForSelector(`#state[data-state="${wait}"]`)
      return opened
    },
    /** An independent client; `got` is what it received. */
    async client(t, filter, { protocolVersion = 5, ...options } = {}) {
      const made = await mqtt.connectAsync(broker.tcp, {
        protocolVersion: /** @type {4 | 5} */ (protocolVersion),
        ...options,
      })
      t.after(() => made.endAsync(true))
      const got = []
      made.on('message', (topic, payload, packet) =>
        got.push({ topic, payload, packet, text: `${topic} ${payload}` }),
      )
      if (filter) await made.subscribeAsync(filter, { qos: 2 })
      const has = (text) =>
        eventually(
          () => got.some((message) => message.text === text),
          () => `${text} among ${got.map((message) => message.text)}`,
        )
      return {
        client: made,
        got,
        has,
        publish: (topic, payload, options) =>
          made.publishAsync(topic, payload, { qos: 1, ...options }),
      }
    },
  }
}

/** Chooses a topic of the tree by its path. */
export async function choose(page, path) {
  await page.fill('#search', path)
  await page.locator(`.node[title="${path}"]`).click()
  await page.waitForSelector('.detail .path')
}

export const tab = (page, name) => page.getByRole('tab', { name }).first().click()

/** Problems that the page had, without what the test brings about on purpose. */
export function noProblems(problems, allowed = /(?!)/) {
  assert.deepEqual(
    problems.filter((problem) => !allowed.test(problem)),
    [],
  )
}
