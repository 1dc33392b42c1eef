// Many clients in one process whose broker restarts: how they come back, and whether they keep what they owe.

import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from '../../pkg/node.js'
import { credentials } from './brokers.mjs'

/** ms that attempts are counted over. */
const WINDOW = 100
/** ms in which all clients must be back, and all promises settled. */
const PATIENCE = 120_000

/**
 * Connects clients with the default options, each with a subscription to a topic of its own, ends the broker without a word, starts it again after
 * `outage` ms, and waits until all clients are back. Each client publishes at QoS 1 before, during and after the outage.
 * @param {import('./brokers.mjs').Running} broker
 * @param {{ clients: number, outage: number }} options
 */
export async function storm(broker, { clients: count, outage }) {
  const attempts = /** @type {number[]} */ ([])
  const returns = /** @type {number[]} */ ([])
  const delays = /** @type {number[]} */ ([])
  const delivered = new Set()
  const began = performance.now()
  const clients = await many(count, async (index) => {
    const client = await connect(broker.url(index % 2 === 0 ? 'WebSocket' : 'TCP', 5), {
      clientId: `storm-${index}`,
      ...credentials,
    })
    client.on('error', () => {})
    await client.subscribe(`storm/${index}`, { qos: 1 }, (message) => {
      delivered.add(`${index} ${message.text()}`)
    })
    return client
  })
  const connecting = performance.now() - began
  let unsettled = 0
  let rejected = 0
  const publish = (text) => {
    for (const [index, client] of clients.entries()) {
      unsettled++
      client
        .publish(`storm/${index}`, text, { qos: 1 })
        .catch(() => rejected++)
        .finally(() => unsettled--)
    }
  }
  for (const client of clients) {
    client.on('state', (state) => state === 'connecting' && attempts.push(performance.now()))
    client.on('reconnecting', ({ attempt, delay }) => attempt === 1 && delays.push(delay))
    client.on('connect', () => returns.push(performance.now()))
  }
  publish('before')
  await broker.kill()
  const ended = performance.now()
  publish('during')
  await sleep(outage)
  await broker.start()
  const started = performance.now()
  await until(() => clients.every(({ connected }) => connected))
  const back = performance.now()
  publish('after')
  // What the broker had acknowledged and not delivered ended with it.
  const due = clients.flatMap((_, index) => [`${index} during`, `${index} after`])
  await until(() => unsettled === 0 && due.every((key) => delivered.has(key)))
  const lost = due.filter((key) => !delivered.has(key)).length
  await Promise.all(clients.map((client) => client.end({ timeout: 5_000 })))
  return {
    clients: count,
    connecting,
    attempts: attempts.length,
    peakAttempts: peak(attempts),
    peakReturns: peak(returns),
    /** The most first attempts that the clients plan within 100 ms. */
    peakPlanned: peak(delays),
    /** ms from the start of the broker until the last client was back. */
    allBack: back - started,
    outage: started - ended,
    messages: 3 * count,
    lost,
    unsettled,
    rejected,
  }
}

/** Results of `work` for many numbers, some at a time. */
async function many(count, work) {
  const results = []
  let next = 0
  const worker = async () => {
    while (next < count) {
      const index = next++
      results[index] = await work(index)
    }
  }
  await Promise.all(Array.from({ length: 50 }, worker))
  return results
}

async function until(isSo) {
  const deadline = Date.now() + PATIENCE
  while (!isSo() && Date.now() < deadline) await sleep(20)
}

/** The most times that lie within `WINDOW`. */
function peak(times) {
  const sorted = times.toSorted((a, b) => a - b)
  let first = 0
  let most = 0
  for (const [index, time] of sorted.entries()) {
    while (sorted[first] < time - WINDOW) first++
    most = Math.max(most, index - first + 1)
  }
  return most
}
