// What a large message leaves in WebAssembly memory, which never shrinks. A file of its own: the instance of a process keeps what earlier tests took.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connected, encode, event } from './scripted-broker.mjs'

const MIB = 1024 * 1024

test('a message of 32 MiB in chunks of 64 KiB stays outside WebAssembly memory', async (t) => {
  const { client, peer } = await connected(t, {
    keepalive: 0,
    properties: { maximumPacketSize: Infinity },
  })
  const payload = Buffer.alloc(32 * MIB)
  for (let at = 0; at < payload.length; at += 997) payload[at] = at >>> 8
  const before = client.stats().wasmMemoryBytes
  const arrived = event(client, 'message')
  peer.sendPieces(encode({ type: 'publish', topic: 'large', payload }), 64 * 1024)
  const [message] = await arrived
  assert.equal(Buffer.compare(message.payload, payload), 0)
  const grown = client.stats().wasmMemoryBytes - before
  assert.ok(grown < 4 * MIB, `${(grown / MIB).toFixed(1)} MiB`)
})
