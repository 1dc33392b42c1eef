// One run over a bad network: a publisher and a subscriber, each behind a proxy that a seed drives, exchange numbered messages of QoS 1 and 2.

import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from '../../pkg/node.js'
import { BadProxy } from './bad-proxy.mjs'
import { credentials } from './brokers.mjs'
import { random } from './random.mjs'

/** Faults of a run, for both clients together. */
const FAULTS = 8
/** ms after which a run that has not ended has failed. */
const LIMIT = 40_000

const NOTHING = {
  messages: 0,
  lost: 0,
  disordered: 0,
  repeatedQoS1: 0,
  duplicates: 0,
  unsettled: 0,
  connections: 0,
  failures: /** @type {string[]} */ ([]),
}

/**
 * @param {import('./brokers.mjs').Running} broker
 * @param {number} seed
 * @param {number} messages How many of each QoS.
 */
export async function run(broker, seed, messages) {
  const chance = random(seed)
  const version = broker.versions[Math.floor(chance() * broker.versions.length)]
  const transport = chance() < 0.5 ? 'WebSocket' : 'TCP'
  const url = new URL(broker.url(transport, version))
  const proxies = [0, 1].map(
    () => new BadProxy(Number(url.port), random(chance() * 2 ** 32), FAULTS / 2),
  )
  const clients = []
  const faults = () => ({ faults: sum(proxies), version, transport })
  const work = async () => {
    for (const [index, proxy] of proxies.entries()) {
      url.port = `${await proxy.listen()}`
      clients.push(
        await connect(url.href, {
          clientId: `${seed}-${index}`,
          protocolVersion: version,
          clean: false,
          ...(version === 5 && { properties: { sessionExpiryInterval: 300 } }),
          keepalive: 1,
          connectTimeout: 1_000,
          reconnect: { initial: true, minDelay: 5, maxDelay: 40 },
          ...credentials,
        }),
      )
    }
    return exchange(clients, seed, messages, chance)
  }
  try {
    const result = await Promise.race([work(), sleep(1.5 * LIMIT, undefined, { ref: false })])
    if (result) return { ...result, ...faults() }
    // A promise of connect(), publish() or subscribe() has not settled.
    const states = clients.map((client) =>
      JSON.stringify({ state: client.state, ...client.stats() }),
    )
    return { ...NOTHING, unsettled: 1, states, ...faults() }
  } finally {
    for (const client of clients) client.end({ force: true, timeout: 100 }).catch(() => {})
    for (const proxy of proxies) proxy.close()
  }
}

/** @param {import('../../pkg/node.js').Client[]} clients */
async function exchange(clients, seed, messages, chance) {
  const [publisher, subscriber] = clients
  for (const client of [publisher, subscriber]) client.on('error', () => {})
  const received = { 1: [], 2: [] }
  await subscriber.subscribe(`${seed}/#`, { qos: 2 }, (message) => {
    received[message.topic.at(-1)].push(Number(message.text()))
  })
  let unsettled = 0
  /** @type {string[]} */
  const failures = []
  for (let index = 0; index < messages; index++) {
    for (const qos of /** @type {const} */ ([1, 2])) {
      unsettled++
      publisher
        .publish(`${seed}/${qos}`, `${index}`, { qos })
        .catch((error) => failures.push(`${error.code}: ${error.message}`))
        .finally(() => unsettled--)
    }
    if (chance() < 0.3) await sleep(chance() * 12)
  }
  const deadline = Date.now() + LIMIT
  const complete = () =>
    unsettled === 0 && [1, 2].every((qos) => new Set(received[qos]).size === messages)
  while (!complete() && Date.now() < deadline) await sleep(10)
  // Copies come at once after the originals, if there are any.
  await sleep(50)
  const judged = [1, 2].map((qos) => judge(received[qos], messages))
  return {
    messages: 2 * messages,
    lost: judged[0].lost + judged[1].lost,
    disordered: judged[0].disordered + judged[1].disordered,
    repeatedQoS1: judged[0].repeated,
    duplicates: judged[1].repeated,
    unsettled,
    failures,
    connections: publisher.stats().connections + subscriber.stats().connections,
  }
}

function judge(numbers, count) {
  const seen = new Set()
  let disordered = 0
  let last = -1
  for (const number of numbers) {
    // A copy of QoS 1 may come late. What counts is the order in which messages come for the first time.
    if (seen.has(number)) continue
    if (number < last) disordered++
    last = number
    seen.add(number)
  }
  return { lost: count - seen.size, repeated: numbers.length - seen.size, disordered }
}

function sum(proxies) {
  const total = {}
  for (const { faults } of proxies)
    for (const [name, count] of Object.entries(faults)) total[name] = (total[name] ?? 0) + count
  return total
}

/** Runs many seeds, several at a time, and adds up what they say. `tell` gets each seed that went wrong. */
export async function runMany(broker, { from, seeds, messages, atOnce, tell }) {
  const total = {
    runs: 0,
    messages: 0,
    faults: /** @type {Record<string, number>} */ ({}),
    connections: 0,
    repeatedQoS1: 0,
    lost: 0,
    duplicates: 0,
    disordered: 0,
    unsettled: 0,
    failed: 0,
  }
  let next = from
  const worker = async () => {
    while (next < from + seeds) {
      const seed = next++
      const result = await run(broker, seed, messages)
      total.runs++
      for (const [name, count] of Object.entries(result.faults))
        total.faults[name] = (total.faults[name] ?? 0) + count
      for (const key of /** @type {const} */ ([
        'messages',
        'connections',
        'repeatedQoS1',
        'lost',
        'duplicates',
        'disordered',
        'unsettled',
      ]))
        total[key] += result[key]
      total.failed += result.failures.length
      if (
        result.lost +
          result.duplicates +
          result.disordered +
          result.unsettled +
          result.failures.length >
        0
      )
        tell(seed, result)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
  return total
}

export const faultsOf = ({ faults }) => Object.values(faults).reduce((all, count) => all + count, 0)
