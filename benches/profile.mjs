#!/usr/bin/env node
/**
 * Shows where the time goes: runs the measured burst of each scenario under V8's profiler, in Node and in Chromium.
 *
 *   node benches/profile.mjs [--clients shim] [--only TEXT]…
 *
 * Prints the shares of the busy time, by the part that each function belongs to. A client process loads this file to be profiled, and the host
 * calls it for a page.
 */
import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { Session } from 'node:inspector'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const folder = process.env.WASMQTT_PROFILES

const INTERVAL = { interval: 200 }

/** Runs in a client process. Every burst starts a new profile, so that the last one remains. */
function profiled() {
  const session = new Session()
  session.connect()
  session.post('Profiler.enable')
  session.post('Profiler.setSamplingInterval', INTERVAL)
  const send = process.send.bind(process)
  let bursts = 0
  let name
  // A listener here would receive the job before the client listens.
  const emit = process.emit
  // @ts-expect-error: one function for all events.
  process.emit = (event, message, ...rest) => {
    name ??= message?.job?.scenario.name
    return Reflect.apply(emit, process, [event, message, ...rest])
  }
  process.send = (message) => {
    if (message.burst) {
      if (bursts++) session.post('Profiler.stop')
      session.post('Profiler.start')
    } else if (bursts) {
      session.post('Profiler.stop', (_error, { profile }) => {
        writeFileSync(join(folder, `${process.pid}.json`), JSON.stringify({ name, profile }))
        send(message)
      })
      return true
    }
    return send(message)
  }
}

/** Profiles the main thread of a page from `begin` to the next `begin` or `end`, if profiles are requested. */
export async function profilerOf(page, name) {
  if (folder === undefined) return undefined
  const session = await page.context().newCDPSession(page)
  await session.send('Profiler.enable')
  await session.send('Profiler.setSamplingInterval', INTERVAL)
  let running = false
  return {
    async begin() {
      if (running) await session.send('Profiler.stop')
      running = true
      await session.send('Profiler.start')
    },
    async end() {
      if (!running) return
      const { profile } = await session.send('Profiler.stop')
      writeFileSync(
        join(folder, `${randomUUID()}.json`),
        JSON.stringify({ name, page: true, profile }),
      )
    },
  }
}

function main() {
  const profiles = mkdtempSync(join(tmpdir(), 'wasmqtt-'))
  const out = join(profiles, 'results')
  mkdirSync(out)
  const args = [
    join(import.meta.dirname, 'bench.mjs'),
    '--clients',
    'wasmqtt',
    '--rounds',
    '1',
    '--out',
    out,
    ...process.argv.slice(2),
  ]
  const env = {
    ...process.env,
    WASMQTT_PROFILES: profiles,
    NODE_OPTIONS: `--import ${import.meta.url}`,
  }
  spawnSync(process.execPath, args, { env, stdio: ['ignore', 'ignore', 'inherit'] })
  const files = readdirSync(profiles).filter((file) => file.endsWith('.json'))
  const taken = files.map((file) => JSON.parse(readFileSync(join(profiles, file), 'utf8')))
  console.log(
    `## Node\n\n${table(
      taken.filter(({ page }) => !page),
      NODE,
    )}\n\n## Chromium\n\n${table(
      taken.filter(({ page }) => page),
      CHROMIUM,
    )}`,
  )
  rmSync(profiles, { recursive: true })
}

function table(taken, groups) {
  const names = Object.keys(groups)
  const seen = new Set()
  const rows = taken.map(({ name, profile }) => {
    // The second profile of a scenario is the one without native masking.
    const title = `${name}${seen.has(name) ? ', without bufferutil' : ''}`
    seen.add(name)
    return [title, ...shares(profile, Object.values(groups)).map((share) => share.toFixed(0))]
  })
  return [['of the busy time, %', ...names], ['---', ...names.map(() => '--:')], ...rows]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n')
}

const ours = {
  'core (wasm)': ({ url, functionName }) =>
    url.startsWith('wasm') || functionName.startsWith('wasm-'),
  'src/js and glue': ({ url }) => /\/pkg\/((node|mqttjs)\.cjs|(index|mqttjs)\.js)$/.test(url),
}
const rest = {
  'garbage collector': ({ functionName }) => functionName === '(garbage collector)',
  'benchmark and handlers': ({ url }) => /benches\//.test(url),
}
const NODE = {
  ...ours,
  ws: ({ url }) => /\/ws\/|\/pkg\/ws\.cjs$|bufferutil/.test(url),
  'Node: socket and streams': ({ url, functionName }) =>
    url.startsWith('node:') || ['writeBuffer', 'writev', 'dispatch'].includes(functionName),
  ...rest,
}
const CHROMIUM = {
  ...ours,
  'the browser itself': ({ functionName }) => ['(program)', 'send'].includes(functionName),
  ...rest,
}

/** Returns the share that each group has of the busy time, in per cent. */
function shares({ nodes, samples, timeDeltas }, groups) {
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]))
  const times = groups.map(() => 0)
  let busy = 0
  samples.forEach((id, index) => {
    const frame = frames.get(id)
    if (frame.functionName === '(idle)') return
    busy += timeDeltas[index]
    const group = groups.findIndex((belongs) => belongs(frame))
    if (group >= 0) times[group] += timeDeltas[index]
  })
  return times.map((time) => (100 * time) / busy)
}

if (process.argv[1]?.endsWith('node-client.mjs')) profiled()
else if (process.argv[1]?.endsWith('profile.mjs')) main()
