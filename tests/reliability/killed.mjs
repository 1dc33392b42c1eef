// A process that publishes over a bad network and is killed again and again, with a FileStore or without one; and what arrives.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { connect } from '../../pkg/node.js'
import { BadProxy } from './bad-proxy.mjs'
import { credentials, folder } from './brokers.mjs'
import { faultsOf } from './networks.mjs'
import { random } from './random.mjs'

const CHILD = fileURLToPath(new URL('../brokers/store-child.mjs', import.meta.url))
/** Faults of one life. */
const FAULTS = 3
/** ms after which a life that does not go on has failed. */
const LIMIT = 60_000

/**
 * @param {import('./brokers.mjs').Running} broker
 * @param {number} seed
 * @param {{ kills: number, store: boolean }} options
 */
export async function runKilled(broker, seed, { kills, store }) {
  const ends = []
  const t = { after: (end) => ends.push(end) }
  try {
    return await play(t, broker, seed, kills, store ? await folder(t, 'killed') : '')
  } finally {
    for (const end of ends.reverse()) await end()
  }
}

async function play(t, broker, seed, kills, store) {
  const chance = random(seed)
  const version = broker.versions[Math.floor(chance() * broker.versions.length)]
  const url = new URL(broker.url(chance() < 0.5 ? 'WebSocket' : 'TCP', version))
  const watching = await connect(broker.url('TCP', version), {
    protocolVersion: version,
    clientId: `${seed}-watching`,
    ...credentials,
  })
  t.after(() => watching.end())
  const arrived = { 1: [], 2: [] }
  await watching.subscribe(`${seed}/#`, { qos: 2 }, (message) => {
    arrived[message.topic.at(-1)].push(Number(message.text()))
  })
  const proxy = new BadProxy(Number(url.port), random(chance() * 2 ** 32), 0)
  t.after(() => proxy.close())
  url.port = `${await proxy.listen()}`

  const done = []
  const errors = []
  let first = 0
  for (let life = 0; life <= kills; life++) {
    proxy.allow(FAULTS)
    const said = lines(t, 'send', url.href, store, first, version, seed)
    const count = (word) => said.lines.filter((line) => line.startsWith(word)).length
    const patience = AbortSignal.timeout(LIMIT)
    const until = async (isSo) => {
      while (!isSo()) await sleep(10, undefined, { signal: patience })
    }
    await until(() => count('ready') > 0)
    if (life < kills) await sleep(chance() * 400)
    else await until(() => count('done') > 96)
    await said.kill()
    done.push(...said.numbers('done'))
    errors.push(...said.lines.filter((line) => line.startsWith('error')))
    first = Math.max(first, ...said.numbers('taken').map((number) => number + 1))
  }
  await sleep(300)
  return { kills: kills + 1, faults: proxy.faults, errors, ...judge(done, arrived) }
}

/** What became of the messages whose publish() had resolved before a kill, and of all that arrived. */
function judge(done, arrived) {
  const total = { messages: done.length, lost: 0, repeatedQoS1: 0, duplicates: 0, disordered: 0 }
  for (const qos of [1, 2]) {
    const unique = [...new Set(arrived[qos])]
    const own = done.filter((number) => 1 + (number % 2) === qos)
    total.lost += own.filter((number) => !unique.includes(number)).length
    total[qos === 1 ? 'repeatedQoS1' : 'duplicates'] += arrived[qos].length - unique.length
    total.disordered += unique.filter((number, at) => at > 0 && unique[at - 1] > number).length
  }
  return total
}

/** Starts the process, and collects what it says. */
function lines(t, role, url, store, first, version, seed) {
  const options = {
    keepalive: 1,
    connectTimeout: 1_000,
    reconnect: { initial: true, minDelay: 5, maxDelay: 40 },
    ...credentials,
  }
  const args = [CHILD, role, url, store, first, version, seed, JSON.stringify(options)].map(String)
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => child.kill('SIGKILL'))
  const read = createInterface(child.stdout)
  // It may close its files some time before it is gone.
  const gone = Promise.all([once(read, 'close'), once(child, 'exit')])
  const lines = /** @type {string[]} */ ([])
  read.on('line', (line) => lines.push(line))
  return {
    lines,
    numbers: (word) =>
      lines.flatMap((line) => (line.startsWith(`${word} `) ? [Number(line.split(' ')[1])] : [])),
    async kill() {
      child.kill('SIGKILL')
      await gone
    },
  }
}

/**
 * Runs many seeds, several at a time, and adds up what they say. `tell` gets each seed that went wrong.
 * @param {import('./brokers.mjs').Running} broker
 */
export async function runManyKilled(broker, { from, seeds, kills, store, atOnce, tell }) {
  const total = {
    runs: 0,
    kills: 0,
    faults: 0,
    messages: 0,
    repeatedQoS1: 0,
    lost: 0,
    duplicates: 0,
    disordered: 0,
  }
  let next = from
  const worker = async () => {
    while (next < from + seeds) {
      const seed = next++
      const { faults, errors, ...result } = await runKilled(broker, seed, { kills, store })
      total.runs++
      total.faults += faultsOf({ faults })
      for (const [key, value] of Object.entries(result)) total[key] += value
      if (errors.length + result.lost + result.duplicates + result.disordered > 0)
        tell(seed, { errors, ...result })
    }
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
  return total
}
