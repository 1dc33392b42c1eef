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
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { adapter } from './clients/wasmqtt-api.mjs'
import { echoer, median, publisher, receiver } from './measure.mjs'
import { NullBroker } from './null-broker-process.mjs'
import { node as scenarios } from './scenarios.mjs'
import { traffic } from './traffic.mjs'

/** CPU ms of a burst, and of the warm-up of each client. */
const BURST = 150
const WARM = 1_500

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '15' } },
})
const [title, ...names] = positionals
const scenario = scenarios.find(({ name }) => name === title)
if (scenario === undefined)
  throw new Error(`there is no scenario ${title}: ${scenarios.map(({ name }) => name).join('; ')}`)

const broker = await NullBroker.start()

/** ms */
function cpu() {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

async function makePlayer(text) {
  const [name, path] = text.split('=')
  const create = path
    ? adapter((await import(resolve(path))).Client)
    : (await import(`./clients/${name}.mjs`)).create
  const played = { ...scenario, traffic: traffic(scenario) }
  const events = {
    done() {},
    fail(error) {
      throw error
    },
  }
  const client = await create({ url: broker.open(name, scenario), scenario, timing: {} }, events)
  const runtime = {
    later: setImmediate,
    burst: (count, sending) => broker.burst(name, { count, sending }),
  }
  const { cycle } = played.traffic
  const of = { name, cycle, count: cycle, figures: [] }
  if (scenario.kind === 'receive') return { ...of, run: await receiver(client, played, runtime) }
  if (scenario.kind === 'echo') return { ...of, trips: await echoer(client, played) }
  if (scenario.kind !== 'publish') throw new Error(`the kind ${scenario.kind} cannot be run here`)
  await client.connect()
  return { ...of, run: publisher(client, played, runtime, events) }
}

/** CPU µs for each message of a burst, or µs of the median round trip. */
async function measure(player) {
  if (player.trips) return player.trips()
  const start = cpu()
  await player.run(player.count, false)
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
// The sockets of the clients are open.
broker.stop()
process.exit()
