#!/usr/bin/env node
/**
 * Many clients in one Node process: what each costs in memory and to connect, and how they come back after an outage.
 *
 *   npm run bench:fleet -- [--clients wasmqtt,mqttjs,floor] [--counts 1000,5000] [--rounds N]
 */
import { fork, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'

const { values: options } = parseArgs({
  options: {
    clients: { type: 'string', default: 'wasmqtt,mqttjs,floor' },
    counts: { type: 'string', default: '1000,5000' },
    rounds: { type: 'string', default: '3' },
  },
})
const here = import.meta.dirname
if (!existsSync(join(here, 'node_modules')))
  spawnSync('npm', ['ci'], { cwd: here, stdio: 'inherit', shell: process.platform === 'win32' })

/** Milliseconds. */
const OUTAGE = 300
const WINDOW = 100

const message = (child, key) =>
  new Promise((resolve, reject) => {
    child.on('message', (message) => {
      if (message.error) reject(new Error(message.error))
      if (key in message) resolve(message)
    })
    child.on('exit', () => reject(new Error('a process has ended')))
  })

async function measure(client, count) {
  const broker = fork(join(here, 'fleet-broker.mjs'))
  const { port } = await message(broker, 'port')
  const child = fork(
    join(here, 'fleet-client.mjs'),
    [client, `ws://127.0.0.1:${port}/mqtt`, String(count)],
    { execArgv: ['--expose-gc'] },
  )
  try {
    const result = await message(child, 'cpu')
    if (client === 'floor') return result
    broker.send({ outage: OUTAGE })
    const { returns } = await Promise.race([
      message(broker, 'returns'),
      sleep(60_000, undefined, { ref: false }).then(() => {
        throw new Error('not all clients came back within a minute')
      }),
    ])
    return { ...result, crowd: crowd(returns) / returns.length, last: returns.at(-1) }
  } finally {
    child.kill('SIGKILL')
    broker.disconnect()
  }
}

/** The most clients that came back within `WINDOW`. */
function crowd(times) {
  let first = 0
  let most = 0
  times.forEach((time, at) => {
    while (times[first] < time - WINDOW) first++
    most = Math.max(most, at - first + 1)
  })
  return most
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1]
const rows = []
for (const count of options.counts.split(',').map(Number)) {
  const results = Object.fromEntries(options.clients.split(',').map((name) => [name, []]))
  for (let round = 0; round < Number(options.rounds); round++)
    for (const name of Object.keys(results)) results[name].push(await measure(name, count))
  for (const [name, list] of Object.entries(results)) {
    const of = (key, scale, digits) =>
      (median(list.map((each) => each[key])) * scale).toFixed(digits)
    rows.push({
      clients: count,
      client: name,
      'CPU to connect, ms': of('cpu', 1e-3, 2),
      'RSS, KB': of('rss', 1e-3, 1),
      'JavaScript heap, KB': of('heap', 1e-3, 1),
      'outside of it, KB': of('external', 1e-3, 1),
      'RSS at most, KB': of('peak', 1e-3, 1),
      'back within 100 ms, %': name === 'floor' ? '' : of('crowd', 100, 1),
      'all back, s': name === 'floor' ? '' : of('last', 1e-3, 1),
    })
  }
}
const keys = Object.keys(rows[0])
console.log(
  `| ${keys.join(' | ')} |\n|--:|---|${keys
    .slice(2)
    .map(() => '--:|')
    .join('')}`,
)
for (const row of rows) console.log(`| ${Object.values(row).join(' | ')} |`)
