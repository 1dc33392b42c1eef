#!/usr/bin/env node
/**
 * The benchmark: wasmqtt, its peers and the raw WebSocket floor, in Node and headless Chromium, against a null broker.
 *
 *   npm run bench -- [--node | --browser] [--only TEXT]… [--clients NAME,…] [--rounds N] [--short] [--out DIR]
 *   npm run bench -- --broker NAME… [--only TEXT]… [--clients NAME,…] [--rounds N] [--out DIR]
 *   npm run bench -- --growth [--only TEXT]… [--clients NAME,…] [--minutes N]
 *
 * --only      scenarios whose name contains the text; may be given several times
 * --broker    through a real broker that is installed, in Node: mosquitto, nats or another of tests/reliability/brokers.mjs; testing is the
 *             test broker of the package. The results are brokers.md
 * --clients   wasmqtt wasmqtt-5 shim mqttjs mqttjs-5 paho u8 sap floor floor-frames preloaded slim slim-preloaded (those with -5 speak MQTT 5,
 *             and run only if named; shim is wasmqtt/mqttjs, wasmqtt with the API of MQTT.js; with the last three a page starts otherwise)
 * --short     runs for about a minute, with one round of short measurements, whose figures must not be quoted
 * --growth    measures how the cost grows with subscriptions, topics, and messages in flight or queued; with --minutes, also over time
 * --out       where the results go; default benches/results
 * --write     also puts each section into RESULTS.md, in place of the one with that heading
 *
 * stores.mjs measures what a store costs, fleet.mjs thousands of clients, and profile.mjs where the time goes.
 *
 * The clients are interleaved, each measurement has a fresh process or page, and counts and contents are checked.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { clients } from './clients.mjs'
import {
  broker as brokerScenarios,
  browser as browserScenarios,
  node as nodeScenarios,
} from './scenarios.mjs'

const here = import.meta.dirname
const { values: options } = parseArgs({
  options: {
    node: { type: 'boolean' },
    browser: { type: 'boolean' },
    broker: { type: 'string', multiple: true, default: [] },
    only: { type: 'string', multiple: true },
    clients: { type: 'string' },
    rounds: { type: 'string' },
    short: { type: 'boolean' },
    growth: { type: 'boolean' },
    minutes: { type: 'string' },
    write: { type: 'boolean' },
    out: { type: 'string', default: join(here, 'results') },
  },
})

if (!existsSync(join(here, 'node_modules')))
  spawnSync('npm', ['ci'], { cwd: here, stdio: 'inherit', shell: process.platform === 'win32' })

const { Host, kindOf } = await import('./host.mjs')
const report = await import('./report.mjs')

const wanted = options.clients
  ? options.clients.split(',')
  : Object.keys(clients).filter((name) => !clients[name].optional)
const unknown = wanted.find((name) => !clients[name])
if (unknown) throw new Error(`there is no client ${unknown}: ${Object.keys(clients).join(' ')}`)
if (wanted.some((name) => clients[name].ours) && !existsSync(join(here, '../pkg/node.js')))
  throw new Error('build the package first: npm run build')
if (options.write && (options.short || options.only || options.clients))
  throw new Error('--write needs everything measured: no --short, --only or --clients')
const named = ({ name }) => !options.only || options.only.some((text) => name.includes(text))

const timing = options.short
  ? { warm: 60, target: 60, settle: 20, batches: 2, messages: 100_000 }
  : { warm: 1_000, target: 800, settle: 100, batches: 6, messages: 1_000_000 }
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
    const name = options.broker.length ? 'brokers' : 'results'
    save(name, results, report.markdown(results), report.svg(results))
    if (options.write) {
      const file = join(here, 'RESULTS.md')
      writeFileSync(file, report.rewritten(readFileSync(file, 'utf8'), results))
    }
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
  const { node, browser, broker: brokers } = options
  const all = !node && !browser && !brokers.length
  /** @type {{ runtime: string, broker?: string, scenarios: any[] }[]} */
  const places = [
    ...(all || node ? [{ runtime: 'node', scenarios: nodeScenarios }] : []),
    ...(all || browser ? [{ runtime: 'chromium', scenarios: browserScenarios }] : []),
    ...brokers.map((broker) => ({ runtime: 'node', broker, scenarios: brokerScenarios })),
  ]
  const rows = places.flatMap(({ scenarios, ...place }) =>
    scenarios
      .filter((scenario) => named(scenario) && can(place, scenario))
      .map((scenario) => ({ ...place, scenario, clients: /** @type {any} */ ({}) })),
  )
  for (let round = 0; round < rounds; round++) {
    for (const row of rows) {
      const names = wanted.filter((name) => plays(name, row))
      const repeats = options.short ? 1 : (row.scenario.repeats ?? 1)
      for (let i = 0; i < names.length * repeats; i++)
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
  const cell = (row.clients[name] ??= {
    values: [],
    plain: [],
    rates: [],
    tails: [],
    errors: [],
  })
  const variants =
    row.runtime === 'node' &&
    !row.broker &&
    row.scenario.sends &&
    clients[name].ws &&
    !options.short
      ? [false, true]
      : [false]
  for (const plain of variants) {
    let said
    try {
      const { value, rate, tail } = await host.run({
        runtime: row.runtime,
        broker: row.broker,
        client: name,
        scenario: row.scenario,
        timing,
        plain,
      })
      cell[plain ? 'plain' : 'values'].push(value)
      if (rate && !plain) cell.rates.push(rate)
      if (tail) cell.tails.push(tail)
      said = `${value.toFixed(2)} ${row.scenario.unit ?? 'µs'}`
    } catch (error) {
      cell.errors.push(error.message)
      said = `fails: ${error.message.split('\n')[0]}`
    }
    console.error(
      `${round + 1}/${rounds}  ${(row.broker ?? row.runtime).padEnd(9)}  ${row.scenario.name.padEnd(56)}  ${(name + (plain ? ' plain' : '')).padEnd(18)}  ${said}`,
    )
  }
}

/** @param {{ runtime: string, broker?: string }} place */
function can({ broker }, { qos }) {
  return qos !== 2 || !broker || kindOf(broker).speaksQoS2?.() !== false
}

/**
 * @param {string} name
 * @param {{ runtime: string, broker?: string, scenario: any }} row
 */
function plays(name, { runtime, broker, scenario }) {
  const client = clients[name]
  const { kind, qos = 0, single, transport, among } = scenario
  if (client.only && client.only !== runtime) return false
  if (client.qos !== undefined && qos > client.qos) return false
  if (client.floor && (broker || ['await', 'start'].includes(kind))) return false
  if (client.start && kind !== 'start') return false
  if (among && !options.clients && !among.includes(name)) return false
  if (transport === 'TCP' && !client.tcp) return false
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
