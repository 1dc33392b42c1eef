// A broker without a network, for pages as well as for Node: each socket is an object that answers by itself. It grants and echoes what it is asked.
const CONNECT = 1,
  CONNACK = 2,
  PUBLISH = 3,
  PUBACK = 4,
  PUBREC = 5,
  PUBREL = 6,
  PUBCOMP = 7,
  SUBSCRIBE = 8,
  SUBACK = 9,
  UNSUBSCRIBE = 10,
  UNSUBACK = 11,
  PINGREQ = 12,
  PINGRESP = 13,
  DISCONNECT = 14,
  AUTH = 15

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const two = (number) => [number >> 8, number & 255]
const text = (string) => [...two(string.length), ...encoder.encode(string)]
const varint = (number) =>
  number < 128 ? [number] : [(number & 127) | 128, ...varint(number >>> 7)]

/** A packet as bytes: the parts are numbers, or arrays of them, or strings. */
export function packet(first, ...parts) {
  const body = parts.flatMap((part) => (typeof part === 'string' ? text(part) : part))
  return new Uint8Array([first, ...varint(body.length), ...body])
}

/** A PUBLISH of MQTT 5 with a payload of any size. */
export function publish(topic, payload, qos = 0, id = 0, identifiers = []) {
  const properties = identifiers.flatMap((identifier) => [0x0b, ...varint(identifier)])
  const head = [
    ...text(topic),
    ...(qos > 0 ? two(id) : []),
    ...varint(properties.length),
    ...properties,
  ]
  const start = [(PUBLISH << 4) | (qos << 1), ...varint(head.length + payload.length), ...head]
  const bytes = new Uint8Array(start.length + payload.length)
  bytes.set(start)
  bytes.set(payload, start.length)
  return bytes
}

export const concat = (chunks) => {
  const bytes = new Uint8Array(chunks.reduce((total, { length }) => total + length, 0))
  chunks.reduce((at, chunk) => (bytes.set(chunk, at), at + chunk.length), 0)
  return bytes
}

/** Runs `work` in a new task, sooner than setTimeout does. */
export const task = globalThis.setImmediate ?? channel()

function channel() {
  const { port1, port2 } = new MessageChannel()
  const tasks = []
  port1.onmessage = () => tasks.shift()()
  return (work) => (tasks.push(work), port2.postMessage(0))
}

/** How soon the broker answers: before `send` returns, after the turn, in another task. */
export const PACES = {
  'at once': (work) => work(),
  'after the turn': (work) => queueMicrotask(work),
  'in a new task': task,
}

export class Loopback {
  /** Sockets that are open now, and all that there ever were. */
  open = new Set()
  made = 0
  #subscriptions = new Map()
  #session = false
  #lastId = 0
  #pace

  constructor(pace = PACES['after the turn']) {
    this.#pace = pace
  }

  /** For options.transport. */
  transport = () => new Socket(this)

  get socket() {
    return [...this.open].at(-1)
  }

  /** Cuts the connection. */
  drop() {
    this.socket?.lost(1006)
  }

  answer(socket, ...packets) {
    const bytes = concat(packets)
    this.#pace(() => socket.onmessage?.({ data: bytes.buffer }))
  }

  receive(socket, first, body) {
    const id = (body[0] << 8) | body[1]
    switch (first >> 4) {
      case CONNECT:
        if (body[7] & 2) {
          this.#session = false
          this.#subscriptions.clear()
        }
        // 0x15, Authentication Method: it follows the Session Expiry Interval, if that is there.
        socket.authenticates =
          body.subarray(11).includes(0x15) && decoder.decode(body).includes('method')
        if (socket.authenticates)
          return this.answer(socket, packet(AUTH << 4, 0x18, this.#method()))
        return this.#welcome(socket)
      case AUTH:
        if (body[0] === 0x19 || socket.connected)
          return this.answer(
            socket,
            packet(AUTH << 4, body[0] === 0x19 ? 0x18 : 0x00, this.#method()),
          )
        return this.#welcome(socket)
      case PUBLISH:
        return this.#echo(socket, (first >> 1) & 3, body)
      case PUBREC:
        return this.answer(socket, packet((PUBREL << 4) | 2, two(id)))
      case PUBREL:
        return this.answer(socket, packet(PUBCOMP << 4, two(id)))
      case SUBSCRIBE:
        return this.answer(socket, packet(SUBACK << 4, two(id), 0, this.#subscribe(body)))
      case UNSUBSCRIBE: {
        const properties = varintAt(body, 2)
        let at = properties.next + properties.value
        const codes = []
        while (at < body.length) {
          const filter = textAt(body, at)
          at += 2 + filter.length
          codes.push(this.#subscriptions.delete(filter) ? 0 : 0x11)
        }
        return this.answer(socket, packet(UNSUBACK << 4, two(id), 0, codes))
      }
      case PINGREQ:
        return this.answer(socket, packet(PINGRESP << 4))
      case DISCONNECT:
        return socket.lost(1000)
    }
  }

  #method() {
    const properties = [0x15, ...text('method')]
    return [properties.length, ...properties]
  }

  #welcome(socket) {
    socket.connected = true
    const present = this.#session ? 1 : 0
    this.#session = true
    this.answer(socket, packet(CONNACK << 4, present, 0, socket.authenticates ? this.#method() : 0))
  }

  #subscribe(body) {
    const properties = varintAt(body, 2)
    let at = properties.next
    const end = at + properties.value
    let identifier = 0
    if (at < end && body[at] === 0x0b) identifier = varintAt(body, at + 1).value
    at = end
    const codes = []
    while (at < body.length) {
      const filter = textAt(body, at)
      at += 3 + filter.length
      this.#subscriptions.set(filter, { qos: body[at - 1] & 3, identifier })
      codes.push(body[at - 1] & 3)
    }
    return codes
  }

  /** Filters are topics, or end in /#. Topic aliases are not offered. */
  #echo(socket, qos, body) {
    const topic = textAt(body, 0)
    let at = 2 + topic.length
    const id = two((body[at] << 8) | body[at + 1])
    if (qos > 0) at += 2
    const properties = varintAt(body, at)
    const payload = body.subarray(properties.next + properties.value)
    const copies = []
    for (const [filter, subscription] of this.#subscriptions) {
      if (filter !== topic && !(filter.endsWith('/#') && topic.startsWith(filter.slice(0, -1))))
        continue
      this.#lastId = (this.#lastId % 0xffff) + 1
      const identifiers = subscription.identifier > 0 ? [subscription.identifier] : []
      copies.push(
        publish(topic, payload, Math.min(qos, subscription.qos), this.#lastId, identifiers),
      )
    }
    if (qos > 0) copies.push(packet((qos === 1 ? PUBACK : PUBREC) << 4, id))
    if (copies.length > 0) this.answer(socket, ...copies)
  }
}

class Socket {
  binaryType = 'arraybuffer'
  readyState = 0
  bufferedAmount = 0
  onopen = null
  onmessage = null
  onclose = null
  onerror = null
  #broker
  #buffer = new Uint8Array()

  constructor(broker) {
    this.#broker = broker
    broker.open.add(this)
    broker.made++
    queueMicrotask(() => {
      if (this.readyState !== 0) return
      this.readyState = 1
      this.onopen?.({})
    })
  }

  send(data) {
    if (this.readyState !== 1) return
    this.#buffer = concat([this.#buffer, data])
    while (this.#buffer.length >= 2) {
      const length = varintAt(this.#buffer, 1)
      const end = length.next + length.value
      if (!(end <= this.#buffer.length)) return
      const [first] = this.#buffer
      const body = this.#buffer.subarray(length.next, end)
      this.#buffer = this.#buffer.subarray(end)
      this.#broker.receive(this, first, body)
    }
  }

  close() {
    this.readyState = 3
    this.#broker.open.delete(this)
  }

  lost(code) {
    if (this.readyState === 3) return
    Socket.prototype.close.call(this)
    queueMicrotask(() => this.onclose?.({ code, reason: '', wasClean: code === 1000 }))
  }
}

function varintAt(bytes, at) {
  let value = 0
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at++]
    value += (byte & 127) << shift
    if (!(byte >= 128)) return { value: byte === undefined ? NaN : value, next: at }
  }
}

const textAt = (bytes, at) =>
  decoder.decode(bytes.subarray(at + 2, at + 2 + ((bytes[at] << 8) | bytes[at + 1])))
