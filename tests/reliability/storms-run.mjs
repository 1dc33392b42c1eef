// `npm run test:storms`: 1,000 and 5,000 clients in one process against brokers that restart; prints how they come back.
//
//   node tests/reliability/storms-run.mjs [--clients 1000,5000] [--brokers testing,mosquitto] [--outage 2000] [--write]

import { parseArgs } from 'node:util'
import { main, Problem } from '../../scripts/tools.mjs'
import { kinds } from './brokers.mjs'
import { figures } from './figures.mjs'
import { storm } from './storms.mjs'

main(async () => {
  const { values } = parseArgs({
    options: {
      clients: { type: 'string', default: '1000,5000' },
      brokers: { type: 'string', default: 'testing,mosquitto' },
      outage: { type: 'string', default: '2000' },
      write: { type: 'boolean', default: false },
    },
  })
  const shown = { command: `npm run test:storms -- --clients ${values.clients}` }
  let bad = 0
  for (const word of values.brokers.split(','))
    for (const clients of values.clients.split(',').map(Number)) {
      const kind = kinds.find(({ name }) => name.toLowerCase().includes(word))
      if (!kind?.present()) throw new Problem(`There is no broker ${word}.`)
      const ends = []
      try {
        const broker = await kind.run({ after: (end) => ends.push(end) })
        const result = await storm(broker, { clients, outage: Number(values.outage) })
        console.log(broker.name, result)
        const { peakAttempts, peakReturns, allBack, messages, lost, unsettled, rejected } = result
        bad += lost + unsettled + rejected
        const seconds = (ms) => `${(ms / 1_000).toFixed(1)} s`
        shown[
          `${clients.toLocaleString('en-US')} clients, ${broker.name} ${broker.version}, away for ${seconds(result.outage)}`
        ] =
          `at most ${peakAttempts} attempts and ${peakReturns} reconnects in 100 ms; all back ${seconds(allBack)} after it had started; ${messages} messages: ${lost} lost, ${unsettled} unsettled, ${rejected} rejected`
      } finally {
        for (const end of ends.reverse()) await end()
      }
    }
  if (values.write) figures('storms', shown)
  if (bad > 0) throw new Problem('Something was lost, rejected or left unsettled.')
  process.exit()
})
