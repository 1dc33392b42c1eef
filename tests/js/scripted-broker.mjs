// A broker that does what a test says: it plays packets or bytes, expects packets, and drops the connection at any point. Its codec is
// its own, independent of the code under test, and checks little: the tests do.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { WebSocketServer } from 'ws'
import { Client } from '../../pkg/node.js'
import { portOf } from '../../scripts/tools.mjs'

const TYPES = [
  '',
  'connect',
  'connack',
  'publish',
  'puback',
  'pubrec',
  'pubrel',
  'pubcomp',
  'subscribe',
  'suback',
  'unsubscribe',
  'unsuback',
  'pingreq',
  'pingresp',
  'disconnect',
  'auth',
]

// ------------------------------------------------------------------------------------------------ codec

const PROPERTIES = {
  payloadFormatIndicator: [0x01, 'byte'],
  messageExpiryInterval: [0x02, 'four'],
  contentType: [0x03, 'text'],
  responseTopic: [0x08, 'text'],
  correlationData: [0x09, 'binary'],
  subscriptionIdentifier: [0x0b, 'varint'],
  sessionExpiryInterval: [0x11, 'four'],
  assignedClientIdentifier: [0x12, 'text'],
  serverKeepAlive: [0x13, 'two'],
  authenticationMethod: [0x15, 'text'],
  authenticationData: [0x16, 'binary'],
  requestProblemInformation: [0x17, 'byte'],
  willDelayInterval: [0x18, 'four'],
  requestResponseInformation: [0x19, 'byte'],
  responseInformation: [0x1a, 'text'],
  serverReference: [0x1c, 'text'],
  reasonString: [0x1f, 'text'],
  receiveMaximum: [0x21, 'two'],
  topicAliasMaximum: [0x22, 'two'],
  topicAlias: [0x23, 'two'],
  maximumQoS: [0x24, 'byte'],
  retainAvailable: [0x25, 'byte'],
  userProperties: [0x26, 'pair'],
  maximumPacketSize: [0x27, 'four'],
  wildcardSubscriptionAvailable: [0x28, 'byte'],
  subscriptionIdentifiersAvailable: [0x29, 'byte'],
  sharedSubscriptionAvailable: [0x2a, 'byte'],
}

const two = (number) => [number >> 8, number & 255]
const text = (string) => binary(Buffer.from(string))
const binary = (bytes) => [...two(bytes.length), ...bytes]
const varint = (number) =>
  number < 128 ? [number] : [(number & 127) | 128, ...varint(number >>> 7)]
const write = {
  byte: (value) => [Number(value)],
  two,
  four: (value) => [...two(value >>> 16), ...two(value & 0xffff)],
  varint,
  text,
  binary,
  pair: ([name, value]) => [...text(name), ...text(value)],
}

function properties(given = {}) {
  const bytes = Object.entries(given).flatMap(([name, value]) => {
    const [id, type] = PROPERTIES[name]
    // User properties are a list, and subscription identifiers can be one.
    const values = type === 'pair' || Array.isArray(value) ? value : [value]
    return values.flatMap((each) => [id, ...write[type](each)])
  })
  return [...varint(bytes.length), ...bytes]
}

/** A packet as bytes, for a client that speaks `version`. */
export function encode(packet, version = 5) {
  const { type, id, reasonCode = 0 } = packet
  const five = (bytes) => (version === 5 ? bytes : [])
  const block = () => five(properties(packet.properties))
  const acknowledgement = () => [
    ...two(id),
    ...five(packet.properties || reasonCode ? [reasonCode, ...block()] : []),
  ]
  const body = {
    connack: () => [packet.sessionPresent ? 1 : 0, packet.returnCode ?? reasonCode, ...block()],
    publish: () => [...text(packet.topic), ...(packet.qos ? two(id) : []), ...block()],
    puback: acknowledgement,
    pubrec: acknowledgement,
    pubrel: acknowledgement,
    pubcomp: acknowledgement,
    suback: () => [...two(id), ...block(), ...packet.codes],
    unsuback: () => [...two(id), ...block(), ...five(packet.codes)],
    pingresp: () => [],
    disconnect: () => [reasonCode, ...block()],
    auth: () => [reasonCode, ...block()],
  }[type]()
  const payload = Buffer.from(packet.payload ?? '')
  const flags =
    type === 'publish'
      ? (packet.dup ? 8 : 0) | ((packet.qos ?? 0) << 1) | (packet.retain ? 1 : 0)
      : type === 'pubrel'
        ? 2
        : 0
  return Buffer.concat([
    Buffer.from([
      (TYPES.indexOf(type) << 4) | flags,
      ...varint(body.length + payload.length),
      ...body,
    ]),
    payload,
  ])
}

class Reader {
  constructor(bytes) {
    this.bytes = bytes
    this.at = 0
  }
  get left() {
    return this.bytes.length - this.at
  }
  byte = () => this.bytes[this.at++]
  two = () => (this.byte() << 8) | this.byte()
  four = () => this.two() * 65536 + this.two()
  varint = () => {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte()
      value += (byte & 127) << shift
      if (byte < 128) return value
    }
  }
  take = (length) => this.bytes.subarray(this.at, (this.at += length))
  binary = () => this.take(this.two())
  text = () => this.binary().toString()
  pair = () => [this.text(), this.text()]
  properties() {
    const found = {}
    const end = this.varint() + this.at
    while (this.at < end) {
      const id = this.byte()
      const [name, [, type]] = Object.entries(PROPERTIES).find(([, [each]]) => each === id)
      if (type === 'pair') (found[name] ??= []).push(this.pair())
      else found[name] = this[type]()
    }
    return found
  }
}

/** What a client sent: `bytes` is one whole packet. */
export function decode(bytes, version) {
  const reader = new Reader(bytes)
  const first = reader.byte()
  reader.varint()
  const type = TYPES[first >> 4]
  const block = () => (version === 5 && reader.left ? reader.properties() : {})
  const acknowledgement = () => ({
    id: reader.two(),
    reasonCode: reader.left ? reader.byte() : 0,
    properties: block(),
  })
  const read = {
    connect() {
      const protocol = reader.text()
      version = reader.byte()
      const flags = reader.byte()
      const packet = {
        protocol,
        version,
        clean: (flags & 2) > 0,
        keepalive: reader.two(),
        properties: block(),
        clientId: reader.text(),
      }
      if (flags & 4) {
        const will = {
          qos: (flags >> 3) & 3,
          retain: (flags & 32) > 0,
          properties: block(),
          topic: reader.text(),
        }
        packet.will = { ...will, payload: reader.binary().toString() }
      }
      if (flags & 128) packet.username = reader.text()
      if (flags & 64) packet.password = reader.binary().toString()
      return packet
    },
    publish() {
      const qos = (first >> 1) & 3
      const packet = { dup: (first & 8) > 0, qos, retain: (first & 1) > 0, topic: reader.text() }
      if (qos) packet.id = reader.two()
      return { ...packet, properties: block(), payload: reader.take(reader.left) }
    },
    puback: acknowledgement,
    pubrec: acknowledgement,
    pubrel: acknowledgement,
    pubcomp: acknowledgement,
    subscribe() {
      const packet = { id: reader.two(), properties: block(), filters: [] }
      while (reader.left) packet.filters.push({ filter: reader.text(), options: reader.byte() })
      return packet
    },
    unsubscribe() {
      const packet = { id: reader.two(), properties: block(), filters: [] }
      while (reader.left) packet.filters.push(reader.text())
      return packet
    },
    pingreq: () => ({}),
    disconnect: () => ({ reasonCode: reader.left ? reader.byte() : 0, properties: block() }),
    auth: () => ({ reasonCode: reader.left ? reader.byte() : 0, properties: block() }),
  }[type]
  const packet = { type, ...read() }
  assert.equal(reader.left, 0, `${type}: bytes too many`)
  return packet
}

// ------------------------------------------------------------------------------------------------ broker

/** One connection of a client. */
export class Peer {
  version = 5
  /** Bytes of every WebSocket frame that came. */
  frames = []
  #socket
  #buffer = Buffer.alloc(0)
  #packets = []
  #wake = () => {}

  constructor(socket, request) {
    this.#socket = socket
    this.request = request
    this.closed = once(socket, 'close').then(([code]) => code)
    socket.on('error', () => {})
    socket.on('message', (data) => {
      this.frames.push(data)
      this.#buffer = Buffer.concat([this.#buffer, data])
      this.#cut()
    })
    this.closed.then(() => this.#wake())
  }

  #cut() {
    for (;;) {
      const reader = new Reader(this.#buffer)
      if (reader.left < 2) return
      reader.byte()
      const length = reader.varint()
      if (Number.isNaN(reader.at) || reader.left < length) return
      const bytes = reader.bytes.subarray(0, reader.at + length)
      this.#buffer = this.#buffer.subarray(bytes.length)
      const packet = decode(bytes, this.version)
      if (packet.type === 'connect') this.version = packet.version
      this.#packets.push(packet)
      this.#wake()
    }
  }

  get isOpen() {
    return this.#socket.readyState === 1
  }

  /** The next packet, whatever it is; undefined when the connection is closed instead. */
  async next() {
    while (this.#packets.length === 0) {
      if (this.#socket.readyState === 3) return undefined
      await new Promise((resolve) => (this.#wake = () => resolve(undefined)))
    }
    return this.#packets.shift()
  }

  /** The next packet, which must be of this type and have these fields. */
  async expect(type, fields = {}) {
    const packet = await this.next()
    assert.equal(packet?.type, type, `expected ${type}, got ${JSON.stringify(packet)}`)
    for (const [name, value] of Object.entries(fields)) {
      const found = name === 'payload' ? packet.payload.toString() : packet[name]
      assert.deepEqual(found, value, `${type}.${name}`)
    }
    return packet
  }

  /** Packets that have come and were not expected yet. */
  get pending() {
    return [...this.#packets]
  }

  /** Sends packets or bytes in one frame. */
  send(...packets) {
    this.#socket.send(
      Buffer.concat(
        packets.map((each) => (Buffer.isBuffer(each) ? each : encode(each, this.version))),
      ),
    )
  }

  /** Sends each piece as a frame of its own. */
  sendPieces(bytes, size) {
    for (let at = 0; at < bytes.length; at += size) this.#socket.send(bytes.subarray(at, at + size))
  }

  sendText(string) {
    this.#socket.send(string)
  }

  /** CONNECT and CONNACK. */
  async welcome(connack = {}) {
    const connect = await this.expect('connect')
    this.send({ type: 'connack', ...connack })
    return connect
  }

  /** SUBSCRIBE and SUBACK, everything granted as asked if no codes are given. */
  async grant(codes, fields) {
    const packet = await this.expect('subscribe', fields)
    this.send({
      type: 'suback',
      id: packet.id,
      codes: codes ?? packet.filters.map(({ options }) => options & 3),
    })
    return packet
  }

  async release(fields) {
    const packet = await this.expect('unsubscribe', fields)
    this.send({ type: 'unsuback', id: packet.id, codes: packet.filters.map(() => 0) })
    return packet
  }

  /** Cuts the connection without a close frame. */
  drop() {
    this.#socket.terminate()
  }

  close(code = 1000) {
    this.#socket.close(code)
  }

  pause() {
    this.#socket.pause()
  }

  resume() {
    this.#socket.resume()
  }
}

export class Broker {
  #server
  #peers = []
  #waiting = []
  url

  /** Listens on a free port of this machine. `options` go to the WebSocket server. */
  static async start(options = {}) {
    const broker = new Broker()
    const server = new WebSocketServer({
      host: '127.0.0.1',
      port: 0,
      handleProtocols: () => 'mqtt',
      ...options,
    })
    server.on('connection', (socket, request) => {
      const peer = new Peer(socket, request)
      const waiting = broker.#waiting.shift()
      if (waiting) waiting(peer)
      else broker.#peers.push(peer)
    })
    await once(server, 'listening')
    broker.#server = server
    broker.url = `ws://127.0.0.1:${portOf(server)}`
    return broker
  }

  /** The next connection. */
  accept() {
    return this.#peers.length
      ? Promise.resolve(this.#peers.shift())
      : new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** Connections that nobody has accepted yet. */
  get waiting() {
    return this.#peers.length
  }

  async stop() {
    for (const socket of this.#server.clients) socket.terminate()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

// ------------------------------------------------------------------------------------------------ what most tests begin with

/** A broker that stops after the test. */
export async function startBroker(t, options) {
  const broker = await Broker.start(options)
  t.after(() => broker.stop())
  return broker
}

/** A client that is ended after the test. Errors nobody listens to fail the test. */
export function makeClient(t, url, options) {
  const client = new Client(url, { protocolVersion: 5, ...options })
  t.after(() => client.end({ force: true }).catch(() => {}))
  return client
}

/** A connected client, its broker and its connection. */
export async function connected(t, options, connack) {
  const broker = await startBroker(t)
  const client = makeClient(t, broker.url, options)
  const [peer, info] = await Promise.all([
    broker.accept().then(async (peer) => (await peer.welcome(connack), peer)),
    client.connect(),
  ])
  return { broker, client, peer, info }
}

/** Resolves when what is under way has come to rest: after that many turns of the event loop, each of 1 ms at least. */
export async function settle(turns = 20) {
  for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setTimeout(resolve, 1))
}

/** Resolves when the condition holds. */
export async function until(condition) {
  for (let turn = 0; !condition() && turn < 3_000; turn++) await settle(1)
  assert.ok(condition(), `${condition} in time`)
}

/** The arguments of the next event. */
export const event = (client, name) =>
  new Promise((resolve) => client.once(name, (...args) => resolve(args)))

/** All events of these names from now on, as [name, ...args]. */
export function record(client, ...names) {
  const events = []
  for (const name of names) client.on(name, (...args) => events.push([name, ...args]))
  return events
}
