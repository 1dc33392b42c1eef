// Publishes each line of its input at QoS 1, 200 at a time, through a queue of 100. Prints by how much the process grew.
import { createInterface } from 'node:readline'
import { connect } from '../../pkg/node.js'

const client = await connect(process.argv[2], { queue: { maxMessages: 100, overflow: 'wait' } })
globalThis.gc()
const before = process.memoryUsage.rss()
let most = 0
let pending = []
for await (const line of createInterface({ input: process.stdin })) {
  pending.push(client.publish('lines', line, { qos: 1 }))
  most = Math.max(most, client.stats().queuedMessages)
  if (pending.length === 200) {
    await Promise.all(pending)
    pending = []
  }
}
await Promise.all(pending)
globalThis.gc()
const grown = Math.round((process.memoryUsage.rss() - before) / 2 ** 20)
console.log(JSON.stringify({ grown, most }))
await client.end()
