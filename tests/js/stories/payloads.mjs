// Payloads outlive the chunk and the memory that they came in.
import { concat, publish } from '../loopback.mjs'
import { memory } from './instance.mjs'
import { bytesOf, connected, equal, ok, same } from './tools.mjs'

export const PAYLOADS = {
  // Contract: Never changed by the client afterwards. May share its ArrayBuffer with other messages: respect byteOffset, and copy before transferring
  // it.
  async 'payloads that are kept stay as they came, whatever comes later and however memory grows'(
    wasmqtt,
  ) {
    const { broker, client } = await connected(wasmqtt)
    const kept = []
    let others = 0
    client.on('message', (message) =>
      message.topic === 'keep' ? kept.push(message.payload) : (others += message.payload.length),
    )
    const lengths = [0, 1, 63, 64, 65, 4_000, 4_096, 32_700, 32_768, 65_536, 1_000_000, 5_000_000]
    const deliver = (bytes) => broker.socket.onmessage({ data: bytes.buffer })
    // In a frame each, all in one, and cut into pieces of any length.
    const packets = () => lengths.map((length, seed) => publish('keep', bytesOf(length, seed)))
    for (const each of packets()) deliver(each)
    deliver(concat(packets()))
    const all = concat(packets())
    for (let at = 0, n = 1; at < all.length; at += n, n = (n * 7 + 3) % 100_000)
      deliver(all.slice(at, at + n))
    equal(kept.length, 3 * lengths.length, 'messages')
    const before = memory().buffer.byteLength
    const noise = publish('noise', new Uint8Array(1_000_000).fill(255))
    const small = concat(
      Array.from({ length: 10_000 }, () => publish('noise', new Uint8Array(90).fill(255))),
    )
    for (let n = 0; n < 200; n++) deliver(noise.slice())
    for (let n = 0; n < 50; n++) deliver(small.slice())
    for (let n = 0; n < 50; n++) {
      const copy = noise.slice()
      for (let at = 0; at < copy.length; at += 300_000) deliver(copy.slice(at, at + 300_000))
    }
    await client.publish('grow', new Uint8Array(32_000_000).fill(255))
    ok(memory().buffer.byteLength > before, 'memory has not grown')
    await client.end()
    for (const [index, payload] of kept.entries()) {
      const seed = index % lengths.length
      ok(
        same(payload, bytesOf(lengths[seed], seed)),
        `payload ${index}, of ${lengths[seed]} bytes, has changed`,
      )
    }
    return `${Math.round(others / 1e6)} MB of others`
  },
}
