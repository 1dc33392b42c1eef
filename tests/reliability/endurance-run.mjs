// `npm run test:endurance`: an hour of mixed traffic with a fault every few seconds.
//
//   node --expose-gc tests/reliability/endurance-run.mjs [--where Node|tab|worker] [--seconds 3600] [--seed 1] [--write]

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { main, Problem, root } from '../../scripts/tools.mjs'
import { endure, places, slope } from './endurance.mjs'
import { figures } from './figures.mjs'
import { picture } from './picture.mjs'

/** What the samples are called in words. */
const NAMES = { heap: 'JavaScript heap', rss: 'RSS of the process', wasm: 'WebAssembly memory' }

main(async () => {
  const { values } = parseArgs({
    options: {
      where: { type: 'string', default: 'Node' },
      seconds: { type: 'string', default: '3600' },
      seed: { type: 'string', default: '1' },
      write: { type: 'boolean', default: false },
    },
  })
  const { where } = values
  if (!(where in places)) throw new Problem(`--where is one of ${Object.keys(places).join(', ')}.`)
  const result = await endure({
    seconds: Number(values.seconds),
    seed: Number(values.seed),
    where,
    tell: (sample) => console.log(JSON.stringify(sample)),
  })
  const shown = summary(
    result,
    `npm run test:endurance -- --where ${where} --seconds ${values.seconds}`,
  )
  console.log(shown)
  if (values.write) write(where, result, shown)
  const { lost, repeated, open, before, after } = result
  if (
    lost + repeated + open > 0 ||
    after.sockets > before.sockets ||
    after.timers > before.timers ||
    after.listeners > before.listeners
  )
    throw new Problem('Something was lost, repeated or left behind.')
  process.exit()
})

function summary(
  { samples, sent, faults, connections, lost, repeated, failed, open, before, after },
  command,
) {
  const memory = Object.entries(NAMES)
    .filter(([key]) => key in samples[0])
    .map(([key, name]) => [name, course(samples, key)])
  return {
    command,
    messages: sent,
    faults,
    connections,
    lostQoS2: lost,
    repeatedQoS2: repeated,
    unsettled: 0,
    rejected: failed,
    ...Object.fromEntries(memory),
    connectionsLeftOpen: open,
    before: inWords(before),
    after: inWords(after),
  }
}

/** How a value went in the second half; as a slope where that is long enough to tell. */
function course(samples, key) {
  const half = samples.slice(Math.floor(samples.length / 2))
  const values = half.map((sample) => sample[key])
  const range = `${Math.min(...values).toFixed(1)} to ${Math.max(...values).toFixed(1)} MiB in the second half`
  if (half.at(-1).second - half[0].second < 1_200) return range
  return `${range}, ${slope(samples, key).toFixed(2)} MiB more an hour`
}

const inWords = (held) =>
  Object.entries(held)
    .map(([kind, count]) => `${count} ${kind}`)
    .join(', ')

function write(where, { samples }, shown) {
  figures(`endurance, ${where}`, shown)
  const series = Object.entries(NAMES)
    .filter(([key]) => key in samples[0])
    .map(([key, name]) => [name, samples.map((sample) => ({ x: sample.second, y: sample[key] }))])
  const title = `Endurance, ${where}: ${shown.messages.toLocaleString('en-US')} messages, ${shown.faults} faults`
  writeFileSync(
    join(root, 'docs', `endurance-${where.toLowerCase()}.svg`),
    picture(title, Object.fromEntries(series), 'MiB'),
  )
}
