// The clients of the endurance run. They run in Node, in a page and in a worker.

import { random } from './random.mjs'

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/**
 * Each client publishes to the next one, in turn at each QoS, until the time is over.
 * @param {typeof import('../../pkg/node.js').connect} connect
 * @param {{ urls: string[], seconds: number, seed: number, credentials: object }} options One URL for each client.
 * @param {(client: import('../../pkg/node.js').Client) => void} started Gets one of the clients.
 */
export async function exchange(connect, { urls, seconds, seed, credentials }, started) {
  const chance = random(seed)
  const clients = []
  /** QoS 2 messages that must still arrive, and those whose promise rejected, which may arrive. */
  const due = new Set()
  const refused = new Set()
  const total = { sent: 0, failed: 0, lost: 0, repeated: 0, connections: 0 }
  for (const [index, url] of urls.entries()) {
    const client = await connect(url, {
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
      if (!due.delete(key) && !refused.has(key)) total.repeated++
    })
  }
  started(clients[0])

  const until = Date.now() + 1_000 * seconds
  const work = clients.map(async (client, index) => {
    while (Date.now() < until) {
      const qos = /** @type {0 | 1 | 2} */ (Math.floor(chance() * 3))
      const to = `endure/${(index + 1) % clients.length}/${qos}`
      const text = `${total.sent++}`
      const key = `${to} ${text}`
      if (qos === 2) due.add(key)
      client.publish(to, text, { qos, timeout: 30_000 }).catch(() => {
        total.failed++
        if (due.delete(key)) refused.add(key)
      })
      await sleep(5)
    }
  })
  await Promise.all(work)
  await Promise.all(clients.map((client) => client.drain({ timeout: 20_000 }).catch(() => {})))
  await sleep(500)
  total.lost = due.size
  total.connections = clients.reduce((all, client) => all + client.stats().connections, 0)
  await Promise.all(clients.map((client) => client.end({ timeout: 2_000 })))
  return total
}
