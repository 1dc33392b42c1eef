// The runtimes that the package is tried in, as `npm pack` makes it. Each runs the same story: connect, subscribe, publish at QoS 2, hear the
// message, end. Programs must then end by themselves.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { browsers } from './browsers.mjs'
import { bun, deno } from './bundlers.mjs'
import { STORY } from './story.mjs'

const execute = promisify(execFile)
const { platform, arch } = process

/** @typedef {{ ws: string, mqtt: string }} Urls */
/**
 * @typedef {object} Runtime
 * @property {string} name
 * @property {string} how what one does to run a program in it
 * @property {Record<string, string>} [packages] what npm installs for it
 * @property {string} [command] a command of the system that it needs
 * @property {string | false} [missing] what else of the system it needs and does not find
 * @property {(project: any, urls: Urls, tools: Tools) => Promise<string | { version: string, size: string }>} run returns its version; throws if the story does not come to its end
 */
/** @typedef {(name: string) => string} Tools the folder of an installed package */

const ESM = `import * as wasmqtt from 'wasmqtt'\n${STORY}
for (const url of process.argv.slice(2)) console.log(await story(wasmqtt, url))`
const CJS = `const wasmqtt = require('wasmqtt')\n${STORY}
void (async () => { for (const url of process.argv.slice(2)) console.log(await story(wasmqtt, url)) })()`

/** Runs a program that must print `hello` for each URL and then end by itself. */
async function program(project, command, args, urls) {
  const { stdout } = await execute(command, [...args, ...urls], {
    cwd: project.folder,
    timeout: 60_000,
    env: { ...process.env, NO_COLOR: '1' },
  })
  const expected = 'hello\n'.repeat(urls.length)
  if (stdout !== expected) throw new Error(`It printed ${JSON.stringify(stdout)}`)
}

async function versionOf(command, args = ['--version']) {
  const { stdout } = await execute(command, args)
  return /\d+([.-]\d+)+/.exec(stdout)?.[0] ?? stdout.trim()
}

/**
 * Node of one major version, or the newest.
 * @param {string} version
 * @returns {Runtime}
 */
const node = (version) => ({
  name: version === 'latest' ? 'Node, the newest' : `Node ${version}`,
  how: '`node main.mjs`, `node main.cjs`',
  packages: { [`node-${version}`]: `npm:node-${platform}-${arch}@${version}` },
  async run(project, urls, tools) {
    const command = join(tools(`node-${version}`), 'bin', 'node')
    for (const name of ['main.mjs', 'main.cjs'])
      await program(project, command, [name], [urls.ws, urls.mqtt])
    return versionOf(command)
  },
})

const WORKERD = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .story), (name = "internet", network = (allow = ["private"]))],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")]
);
const story :Workerd.Worker = (
  modules = [
    (name = "main", esModule = embed "bundle.js"),
    (name = "wasmqtt.wasm", wasm = embed "node_modules/wasmqtt/wasmqtt.wasm")
  ],
  compatibilityDate = "2024-09-01"
);`

const workerdPackage = `@cloudflare/workerd-${platform}-${arch === 'x64' ? '64' : arch}`

/** Bundles the story as Wrangler does: with esbuild, and with the module as a part of its own. */
const bundled = (project, source, options) =>
  build({
    stdin: { contents: source, resolveDir: project.folder },
    absWorkingDir: project.folder,
    outfile: 'bundle.js',
    bundle: true,
    format: 'esm',
    logLevel: 'silent',
    ...options,
  })

/** @type {Runtime} */
const workerd = {
  name: 'Cloudflare workerd',
  how: 'the export condition `workerd`, bundled by esbuild as Wrangler does',
  packages: { [workerdPackage]: 'latest' },
  async run(project, urls, tools) {
    const source = `import * as wasmqtt from 'wasmqtt'\n${STORY}
      export default { fetch: async () => new Response(await story(wasmqtt, '${urls.ws}')) }`
    await bundled(project, source, {
      conditions: ['workerd', 'worker', 'browser'],
      plugins: [
        {
          name: 'wasm',
          setup: ({ onResolve }) =>
            void onResolve({ filter: /\.wasm$/ }, () => ({ path: 'wasmqtt.wasm', external: true })),
        },
      ],
    })
    await project.write({ 'config.capnp': WORKERD })
    const command = join(tools(workerdPackage), 'bin', 'workerd')
    const child = spawn(command, ['serve', '--control-fd=3', 'config.capnp'], {
      cwd: project.folder,
      stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
    })
    try {
      const [said] = await once(/** @type {any} */ (child.stdio[3]), 'data')
      const { port } = JSON.parse(String(said).split('\n')[0])
      const response = await fetch(`http://127.0.0.1:${port}/`, {
        signal: AbortSignal.timeout(20_000),
      })
      const text = await response.text()
      if (text !== 'hello') throw new Error(text)
    } finally {
      child.kill()
    }
    return versionOf(command)
  },
}

/** @type {Runtime} */
const edge = {
  name: 'edge-runtime (Vercel)',
  how: 'bundled by esbuild',
  packages: { 'edge-runtime': 'latest' },
  async run(project, urls, tools) {
    const source = `import * as wasmqtt from 'wasmqtt'\n${STORY}
      addEventListener('fetch', (event) =>
        event.respondWith(story(wasmqtt, '${urls.ws}').then((text) => new Response(text))))`
    await bundled(project, source, { format: 'iife' })
    const script = `import { readFileSync } from 'node:fs'
      import { EdgeRuntime } from '${pathToFileURL(join(tools('edge-runtime'), 'dist', 'index.js'))}'
      const runtime = new EdgeRuntime({ initialCode: readFileSync('bundle.js', 'utf8') })
      console.log(await (await runtime.dispatchFetch('http://localhost/')).text())`
    await project.write({ 'edge.mjs': script })
    const { stdout } = await execute(process.execPath, ['edge.mjs'], {
      cwd: project.folder,
      timeout: 60_000,
    })
    if (stdout !== 'hello\n') throw new Error(stdout)
    return JSON.parse(await readFile(join(tools('edge-runtime'), 'package.json'), 'utf8')).version
  },
}

/** @type {Runtime[]} */
export const runtimes = [
  node('20'),
  node('22'),
  node('24'),
  node('latest'),
  {
    name: 'Node 24 without WebAssembly',
    how: "`node --jitless asmjs.mjs`, which imports 'wasmqtt/asmjs'",
    async run(project, urls, tools) {
      const command = join(tools('node-24'), 'bin', 'node')
      await project.write({ 'asmjs.mjs': ESM.replace("from 'wasmqtt'", "from 'wasmqtt/asmjs'") })
      const args = ['--jitless', 'asmjs.mjs']
      await program(project, command, args, [urls.ws, urls.mqtt])
      return versionOf(command)
    },
  },
  {
    name: 'Deno',
    how: '`deno run --allow-net main.mjs`',
    packages: { [deno]: 'latest' },
    async run(project, urls, tools) {
      const command = join(tools(deno), 'deno')
      await program(project, command, ['run', '--allow-net', 'main.mjs'], [urls.ws, urls.mqtt])
      return versionOf(command)
    },
  },
  {
    name: 'Bun',
    how: '`bun main.mjs`, `bun main.cjs`',
    packages: { [bun]: 'latest' },
    async run(project, urls, tools) {
      const command = join(tools(bun), 'bin', 'bun')
      for (const name of ['main.mjs', 'main.cjs'])
        await program(project, command, [name], [urls.ws, urls.mqtt])
      return versionOf(command)
    },
  },
  workerd,
  edge,
  ...browsers,
]

/** The files of a project that every runtime of programs can run. */
export const programs = { 'main.mjs': ESM, 'main.cjs': CJS }
