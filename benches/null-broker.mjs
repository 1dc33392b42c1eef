/**
 * A broker that does only what a measurement needs, so that it costs far less than any client. It sends from one encoded block, acknowledges
 * in batches, and checks what it receives. It runs in its own process, and bench.mjs controls it with messages:
 *   { open: id, scenario }          the connection to the path /id plays this scenario
 *   { burst: id, count, sending }   sends or expects `count` messages, and answers { finished: id } or { failed: id, error }
 *   { close: id }                   forgets the connection
 */
import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import bufferutil from 'bufferutil'
import { encodeCycle, traffic } from './traffic.mjs'

const scenarios = new Map()
const connections = new Map()

const server = createServer()
server.on('upgrade', (request, stream, head) => {
  const socket = /** @type {import('node:net').Socket} */ (stream)
  const id = request.url.slice(1)
  const accept = createHash('sha1')
    .update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest('base64')
  const protocol = request.headers['sec-websocket-protocol']
    ? 'Sec-WebSocket-Protocol: mqtt\r\n'
    : ''
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n${protocol}\r\n`,
  )
  socket.setNoDelay(true)
  const connection = new Connection(id, socket, scenarios.get(id))
  connections.set(id, connection)
  socket.on('data', (chunk) => connection.data(chunk))
  socket.on('error', () => {})
  if (head.length) connection.data(head)
})
server.listen(0, '127.0.0.1', () => {
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  process.send({ port })
})

process.on('message', ({ open, scenario, burst, count, sending, close }) => {
  if (open) scenarios.set(open, scenario)
  if (burst) connections.get(burst)?.burst(count, sending)
  if (close) {
    connections.get(close)?.socket.destroy()
    connections.delete(close)
    scenarios.delete(close)
  }
})
process.on('disconnect', () => process.exit())

const CONNECT = 1,
  PUBLISH = 3,
  PUBACK = 4,
  PUBREC = 5,
  PUBREL = 6,
  PUBCOMP = 7,
  SUBSCRIBE = 8,
  UNSUBSCRIBE = 10,
  PINGREQ = 12
/** One of this many received messages is compared byte by byte, the others by topic length, payload length and payload number. */
const COMPARE = 16
/** Messages that are due leave after this many ms. */
const TICK = 1

class Connection {
  #frames = new Rest()
  #packetRest = new Rest()
  #version = 4
  #subscriptions = []
  #acks = Buffer.alloc(4 * 65_536)
  #acksEnd = 0
  #held = 0 // received messages whose first acknowledgement has not been sent yet
  #cycle

  constructor(id, socket, scenario) {
    this.id = id
    this.socket = socket
    this.scenario = scenario
    this.traffic = traffic(scenario)
    this.topicLength = Buffer.byteLength(this.traffic.topic(0))
    this.total = 0 // messages of the burst
    this.moved = 0 // how many of them were sent or received
    this.recorded = 0 // how many of them got a PUBREC
    this.done = 0 // how many of them are fully acknowledged
  }

  /** The first messages of an incoming burst may arrive before this is called. */
  burst(count, sending) {
    this.total = count
    this.sending = sending
    this.began = performance.now()
    this.#proceed()
  }

  #proceed() {
    const { hold = 0 } = this.scenario
    if (this.#held === 0 || this.#held >= hold || this.moved === this.total) this.#flush()
    if (this.total && this.done === this.total) this.#finish()
    else if (this.sending) this.#source()
  }

  #finish() {
    this.total = this.moved = this.recorded = this.done = 0
    this.sending = false
    process.send({ finished: this.id })
  }

  #fail(error) {
    process.send({ failed: this.id, error })
    this.socket.destroy()
  }

  // -- sending messages

  #source() {
    const { qos, window = Infinity, single, rate } = this.scenario
    this.#cycle ??= serverFrames(
      encodeCycle(this.traffic, qos, {
        single,
        most: window || Infinity,
        properties: (i) =>
          this.#version === 5 ? this.#identifiers(this.traffic.topic(i)) : undefined,
      }),
    )
    const { bytes, frames, frameOf } = this.#cycle
    while (this.moved < this.total) {
      const from = this.moved % this.traffic.cycle
      const due = rate ? Math.floor(((performance.now() - this.began) * rate) / 1_000) : Infinity
      if (due <= this.moved) return void setTimeout(() => this.#source(), TICK)
      const free = qos ? window - (this.moved - this.done) : Infinity
      const to = Math.min(this.traffic.cycle, from + Math.min(free, due - this.moved))
      if (to <= from) return
      const first = frameOf[from]
      const last = frames[frameOf[to - 1]].count > to ? frameOf[to - 1] - 1 : frameOf[to - 1]
      if (last < first) return
      this.moved += frames[last].count - from
      const end = this.moved === this.total && qos === 0
      const flowing = this.socket.write(
        bytes.subarray(first && frames[first - 1].end, frames[last].end),
        end ? () => this.#finish() : undefined,
      )
      if (!flowing && qos === 0) return void this.socket.once('drain', () => this.#source())
    }
  }

  #identifiers(topic) {
    const mine = this.#subscriptions.filter(
      ({ filter, identifier }) => identifier && covers(filter, topic),
    )
    return mine.flatMap(({ identifier }) => [0x0b, ...varint(identifier)])
  }

  // -- bytes to frames to packets

  data(chunk) {
    const bytes = this.#frames.join(chunk)
    let at = 0
    let whole = 0
    while (bytes.length - at >= 6) {
      const opcode = bytes[at] & 15
      let length = bytes[at + 1] & 127
      let start = at + 6
      if (length === 126) {
        if (bytes.length - at < 8) break
        length = bytes.readUInt16BE(at + 2)
        start = at + 8
      } else if (length === 127) {
        if (bytes.length - at < 14) break
        length = bytes.readUInt32BE(at + 6)
        start = at + 14
      }
      whole = start + length - at
      if (bytes.length - at < whole) break
      const payload = bytes.subarray(start, start + length)
      unmask(payload, bytes.subarray(start - 4, start))
      at = start + length
      if (opcode === 8) return void this.socket.end()
      this.#packets(payload)
    }
    this.#frames.keep(bytes.subarray(at), whole)
    this.#proceed()
  }

  #packets(payload) {
    const bytes = this.#packetRest.join(payload)
    let at = 0
    let whole = 0
    while (at + 2 <= bytes.length) {
      let length = bytes[at + 1]
      let start = at + 2
      if (length > 127) {
        length &= 127
        for (let shift = 7; ; shift += 7) {
          const next = bytes[start++]
          length |= (next & 127) << shift
          if (!(next & 128)) break
        }
      }
      whole = start + length - at
      if (!(start + length <= bytes.length)) break
      this.#packet(bytes, at, start, start + length)
      at = start + length
    }
    this.#packetRest.keep(bytes.subarray(at), whole)
  }

  #packet(bytes, at, start, end) {
    switch (bytes[at] >> 4) {
      case PUBLISH:
        return this.#publish(bytes, at, start, end)
      case PUBACK:
        return this.#ordered(bytes, start, this.done++)
      case PUBREC:
        this.#ordered(bytes, start, this.recorded++)
        return this.#ack(0x62, bytes, start)
      case PUBCOMP:
        return void this.done++
      case PUBREL:
        this.done++
        return this.#ack(0x70, bytes, start)
      case CONNECT:
        this.#version = bytes[start + 6]
        return this.#send(this.#version === 5 ? [0x20, 3, 0, 0, 0] : [0x20, 2, 0, 0])
      case SUBSCRIBE:
        return this.#subscribe(bytes.subarray(start, end))
      case UNSUBSCRIBE:
        return this.#send([
          0xb0,
          this.#version === 5 ? 4 : 2,
          bytes[start],
          bytes[start + 1],
          ...(this.#version === 5 ? [0, 0] : []),
        ])
      case PINGREQ:
        return this.#send([0xd0, 0])
    }
  }

  #publish(bytes, at, start, end) {
    if (this.scenario.kind === 'echo') return this.#send(bytes.subarray(at, end))
    const qos = (bytes[at] >> 1) & 3
    const { traffic, topicLength } = this
    const number = this.moved % traffic.cycle
    let payload = start + 2 + topicLength + (qos ? 2 : 0)
    if (this.#version === 5) payload += 1 + bytes[payload]
    const expected = /** @type {Buffer} */ (traffic.payload(number))
    const right =
      qos === this.scenario.qos &&
      bytes.readUInt16BE(start) === topicLength &&
      end - payload === expected.length &&
      bytes.readUInt32BE(payload) === expected.readUInt32BE(0) &&
      (number % COMPARE ||
        (expected.equals(bytes.subarray(payload, end)) &&
          traffic.topic(number) === bytes.toString('utf8', start + 2, start + 2 + topicLength)))
    if (!right) return this.#fail(`message ${this.moved} is wrong`)
    if (this.total && this.moved === this.total)
      return this.#fail('more messages than were to come')
    this.moved++
    if (qos < 2) this.done++
    if (qos === 0) return
    this.#ack(qos === 1 ? 0x40 : 0x50, bytes, start + 2 + topicLength)
    this.#held++
  }

  /** Acknowledgements must arrive in the order of the messages. */
  #ordered(bytes, start, index) {
    if (bytes.readUInt16BE(start) !== (index % this.traffic.cycle) + 1)
      this.#fail(`acknowledgement ${index} is out of order`)
  }

  #subscribe(body) {
    let at = 2
    let identifier
    if (this.#version === 5) {
      const properties = body.subarray(3, 3 + body[2])
      if (properties[0] === 0x0b) identifier = readVarint(properties, 1)
      at = 3 + body[2]
    }
    const granted = []
    while (at < body.length) {
      const length = body.readUInt16BE(at)
      this.#subscriptions.push({
        filter: body.toString('utf8', at + 2, at + 2 + length),
        identifier,
      })
      granted.push(body[at + 2 + length] & 3)
      at += 3 + length
    }
    const properties = this.#version === 5 ? [0] : []
    this.#send([
      0x90,
      ...varint(2 + properties.length + granted.length),
      body[0],
      body[1],
      ...properties,
      ...granted,
    ])
  }

  // -- sending everything else: acknowledgements of one kind in one frame

  #ack(first, bytes, id) {
    const end = this.#acksEnd
    if (end + 4 > this.#acks.length || (end && this.#acks[end - 4] !== first)) this.#flush()
    this.#acks[this.#acksEnd] = first
    this.#acks[this.#acksEnd + 1] = 2
    this.#acks[this.#acksEnd + 2] = bytes[id]
    this.#acks[this.#acksEnd + 3] = bytes[id + 1]
    this.#acksEnd += 4
  }

  #flush() {
    this.#held = 0
    for (let at = 0; at < this.#acksEnd; at += 16 * 1024)
      this.#send(this.#acks.subarray(at, Math.min(at + 16 * 1024, this.#acksEnd)))
    this.#acksEnd = 0
  }

  #send(bytes) {
    this.socket.write(Buffer.concat([frameHeader(bytes.length), Buffer.from(bytes)]))
  }
}

const empty = Buffer.alloc(0)

/** The rest of what arrived. It is put together once, when a frame or packet of 8 MiB is whole, and not for each of its pieces. */
class Rest {
  #pieces = []
  #length = 0
  #whole = 0

  /** Returns the rest and the next piece as one, or nothing while they are not whole. */
  join(piece) {
    if (!this.#length) return piece
    this.#pieces.push(piece)
    this.#length += piece.length
    if (this.#length < this.#whole) return empty
    const bytes = Buffer.concat(this.#pieces)
    this.#length = 0
    return bytes
  }

  /** Keeps the rest, unless pieces are being kept. As many bytes as `whole` are to be there before it is looked at again. */
  keep(rest, whole) {
    if (this.#length) return
    this.#pieces = [rest]
    this.#length = rest.length
    this.#whole = whole
  }
}

function unmask(bytes, mask) {
  if (bytes.length >= 64) bufferutil.unmask(bytes, mask)
  else for (let i = 0; i < bytes.length; i++) bytes[i] ^= mask[i & 3]
}

function frameHeader(length) {
  if (length < 126) return Buffer.from([0x82, length])
  const header = Buffer.alloc(length < 65_536 ? 4 : 10)
  header[0] = 0x82
  header[1] = length < 65_536 ? 126 : 127
  header.writeUIntBE(length, length < 65_536 ? 2 : 4, length < 65_536 ? 2 : 6)
  return header
}

/** Returns a cycle that includes the frame headers. */
function serverFrames({ bytes, frames }) {
  const parts = []
  const ends = []
  let start = 0
  let total = 0
  for (const { end, count } of frames) {
    const header = frameHeader(end - start)
    parts.push(header, bytes.subarray(start, end))
    total += header.length + end - start
    ends.push({ end: total, count })
    start = end
  }
  return {
    bytes: Buffer.concat(parts),
    frames: ends,
    frameOf: ends.flatMap(({ count }, i) => Array(count - (ends[i - 1]?.count ?? 0)).fill(i)),
  }
}

function varint(n) {
  return n > 127 ? [(n & 127) | 128, ...varint(n >> 7)] : [n]
}

function readVarint(bytes, at) {
  return bytes[at] > 127 ? (bytes[at] & 127) + 128 * readVarint(bytes, at + 1) : bytes[at]
}

/** Matches only the kinds of filters that these scenarios have. */
function covers(filter, topic) {
  const levels = topic.split('/')
  return filter
    .split('/')
    .every((level, i) => level === '#' || level === '+' || level === levels[i])
}
