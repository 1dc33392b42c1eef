// `npm run test:networks`: seeded runs over bad networks, and what was lost, repeated, out of order or left unsettled.
//
//   node tests/reliability/networks-run.mjs [--broker mosquitto] [--seeds 2000] [--from 1] [--messages 130] [--at-once 16] [--write]

import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { main, Problem } from '../../scripts/tools.mjs'
import { kinds } from './brokers.mjs'
import { figures } from './figures.mjs'
import { faultsOf, runMany } from './networks.mjs'

main(async () => {
  const { values } = parseArgs({
    options: {
      broker: { type: 'string', default: 'testing' },
      seeds: { type: 'string', default: '2000' },
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
  for (const end of ends.reverse()) await Promise.race([end(), sleep(5_000)])
  if (total.lost + total.duplicates + total.disordered + total.unsettled > 0)
    throw new Problem('Something was lost, repeated, out of order or left unsettled.')
  process.exit()
})
