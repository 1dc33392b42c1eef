// A TCP proxy in front of a broker that passes everything on and keeps every packet of MQTT, read by a codec that is not the client's; and what a
// client owes by what was recorded.

import { once } from 'node:events'
import net from 'node:net'
import mqttPacket from 'mqtt-packet'
import { portOf } from '../../scripts/tools.mjs'

/**
 * One connection through a recorder.
 * @typedef {object} Recorded
 * @property {string} server
 * @property {string} clientId
 * @property {{ way: 'out' | 'in', at: number, packet: any }[]} packets `out` is from the client.
 */

export class Recorder {
  /** All connections on which there was a CONNECT, in order. @type {Recorded[]} */
  connections = []
  #servers = []
  #sockets = new Set()

  /** Starts a proxy in front of a port and returns its own. */
  async record(port, host = '127.0.0.1') {
    const server = net.createServer({ allowHalfOpen: true }, (client) =>
      this.#link(client, port, host),
    )
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    this.#servers.push(server)
    return portOf(server)
  }

  close() {
    for (const server of this.#servers) server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #link(client, port, host) {
    const broker = net.connect({ port, host, allowHalfOpen: true })
    /** @type {Recorded} */
    const connection = { server: `${port}`, clientId: '', packets: [] }
    for (const [from, to, way] of /** @type {const} */ ([
      [client, broker, 'out'],
      [broker, client, 'in'],
    ])) {
      this.#sockets.add(from)
      from.setNoDelay()
      from.on('error', () => {})
      const parser = mqttPacket.parser({ protocolVersion: 4 })
      parser.on('packet', (packet) => {
        if (packet.cmd === 'connect') {
          connection.clientId = packet.clientId
          this.connections.push(connection)
        }
        connection.packets.push({ way, at: performance.now(), packet })
      })
      from.on('data', (bytes) => {
        parser.parse(bytes)
        to.write(bytes)
      })
      // What was read before the end still arrives.
      from.once('end', () => to.end())
      from.once('close', () => {
        this.#sockets.delete(from)
        to.destroySoon()
      })
    }
  }
}

const keyOf = ({ topic, payload }) => `${topic} ${payload}`

/** ms before the end of a connection in which a packet may have come too late to be read. */
const TAIL = 1_000

/** The packets of each connection that was accepted; `late` marks those that the client may not have read. */
function accepted(connections) {
  return connections.flatMap(({ packets }) => {
    const connack = packets.find(({ packet }) => packet.cmd === 'connack')?.packet
    if (connack?.returnCode !== 0) return []
    const end = packets.at(-1).at - TAIL
    const rest = packets
      .filter(({ packet }) => !/^conn/.test(packet.cmd))
      .map((each) => ({ ...each, late: each.at > end }))
    return [{ sessionPresent: connack.sessionPresent, packets: rest }]
  })
}

/**
 * What a publisher of 3.1.1 did wrong, by its connections in order. With the session present it first sends again what was not acknowledged: PUBLISH with
 * DUP under the same identifier, and PUBREL, each in order. Nothing else is sent twice.
 * @param {Recorded[]} connections
 */
export function faultsOfPublisher(connections) {
  /** @type {string[]} */
  const faults = []
  /**
   * What is in flight, by identifier. `sure` is false where the client may not have read the last answer.
   * @type {Map<number, { key: string, stage: 'publish' | 'pubrel' | 'done', sure: boolean }>}
   */
  const flight = new Map()
  const known = new Set()
  for (const { sessionPresent, packets } of accepted(connections)) {
    if (!sessionPresent) {
      // What was in flight may be published anew.
      for (const { key } of flight.values()) known.delete(key)
      flight.clear()
    }
    const due = { publish: [], pubrel: [] }
    for (const [id, { stage, sure }] of flight) if (sure) due[stage].push(id)
    for (const { way, late, packet } of packets) {
      const { cmd, messageId: id } = packet
      const entry = flight.get(id)
      if (way === 'in') {
        if (!entry || !/^pub(ack|rec|comp)$/.test(cmd)) continue
        if (cmd !== 'pubrec' && !late) flight.delete(id)
        else Object.assign(entry, { stage: cmd === 'pubrec' ? 'pubrel' : 'done', sure: !late })
      } else if (cmd === 'pubrel') {
        if (!entry || (entry.sure && entry.stage !== 'pubrel'))
          faults.push(`PUBREL ${id} too early`)
        else Object.assign(entry, { stage: 'pubrel', sure: true })
        repeated(due.pubrel, id, faults)
      } else if (cmd === 'publish' && packet.qos > 0) {
        const key = keyOf(packet)
        // A first PUBLISH that the recorder did not get to read has DUP when it comes.
        if (packet.dup && known.has(key)) {
          if (entry?.key !== key || (entry.sure && entry.stage !== 'publish'))
            faults.push(`${key} repeated as ${id}, which does not wait for an answer`)
          else Object.assign(entry, { stage: 'publish', sure: true })
          repeated(due.publish, id, faults)
          continue
        }
        const owed = [...due.publish, ...due.pubrel]
        if (owed.length > 0) faults.push(`${key} sent, and not ${owed} again before`)
        if (entry?.sure) faults.push(`identifier ${id} of ${entry.key} taken for ${key}`)
        if (known.has(key)) faults.push(`${key} published once more`)
        known.add(key)
        // Behind all others, also where the identifier was in use before.
        flight.delete(id)
        flight.set(id, { key, stage: 'publish', sure: true })
      }
    }
  }
  return faults
}

/** Takes an identifier off the list of those that are due, where it must be the first. */
function repeated(due, id, faults) {
  const index = due.indexOf(id)
  if (index > 0) faults.push(`${id} sent again before ${due.slice(0, index)}`)
  if (index >= 0) due.splice(index, 1)
}

/**
 * What a subscriber of 3.1.1 did wrong, by its connections in order and the topics and payloads that its handler got: each PUBLISH of QoS 1 is delivered and
 * acknowledged, each of QoS 2 delivered once until its PUBREL, whatever the server repeats in between.
 * @param {Recorded[]} connections
 * @param {string[]} delivered
 */
export function faultsOfSubscriber(connections, delivered) {
  /** @type {string[]} */
  const faults = []
  const exchanges = exchangesOf(connections, faults)
  const counts = new Map()
  for (const key of delivered) counts.set(key, (counts.get(key) ?? 0) + 1)
  for (const key of new Set([...exchanges.keys(), ...counts.keys()])) {
    const { least = 0, most = 0 } = exchanges.get(key) ?? {}
    const count = counts.get(key) ?? 0
    if (count < least || count > most)
      faults.push(`${key} delivered ${count} times instead of ${least} to ${most}`)
  }
  return faults
}

/**
 * How often each message was sent to a subscriber as one of its own: `most`, and `least` without those that it may not have read.
 * @param {Recorded[]} connections
 * @param {string[]} faults
 * @returns {Map<string, { least: number, most: number }>}
 */
export function exchangesOf(connections, faults = []) {
  const exchanges = new Map()
  const count = (key, least) => {
    const entry = exchanges.get(key) ?? { least: 0, most: 0 }
    exchanges.set(key, { least: entry.least + (least ? 1 : 0), most: entry.most + 1 })
  }
  /** Identifiers of QoS 2 that were not released yet. */
  let held = new Set()
  for (const { sessionPresent, packets } of accepted(connections)) {
    if (!sessionPresent) held = new Set()
    /** What must be acknowledged, in order. @type {{ id: number, cmd: string, late: boolean }[]} */
    const owed = []
    for (const { way, late, packet } of packets) {
      const { cmd, messageId: id, qos } = packet
      if (way === 'in' && cmd === 'pubrel') held.delete(id)
      if (way === 'in' && cmd === 'publish') {
        const key = keyOf(packet)
        if (qos > 0) owed.push({ id, cmd: qos === 1 ? 'puback' : 'pubrec', late })
        // An identifier that the server takes again before its PUBREL stands for the first message [MQTT-4.3.3-2].
        if (qos < 2 || !held.has(id)) count(key, !late)
        if (qos === 2) held.add(id)
      }
      if (way === 'out' && (cmd === 'puback' || cmd === 'pubrec')) {
        const next = owed.shift()
        if (next?.id !== id || next.cmd !== cmd) faults.push(`${cmd} ${id} instead of ${next?.id}`)
      }
    }
    for (const { id, late } of owed) if (!late) faults.push(`no acknowledgement of ${id}`)
  }
  return exchanges
}

/** The messages whose last acknowledgement reached the publisher. @param {Recorded[]} connections */
export function completed(connections) {
  const keys = new Set()
  const flight = new Map()
  for (const { packets } of accepted(connections))
    for (const { way, packet } of packets) {
      if (way === 'out' && packet.cmd === 'publish') flight.set(packet.messageId, keyOf(packet))
      if (way === 'in' && /^pub(ack|comp)$/.test(packet.cmd)) keys.add(flight.get(packet.messageId))
    }
  return keys
}
