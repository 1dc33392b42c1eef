// A server that sends what a seed decides: packets that are right, nearly right, in the wrong place, cut, or no packets at all. It runs in Node, and in
// pages, because its connections are objects in memory.

import { random } from './random.mjs'

const text = new TextEncoder()

/** The properties that the packets of a server may have; those of answers are the reason string and user properties. */
const PROPERTIES = {
  2: [0x11, 0x12, 0x13, 0x1a, 0x1c, 0x1f, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a],
  3: [0x01, 0x02, 0x03, 0x08, 0x09, 0x0b, 0x23, 0x26],
  14: [0x1c, 0x1f, 0x26],
  15: [0x15, 0x16, 0x1f, 0x26],
}

/** Bytes of random packets, most of them nearly right. */
class Generator {
  constructor(chance) {
    this.chance = chance
    this.version = 5
  }
  upTo = (limit) => Math.floor(this.chance() * limit)
  /** @template T @param {readonly T[]} list @returns {T} */
  pick = (list) => list[this.upTo(list.length)]
  maybe = (share) => this.chance() < share
  bytes = (count) => Array.from({ length: count }, () => this.upTo(256))
  two = (value) => [(value >> 8) & 255, value & 255]
  /** Identifiers of messages are small, so that many of them are in use. */
  id = () => this.two(this.maybe(0.95) ? 1 + this.upTo(12) : this.upTo(65_536))

  varint(value) {
    const bytes = []
    do {
      bytes.push((value & 127) | (value > 127 ? 128 : 0))
      value >>>= 7
    } while (value > 0)
    return bytes
  }

  string() {
    const words = ['', 'a', 'a/b', '#', 'é€😀', '__proto__', 'constructor', 'a'.repeat(400)]
    const bytes = this.maybe(0.97) ? [...text.encode(this.pick(words))] : this.bytes(this.upTo(9))
    return [...this.two(bytes.length), ...bytes]
  }

  topic() {
    if (this.maybe(0.02)) return this.string()
    const bytes = [...text.encode(this.pick(['a', 'a/b', 'a/c', 'x', '$SYS/x', '__proto__']))]
    return [...this.two(bytes.length), ...bytes]
  }

  property(id) {
    const value = (ids, make) => (ids.includes(id) ? make() : undefined)
    return [
      id,
      ...(value([0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2a], () => [this.upTo(2)]) ??
        value([0x13, 0x21, 0x22, 0x23], () => this.two(this.upTo(13))) ??
        value([0x02, 0x11, 0x18, 0x27], () =>
          this.maybe(0.5) ? this.bytes(4) : [0, 0, 0, this.upTo(64)],
        ) ??
        value([0x08], () => this.topic()) ??
        value([0x0b], () => this.varint(this.maybe(0.9) ? 1 : this.upTo(6))) ??
        value([0x26], () => [...this.string(), ...this.string()]) ??
        this.string()),
    ]
  }

  /** Properties of a packet type, most of them allowed there. */
  properties(type) {
    if (this.version !== 5) return []
    const allowed = PROPERTIES[type] ?? [0x1f, 0x26]
    const ids = new Set(
      Array.from({ length: this.maybe(0.7) ? 0 : this.upTo(4) }, () => this.pick(allowed)),
    )
    if (this.maybe(0.003)) ids.add(this.upTo(256))
    const all = [...ids].flatMap((id) => this.property(id))
    return [...this.varint(all.length), ...all]
  }

  code = () =>
    this.maybe(0.9) ? this.upTo(2) : this.pick([2, 0x10, 0x80, 0x87, 0x91, 0x92, 0x97, 0x9b, 0xff])

  /** The bytes of one packet of a type; `id` is that of the packet that it answers. */
  packet(type = 1 + this.upTo(15), id = this.id()) {
    const properties = () => this.properties(type)
    const codes = () => Array.from({ length: this.maybe(0.97) ? 1 : this.upTo(4) }, this.code)
    let flags = type === 6 ? 2 : 0
    let body = []
    if (type === 2) body = [this.upTo(2), this.maybe(0.93) ? 0 : this.code(), ...properties()]
    if (type === 3) {
      const qos = this.maybe(0.998) ? this.upTo(3) : 3
      flags = (qos > 0 && this.maybe(0.3) ? 8 : 0) | (qos << 1) | this.upTo(2)
      const payload = this.bytes(this.pick([0, 3, 3, 3, 2_000]))
      body = [...this.topic(), ...(qos ? id : []), ...properties(), ...payload]
    }
    if (type >= 4 && type <= 7)
      body = this.maybe(0.7) || this.version !== 5 ? id : [...id, this.code(), ...properties()]
    if (type === 9) body = [...id, ...properties(), ...codes()]
    if (type === 11) body = [...id, ...properties(), ...(this.version === 5 ? codes() : [])]
    if (type === 14 || type === 15)
      body = this.maybe(0.5) ? [] : [this.pick([0, 0x18, 0x8e, 0x9d, 0x97]), ...properties()]
    if (type === 1 || type === 8 || type === 10) body = this.bytes(this.upTo(20))
    if (this.maybe(0.002)) flags = this.upTo(16)
    return [(type << 4) | flags, ...this.varint(body.length), ...body]
  }

  /** Damages bytes in one or two places. */
  damaged(bytes) {
    const result = [...bytes]
    for (let times = 1 + this.upTo(2); times > 0; times--) {
      const at = this.upTo(result.length)
      this.pick([
        () => (result[at] ^= 1 << this.upTo(8)),
        () => (result[at] = this.pick([0, 1, 0x7f, 0x80, 0xff])),
        () => result.splice(at, 1 + this.upTo(8)),
        () => result.splice(at, 0, ...this.bytes(1 + this.upTo(8))),
        () => result.splice(at, 0, ...result.slice(at, at + this.upTo(30))),
        () => result.splice(1, 1, 0xff, 0xff, 0xff, 0x7f),
      ])()
    }
    return result
  }

  /** Some packets in one piece. */
  burst() {
    const bytes = Array.from({ length: 1 + this.upTo(6) }, () => {
      // Most are what clients get most, so that the connection lives for a while.
      const packet = this.packet(this.maybe(0.97) ? this.pick([3, 3, 3, 3, 6]) : undefined)
      return this.maybe(0.01) ? this.damaged(packet) : packet
    })
    return this.maybe(0.003) ? this.bytes(this.upTo(300)) : bytes.flat()
  }
}

/** A connection to the hostile server; it has what the client needs of a WebSocket. */
class HostileSocket {
  binaryType = ''
  bufferedAmount = 0
  protocol = 'mqtt'
  readyState = 0
  onopen = /** @type {((event: any) => void) | null} */ (null)
  onmessage = /** @type {((event: { data: any }) => void) | null} */ (null)
  onclose = /** @type {((event: any) => void) | null} */ (null)
  onerror = null

  constructor(generator, count) {
    this.generator = generator
    this.count = count
    queue(() => this.#open())
  }

  #open() {
    if (this.readyState !== 0) return
    if (this.generator.maybe(0.05)) return this.#end()
    this.readyState = 1
    this.onopen?.({})
  }

  /** Bytes of the client: most packets get the answer that they need. */
  send(data) {
    const { generator } = this
    for (let at = 0; at < data.length; ) {
      const type = data[at] >> 4
      let length = 0
      let start = at + 1
      for (let shift = 0; ; shift += 7) {
        length += (data[start] & 127) << shift
        if (data[start++] < 128) break
      }
      this.count.packets++
      if (type === 1) generator.version = data[start + 6]
      const qos = type === 3 ? (data[at] >> 1) & 3 : 0
      const skip = type === 3 ? 2 + (data[start] << 8) + data[start + 1] : 0
      const id = [data[start + skip], data[start + skip + 1]]
      const answer = { 1: 2, 5: 6, 6: 7, 8: 9, 10: 11, 12: 13, 3: [0, 4, 5][qos] }[type]
      if (answer && generator.maybe(0.9)) this.#deliver(generator.packet(answer, id))
      at = start + length
    }
  }

  /** Sends something that nobody has asked for, or ends the connection. */
  strike() {
    if (this.readyState !== 1) return
    if (this.generator.maybe(0.03)) return this.#end()
    if (this.generator.maybe(0.002)) return this.onmessage?.({ data: 'text' })
    this.#deliver(this.generator.burst())
  }

  /** In one piece, or cut in two anywhere. */
  #deliver(bytes) {
    const cut = this.generator.maybe(0.7) ? bytes.length : this.generator.upTo(bytes.length)
    for (const piece of [bytes.slice(0, cut), bytes.slice(cut)])
      if (piece.length > 0)
        queue(() => {
          if (this.readyState !== 1) return
          this.count.bytes += piece.length
          this.onmessage?.({ data: new Uint8Array(piece).buffer })
        })
  }

  close() {
    if (this.readyState < 2) this.#end()
  }

  #end() {
    this.readyState = 2
    queue(() => {
      this.readyState = 3
      this.onclose?.({ code: 1006 })
    })
  }
}

// A task of its own for each event, as in browsers, without the delay of nested timers.
/** @type {(() => void)[]} */
const waiting = []
/** Open while clients play: an open one keeps the process alive. @type {MessageChannel} */
let channel
function openQueue() {
  channel = new MessageChannel()
  channel.port1.onmessage = () => waiting.shift()?.()
}
function queue(task) {
  waiting.push(task)
  channel.port2.postMessage(null)
}
const turn = () => new Promise((resolve) => queue(() => resolve(undefined)))

/**
 * Plays clients against the server, one after the other, each with a seed of its own, until the time is over.
 * @param {typeof import('../../pkg/node.js').Client} Client
 * @param {{ seconds: number, seed?: number, tell?: (sample: object) => void }} options
 */
export async function fuzz(Client, { seconds, seed = 1, tell = () => {} }) {
  const count = {
    clients: 0,
    connections: 0,
    packets: 0,
    bytes: 0,
    messages: 0,
    rejected: 0,
    wasm: 0,
  }
  /** What must not happen, with the seed. */
  const faults = /** @type {string[]} */ ([])
  const codes = /** @type {Record<string, number>} */ ({})
  const until = performance.now() + seconds * 1_000
  openQueue()
  let next = performance.now()
  while (performance.now() < until && faults.length < 20) {
    await playOne(Client, seed + count.clients, count, codes, (fault) =>
      faults.push(`seed ${seed + count.clients}: ${fault}`),
    )
    count.clients++
    if (performance.now() > next) {
      tell({ ...count, codes: { ...codes }, faults: faults.length })
      next = performance.now() + 10_000
    }
  }
  channel.port1.close()
  return { ...count, codes, faults }
}

async function playOne(Client, seed, count, codes, fault) {
  const chance = random(seed)
  const generator = new Generator(chance)
  /** @type {HostileSocket[]} */
  const sockets = []
  const client = new Client('ws://hostile.invalid', {
    protocolVersion: generator.pick([5, 4, 'auto']),
    clientId: 'victim',
    clean: generator.maybe(0.5),
    keepalive: 0,
    reconnect: { initial: true, minDelay: 1, maxDelay: 1, jitter: 0, shouldRetry: () => true },
    transport: () => {
      count.connections++
      const socket = new HostileSocket(generator, count)
      sockets.push(socket)
      return socket
    },
  })
  const judge = (error) => {
    codes[error.code] = (codes[error.code] ?? 0) + 1
    // The calls below are no mistakes.
    if ([undefined, 'INTERNAL', 'INVALID_ARGUMENT'].includes(error.code))
      fault(`${error.stack ?? error}, ${error.cause?.stack}`)
  }
  client.on('error', (error) => {
    judge(error)
    // Without a cause, nobody has taken the message.
    if (error.code === 'HANDLER_FAILED' && error.cause) fault(`unreadable: ${error.cause.stack}`)
  })
  let pending = 0
  const watch = (promise) => {
    pending++
    promise.catch((error) => (count.rejected++, judge(error))).finally(() => pending--)
  }
  const read = (message) => {
    count.messages++
    // Everything that a user could read must be readable.
    JSON.stringify([message.topic, message.text(), message.properties, message.qos, message.dup])
    if (chance() < 0.3) message.ack()
  }
  client.on('message', read)
  watch(client.connect())
  for (let step = 0; step < 120 && client.state !== 'closed'; step++) {
    sockets.at(-1)?.strike()
    if (generator.maybe(0.3)) use(client, generator, watch, read)
    await turn()
    if (client.state !== 'connected') await new Promise((resolve) => setTimeout(resolve, 1))
  }
  count.wasm = Math.max(count.wasm, client.stats().wasmMemoryBytes)
  await client.end({ force: true })
  for (let tries = 0; pending > 0 && tries < 50; tries++) await turn()
  if (pending > 0) fault(`${pending} promises have not settled after end()`)
  const open = sockets.filter(({ readyState }) => readyState < 2).length
  if (open > 0) fault(`${open} connections are still open after end()`)
}

/** One call of the application. */
function use(client, generator, watch, read) {
  const topic = generator.pick(['a', 'a/b', 'x'])
  const qos = generator.pick([0, 1, 2])
  const ack = generator.pick(['auto', 'settled', 'manual'])
  generator.pick([
    () => watch(client.publish(topic, 'hello', { qos })),
    () => watch(client.publish(topic, 'hello', { qos })),
    () => watch(client.subscribe(generator.pick(['a/#', '#', 'a/b']), { qos, ack }, read)),
    () => watch(client.unsubscribe('a/#')),
    () => watch(client.request(topic, 'question', { timeout: 20 })),
    () => watch(client.drain({ timeout: 5 })),
    () => client.reconnect(),
  ])()
}
