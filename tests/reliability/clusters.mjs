// Three NATS nodes with JetStream on loopback, and two Mosquittos that a bridge joins: what happens to traffic when a node goes.

import { once } from 'node:events'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from '../../pkg/node.js'
import { freePort, startMosquitto } from '../brokers/mosquitto.mjs'
import { credentials, folder, natsNode, natsSpeaksQoS2, natsVersion } from './brokers.mjs'

/** Starts three nodes, and waits until they have agreed on a leader. */
export async function startNats(t) {
  const dir = await folder(t, 'nats-cluster')
  const ports = []
  for (let index = 0; index < 3; index++)
    ports.push({
      port: await freePort(),
      mqtt: await freePort(),
      ws: await freePort(),
      route: await freePort(),
    })
  const routes = ports.map(({ route }) => `nats://127.0.0.1:${route}`).join(', ')
  const nodes = []
  for (const [index, { route, ...own }] of ports.entries()) {
    const cluster = `cluster { name: three, listen: "127.0.0.1:${route}", routes: [${routes}] }`
    const node = await natsNode(dir, { name: `n${index}`, cluster, ...own })
    t.after(() => node.kill())
    nodes.push(
      Object.assign(node, {
        url: `mqtt://127.0.0.1:${own.mqtt}`,
        webUrl: `ws://127.0.0.1:${own.ws}/mqtt`,
      }),
    )
  }
  await Promise.all(nodes.map((node) => node.start()))
  const cluster = { version: natsVersion(), nodes, urls: nodes.map(({ url }) => url) }
  await ready(cluster)
  return cluster
}

/** Waits until a client with a session can connect to each node that runs. */
async function ready({ nodes }) {
  for (const node of nodes) {
    if (!node.running) continue
    const client = await connect(node.url, {
      protocolVersion: 4,
      clean: false,
      clientId: `ready-${node.pid}-${Date.now()}`,
      ...credentials,
      connectTimeout: 5_000,
      reconnect: { initial: true, minDelay: 200, maxDelay: 500 },
      signal: AbortSignal.timeout(60_000),
    })
    await client.end()
  }
}

/** What is done to the node that the publisher is connected to; each returns how it is undone. */
const FAULTS = {
  stop: async (node) => {
    await node.stop()
    return () => node.start()
  },
  kill: async (node) => {
    await node.kill()
    return () => node.start()
  },
  freeze: async (node) => {
    node.freeze()
    return async () => node.thaw()
  },
}

/**
 * Exchanges numbered messages while a node is stopped, killed or frozen, `rounds` times, or while all nodes are restarted one after the other.
 * @param {'stop' | 'kill' | 'freeze' | 'rolling restart'} fault
 */
export async function failover(
  cluster,
  fault,
  rounds,
  name = `${fault}-${Date.now()}`.replaceAll(' ', '-'),
) {
  const qualities = natsSpeaksQoS2() ? [1, 2] : [1]
  const join = async (role, urls) => {
    const client = await connect(urls, {
      protocolVersion: 4,
      clean: false,
      clientId: `${name}-${role}`,
      ...credentials,
      keepalive: 1,
      connectTimeout: 1_000,
      reconnect: { initial: true, minDelay: 50, maxDelay: 500 },
    })
    client.on('error', () => {})
    return client
  }
  const publisher = await join('publisher', cluster.urls)
  const subscriber = await join('subscriber', [...cluster.urls].reverse())
  const received = { 1: [], 2: [] }
  await subscriber.subscribe(`${name}/#`, { qos: qualities.length === 2 ? 2 : 1 }, (message) => {
    received[message.topic.at(-1)].push(Number(message.text()))
  })
  let current = (await publisher.connect()).url
  publisher.on('connect', ({ url }) => {
    current = url
  })

  let sent = 0
  let unsettled = 0
  const failures = []
  let going = true
  const traffic = (async () => {
    while (going) {
      for (const qos of qualities) {
        unsettled++
        publisher
          .publish(`${name}/${qos}`, `${sent}`, { qos: /** @type {1 | 2} */ (qos) })
          .catch((error) => failures.push(`${error.code}: ${error.message}`))
          .finally(() => unsettled--)
      }
      sent++
      await sleep(5)
    }
  })()

  const times = []
  try {
    if (fault === 'rolling restart') {
      for (const node of cluster.nodes) {
        await node.stop()
        await sleep(200)
        await node.start()
        await ready(cluster)
      }
    } else {
      for (let round = 0; round < rounds; round++) {
        await sleep(500)
        const node = cluster.nodes.find(({ url }) => sameServer(url, current))
        const back = publisher.once('connect', { timeout: 30_000 })
        const began = performance.now()
        const undo = await FAULTS[fault](node)
        await back
        times.push(performance.now() - began)
        await sleep(500)
        await undo()
        await ready(cluster)
      }
    }
    going = false
    await traffic
    const deadline = Date.now() + 60_000
    const complete = () =>
      unsettled === 0 && qualities.every((qos) => new Set(received[qos]).size >= sent)
    while (!complete() && Date.now() < deadline) await sleep(20)
    await sleep(300)
  } finally {
    going = false
    await Promise.all([publisher, subscriber].map((client) => client.end({ timeout: 2_000 })))
  }
  const missing = qualities.reduce((all, qos) => all + sent - new Set(received[qos]).size, 0)
  return {
    fault,
    messages: sent * qualities.length,
    qualities,
    lost: missing - failures.length,
    duplicatesQoS2: received[2].length - new Set(received[2]).size,
    disordered: qualities.reduce((all, qos) => all + disorder(received[qos]), 0),
    unsettled,
    rejected: failures.length,
    failures: failures.slice(0, 3),
    slowest: times.length > 0 ? Math.max(...times) : undefined,
    middle:
      times.length > 0 ? times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)] : undefined,
  }
}

function disorder(numbers) {
  const seen = new Set()
  let last = -1
  let count = 0
  for (const number of numbers) {
    if (seen.has(number)) continue
    seen.add(number)
    if (number < last) count++
    last = number
  }
  return count
}

const sameServer = (one, other) => new URL(one).port === new URL(other).port

/**
 * The time from a lost connection to the next good server of a list, where the servers in between are dead: they refuse, accept and say nothing, or
 * have a name that does not resolve.
 */
export async function passDead(t, good) {
  const silent = net.createServer(() => {})
  silent.listen(0, '127.0.0.1')
  await once(silent, 'listening')
  t.after(() => silent.close())
  const silentUrl = `mqtt://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (silent.address()).port}`
  const dead = {
    refusing: `mqtt://127.0.0.1:${await freePort()}`,
    silent: silentUrl,
    unknown: 'mqtt://no-such-host.invalid',
  }
  const times = {}
  for (const [name, url] of Object.entries(dead)) {
    const began = performance.now()
    const client = await connect([url, good], {
      ...credentials,
      connectTimeout: 1_000,
      reconnect: { initial: true, minDelay: 50 },
    })
    times[name] = performance.now() - began
    await client.end()
  }
  return times
}

/** Two Mosquittos with a bridge in both directions, as docs/reliability.md shows it. */
export async function startBridge(t) {
  const inner = await startMosquitto(t)
  const outer = await startMosquitto(t, {
    config: [
      'connection sync',
      `address 127.0.0.1:${inner.tcpPort}`,
      'topic # both 2',
      'bridge_protocol_version mqttv311',
      'cleansession false',
      'try_private true',
      'restart_timeout 1 2',
    ].join('\n'),
  })
  return { inner, outer }
}
