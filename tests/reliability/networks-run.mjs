// `npm run test:networks`: seeded runs over bad networks, and what was lost, repeated, out of order or left unsettled.
//
//   node tests/reliability/networks-run.mjs [--broker mosquitto] [--seeds 2000] [--from 1] [--messages 130] [--at-once 16] [--write]
//   node tests/reliability/networks-run.mjs --kills 3 [--seeds 100] …    kills the publishing process, with a FileStore and without

import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { main, Problem } from '../../scripts/tools.mjs'
import { kinds } from './brokers.mjs'
import { figures } from './figures.mjs'
import { runManyKilled } from './killed.mjs'
import { faultsOf, runMany } from './networks.mjs'

/** Both clients live on. Returns how much went wrong. */
async function disturbed(broker, values) {
  const began = Date.now()
  const total = await runMany(broker, {
    from: Number(values.from),
    seeds: Number(values.seeds),
    messages: Number(values.messages),
    atOnce: Number(values['at-once']),
    tell: (seed, result) => console.log(`seed ${seed}: ${JSON.stringify(result)}`),
  })
  const seconds = (Date.now() - began) / 1_000
  console.log({
    broker: `${broker.name} ${broker.version}`,
    ...total,
    faultsInAll: faultsOf(total),
    seconds,
  })
  if (values.write)
    figures(`networks, ${broker.name}`, {
      command: `npm run test:networks -- --broker ${values.broker} --seeds ${values.seeds}`,
      broker: `${broker.name} ${broker.version}`,
      seconds: Math.round(seconds),
      ...total,
      faults: faultsOf(total),
    })
  return total.lost + total.duplicates + total.disordered + total.unsettled
}

/** The process that publishes is killed, with a store and without. */
async function killed(broker, values) {
  let bad = 0
  for (const store of [true, false]) {
    const total = await runManyKilled(broker, {
      from: Number(values.from),
      seeds: Number(values.seeds),
      kills: Number(values.kills),
      store,
      atOnce: Number(values['at-once']),
      tell: (seed, result) => console.log(`seed ${seed}: ${JSON.stringify(result)}`),
    })
    const kept = store ? 'with a FileStore' : 'without a store'
    console.log(kept, total)
    bad += total.lost + total.duplicates + total.disordered
    if (values.write)
      figures(`processes killed ${kept}, ${broker.name}`, {
        command: `npm run test:networks -- --broker ${values.broker} --seeds ${values.seeds} --kills ${values.kills}`,
        processes: kept,
        ...total,
      })
  }
  return bad
}

main(async () => {
  const { values } = parseArgs({
    options: {
      broker: { type: 'string', default: 'testing' },
      seeds: { type: 'string', default: '2000' },
      kills: { type: 'string' },
      from: { type: 'string', default: '1' },
      messages: { type: 'string', default: '130' },
      'at-once': { type: 'string', default: '16' },
      write: { type: 'boolean', default: false },
    },
  })
  const kind = kinds.find(({ name }) => name.toLowerCase().includes(values.broker))
  if (!kind?.present()) throw new Problem(`There is no broker ${values.broker}.`)
  const ends = []
  const broker = await kind.run({ after: (end) => ends.push(end) })
  const play = values.kills === undefined ? disturbed : killed
  const bad = await play(broker, values)
  for (const end of ends.reverse()) await Promise.race([end(), sleep(5_000)])
  if (bad > 0) throw new Problem('Something was lost, repeated, out of order or left unsettled.')
  process.exit()
})
