// What wasmqtt and MQTT.js do in the same situations at the same broker. docs/comparison.md has the answers as a table.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import mqtt from 'mqtt'
import { connect } from '../../pkg/node.js'
import { TestBroker } from '../../pkg/testing-node.js'

const BROKER = {
  maximumQoS: /** @type {1} */ (1),
  retainAvailable: false,
  maximumPacketSize: 1_000,
}

/** Each client as the few calls that these tests make. */
const CLIENTS = {
  wasmqtt: async (url) => {
    const client = await connect(url, {
      protocolVersion: 5,
      reconnect: { minDelay: 20, jitter: 0 },
    })
    client.on('error', () => {})
    return {
      publish: (topic, payload, options) =>
        void client.publish(topic, payload, options).catch(() => {}),
      end: () => client.end({ timeout: 500 }),
    }
  },
  'MQTT.js': async (url) => {
    const client = await mqtt.connectAsync(url, { protocolVersion: 5, reconnectPeriod: 20 })
    client.on('error', () => {})
    return {
      publish: (topic, payload, options) => void client.publish(topic, payload, options, () => {}),
      end: () => client.endAsync(true),
    }
  },
}

/** What the server must not be sent, and who sends it. */
const FORBIDDEN = [
  ['QoS 2 where the server takes 1 at most', 'a', 'b', { qos: 2 }],
  ['a retained message where the server keeps none', 'a', 'b', { qos: 1, retain: true }],
  ['a packet above the size that the server takes', 'a', 'b'.repeat(2_000), { qos: 1 }],
  ['a message to a topic with a wildcard', 'a/#', 'b', { qos: 0 }],
]

for (const [title, topic, payload, options] of FORBIDDEN)
  test(`MQTT.js sends ${title}; wasmqtt does not`, async (t) => {
    for (const [name, open] of Object.entries(CLIENTS)) {
      const { broker, url } = await listening(t)
      const client = await open(url)
      client.publish(topic, payload, options)
      await sleep(300)
      // The broker tells of what it refuses to read by its answer.
      const answer = broker.packets.find(
        ({ type, direction }) => type === 'disconnect' && direction === 'out',
      )
      assert.equal(answer !== undefined, name === 'MQTT.js', name)
      await client.end()
    }
  })

test('MQTT.js connects again when another client has taken over the session; wasmqtt does not', async (t) => {
  for (const [name, open] of Object.entries(CLIENTS)) {
    const { broker, url } = await listening(t)
    const client = await open(url)
    broker.disconnect(0x8e)
    await sleep(300)
    const connects = broker.packets.filter(({ type }) => type === 'connect').length
    assert.equal(connects > 1, name === 'MQTT.js', `${name} connected ${connects} times`)
    await client.end()
  }
})

async function listening(t) {
  const broker = new TestBroker(BROKER)
  t.after(() => broker[Symbol.asyncDispose]())
  const { tcpUrl, url } = /** @type {any} */ (await broker.listen({ tcp: 0 }))
  return { broker, url: tcpUrl ?? url }
}
