// What wasmqtt and other clients do in the same situations at the same broker. docs/comparison.md has the answers as tables.
import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import mqtt from 'mqtt'
import { WebSocket } from 'ws'
import { connect } from '../../pkg/node.js'
import { TestBroker } from '../../pkg/testing-node.js'

// Node 20 has none of its own, and both look for it when they are imported.
globalThis.WebSocket ??= /** @type {any} */ (WebSocket)
const { default: Paho } = /** @type {any} */ (await import('paho-mqtt'))
const { mqtt_v5: u8 } = /** @type {any} */ (await import('u8-mqtt'))

const BROKER = {
  maximumQoS: /** @type {1} */ (1),
  retainAvailable: false,
  maximumPacketSize: 1_000,
}

/**
 * Each client as the few calls that these tests make, with the settings that it needs to connect again. `publish` resolves when the client says
 * that the message was acknowledged.
 * @type {Record<string, (url: string, reconnects?: boolean) => Promise<any>>}
 */
const CLIENTS = {
  wasmqtt: async (url) => {
    const client = await connect(url, {
      protocolVersion: 5,
      reconnect: { minDelay: 20, jitter: 0 },
    })
    client.on('error', () => {})
    return {
      client,
      publish: (topic, payload, options) => client.publish(topic, payload, options),
      subscribe: (filter, handler) =>
        client.subscribe(filter, { qos: 1 }, ({ topic }) => handler(topic)),
      end: () => client.end({ timeout: 500 }),
    }
  },
  'MQTT.js': async (url) => {
    const client = await mqtt.connectAsync(url, { protocolVersion: 5, reconnectPeriod: 20 })
    client.on('error', () => {})
    return {
      client,
      publish: (topic, payload, options) => client.publishAsync(topic, payload, options),
      subscribe: (filter, handler) => {
        client.on('message', handler)
        return client.subscribeAsync(filter, { qos: 1 })
      },
      end: () => client.endAsync(true),
    }
  },
  Paho: async (url, reconnects = false) => {
    const client = new Paho.Client(url, 'paho')
    const delivered = new Map()
    client.onMessageDelivered = (message) => delivered.get(message)?.()
    await new Promise((onSuccess, onFailure) =>
      client.connect({ onSuccess, onFailure, reconnect: reconnects }),
    )
    return {
      client,
      publish: (topic, payload, { qos = 0, retain = false }) =>
        new Promise((resolve) => {
          const message = new Paho.Message(payload)
          Object.assign(message, { destinationName: topic, qos, retained: retain })
          delivered.set(message, resolve)
          client.send(message)
        }),
      subscribe: (filter, handler) => {
        client.onMessageArrived = ({ destinationName }) => handler(destinationName)
        return new Promise((onSuccess) => client.subscribe(filter, { qos: 1, onSuccess }))
      },
      end: () => client.isConnected() && client.disconnect(),
    }
  },
  'u8-mqtt': async (url, reconnects = false) => {
    const client = u8({ log_conn() {}, on_error() {} }).with_websock(url)
    if (reconnects) client.with_autoreconnect(20)
    await client.connect({ client_id: 'u8' })
    return {
      client,
      publish: (topic, payload, options) => client.pub({ topic, payload, ...options }),
      subscribe: (filter, handler) => {
        client.subscribe_topic(filter, { qos: 1 }, ({ topic }) => handler(topic))
        return client.subs_settled()
      },
      // It never answers where the connection is gone.
      end: () => Promise.race([client.disconnect(), sleep(50)]),
    }
  },
}
const others = ['MQTT.js', 'Paho', 'u8-mqtt']

/** What the server must not be sent, and what everybody else sends. */
const FORBIDDEN = [
  ['QoS 2 where the server takes 1 at most', 'a', 'b', { qos: 2 }],
  ['a retained message where the server keeps none', 'a', 'b', { qos: 1, retain: true }],
  ['a packet above the size that the server takes', 'a', 'b'.repeat(2_000), { qos: 1 }],
  ['a message to a topic with a wildcard', 'a/#', 'b', { qos: 1 }],
]

for (const [title, topic, payload, options] of FORBIDDEN)
  test(`other clients send ${title}; wasmqtt does not`, async (t) => {
    for (const [name, { broker, publish }] of await opened(t, BROKER)) {
      const before = connections(broker)
      publish(topic, payload, options).catch(() => {})
      await sleep(300)
      // The broker ends the connection.
      const ended = broker.clients.every(({ connected }) => !connected)
      assert.equal(ended || connections(broker) > before, others.includes(name), name)
    }
  })

test('MQTT.js and u8-mqtt connect again when another client has taken over the session; wasmqtt does not', async (t) => {
  for (const [name, { broker }] of await opened(t, BROKER, true)) {
    // MQTT 3.1.1 has no word for it.
    if (name === 'Paho') continue
    broker.disconnect(0x8e)
    await sleep(500)
    assert.equal(connections(broker) > 1, name !== 'wasmqtt', `${name}: ${connections(broker)}`)
  }
})

test('wasmqtt and MQTT.js say that the server refused a message; Paho and u8-mqtt report it as delivered', async (t) => {
  for (const [name, { broker, publish }] of await opened(t)) {
    broker.deny({ publish: 'secret/#' })
    const said = await outcome(publish('secret/a', 'b', { qos: 1 }))
    assert.equal(said, /wasmqtt|MQTT\.js/.test(name) ? 'rejected' : 'resolved', name)
  }
})

test('u8-mqtt does not complete a message of QoS 2', async (t) => {
  for (const [name, { broker, publish }] of await opened(t)) {
    const said = await outcome(publish('a', 'b', { qos: 2 }))
    const released = broker.packets.some(({ type }) => type === 'pubrel')
    assert.deepEqual(
      [said, released],
      name === 'u8-mqtt' ? ['nothing', false] : ['resolved', true],
      name,
    )
  }
})

test('Paho and u8-mqtt stay without a connection when it was lost, unless they are told to connect again', async (t) => {
  for (const reconnects of [false, true])
    for (const [name, { broker }] of await opened(t, {}, reconnects)) {
      broker.drop()
      await sleep(1_500)
      const again = reconnects || !/Paho|u8/.test(name)
      assert.equal(connections(broker) > 1, again, `${name}: ${connections(broker)}`)
    }
})

test('wasmqtt and MQTT.js restore subscriptions that the server has lost; Paho and u8-mqtt do not', async (t) => {
  for (const [name, { broker, subscribe }] of await opened(t, {}, true)) {
    const heard = []
    await subscribe('a/#', (topic) => heard.push(topic))
    broker.loseSession()
    broker.drop()
    await sleep(1_500)
    broker.publish('a/b', 'c', { qos: 1 })
    await sleep(200)
    assert.ok(connections(broker) > 1, name)
    assert.deepEqual(heard, /Paho|u8/.test(name) ? [] : ['a/b'], name)
  }
})

test('without a connection, Paho throws and u8-mqtt never answers; wasmqtt and MQTT.js send it later', async (t) => {
  const expected = {
    wasmqtt: 'resolved',
    'MQTT.js': 'resolved',
    Paho: 'rejected',
    'u8-mqtt': 'nothing',
  }
  for (const [name, { broker, publish }] of await opened(t)) {
    broker.drop()
    await sleep(50)
    const said = await outcome(
      Promise.resolve().then(() => publish('a', 'b', { qos: 1 })),
      1_000,
    )
    assert.equal(said, expected[name], name)
  }
})

test('with wasmqtt and u8-mqtt each subscription has its own handler; with MQTT.js and Paho there is one for all', async (t) => {
  for (const [name, { broker, subscribe }] of await opened(t)) {
    const heard = []
    await subscribe('a', (topic) => heard.push(`first ${topic}`))
    await subscribe('b', (topic) => heard.push(`second ${topic}`))
    for (const topic of ['a', 'b']) broker.publish(topic, 'c', { qos: 1 })
    await sleep(200)
    const own = ['first a', 'second b']
    const all = ['first a', 'second a', 'first b', 'second b']
    const expected = {
      wasmqtt: own,
      'u8-mqtt': own,
      'MQTT.js': all,
      Paho: ['second a', 'second b'],
    }
    assert.deepEqual(heard, expected[name], name)
  }
})

test('Paho has no MQTT 5, and no other client has request()', async (t) => {
  const paho = new Paho.Client('ws://127.0.0.1:1/', 'a')
  assert.throws(() => paho.connect({ mqttVersion: 5 }), /Invalid argument 5/)
  for (const [name, { client }] of await opened(t))
    assert.equal(typeof client.request, name === 'wasmqtt' ? 'function' : 'undefined', name)
})

test('Paho and u8-mqtt bring no types', async () => {
  for (const name of ['paho-mqtt', 'u8-mqtt', 'mqtt']) {
    let folder = dirname(fileURLToPath(import.meta.resolve(name)))
    while (!folder.endsWith(name)) folder = dirname(folder)
    const files = await readdir(folder, { recursive: true })
    const typed = files.some((path) => /\.d\.[cm]?ts$/.test(path) && !path.includes('node_modules'))
    assert.equal(typed, name === 'mqtt', name)
  }
})

/** Connects every client to a broker of its own. */
async function opened(t, options = {}, reconnects = false) {
  const all = []
  for (const [name, open] of Object.entries(CLIENTS)) {
    const broker = new TestBroker(options)
    t.after(() => broker[Symbol.asyncDispose]())
    const { url } = await broker.listen()
    const client = await open(url, reconnects)
    t.after(() => client.end())
    all.push(/** @type {[string, any]} */ ([name, { broker, ...client }]))
  }
  return all
}

const connections = (broker) => broker.packets.filter(({ type }) => type === 'connect').length

/** Whether a promise resolves or rejects in some ms. */
const outcome = (promise, ms = 500) =>
  Promise.race([
    promise.then(
      () => 'resolved',
      () => 'rejected',
    ),
    sleep(ms, 'nothing'),
  ])
