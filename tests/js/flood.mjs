// Sends so many QoS 0 messages to a handler that never settles, and prints by how much the process grew.
import { Client } from '../../pkg/node.js'
import { concat, Loopback, publish } from './loopback.mjs'

const count = Number(process.argv[2])
const broker = new Loopback()
const client = new Client('x://y', { transport: broker.transport, keepalive: 0 })
await client.connect()
await client.subscribe('a', () => new Promise(() => {}))
const before = process.memoryUsage.rss()
const PER_FRAME = 500
const payload = new TextEncoder().encode(
  'a reading of some sensor, as long as they are'.padEnd(100),
)
for (let sent = 0; sent < count; sent += PER_FRAME) {
  broker.answer(
    broker.socket,
    concat(Array.from({ length: PER_FRAME }, () => publish('a', payload))),
  )
  await new Promise((resolve) => setImmediate(resolve))
}
while (client.stats().messagesReceived < count)
  await new Promise((resolve) => setImmediate(resolve))
const grown = Math.round((process.memoryUsage.rss() - before) / 2 ** 20)
const { droppedMessages: dropped, wasmMemoryBytes } = client.stats()
console.log(JSON.stringify({ grown, dropped, wasm: Math.round(wasmMemoryBytes / 2 ** 20) }))
await client.end({ force: true })
