// What the stories share: a test for each protocol version, clients that end with their test, an independent observer, and waiting.

import { deepStrictEqual } from 'node:assert'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import mqtt from 'mqtt'
import { connect } from '../../pkg/node.js'
import { startEmbedded, Unsupported } from './embedded.mjs'
import { startMosquitto } from './mosquitto.mjs'

/** Whether the stories are about the test broker of the package. */
export const isEmbedded = process.env.BROKER === 'embedded'

/** Starts the broker that the stories are about: Mosquitto, or with BROKER=embedded the test broker of the package. It ends with the test. */
export const startBroker = isEmbedded ? startEmbedded : startMosquitto

/** Defines a test for each protocol version. */
export function story(title, tell, only = [5, 4]) {
  for (const version of only) {
    test(`MQTT ${version === 5 ? '5' : '3.1.1'}: ${title}`, { timeout: 60_000 }, async (t) => {
      try {
        await tell(t, version)
      } catch (error) {
        if (!(error instanceof Unsupported)) throw error
        t.skip(error.message)
      }
    })
  }
}

/** Connects the client under test. It ends with the test, also if the test fails. */
export async function join(t, url, options) {
  const client = await connect(url, { reconnect: quick, ...options })
  t.after(() => client.end({ force: true, timeout: 1_000 }))
  return client
}

/**
 * Each quality of service.
 * @type {import('../../pkg/node.js').QoS[]}
 */
export const qualities = [0, 1, 2]

/** Short delays between attempts. */
export const quick = { minDelay: 100, maxDelay: 500 }

/** Returns options for a session that the broker keeps while its client is away. */
export function lasting(version, clientId) {
  return {
    protocolVersion: version,
    clientId,
    clean: false,
    ...(version === 5 && { properties: { sessionExpiryInterval: 300 } }),
  }
}

/** Connects an independent client (MQTT.js over TCP, MQTT 5) that collects what the broker sends for a filter. */
export async function observe(t, broker, filter, credentials) {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${broker.tcpPort}`, {
    protocolVersion: 5,
    reconnectPeriod: 0,
    ...credentials,
  })
  client.on('error', () => {})
  t.after(() => client.endAsync(true))
  const messages = []
  client.on('message', (topic, payload, { qos, retain, properties }) => {
    messages.push({ topic, payload, text: payload.toString(), qos, retain, properties })
  })
  if (filter !== undefined) await client.subscribeAsync(filter, { qos: 2, rap: true })
  return {
    messages,
    publish: (topic, payload, options) => client.publishAsync(topic, payload, options),
    /** Resolves with the texts, as soon as there are `count` of them. */
    texts: async (count) => {
      await eventually(
        () => messages.length >= count,
        () => `${count} messages at the observer: ${messages.length}`,
      )
      return messages.map(({ text }) => text)
    },
  }
}

/** Waits until a condition is true. The limit is long, because the machine may be busy. */
export async function eventually(isSo, what, timeout = 20_000) {
  const deadline = Date.now() + timeout
  while (!isSo()) {
    if (Date.now() > deadline)
      throw new Error(`not in ${timeout} ms: ${typeof what === 'function' ? what() : what}`)
    await sleep(10)
  }
}

/** Waits until an array equals `expected`, and then a little longer for what should not arrive. */
export async function exactly(actual, expected) {
  await eventually(
    () => actual.length >= expected.length,
    () => `${expected.length} entries: ${JSON.stringify(actual)}`,
  )
  await quiet()
  deepStrictEqual(actual, expected)
}

/** Waits long enough for what should not arrive: some turns of Mosquitto's main loop. */
export function quiet() {
  return sleep(400)
}

/** Resolves with the arguments of the next event of that name. */
export function next(client, event, timeout = 20_000) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no '${event}' in ${timeout} ms`)), timeout)
    client.once(event, (...args) => {
      clearTimeout(timer)
      resolve(args)
    })
  })
}

/** Collects the types of the packets from now on, 'in' or 'out'. */
export function packets(client, which) {
  const types = []
  client.on('packet', ({ direction, type }) => direction === which && types.push(type))
  return types
}

/** Returns `count` numbered texts. */
export function numbered(count, prefix = '') {
  return Array.from({ length: count }, (_, index) => `${prefix}${index}`)
}
