// Three NATS nodes with JetStream on loopback, and two Mosquittos that a bridge joins: what happens to traffic when a node goes.

import { once } from 'node:events'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from '../../pkg/node.js'
import { freePort, startMosquitto } from '../brokers/mosquitto.mjs'
import {
  credentials,
  folder,
  natsNode,
  natsSpeaksQoS2,
  natsVersion,
  nodeNames,
  rabbitNode,
  rabbitVersion,
} from './brokers.mjs'
import { startNamespaces } from './namespaces.mjs'
import {
  completed,
  exchangesOf,
  faultsOfPublisher,
  faultsOfSubscriber,
  Recorder,
} from './recorder.mjs'

/** Starts three nodes of NATS, each behind a recorder, and waits until they have agreed on a leader. `apart`: in network namespaces. */
export async function startNats(t, apart = false) {
  const recorder = new Recorder()
  t.after(() => recorder.close())
  const machines = apart ? startNamespaces(t, 3) : []
  const dir = await folder(t, 'nats-cluster')
  const ports = []
  for (let index = 0; index < 3; index++)
    ports.push({
      host: machines[index]?.address ?? '127.0.0.1',
      route: await freePort(),
      own: { port: await freePort(), mqtt: await freePort(), ws: await freePort() },
    })
  const routes = ports.map(({ host, route }) => `nats://${host}:${route}`).join(', ')
  const nodes = []
  for (const [index, { host, route, own }] of ports.entries()) {
    const cluster = `cluster { name: three, listen: "${host}:${route}", routes: [${routes}] }`
    const machine = machines[index]
    const node = await natsNode(dir, { name: `n${index}`, cluster, ...own }, machine)
    t.after(() => node.kill())
    const url = `mqtt://127.0.0.1:${await recorder.record(own.mqtt, host)}`
    const others = machines.filter((other) => other !== machine)
    nodes.push(Object.assign(node, { url, machine, others }))
  }
  await Promise.all(nodes.map((node) => node.start()))
  const cluster = {
    name: 'NATS',
    version: natsVersion(),
    qualities: natsSpeaksQoS2() ? [1, 2] : [1],
    nodes,
    urls: nodes.map(({ url }) => url),
    recorder,
  }
  await ready(cluster)
  return cluster
}

/** Starts three nodes of RabbitMQ with quorum queues, each behind a recorder. */
export async function startRabbit(t) {
  const recorder = new Recorder()
  t.after(() => recorder.close())
  const dir = await folder(t, 'rabbit-cluster')
  const names = await nodeNames(t, dir)
  const all = ['one', 'two', 'three'].map((name) => `${name}${names}`)
  const more = [
    'mqtt.durable_queue_type = quorum',
    'cluster_partition_handling = pause_minority',
    'cluster_formation.peer_discovery_backend = classic_config',
    ...all.map(
      (name, index) => `cluster_formation.classic_config.nodes.${index + 1} = ${name}@localhost`,
    ),
  ]
  const nodes = []
  for (const name of all) {
    const [tcp, ws] = [await freePort(), await freePort()]
    const node = await rabbitNode(dir, { name, names, tcp, ws, more })
    t.after(() => node.kill())
    nodes.push(Object.assign(node, { url: `mqtt://127.0.0.1:${await recorder.record(tcp)}` }))
    // One after the other, so that they find each other.
    await node.start()
  }
  const cluster = {
    name: 'RabbitMQ',
    version: rabbitVersion(nodes[0]),
    qualities: [1],
    nodes,
    urls: nodes.map(({ url }) => url),
    recorder,
  }
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
  /** The others do not hear of it any more, but the clients do. */
  partition: async (node) => {
    node.machine.cutFrom(node.others)
    await sleep(4_000)
    return async () => node.machine.heal()
  },
}

/**
 * Exchanges numbered messages while a node is stopped, killed or frozen, `rounds` times, or while all nodes are restarted one after the other.
 * @param {'stop' | 'kill' | 'freeze' | 'partition' | 'rolling restart'} fault
 */
export async function failover(cluster, fault, rounds) {
  const name = `${fault}-${Date.now()}`.replaceAll(' ', '-')
  const { qualities } = cluster
  const publisher = await member(`${name}-publisher`, cluster.urls)
  const subscriber = await member(`${name}-subscriber`, [...cluster.urls].reverse())
  /** @type {string[]} */
  const delivered = []
  await subscriber.subscribe(`${name}/#`, { qos: qualities.length === 2 ? 2 : 1 }, (message) => {
    delivered.push(`${message.topic} ${message.text()}`)
  })
  const traffic = publishing(publisher, name, qualities)
  let times = []
  let unanswered = 0
  try {
    times = await disturb(cluster, fault, rounds, publisher)
    await traffic.stop()
    const deadline = Date.now() + 60_000
    const complete = () =>
      traffic.unsettled === 0 && new Set(delivered).size >= traffic.sent * qualities.length
    while (!complete() && Date.now() < deadline) await sleep(20)
    await sleep(300)
  } finally {
    await traffic.stop()
    // What the server has not answered settles when the client ends.
    unanswered = traffic.unsettled
    await Promise.all([publisher, subscriber].map((client) => client.end({ timeout: 2_000 })))
    await sleep(0)
  }
  const of = (role) =>
    cluster.recorder.connections.filter(({ clientId }) => clientId === `${name}-${role}`)
  const { sent, unsettled, failures } = traffic
  const rejected = failures.filter((failure) => !failure.startsWith('CLOSED'))
  return {
    fault,
    qualities,
    ...judge(of('publisher'), of('subscriber'), { name, sent, qualities, delivered }),
    unanswered,
    unsettled,
    rejected: rejected.length,
    failures: rejected.slice(0, 3),
    slowest: times.at(-1),
    middle: times[Math.floor(times.length / 2)],
  }
}

/** Connects a client that keeps its session. */
async function member(clientId, urls) {
  const client = await connect(urls, {
    protocolVersion: 4,
    clean: false,
    clientId,
    ...credentials,
    keepalive: 1,
    connectTimeout: 1_000,
    reconnect: { initial: true, minDelay: 50, maxDelay: 500 },
  })
  client.on('error', () => {})
  return client
}

/** Publishes numbers in each QoS until it is stopped. */
function publishing(client, name, qualities) {
  const failures = /** @type {string[]} */ ([])
  const traffic = { sent: 0, unsettled: 0, failures, stop: async () => {} }
  let going = true
  const work = (async () => {
    while (going) {
      for (const qos of qualities) {
        traffic.unsettled++
        client
          .publish(`${name}/${qos}`, `${traffic.sent}`, { qos })
          .catch((error) => failures.push(`${error.code}: ${error.message}`))
          .finally(() => traffic.unsettled--)
      }
      traffic.sent++
      await sleep(5)
    }
  })()
  traffic.stop = () => {
    going = false
    return work
  }
  return traffic
}

/** Does to the cluster what `fault` says, and returns the ms until the publisher was connected again, the shortest first. */
async function disturb(cluster, fault, rounds, publisher) {
  const times = []
  if (fault === 'rolling restart')
    for (const node of cluster.nodes) {
      await node.stop()
      await sleep(200)
      await node.start()
      await ready(cluster)
    }
  else
    for (let round = 0; round < rounds; round++) {
      await sleep(500)
      const { url } = await publisher.connect()
      const node = cluster.nodes.find((each) => sameServer(each.url, url))
      const began = performance.now()
      // A client does not see that its server has lost the others: it answers pings.
      const lost = fault !== 'partition' && publisher.once('connect', { timeout: 60_000 })
      const undo = await FAULTS[fault](node)
      if (lost && (await lost)) times.push(performance.now() - began)
      await sleep(500)
      await undo()
      await ready(cluster)
    }
  return times.sort((a, b) => a - b)
}

/** What the clients did wrong, and what the server did, by the packets that were recorded. */
function judge(publisher, subscriber, { name, sent, qualities, delivered }) {
  const keys = qualities.flatMap((qos) =>
    Array.from({ length: sent }, (_, index) => `${name}/${qos} ${index}`),
  )
  const done = completed(publisher)
  const exchanges = exchangesOf(subscriber)
  const begun = new Set(
    publisher.flatMap(({ packets }) =>
      packets
        .filter(({ way }) => way === 'out')
        .map(({ packet }) => `${packet.topic} ${packet.payload}`),
    ),
  )
  return {
    messages: keys.length,
    clients: {
      neverSent: keys.filter((key) => !begun.has(key)),
      publisher: faultsOfPublisher(publisher),
      subscriber: faultsOfSubscriber(subscriber, delivered),
    },
    server: {
      lost: keys.filter((key) => done.has(key) && !exchanges.has(key)).length,
      copies: keys.filter((key) => key.startsWith(`${name}/2`) && exchanges.get(key)?.most > 1)
        .length,
    },
    delivered: new Set(delivered).size,
    disordered: qualities.reduce(
      (all, qos) =>
        all + disorder(delivered.filter((key) => key.startsWith(`${name}/${qos} `)).map(numberOf)),
      0,
    ),
  }
}

const numberOf = (key) => Number(key.split(' ')[1])

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
