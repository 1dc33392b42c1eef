// `npm run test:endurance`: an hour of mixed traffic with a fault every few seconds; `-- --seconds 600` is shorter.

import { parseArgs } from 'node:util'
import { main, Problem } from '../../scripts/tools.mjs'
import { endure, slope } from './endurance.mjs'
import { figures } from './figures.mjs'

main(async () => {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '3600' },
      seed: { type: 'string', default: '1' },
      write: { type: 'boolean', default: false },
    },
  })
  const { samples, ...result } = await endure({
    seconds: Number(values.seconds),
    seed: Number(values.seed),
    tell: (sample) => console.log(JSON.stringify(sample)),
  })
  const last = samples.at(-1)
  const grows = (key) =>
    `${last[key].toFixed(1)} MiB at the end, ${slope(samples, key).toFixed(2)} MiB an hour more in the second half`
  console.log(result)
  const { sent, faults, connections, lost, repeated, failed, before, after } = result
  const shown = {
    command: `npm run test:endurance -- --seconds ${values.seconds}`,
    messages: sent,
    faults,
    connections,
    lostQoS2: lost,
    repeatedQoS2: repeated,
    unsettled: 0,
    rejected: failed,
    heap: grows('heap'),
    rss: grows('rss'),
    wasmMemory: grows('wasm'),
    before: JSON.stringify(before),
    after: JSON.stringify(after),
  }
  console.log(shown)
  if (values.write) figures('endurance', shown)
  if (
    lost + repeated > 0 ||
    after.sockets > before.sockets ||
    after.timers > before.timers ||
    after.listeners > before.listeners
  )
    throw new Problem('Something was lost, repeated or left behind.')
  process.exit()
})
