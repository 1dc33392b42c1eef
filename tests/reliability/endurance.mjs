// Mixed traffic against the test broker with a fault every few seconds, and what the process holds before, during and after.

import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from '../../pkg/node.js'
import { BadProxy } from './bad-proxy.mjs'
import { credentials, kinds } from './brokers.mjs'
import { random } from './random.mjs'

/**
 * @param {{ seconds: number, seed?: number, clients?: number, tell?: (sample: object) => void }} options
 */
export async function endure({ seconds, seed = 1, clients: count = 8, tell = () => {} }) {
  const ends = []
  const kind = kinds.find(({ name }) => name === 'wasmqtt/testing')
  const broker = await kind.run({ after: (end) => ends.push(end) })
  const chance = random(seed)
  const before = held()
  const clients = []
  const proxies = []
  /** QoS 2 messages that must still arrive, and those whose promise rejected, which may arrive. */
  const due = new Set()
  const refused = new Set()
  let repeated = 0
  let sent = 0
  let failed = 0
  for (let index = 0; index < count; index++) {
    const url = new URL(broker.url(index % 2 === 0 ? 'WebSocket' : 'TCP', 5))
    // A connection has no more faults than the loop below allows: one every few seconds.
    const proxy = new BadProxy(Number(url.port), random(seed + index), 0)
    url.port = `${await proxy.listen()}`
    proxies.push(proxy)
    const client = await connect(url.href, {
      clientId: `endure-${index}`,
      clean: false,
      keepalive: 2,
      connectTimeout: 2_000,
      reconnect: { initial: true, minDelay: 20, maxDelay: 500 },
      ...credentials,
    })
    client.on('error', () => {})
    clients.push(client)
    await client.subscribe(`endure/${index}/#`, { qos: 2 }, (message) => {
      if (message.qos !== 2) return
      // Only what is still due is kept, so that the test itself holds no more and more memory.
      const key = `${message.topic} ${message.text()}`
      if (!due.delete(key) && !refused.has(key)) repeated++
    })
  }

  const until = Date.now() + 1_000 * seconds
  /** @type {{ second: number, heap: number, rss: number, wasm: number }[]} */
  const samples = []
  const work = clients.map(async (client, index) => {
    while (Date.now() < until) {
      const qos = /** @type {0 | 1 | 2} */ (Math.floor(chance() * 3))
      const to = `endure/${(index + 1) % count}/${qos}`
      const text = `${sent++}`
      const key = `${to} ${text}`
      if (qos === 2) due.add(key)
      client.publish(to, text, { qos, timeout: 30_000 }).catch(() => {
        failed++
        if (due.delete(key)) refused.add(key)
      })
      await sleep(5)
    }
  })
  const trouble = (async () => {
    while (Date.now() < until) {
      await sleep(1_000 + chance() * 3_000)
      proxies[Math.floor(chance() * count)].allow(1)
    }
  })()
  const sampling = (async () => {
    for (let second = 0; Date.now() < until; second += 5) {
      const sample = { second, ...memory(clients[0]) }
      samples.push(sample)
      tell(sample)
      await sleep(5_000)
    }
  })()
  await Promise.all([...work, trouble, sampling])
  await Promise.all(clients.map((client) => client.drain({ timeout: 20_000 }).catch(() => {})))
  await sleep(500)
  const lost = due.size
  const faults = proxies.reduce(
    (all, proxy) => all + Object.values(proxy.faults).reduce((sum, one) => sum + one, 0),
    0,
  )
  const connections = clients.reduce((all, client) => all + client.stats().connections, 0)
  await Promise.all(clients.map((client) => client.end({ timeout: 2_000 })))
  for (const proxy of proxies) proxy.close()
  for (const end of ends.reverse()) await end()
  await sleep(1_000)
  return {
    seconds,
    sent,
    failed,
    lost,
    repeated,
    faults,
    connections,
    samples,
    before,
    after: held(),
  }
}

const MIB = 1_048_576

function memory(client) {
  globalThis.gc?.()
  const { heapUsed, rss } = process.memoryUsage()
  return { heap: heapUsed / MIB, rss: rss / MIB, wasm: client.stats().wasmMemoryBytes / MIB }
}

/** What keeps the process alive, by kind. */
function held() {
  const resources = process.getActiveResourcesInfo()
  const of = (pattern) => resources.filter((name) => pattern.test(name)).length
  return {
    sockets: of(/^TCPSocketWrap|^TLSWrap/),
    servers: of(/^TCPServerWrap/),
    timers: of(/^Timeout/),
    listeners: process.eventNames().reduce((all, name) => all + process.listenerCount(name), 0),
  }
}

/** MiB an hour by which a value grows: the slope of the line that fits the second half of the samples best. */
export function slope(samples, key) {
  const half = samples.slice(Math.floor(samples.length / 2))
  const mean = (values) => values.reduce((all, value) => all + value, 0) / values.length
  const [x, y] = [mean(half.map(({ second }) => second)), mean(half.map((sample) => sample[key]))]
  const over = half.reduce((all, sample) => all + (sample.second - x) * (sample[key] - y), 0)
  const under = half.reduce((all, { second }) => all + (second - x) ** 2, 0)
  return under === 0 ? 0 : (3_600 * over) / under
}
