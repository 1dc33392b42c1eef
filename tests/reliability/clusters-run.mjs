// `npm run test:clusters`: a node of three is stopped, killed, frozen and restarted under traffic; prints what was lost and how long it took.
//
//   node tests/reliability/clusters-run.mjs [--rounds 10] [--write]

import { parseArgs } from 'node:util'
import { main, Problem } from '../../scripts/tools.mjs'
import { natsPresent } from './brokers.mjs'
import { failover, passDead, startNats } from './clusters.mjs'
import { figures } from './figures.mjs'

main(async () => {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '10' },
      write: { type: 'boolean', default: false },
    },
  })
  if (!natsPresent()) throw new Problem('NATS is not installed: apt-get install nats-server')
  const ends = []
  const t = { after: (end) => ends.push(end) }
  try {
    const cluster = await startNats(t)
    const shown = {
      command: `npm run test:clusters -- --rounds ${values.rounds}`,
      NATS: `${cluster.version}, three nodes`,
    }
    let bad = 0
    for (const fault of /** @type {const} */ (['stop', 'kill', 'freeze', 'rolling restart'])) {
      const result = await failover(cluster, fault, Number(values.rounds))
      console.log(result)
      const { messages, clients, server, delivered, disordered, unsettled, rejected } = result
      const wrong = Object.values(clients).reduce((all, list) => all + list.length, 0)
      bad += wrong + unsettled + rejected
      const { middle, slowest } = result
      const time =
        slowest === undefined
          ? ''
          : `; next node after ${middle.toFixed(0)} ms, at worst ${slowest.toFixed(0)} ms`
      shown[fault] =
        `${messages} messages, ${delivered} delivered; the clients: ${wrong} faults, ${unsettled} unsettled, ${rejected} rejected; the cluster: ${server.lost} lost, ${server.copies} QoS 2 repeated, ${disordered} out of order${time}`
    }
    const dead = await passDead(t, cluster.urls[0])
    console.log(dead)
    for (const [name, time] of Object.entries(dead))
      shown[`first server of the list ${name}`] = `next one after ${time.toFixed(0)} ms`
    if (values.write) figures('clusters', shown)
    if (bad > 0) throw new Problem('A client did what it must not, or left something unsettled.')
  } finally {
    for (const end of ends.reverse()) await end()
  }
  process.exit()
})
