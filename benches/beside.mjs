#!/usr/bin/env node
/**
 * Compares clients more exactly than bench.mjs does: all of them in one process, which take turns with short bursts, so that whatever disturbs
 * the machine disturbs them all. They share V8's garbage collector and caches, so only the ratios count.
 *
 *   node benches/beside.mjs SCENARIO CLIENT[=PATH]… [--rounds N]
 *
 * SCENARIO is the whole name of one in scenarios.mjs for Node. A CLIENT is an adapter in clients/, or any name with the PATH of a build of
 * wasmqtt, such as before=../before/pkg/node.js. Prints the median and the least CPU µs of each per message, or µs of a round trip, and the
 * median of the ratios to the first client of the same round. Clients that are loaded first may be up to 10 % slower than a copy of theirs: try
 * another order, too.
 */
import { fork } from 'node:child_process'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { adapter } from './clients/wasmqtt-api.mjs'
import { publisher, receiver } from './measure.mjs'
import { node as scenarios } from './scenarios.mjs'
import { traffic } from './traffic.mjs'

/** CPU ms of a burst, and of the warm-up of each client. */
const BURST = 150
const WARM = 1_500
/** Round trips of a burst. */
const TRIPS = 1_000

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '15' } },
})
const [title, ...names] = positionals
const scenario = scenarios.find(({ name }) => name === title)
if (scenario === undefined)
  throw new Error(`there is no scenario ${title}: ${scenarios.map(({ name }) => name).join('; ')}`)

const broker = fork(join(import.meta.dirname, 'null-broker.mjs'))
const { port } = await new Promise((settle) => broker.once('message', settle))
const bursts = new Map()
broker.on('message', (/** @type {any} */ { finished, failed, error }) => {
  const burst = bursts.get(finished ?? failed)
  if (finished) burst.resolve()
  else burst.reject(new Error(`broker: ${error}`))
})

/** ms */
function cpu() {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

const median = (numbers) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1]

async function makePlayer(text) {
  const [name, path] = text.split('=')
  const create = path
    ? adapter((await import(resolve(path))).Client)
    : (await import(`./clients/${name}.mjs`)).create
  const id = name
  const played = { ...scenario, traffic: traffic(scenario) }
  broker.send({ open: id, scenario })
  const events = {
    done() {},
    fail(error) {
      throw error
    },
  }
  const url = `ws://127.0.0.1:${port}/${id}`
  const client = await create({ url, scenario, timing: {} }, events)
  const runtime = {
    later: setImmediate,
    burst: (count, sending) =>
      new Promise((settle, reject) => {
        bursts.set(id, { resolve: settle, reject })
        broker.send({ burst: id, count, sending })
      }),
  }
  const { cycle } = played.traffic
  const of = { name, cycle, count: cycle, figures: [] }
  if (scenario.kind === 'receive') {
    const run = await receiver(client, played, runtime)
    return { ...of, run: (count, checks = false) => run(count, checks) }
  }
  await client.connect()
  if (scenario.kind === 'publish') return { ...of, run: publisher(client, played, runtime, events) }
  if (scenario.kind === 'echo') return { ...of, trips: await echo(client, played) }
  throw new Error(`the kind ${scenario.kind} cannot be run here`)
}

async function echo(client, { traffic: { topic, payload, filters } }) {
  let arrived
  const onMessage = () => arrived()
  await client.subscribe(filters, 0, onMessage, { bytes: onMessage })
  return async () => {
    const times = []
    while (times.length < TRIPS) {
      const start = performance.now()
      await new Promise((settle) => {
        arrived = settle
        client.publish(topic(0), payload(0), 0)
      })
      times.push((performance.now() - start) * 1_000)
    }
    return median(times)
  }
}

/** CPU µs for each message of a burst, or µs of the median round trip. */
async function measure(player) {
  if (player.trips) return player.trips()
  const start = cpu()
  await player.run(player.count)
  return ((cpu() - start) * 1_000) / player.count
}

async function warm(player) {
  if (player.trips) {
    for (let trips = 0; trips < 8; trips++) await player.trips()
    return
  }
  for (let spent = 0; spent < WARM; ) {
    const start = cpu()
    await player.run(player.count, spent === 0)
    const took = Math.max(1, cpu() - start)
    spent += took
    const cycles = Math.ceil((player.count * Math.min(8, BURST / took)) / player.cycle)
    player.count = cycles * player.cycle
  }
}

const players = []
for (const name of names) players.push(await makePlayer(name))
for (const player of players) await warm(player)
const rounds = Number(values.rounds)
for (let round = 0; round < rounds; round++)
  for (let at = 0; at < players.length; at++) {
    const player = players[(round + at) % players.length]
    player.figures.push(await measure(player))
  }
console.log(title)
for (const { name, figures } of players) {
  const ratio = median(figures.map((figure, round) => figure / players[0].figures[round]))
  console.log(
    `${name.padEnd(16)} ${median(figures).toFixed(3)} µs, least ${Math.min(...figures).toFixed(3)} µs, × ${ratio.toFixed(2)}`,
  )
}
process.exit()
