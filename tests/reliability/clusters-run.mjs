// `npm run test:clusters`: a node of three is stopped, killed, frozen, cut off and restarted under traffic; prints what was lost and how long it took.
//
//   node tests/reliability/clusters-run.mjs [--rounds 10] [--broker nats|rabbitmq] [--write]

import { parseArgs } from 'node:util'
import { main, Problem } from '../../scripts/tools.mjs'
import { kinds, natsPresent, rabbitPresent } from './brokers.mjs'
import { failover, passDead, startNats, startRabbit } from './clusters.mjs'
import { figures } from './figures.mjs'
import { mayPartition } from './namespaces.mjs'

const FAULTS = /** @type {const} */ (['stop', 'kill', 'freeze', 'rolling restart'])

/** What can be tested here: how it starts, and the faults. */
const CLUSTERS = {
  nats: {
    present: natsPresent,
    install: 'apt-get install nats-server',
    start: (t) => startNats(t, mayPartition()),
    // Last, because NATS 2.9 does not always recover from it.
    faults: () => [...FAULTS, ...(mayPartition() ? /** @type {const} */ (['partition']) : [])],
  },
  rabbitmq: {
    present: rabbitPresent,
    install: 'apt-get install rabbitmq-server',
    start: startRabbit,
    faults: () => FAULTS,
  },
}

main(async () => {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '10' },
      broker: { type: 'string' },
      write: { type: 'boolean', default: false },
    },
  })
  let bad = 0
  for (const [name, { present, install, ...wanted }] of Object.entries(CLUSTERS)) {
    if (values.broker && values.broker !== name) continue
    if (!present()) {
      console.log(`${name} is not installed: ${install}`)
      continue
    }
    const ends = []
    try {
      const result = await play({ after: (end) => ends.push(end) }, wanted, Number(values.rounds))
      bad += result.bad
      const own = name === 'nats' && process.env.NATS_SERVER ? 'NATS_SERVER=… ' : ''
      const command = `${own}npm run test:clusters -- --broker ${name} --rounds ${values.rounds}`
      if (values.write) figures(`clusters, ${result.title}`, { command, ...result.shown })
    } finally {
      for (const end of ends.reverse()) await end()
    }
  }
  if (values.write) figures('dead servers', { command: 'npm run test:clusters', ...(await dead()) })
  if (bad > 0) throw new Problem('A client did what it must not, or left something unsettled.')
  process.exit()
})

/** Plays each fault, and resolves with the rows of the table and how much the clients did wrong. */
async function play(t, { start, faults }, rounds) {
  const cluster = await start(t)
  const title = `${cluster.name} ${cluster.version}`
  const shown = { nodes: `three of ${title}` }
  let bad = 0
  for (const fault of faults()) {
    const result = await failover(cluster, fault, rounds)
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
  return { title, shown, bad }
}

async function dead() {
  const ends = []
  const t = { after: (end) => ends.push(end) }
  const broker = await kinds.find(({ name }) => name === 'wasmqtt/testing').run(t)
  const times = await passDead(t, broker.url('TCP', 5))
  for (const end of ends.reverse()) await end()
  return Object.fromEntries(
    Object.entries(times).map(([name, time]) => [
      `first server of the list ${name}`,
      `next one after ${time.toFixed(0)} ms`,
    ]),
  )
}
