// The boundary between JavaScript and WebAssembly, in Node. The same stories run in a page: tests/browser/boundary.test.mjs.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { connected, settle } from './scripted-broker.mjs'
import { STORIES } from './stories/index.mjs'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc')
const wasmqtt = await import('../../pkg/node.js')

for (const [title, story] of Object.entries(STORIES)) {
  test(title, async (t) => {
    const said = await story(wasmqtt, { collect })
    if (typeof said === 'string') t.diagnostic(said)
  })
}

test('a hundred clients with sockets of the system leave none of them open', async (t) => {
  const resources = () =>
    process
      .getActiveResourcesInfo()
      .filter((name) => /TCP|TLS|Timeout|Message/.test(name))
      .sort()
  const { broker, client } = await connected(t)
  const live = async () => {
    const one = new wasmqtt.Client(broker.url, { protocolVersion: 5 })
    const connecting = one.connect()
    const peer = await broker.accept()
    await peer.welcome()
    await connecting
    await one.publish('a', 'b')
    await one.end()
    await peer.closed
  }
  await live()
  await settle()
  const before = resources()
  for (let n = 0; n < 100; n++) await live()
  await settle()
  assert.deepEqual(resources(), before)
  assert.equal(client.connected, true)
})
