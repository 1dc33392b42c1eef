// Browsers open a page that tries every form of the package in a window and in workers, and reports what came of it. No driver is needed.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { promisify } from 'node:util'
import { portOf } from '../../scripts/tools.mjs'
import { STORY } from './story.mjs'

const execute = promisify(execFile)
const TYPES = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
}
/** As strict as a policy can be with this client. */
const POLICY =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self' ws:"

/** What the page, its workers and the extension run. Each reports a text, which is `hello` if all went well. */
const files = (url) => ({
  'index.html':
    '<!doctype html><meta charset="utf-8"><title>wasmqtt</title><script src="node_modules/wasmqtt/wasmqtt.script.js"></script><script type="module" src="page.js"></script>',
  'story.js': `export const url = ${JSON.stringify(url)}\nexport ${STORY.trim()}`,
  'page.js': `
    import * as inlined from './node_modules/wasmqtt/index.js'
    import * as slim from './node_modules/wasmqtt/slim.js'
    import { story, url } from './story.js'
    const answer = (target) => new Promise((resolve) => target.addEventListener('message', ({ data }) => resolve(data)))
    async function inService() {
      const registration = await navigator.serviceWorker.register('service.js')
      const heard = answer(navigator.serviceWorker)
      navigator.serviceWorker.startMessages()
      const ready = await navigator.serviceWorker.ready
      ready.active.postMessage('')
      return heard.finally(() => registration.unregister())
    }
    function shared() {
      const { port } = new SharedWorker('shared.js', { type: 'module' })
      const heard = answer(port)
      port.start()
      return heard
    }
    const forms = {
      'module script': () => story(inlined, url),
      'classic script': () => story(globalThis.wasmqtt, url),
      slim: async () => {
        await slim.init(new URL('node_modules/wasmqtt/wasmqtt.wasm', location.href))
        return story(slim, url)
      },
      'dedicated worker': () => answer(new Worker('dedicated.js', { type: 'module' })),
      'shared worker': shared,
      'service worker': inService,
    }
    const result = { agent: navigator.userAgent }
    const late = () => new Promise((resolve) => setTimeout(resolve, 15_000, 'no answer'))
    for (const [name, run] of Object.entries(forms))
      result[name] = await Promise.race([run(), late()]).catch((error) => String(error))
    await fetch('result', { method: 'POST', body: JSON.stringify(result) })`,
  'dedicated.js': `
    import * as wasmqtt from './node_modules/wasmqtt/index.js'
    import { story, url } from './story.js'
    postMessage(await story(wasmqtt, url).catch(String))`,
  'shared.js': `
    import * as wasmqtt from './node_modules/wasmqtt/index.js'
    import { story, url } from './story.js'
    onconnect = async ({ ports: [port] }) => port.postMessage(await story(wasmqtt, url).catch(String))`,
  'service.js': `
    importScripts('node_modules/wasmqtt/wasmqtt.script.js')
    ${STORY}
    oninstall = () => skipWaiting()
    onactivate = (event) => event.waitUntil(clients.claim())
    onmessage = (event) => event.waitUntil(
      story(wasmqtt, ${JSON.stringify(url)}).catch(String).then((text) => event.source.postMessage(text)))`,
})

const extension = (url, report) => ({
  'extension/manifest.json': JSON.stringify({
    manifest_version: 3,
    name: 'wasmqtt',
    version: '1',
    background: { service_worker: 'background.js', type: 'module' },
    content_security_policy: {
      extension_pages: "script-src 'self' 'wasm-unsafe-eval'; object-src 'self'",
    },
    host_permissions: ['http://127.0.0.1/*'],
  }),
  'extension/background.js': `
    import * as wasmqtt from './index.js'
    ${STORY}
    const text = story(wasmqtt, ${JSON.stringify(url)}).catch(String)
    text.then((extension) => fetch(${JSON.stringify(report)}, { method: 'POST', body: JSON.stringify({ extension }) }))`,
})

/** Serves a folder of the project, and resolves `result` with what is posted. */
export async function serve(project, folder = '.', headers = {}) {
  const { promise: result, resolve } = Promise.withResolvers?.() ?? withResolvers()
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url ?? '', 'http://localhost')
    if (request.method === 'POST') {
      let text = ''
      for await (const part of request) text += part
      response.end()
      resolve(JSON.parse(text))
      return
    }
    const name = pathname === '/' ? '/index.html' : pathname
    try {
      const content = await readFile(join(project.folder, folder, name))
      const type = TYPES[extname(name)] ?? 'application/octet-stream'
      response.writeHead(200, { 'content-type': type, ...headers })
      response.end(content)
    } catch {
      response.writeHead(404).end()
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = () => {
    server.close()
    server.closeAllConnections()
  }
  return { url: `http://127.0.0.1:${portOf(server)}/`, result, close }
}

function withResolvers() {
  let resolve
  const promise = new Promise((settle) => (resolve = settle))
  return { promise, resolve }
}

/**
 * Starts a browser, waits for the report, and stops the browser with all its processes.
 * @param {string} command
 * @param {(profile: string) => string[]} args
 */
async function reported(command, args, result) {
  const profile = await mkdtemp(join(tmpdir(), 'wasmqtt-profile-'))
  const child = spawn(command, args(profile), {
    stdio: 'ignore',
    detached: true,
    env: { ...process.env, HOME: profile, XDG_RUNTIME_DIR: profile, MOZ_HEADLESS: '1' },
  })
  const failed = once(child, 'exit').then(([code]) => {
    throw new Error(`${command} ended with ${code} before it reported`)
  })
  const late = new Promise((_, reject) =>
    setTimeout(() => reject(new Error(`${command} did not report`)), 120_000).unref(),
  )
  try {
    return await Promise.race([result, failed, late])
  } finally {
    failed.catch(() => {})
    try {
      process.kill(-(child.pid ?? 0), 'SIGKILL')
    } catch {}
    await rm(profile, { recursive: true, force: true, maxRetries: 10 })
  }
}

const CHROMIUM = [
  ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
  ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
]

/** Opens the page in Chromium, and resolves with what it reports. */
export const inChromium = ({ url, result }) =>
  reported('chromium', (profile) => [...CHROMIUM, `--user-data-dir=${profile}`, url], result)

/** Debian keeps the browser of WebKitGTK beside its library, not where commands are. */
const miniBrowser = readdirSync('/usr/lib')
  .filter((folder) => folder.endsWith('-linux-gnu'))
  .flatMap((folder) =>
    ['4.1', '4.0'].map((version) => `/usr/lib/${folder}/webkit2gtk-${version}/MiniBrowser`),
  )
  .find((path) => existsSync(path))

/**
 * @param {string} name
 * @param {string} command
 * @param {(url: string, profile: string) => string[]} args
 * @param {string[]} [without] forms that this browser does not have
 * @returns {import('./runtimes.mjs').Runtime}
 */
const browser = (name, command, args, without = []) => ({
  name,
  how: `window and workers, strict Content-Security-Policy${without.length > 0 ? `; it has no ${without.join(' and no ')}` : ''}`,
  command,
  async run(project, urls) {
    await project.write(files(urls.ws))
    const server = await serve(project, '.', { 'content-security-policy': POLICY })
    try {
      const { agent, ...forms } = await reported(
        command,
        (profile) => args(server.url, profile),
        server.result,
      )
      for (const [form, text] of Object.entries(forms))
        if (text !== 'hello' && !without.includes(form)) throw new Error(`${form}: ${text}`)
      return /(?:Chrome|Firefox|Version)\/([\d.]+)/.exec(agent)?.[1] ?? agent
    } finally {
      server.close()
    }
  },
})

/** @type {import('./runtimes.mjs').Runtime[]} */
export const browsers = [
  browser('Chromium', 'chromium', (url, profile) => [
    ...CHROMIUM,
    `--user-data-dir=${profile}`,
    url,
  ]),
  {
    name: 'Chromium extension (Manifest V3)',
    how: "background service worker, the default policy and 'wasm-unsafe-eval'",
    command: 'chromium',
    async run(project, urls) {
      const server = await serve(project)
      try {
        const bundle = join(project.folder, 'node_modules', 'wasmqtt', 'index.js')
        await project.write({
          ...extension(urls.ws, server.url),
          'extension/index.js': await readFile(bundle, 'utf8'),
        })
        const path = join(project.folder, 'extension')
        const args = (profile) => [
          ...CHROMIUM,
          `--user-data-dir=${profile}`,
          `--disable-extensions-except=${path}`,
          `--load-extension=${path}`,
          '--disable-features=DisableLoadExtensionCommandLineSwitch',
          'about:blank',
        ]
        const result = await reported('chromium', args, server.result)
        if (result.extension !== 'hello') throw new Error(result.extension)
        const { stdout } = await execute('chromium', ['--version'])
        return /[\d.]+/.exec(stdout)?.[0] ?? stdout
      } finally {
        server.close()
      }
    },
  },
  browser('Firefox', 'firefox-esr', (url, profile) => [
    ...['--headless', '--no-remote', '--profile', profile],
    url,
  ]),
  {
    ...browser('WebKitGTK', 'xvfb-run', (url) => ['-a', String(miniBrowser), '--private', url]),
    missing:
      miniBrowser === undefined &&
      'MiniBrowser is not installed: apt-get install libwebkit2gtk-4.1-0',
  },
]
