// Runs the simulated devices, each with its own client. One of them crashes now and then.
// start.mjs runs this: fleet.mjs <broker url> <seconds between crashes> [the name of a single device]
import { fork } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Client } from '../pkg/node.js'
import { CRASHES, DEVICES, startDevice } from './devices.mjs'
import { stopChild } from './tools.mjs'

const [url, crashEvery, only] = process.argv.slice(2)
const stops = []

async function run(name) {
  const { stop } = await startDevice(name, (options) => new Client(url, options))
  stops.push(stop)
}

/** Runs a device in its own process and kills it, so that the broker publishes the will. */
async function runAndCrash(name) {
  for (;;) {
    const child = fork(fileURLToPath(import.meta.url), [url, crashEvery, name])
    stops.push(() => stopChild(child))
    await sleep(Number(crashEvery) * 1_000)
    if (stopping) return
    stops.pop()
    child.kill('SIGKILL')
    await sleep(Math.min(8, Number(crashEvery) / 2) * 1_000)
  }
}

let stopping = false
async function stop() {
  if (stopping) return
  stopping = true
  await Promise.allSettled(stops.map((step) => step()))
  process.exit(0)
}

// Ctrl-C reaches the whole process group, but the parent decides when this ends. If the channel to it closes, the parent is gone.
process.on('SIGINT', () => {})
process.on('SIGTERM', stop)
process.on('disconnect', stop)

if (only) run(only)
else for (const name of Object.keys(DEVICES)) name === CRASHES ? runAndCrash(name) : run(name)
