// `npm run test:fuzz`: an hour of a hostile server that sends what a seed decides; `-- --seconds 600` is shorter, `--chromium` is in a page.
//
//   node --expose-gc tests/reliability/fuzz-run.mjs [--seconds 3600] [--seed 1] [--chromium] [--write]

import { parseArgs } from 'node:util'
import { Client } from '../../pkg/node.js'
import { main, Problem } from '../../scripts/tools.mjs'
import { figures } from './figures.mjs'
import { fuzz } from './fuzz.mjs'
import { fuzzInPage } from './fuzz-page.mjs'

const MIB = 1_048_576

main(async () => {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '3600' },
      seed: { type: 'string', default: '1' },
      chromium: { type: 'boolean', default: false },
      write: { type: 'boolean', default: false },
    },
  })
  const options = { seconds: Number(values.seconds), seed: Number(values.seed) }
  const loose = []
  for (const event of ['unhandledRejection', 'uncaughtException'])
    process.on(event, (error) => loose.push(`${event}: ${error?.stack ?? error}`))
  const heaps = []
  const tell = (sample) => {
    globalThis.gc?.()
    const { heapUsed, rss } = process.memoryUsage()
    heaps.push(heapUsed / MIB)
    console.log(JSON.stringify({ ...sample, heap: heapUsed / MIB, rss: rss / MIB }))
  }
  const ends = []
  const result = values.chromium
    ? await fuzzInPage({ after: (end) => ends.push(end) }, options)
    : await fuzz(Client, { ...options, tell })
  for (const end of ends) await end()
  const faults = [...result.faults, ...loose]
  console.log({ ...result, faults })
  const quarter = Math.floor(heaps.length / 4)
  if (values.write)
    figures(`hostile server, ${values.chromium ? 'Chromium' : 'Node'}`, {
      command: `npm run test:fuzz -- --seconds ${values.seconds} --seed ${values.seed}${values.chromium ? ' --chromium' : ''}`,
      clients: result.clients,
      connections: result.connections,
      bytesFromTheServer: result.bytes,
      packetsOfTheClients: result.packets,
      messagesDelivered: result.messages,
      callsRejected: result.rejected,
      errorsByCode: Object.entries(result.codes)
        .map(([code, count]) => `${code} ${count.toLocaleString('en-US')}`)
        .join(', '),
      wasmMemory: `at most ${(result.wasm / MIB).toFixed(1)} MiB`,
      ...(heaps.length > 4 && {
        heap: `${heaps[quarter].toFixed(1)} MiB after a quarter, ${heaps.at(-1).toFixed(1)} MiB at the end`,
      }),
      'crashes, hangs and unhandled rejections': faults.length,
    })
  if (faults.length > 0)
    throw new Problem(`The server did what it must not be able to:\n${faults.join('\n')}`)
  process.exit()
})
