/**
 * Many clients in one process: fleet.mjs starts it, with the name of a client and how many. It connects them, each of which subscribes to a topic
 * of its own and publishes a message of QoS 1, and sends what that took. Then it waits: the clients connect again by themselves after an outage.
 */
import { setTimeout as sleep } from 'node:timers/promises'

const [client, url, count] = process.argv.slice(2)
/** Clients that connect at the same time. */
const AT_ONCE = 100

/** For each library: makes a client, connects it, subscribes and publishes. */
const stories = {
  async wasmqtt() {
    const { Client } = await import('../pkg/node.js')
    return async (id) => {
      const client = new Client(url, { protocolVersion: 4, clientId: id })
      client.on('error', fail)
      await client.connect()
      await client.subscribe(`fleet/${id}`, { qos: 1 }, () => {})
      await client.publish('fleet/all', id, { qos: 1 })
      return client
    }
  },
  async mqttjs() {
    const { default: mqtt } = await import('mqtt')
    return async (id) => {
      const client = mqtt.connect(url, { protocolVersion: 4, clientId: id })
      client.on('error', () => {})
      client.on('message', () => {})
      await new Promise((resolve) => client.once('connect', resolve))
      await client.subscribeAsync(`fleet/${id}`, { qos: 1 })
      await client.publishAsync('fleet/all', id, { qos: 1 })
      return client
    }
  },
  /** No client at all: a WebSocket that sends prepared bytes. */
  async floor() {
    const { WebSocket } = await import('ws')
    return (id) =>
      new Promise((resolve) => {
        const socket = new WebSocket(url, ['mqtt'], { perMessageDeflate: false })
        const name = Buffer.from(id)
        const rest = [
          Buffer.from([
            0x10,
            12 + name.length,
            0,
            4,
            ...Buffer.from('MQTT'),
            4,
            2,
            0,
            60,
            0,
            name.length,
            ...name,
          ]),
          Buffer.from([
            0x82,
            11 + name.length,
            0,
            1,
            0,
            6 + name.length,
            ...Buffer.from('fleet/'),
            ...name,
            1,
          ]),
          Buffer.from([0x32, 13 + name.length, 0, 9, ...Buffer.from('fleet/all'), 0, 2, ...name]),
        ]
        const send = () => (rest.length > 0 ? socket.send(rest.shift()) : resolve(socket))
        socket.on('open', send)
        socket.on('message', send)
      })
  },
}

function fail(error) {
  process.send({ error: String(error) })
  process.exit(1)
}

const cpu = () => {
  const { user, system } = process.cpuUsage()
  return user + system
}

async function memory() {
  for (let i = 0; i < 4; i++) {
    globalThis.gc()
    await sleep(50)
  }
  const { rss, heapUsed, external } = process.memoryUsage()
  return { rss, heap: heapUsed, external }
}

const story = await stories[client]()
const clients = [await story('warm-0')]
const before = await memory()
const start = cpu()
for (let made = 0; made < Number(count); made += AT_ONCE) {
  const ids = Array.from({ length: AT_ONCE }, (_, at) => `client-${made + at}`)
  clients.push(...(await Promise.all(ids.map(story))))
}
const used = cpu() - start
const peak = process.resourceUsage().maxRSS * 1024
const after = await memory()
const each = (key) => (after[key] - before[key]) / Number(count)
process.send({
  cpu: used / Number(count),
  rss: each('rss'),
  heap: each('heap'),
  external: each('external'),
  peak: (peak - before.rss) / Number(count),
})
process.on('disconnect', () => process.exit())
