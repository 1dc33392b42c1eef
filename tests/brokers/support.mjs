// What the stories share: one test per protocol version, clients that go with their test, an independent observer, patience.

import { deepStrictEqual } from 'node:assert'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import mqtt from 'mqtt'
import { connect } from '../../pkg/node.js'

/** A test for each protocol version. */
export function story(title, tell, only = [5, 4]) {
  for (const version of only) {
    test(`MQTT ${version === 5 ? '5' : '3.1.1'}: ${title}`, { timeout: 60_000 }, (t) =>
      tell(t, version),
    )
  }
}

/** Connects the client under test. It goes with the test, also with one that failed. */
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

/** Delays that do not make a test wait. */
export const quick = { minDelay: 100, maxDelay: 500 }

/** Options for a session that the broker keeps while its client is away. */
export function lasting(version, clientId) {
  return {
    protocolVersion: version,
    clientId,
    clean: false,
    ...(version === 5 && { properties: { sessionExpiryInterval: 300 } }),
  }
}

/** An independent client (MQTT.js over TCP, MQTT 5) that keeps what the broker sends for a filter. */
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
    /** The texts, once there are `count` of them. */
    texts: async (count) => {
      await eventually(
        () => messages.length >= count,
        () => `${count} messages at the observer: ${messages.length}`,
      )
      return messages.map(({ text }) => text)
    },
  }
}

/** Waits until something is so. Generous: the machine may be busy. */
export async function eventually(isSo, what, timeout = 20_000) {
  const deadline = Date.now() + timeout
  while (!isSo()) {
    if (Date.now() > deadline)
      throw new Error(`not in ${timeout} ms: ${typeof what === 'function' ? what() : what}`)
    await sleep(10)
  }
}

/** Waits until an array has `expected` in it, and then a little for what should not come. */
export async function exactly(actual, expected) {
  await eventually(
    () => actual.length >= expected.length,
    () => `${expected.length} entries: ${JSON.stringify(actual)}`,
  )
  await quiet()
  deepStrictEqual(actual, expected)
}

/** Long enough for what should not come to come: some turns of Mosquitto's main loop. */
export function quiet() {
  return sleep(400)
}

/** The arguments of the next event of that name. */
export function next(client, event, timeout = 20_000) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no '${event}' in ${timeout} ms`)), timeout)
    client.once(event, (...args) => {
      clearTimeout(timer)
      resolve(args)
    })
  })
}

/** The types of the packets from now on, 'in' or 'out'. */
export function packets(client, which) {
  const types = []
  client.on('packet', ({ direction, type }) => direction === which && types.push(type))
  return types
}

/** `count` numbered texts. */
export function numbered(count, prefix = '') {
  return Array.from({ length: count }, (_, index) => `${prefix}${index}`)
}
