/** Runs measurements: starts the broker, starts a Node process or a page for each measurement, and passes messages between them. */
import { execFileSync, fork } from 'node:child_process'
import { createReadStream, existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { cpus } from 'node:os'
import { extname, join, normalize } from 'node:path'
import { findChromium } from '../scripts/commands.mjs'
import { credentials, kinds } from '../tests/reliability/brokers.mjs'
import { clients } from './clients.mjs'
import { NullBroker } from './null-broker-process.mjs'
import { profilerOf } from './profile.mjs'

const here = import.meta.dirname
const root = join(here, '..')
const TIMEOUT = 60_000
const CHROMIUM = process.env.CHROMIUM ?? findChromium()
const CHROMIUM_FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

export class Host {
  /** @type {NullBroker} */
  #broker
  #jobs = 0
  #browser
  #files
  /** The real broker that runs, the name it was asked for, and what ends it. */
  #real
  #ends = []
  /** The name and version of each real broker that ran. */
  #met = new Map()

  static async start() {
    const host = new Host()
    host.#broker = await NullBroker.start()
    return host
  }

  async stop() {
    await this.#endReal()
    this.#broker.stop()
    this.#files?.close()
    await this.#browser?.close()
  }

  /** Starts the real broker of that name, unless it runs, and returns what it calls itself. Those that are JavaScript run in this process. */
  async real(name) {
    if (this.#real?.asked === name) return this.#real
    await this.#endReal()
    const ends = this.#ends
    const running = await kindOf(name).run({ after: (end) => ends.push(end) }, { measured: true })
    this.#real = { asked: name, ...running }
    this.#met.set(name, { name: running.name, version: running.version })
    return this.#real
  }

  async #endReal() {
    this.#real = undefined
    for (const end of this.#ends.splice(0).reverse()) await end()
  }

  /** Runs one measurement. `plain` means without the native masking of bufferutil. */
  async run({ runtime, client, scenario, timing, plain, timeout = TIMEOUT, broker }) {
    const { adapter, version, single, preload } = clients[client]
    const id = String(++this.#jobs)
    const played = { ...scenario, single: single ?? scenario.single ?? false }
    const job = { client: adapter, version, preload, scenario: played, timing }
    if (broker) return this.#throughBroker(broker, job, timeout)
    const url = this.#broker.open(id, played)
    try {
      return await (runtime === 'node'
        ? this.#inNode(id, { ...job, url }, plain, timeout)
        : this.#inPage(id, { ...job, url }, timeout))
    } finally {
      this.#broker.close(id)
    }
  }

  #inNode(id, job, plain, timeout) {
    const player = new Player(job, plain)
    player.answer = (burst) => this.#broker.burst(id, burst)
    return within(timeout, player.result).finally(() => player.end())
  }

  /** Runs a measurement through a real broker, on whose other side is wasmqtt over TCP in a process of its own. */
  async #throughBroker(name, job, timeout) {
    const { url } = await this.real(name)
    const { transport, kind } = job.scenario
    const mine = { ...job, real: true, clientId: 'bench', credentials, url: url(transport, 4) }
    const players = []
    const play = (job) => players[players.push(new Player(job)) - 1]
    const run = async () => {
      if (kind === 'paced') return play(mine).result
      const other = play({
        ...mine,
        client: 'wasmqtt',
        clientId: 'bench-other',
        url: url('TCP', 4),
        serves: true,
      })
      await Promise.race([other.ready, other.result])
      const player = play(mine)
      player.answer = (burst) => other.serve(burst)
      player.told = (seen) => other.send({ seen })
      other.told = (seen) => player.send({ seen })
      return Promise.race([player.result, other.result])
    }
    return within(timeout, run()).finally(() => Promise.all(players.map((player) => player.end())))
  }

  async #inPage(id, job, timeout) {
    this.#browser ??= await launch()
    this.#files ??= await serve()
    const context = await this.#browser.newContext()
    try {
      const page = await context.newPage()
      const crashed = new Promise((_, reject) => {
        page.on('pageerror', reject)
        page.on('crash', () => reject(new Error('the page crashed')))
      })
      const session = await this.#browser.newBrowserCDPSession()
      await page.exposeFunction('hostCpu', () => rendererCpu(session))
      await page.exposeFunction('hostMain', () => rendererCpu(session, true))
      const profiler = await profilerOf(page, job.scenario.name)
      await page.exposeFunction('hostBurst', async (burst) => {
        await profiler?.begin()
        return this.#broker.burst(id, burst)
      })
      await page.addInitScript((job) => Object.assign(globalThis, { job }), job)
      const query = (job.preload ?? []).map((path) => `preload=${path}`).join('&')
      const origin = `http://127.0.0.1:${this.#files.address().port}`
      await page.goto(`${origin}/benches/page.html?${query}`)
      const result = within(
        timeout,
        Promise.race([page.evaluate(() => globalThis.result), crashed]),
      )
      const value = await result.finally(() => session.detach())
      await profiler?.end()
      return value
    } finally {
      await context.close()
    }
  }

  /** Returns the versions and the machine, for the head of the report. */
  async describe() {
    const version = (name) =>
      JSON.parse(readFileSync(join(here, 'node_modules', name, 'package.json'), 'utf8')).version
    return {
      date: new Date().toISOString().slice(0, 10),
      cpu: `${cpus().length} × ${cpus()[0].model}`,
      node: process.versions.node,
      chromium: this.#browser?.version(),
      commit: run('git', ['describe', '--always', '--dirty']),
      versions: Object.fromEntries(
        [...new Set(Object.values(clients).map((client) => client.package)), 'ws', 'bufferutil']
          .filter(Boolean)
          .map((name) => [name, version(name)]),
      ),
      ours: ours(),
      brokers: Object.fromEntries(this.#met),
    }
  }
}

/** The kind of broker that is called so, in any letters; the test broker of the package is called `testing`. */
export function kindOf(name) {
  const kind = kinds.find((kind) => kind.name.toLowerCase().split('/').at(-1) === name)
  const names = kinds.map((kind) => kind.name.toLowerCase().split('/').at(-1))
  if (!kind) throw new Error(`there is no broker ${name}: ${names.join(' ')}`)
  if (!kind.present()) throw new Error(`${kind.name} is not installed: ${kind.install}`)
  return kind
}

/** Returns what the built package uses on Node. Its masking is native only if it finds bufferutil. */
function ours() {
  const pkg = join(root, 'pkg')
  if (!existsSync(join(pkg, 'package.json'))) return undefined
  const require = createRequire(join(pkg, 'package.json'))
  const found = (name) => {
    try {
      return JSON.parse(readFileSync(require.resolve(`${name}/package.json`), 'utf8')).version
    } catch {
      return undefined
    }
  }
  return {
    version: JSON.parse(readFileSync(join(pkg, 'package.json'), 'utf8')).version,
    ws: found('ws'),
    bufferutil: found('bufferutil'),
  }
}

/** A process that plays a job. */
class Player {
  answer
  told
  /** @type {Promise<any>} */
  result
  #child
  #served

  constructor(job, plain) {
    const env = { ...process.env, ...(plain && { WS_NO_BUFFER_UTIL: '1' }) }
    const child = fork(join(here, 'node-client.mjs'), {
      env,
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    this.#child = child
    let complaint = ''
    child.stderr.on('data', (data) => (complaint += data))
    /** Resolves when the other side of a real broker can serve bursts. */
    this.ready = new Promise((ready) => {
      this.result = new Promise((resolve, reject) => {
        child.on(
          'message',
          (/** @type {any} */ { burst, seen, finished, result, error, ...said }) => {
            if (burst) this.answer(burst).then(() => this.send({}), reject)
            else if (seen !== undefined) this.told(seen)
            else if (finished) this.#served()
            else if (said.ready) ready(undefined)
            else if (error) reject(new Error(error))
            else resolve(result)
          },
        )
        child.on('exit', () => reject(new Error(complaint || 'the process ended')))
      })
    })
    // Whoever waits for it gets the error.
    this.result.catch(() => {})
    child.send({ job })
  }

  send(message) {
    if (this.#child.connected) this.#child.send(message)
  }

  /** Resolves when the burst has been received or sent. */
  serve(burst) {
    this.send({ burst })
    return new Promise((resolve) => (this.#served = resolve))
  }

  async end() {
    const child = this.#child
    if (child.exitCode !== null || child.signalCode !== null) return
    const exit = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL')
    await exit
  }
}

function run(command, args) {
  try {
    return execFileSync(command, args, {
      cwd: root,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim()
  } catch {
    return undefined
  }
}

function within(ms, promise) {
  let timer
  const late = new Promise(
    (_, reject) => (timer = setTimeout(() => reject(new Error('took too long')), ms)),
  )
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

async function launch() {
  const { chromium } = await import('playwright-core')
  return chromium.launch({ executablePath: CHROMIUM, args: CHROMIUM_FLAGS })
}

/**
 * Returns the CPU µs of all renderers, or of their main threads. Those that do not run the page are idle. Chromium's own figures have steps of
 * 10 ms, and know no threads.
 */
async function rendererCpu(session, main = false) {
  const { processInfo } = await session.send('SystemInfo.getProcessInfo')
  const renderers = processInfo.filter(({ type }) => type === 'renderer')
  return renderers.reduce((sum, { id, cpuTime }) => {
    if (!existsSync(`/proc/${id}/task`)) return sum + cpuTime * 1e6
    const threads = main ? [id] : readdirSync(`/proc/${id}/task`)
    return threads.reduce((sum, thread) => sum + threadCpu(id, thread), sum)
  }, 0)
}

const threadCpu = (pid, thread) =>
  Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]) / 1_000

const TYPES = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.wasm': 'application/wasm',
}

const preload = (path) =>
  extname(path) === '.wasm'
    ? `<link rel="preload" href="${path}" as="fetch" type="application/wasm" crossorigin>`
    : `<link rel="modulepreload" href="${path}">`

/** Serves the files of the repository to the pages. */
async function serve() {
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url, 'http://host')
    const path = join(root, normalize(pathname))
    if (!path.startsWith(root) || !statSync(path, { throwIfNoEntry: false })?.isFile())
      return void response.writeHead(404).end()
    response.setHeader('Content-Type', TYPES[extname(path)] ?? 'application/octet-stream')
    if (extname(path) !== '.html') return void createReadStream(path).pipe(response)
    const links = searchParams.getAll('preload').map(preload).join('\n')
    response.end(readFileSync(path, 'utf8').replace('<!-- preloads -->', links))
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)))
  return server
}
