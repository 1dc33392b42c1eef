/** Runs measurements: starts the broker, starts a Node process or a page for each measurement, and passes messages between them. */
import { execFileSync, fork } from 'node:child_process'
import { createReadStream, existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { cpus } from 'node:os'
import { extname, join, normalize } from 'node:path'
import { findChromium } from '../scripts/commands.mjs'
import { clients } from './clients.mjs'
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
  #broker
  #bursts = new Map()
  #jobs = 0
  #browser
  #files
  port

  static async start() {
    const host = new Host()
    host.#broker = fork(join(here, 'null-broker.mjs'))
    host.port = await new Promise((resolve) =>
      host.#broker.once('message', ({ port }) => resolve(port)),
    )
    host.#broker.on('message', ({ finished, failed, error }) => {
      const burst = host.#bursts.get(finished ?? failed)
      if (finished) burst?.resolve()
      else burst?.reject(new Error(`broker: ${error}`))
    })
    return host
  }

  async stop() {
    this.#broker.disconnect()
    this.#files?.close()
    await this.#browser?.close()
  }

  /** Runs one measurement. `plain` means without the native masking of bufferutil. */
  async run({ runtime, client, scenario, timing, plain, timeout = TIMEOUT }) {
    const { adapter, version, single } = clients[client]
    const id = String(++this.#jobs)
    const job = {
      client: adapter,
      version,
      url: `ws://127.0.0.1:${this.port}/${id}`,
      scenario: { ...scenario, single: single ?? scenario.single ?? false },
      timing,
    }
    this.#broker.send({ open: id, scenario: job.scenario })
    try {
      return await (runtime === 'node'
        ? this.#inNode(id, job, plain, timeout)
        : this.#inPage(id, job, timeout))
    } finally {
      this.#broker.send({ close: id })
      this.#bursts.delete(id)
    }
  }

  #burst(id, { count, sending }) {
    return new Promise((resolve, reject) => {
      this.#bursts.set(id, { resolve, reject })
      this.#broker.send({ burst: id, count, sending })
    })
  }

  #inNode(id, job, plain, timeout) {
    const env = { ...process.env, ...(plain && { WS_NO_BUFFER_UTIL: '1' }) }
    const child = fork(join(here, 'node-client.mjs'), {
      env,
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    let complaint = ''
    child.stderr.on('data', (data) => (complaint += data))
    const result = new Promise((resolve, reject) => {
      child.on('message', (/** @type {any} */ { burst, result, error }) => {
        if (burst) this.#burst(id, burst).then(() => child.connected && child.send({}), reject)
        else if (error) reject(new Error(error))
        else resolve(result)
      })
      child.on('exit', () => reject(new Error(complaint || 'the process ended')))
      child.send({ job })
    })
    return within(timeout, result).finally(() => child.kill('SIGKILL'))
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
      const profiler = await profilerOf(page, job.scenario.name)
      await page.exposeFunction('hostBurst', async (burst) => {
        await profiler?.begin()
        return this.#burst(id, burst)
      })
      await page.goto(`http://127.0.0.1:${this.#files.address().port}/benches/page.html`)
      const result = within(
        timeout,
        Promise.race([page.evaluate((job) => globalThis.run(job), job), crashed]),
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
    }
  }
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

/** Returns the CPU µs of all renderers. Those that do not run the page are idle. Chromium's own figures have steps of 10 ms. */
async function rendererCpu(session) {
  const { processInfo } = await session.send('SystemInfo.getProcessInfo')
  const renderers = processInfo.filter(({ type }) => type === 'renderer')
  return renderers.reduce(
    (sum, { id, cpuTime }) =>
      sum + (existsSync(`/proc/${id}/task`) ? threadsCpu(id) : cpuTime * 1e6),
    0,
  )
}

function threadsCpu(pid) {
  const threads = readdirSync(`/proc/${pid}/task`)
  return threads.reduce(
    (sum, thread) =>
      sum +
      Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]) / 1_000,
    0,
  )
}

const TYPES = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.wasm': 'application/wasm',
}

/** Serves the files of the repository to the pages. */
async function serve() {
  const server = createServer((request, response) => {
    const path = join(root, normalize(new URL(request.url, 'http://host').pathname))
    if (!path.startsWith(root) || !statSync(path, { throwIfNoEntry: false })?.isFile())
      return void response.writeHead(404).end()
    response.setHeader('Content-Type', TYPES[extname(path)] ?? 'application/octet-stream')
    createReadStream(path).pipe(response)
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)))
  return server
}
