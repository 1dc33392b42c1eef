#!/usr/bin/env node
/**
 * The benchmark: wasmqtt, its peers and the raw WebSocket floor, in Node and headless Chromium, against a null broker.
 *
 *   npm run bench -- [--node | --browser] [--only TEXT]… [--clients NAME,…] [--rounds N] [--short] [--out DIR]
 *   npm run bench -- --growth [--only TEXT]… [--clients NAME,…] [--minutes N]
 *
 * --only      scenarios whose name contains the text; may be given several times
 * --clients   wasmqtt wasmqtt-5 shim mqttjs mqttjs-5 paho u8 sap floor floor-frames (those with -5 speak MQTT 5, and run only if named;
 *             shim is wasmqtt/mqttjs, wasmqtt with the API of MQTT.js)
 * --short     runs for about a minute, with one round of short measurements, whose figures must not be quoted
 * --growth    measures how the cost grows with subscriptions, topics, and messages in flight or queued; with --minutes, also over time
 * --out       where the results go; default benches/results
 *
 * The clients are interleaved, each measurement has a fresh process or page, and counts and contents are checked.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { clients } from './clients.mjs'
import { browser as browserScenarios, node as nodeScenarios } from './scenarios.mjs'

const here = import.meta.dirname
const { values: options } = parseArgs({
  options: {
    node: { type: 'boolean' },
    browser: { type: 'boolean' },
    only: { type: 'string', multiple: true },
    clients: { type: 'string' },
    rounds: { type: 'string' },
    short: { type: 'boolean' },
    growth: { type: 'boolean' },
    minutes: { type: 'string' },
    out: { type: 'string', default: join(here, 'results') },
  },
})

if (!existsSync(join(here, 'node_modules')))
  spawnSync('npm', ['ci'], { cwd: here, stdio: 'inherit', shell: process.platform === 'win32' })

const { Host } = await import('./host.mjs')
const report = await import('./report.mjs')

const wanted = options.clients
  ? options.clients.split(',')
  : Object.keys(clients).filter((name) => !clients[name].optional)
const unknown = wanted.find((name) => !clients[name])
if (unknown) throw new Error(`there is no client ${unknown}: ${Object.keys(clients).join(' ')}`)
if (wanted.some((name) => clients[name].ours) && !existsSync(join(here, '../pkg/node.js')))
  throw new Error('build the package first: npm run build')
const named = ({ name }) => !options.only || options.only.some((text) => name.includes(text))

const timing = options.short
  ? { warm: 60, target: 60, settle: 20, batches: 2, messages: 100_000 }
  : { warm: 500, target: 800, settle: 100, batches: 6, messages: 1_000_000 }
const rounds = Number(options.rounds ?? (options.short ? 1 : 3))

const host = await Host.start()
mkdirSync(options.out, { recursive: true })
try {
  if (options.growth) {
    const { growth } = await import('./growth.mjs')
    const results = await growth(host, {
      wanted: options.clients ? wanted : ['wasmqtt', 'mqttjs'],
      named,
      timing,
      minutes: Number(options.minutes ?? 0),
    })
    save('growth', results, report.growthMarkdown(results), report.growthSvg(results))
  } else {
    const results = await benchmark()
    save('results', results, report.markdown(results), report.svg(results))
    const broken = results.rows.flatMap((row) =>
      Object.entries(row.clients).filter(
        ([name, { errors }]) => errors.length && clients[name].ours,
      ),
    )
    process.exitCode = broken.length ? 1 : 0
  }
} finally {
  await host.stop()
}

async function benchmark() {
  const both = options.node === options.browser
  const runtimes = [
    ...(both || options.node ? [{ runtime: 'node', scenarios: nodeScenarios }] : []),
    ...(both || options.browser ? [{ runtime: 'chromium', scenarios: browserScenarios }] : []),
  ]
  const rows = runtimes.flatMap(({ runtime, scenarios }) =>
    scenarios.filter(named).map((scenario) => ({ runtime, scenario, clients: {} })),
  )
  for (let round = 0; round < rounds; round++) {
    for (const row of rows) {
      const names = wanted.filter((name) => plays(name, row))
      for (let i = 0; i < names.length; i++)
        await step(row, names[(i + round) % names.length], round)
    }
  }
  return {
    meta: { ...(await host.describe()), rounds, timing, short: options.short ?? false },
    rows,
  }
}

/** On Node, clients that send through `ws` are measured with and without its native masking. */
async function step(row, name, round) {
  const cell = (row.clients[name] ??= { values: [], plain: [], rates: [], errors: [] })
  const variants =
    row.runtime === 'node' && row.scenario.sends && clients[name].ws && !options.short
      ? [false, true]
      : [false]
  for (const plain of variants) {
    let said
    try {
      const { value, rate } = await host.run({
        runtime: row.runtime,
        client: name,
        scenario: row.scenario,
        timing,
        plain,
      })
      cell[plain ? 'plain' : 'values'].push(value)
      if (rate && !plain) cell.rates.push(rate)
      said = `${value.toFixed(2)} ${row.scenario.unit ?? 'µs'}`
    } catch (error) {
      cell.errors.push(error.message)
      said = `fails: ${error.message.split('\n')[0]}`
    }
    console.error(
      `${round + 1}/${rounds}  ${row.runtime.padEnd(8)}  ${row.scenario.name.padEnd(50)}  ${(name + (plain ? ' plain' : '')).padEnd(18)}  ${said}`,
    )
  }
}

function plays(name, { runtime, scenario }) {
  const client = clients[name]
  const { kind, qos = 0, single } = scenario
  if (client.only && client.only !== runtime) return false
  if (client.qos !== undefined && qos > client.qos) return false
  if (client.floor && ['await', 'start'].includes(kind)) return false
  if (name === 'floor-frames')
    return kind === 'publish' || (kind === 'receive' && runtime === 'chromium' && !single)
  return kind !== 'await' || client.promises
}

function save(name, results, markdown, svg) {
  writeFileSync(join(options.out, `${name}.json`), JSON.stringify(results, null, 1))
  writeFileSync(join(options.out, `${name}.md`), markdown)
  writeFileSync(join(options.out, `${name}.svg`), svg)
  console.log(markdown)
}
