// Sockets for the core: whatever MQTT.js' users bring, in the shape of a WebSocket, with what comes and goes shown to a trace.
import type { WebSocketLike } from '../api.js'
import { EventEmitter } from './emitter.js'
import { decodePacket, type Packet, PacketReader } from './packets.js'

const CONNACK = 2
const PUBLISH = 3
const PUBREL = 6

/** What a Trace tells its client. */
export interface TraceHost {
  /** Whether somebody listens to 'packetreceive'. */
  readonly showsReceived: boolean
  /** Whether somebody listens to 'packetsend'. */
  readonly showsSent: boolean
  /** The largest packet that the core takes, bytes. */
  readonly maximumPacketSize: number
  /** A packet came. */
  received(packet: Packet): void
  /** A packet leaves. */
  sent(packet: Packet): void
}

/**
 * Reads along on one connection: the packet identifiers of messages, which the core keeps to itself, the CONNACK as it came, and all packets
 * while somebody wants to see them.
 */
export class Trace {
  readonly #host: TraceHost
  readonly #version: number
  readonly #in: PacketReader
  #out: PacketReader | undefined
  /** Packet identifiers of messages that the core has yet to deliver. */
  #identifiers: number[] = []
  #next = 0
  /** Those of QoS 2 that were not released: a repetition is not delivered again. */
  readonly #held = new Set<number>()

  constructor(host: TraceHost, version: number) {
    this.#host = host
    this.#version = version
    this.#in = new PacketReader(
      (first, body, length) => this.#received(first, body, length),
      isRead,
    )
  }

  /** Takes bytes from the server, before the core does. */
  readIn(bytes: Uint8Array): void {
    this.#in.whole = this.#host.showsReceived
    this.#in.add(bytes)
  }

  /** Takes bytes for the server: one frame of the core, which holds whole packets only. */
  readOut(bytes: Uint8Array): void {
    if (!this.#host.showsSent) {
      this.#out = undefined
      return
    }
    if (this.#out === undefined) {
      this.#out = new PacketReader((first, body) => {
        const packet = decodePacket(first, body, this.#version)
        if (packet !== undefined) this.#host.sent(packet)
      })
      this.#out.whole = true
    }
    this.#out.add(bytes)
  }

  /** The packet identifier of the message that the core delivers now, of QoS 1 or 2. */
  takeIdentifier(): number | undefined {
    const identifier = this.#identifiers[this.#next++]
    if (this.#next >= this.#identifiers.length) {
      this.#identifiers = []
      this.#next = 0
    }
    return identifier
  }

  #received(first: number, body: Uint8Array, length: number): void {
    const type = first >> 4
    if (type === PUBLISH) this.#message(first, body, length)
    else if (type === PUBREL && body.length >= 2) this.#held.delete((body[0]! << 8) | body[1]!)
    if (type !== CONNACK && !this.#in.whole) return
    // Somebody who began to listen in the middle of a long packet does not see it.
    if (body.length < length) return
    const packet = decodePacket(first, body, this.#version)
    if (packet !== undefined) this.#host.received(packet)
  }

  #message(first: number, body: Uint8Array, length: number): void {
    const qos = (first >> 1) & 3
    if (qos === 0 || length + 2 > this.#host.maximumPacketSize) return
    const at = 2 + ((body[0]! << 8) | body[1]!)
    const identifier = (body[at]! << 8) | body[at + 1]!
    if (qos === 2) {
      if (this.#held.has(identifier)) return
      this.#held.add(identifier)
    }
    this.#identifiers.push(identifier)
  }
}

/** Whether a packet is of interest, by its first byte, where nobody wants to see all of them. */
function isRead(first: number): boolean {
  const type = first >> 4
  return type === PUBLISH ? (first & 6) !== 0 : type === PUBREL || type === CONNACK
}

/** The socket of one connection, as `client.stream` shows it and as the core uses it. */
export interface Link {
  /** What the core gets. */
  readonly socket: WebSocketLike
  /** `client.stream`: a Duplex, or what stands in for one where the socket is a WebSocket. */
  readonly stream: LinkStream
  /** Stops reading, where the socket can do that, until `resume`. */
  pause(): void
  /** Reads on. */
  resume(): void
}

/** What `client.stream` can do on every runtime. */
export interface LinkStream {
  /** Closes the connection as a broken one: the client reconnects. */
  end(): unknown
  /** Cuts the connection without a goodbye of the transport. */
  destroy(error?: Error): unknown
  /** Calls `listener` at every such event. */
  on(event: any, listener: (...args: any[]) => void): unknown
}

const CONNECTING = 0
/** The `readyState` of a socket that is open. */
export const OPEN = 1
const CLOSED = 3

/** What is told apart from sockets: events that come before the core listens wait for it. */
export abstract class LinkSocket implements WebSocketLike {
  binaryType = 'arraybuffer'
  readyState = CONNECTING
  onerror: WebSocketLike['onerror'] = null
  protected readonly trace: Trace
  #onopen: WebSocketLike['onopen'] = null
  #onmessage: WebSocketLike['onmessage'] = null
  #onclose: WebSocketLike['onclose'] = null
  #error: unknown
  #isOpen = false
  #closed: { code: number; reason: string; wasClean: boolean } | undefined
  #early: Uint8Array[] = []

  constructor(trace: Trace) {
    this.trace = trace
  }

  abstract get bufferedAmount(): number
  abstract send(data: Uint8Array): void
  abstract close(): void

  get onopen(): WebSocketLike['onopen'] {
    return this.#onopen
  }

  set onopen(listener: WebSocketLike['onopen']) {
    this.#onopen = listener
    if (listener !== null && this.#isOpen) queueMicrotask(() => this.#tellOpen())
  }

  get onmessage(): WebSocketLike['onmessage'] {
    return this.#onmessage
  }

  set onmessage(listener: WebSocketLike['onmessage']) {
    this.#onmessage = listener
    if (listener === null) return
    for (const bytes of this.#early.splice(0)) queueMicrotask(() => this.#deliver(bytes))
  }

  get onclose(): WebSocketLike['onclose'] {
    return this.#onclose
  }

  set onclose(listener: WebSocketLike['onclose']) {
    this.#onclose = listener
    if (listener !== null && this.#closed !== undefined) queueMicrotask(() => this.#tellClosed())
  }

  protected opened(): void {
    this.#isOpen = true
    if (this.#onopen !== null) this.#tellOpen()
  }

  protected arrived(bytes: Uint8Array): void {
    if (this.#onmessage === null) this.#early.push(bytes)
    else this.#deliver(bytes)
  }

  protected failed(error: unknown): void {
    this.#error ??= error
  }

  protected gone(code: number, reason = ''): void {
    if (this.readyState === CLOSED) return
    this.readyState = CLOSED
    this.#closed = { code, reason, wasClean: code === 1000 }
    if (this.#onclose !== null) this.#tellClosed()
  }

  /** The socket counts as open from when that is told. */
  #tellOpen(): void {
    if (this.readyState !== CONNECTING) return
    this.readyState = OPEN
    this.#onopen?.({})
  }

  #deliver(bytes: Uint8Array): void {
    this.trace.readIn(bytes)
    this.#onmessage?.({ data: bytes })
  }

  #tellClosed(): void {
    if (this.#error !== undefined) this.onerror?.({ error: this.#error })
    const closed = this.#closed
    this.#closed = undefined
    if (closed !== undefined) this.#onclose?.(closed)
  }
}

/** The part of a Duplex that a link needs. */
export interface DuplexLike {
  readonly writableLength?: number | undefined
  write(data: Uint8Array): unknown
  end(): unknown
  destroy(error?: Error): unknown
  pause(): unknown
  resume(): unknown
  on(event: string, listener: (...args: any[]) => void): unknown
}

/**
 * A Node stream as the core's socket. It counts as open at once, or on `openEvent` where one is named: streams keep what is written before.
 */
export class DuplexLink extends LinkSocket implements Link {
  readonly stream: LinkStream
  readonly #duplex: DuplexLike

  constructor(duplex: DuplexLike, trace: Trace, openEvent?: string) {
    super(trace)
    this.#duplex = duplex
    this.stream = duplex as unknown as LinkStream
    duplex.on('data', (data: Uint8Array) => this.arrived(data))
    duplex.on('error', (error) => this.failed(error))
    duplex.on('end', () => duplex.end())
    duplex.on('close', () => this.gone(1006))
    if (openEvent === undefined) this.opened()
    else duplex.on(openEvent, () => this.opened())
  }

  get socket(): WebSocketLike {
    return this
  }

  get bufferedAmount(): number {
    return this.#duplex.writableLength ?? 0
  }

  send(data: Uint8Array): void {
    this.trace.readOut(data)
    this.#duplex.write(data)
  }

  close(): void {
    this.#duplex.end()
  }

  /** Used by the core where it does not wait for the other side. */
  terminate(): void {
    this.#duplex.destroy()
  }

  pause(): void {
    this.#duplex.pause()
  }

  resume(): void {
    this.#duplex.resume()
  }
}

/** A WebSocket of the platform, or one like it. */
export type AnyWebSocket = Pick<
  WebSocket,
  'readyState' | 'bufferedAmount' | 'protocol' | 'close'
> & {
  binaryType: string
  send(data: Uint8Array): void
  onopen: ((event: any) => void) | null
  onmessage: ((event: any) => void) | null
  onclose: ((event: any) => void) | null
  onerror: ((event: any) => void) | null
  terminate?(): void
}

/** Stands in for a Duplex in `client.stream` where the socket is a WebSocket. */
export class WebSocketStream extends EventEmitter<{ close: []; error: [error: unknown] }> {
  /** As given to the WebSocket, after `transformWsUrl`. */
  readonly url: string
  /** The WebSocket. */
  readonly socket: AnyWebSocket

  constructor(url: string, socket: AnyWebSocket) {
    super()
    this.url = url
    this.socket = socket
  }

  /** Closes the WebSocket: the client reconnects. */
  end(): this {
    this.socket.close()
    return this
  }

  /** Cuts the WebSocket where it can be cut, else closes it. */
  destroy(): this {
    if (this.socket.terminate !== undefined) this.socket.terminate()
    else this.socket.close()
    return this
  }
}

/** A WebSocket of browsers, or one like it, as the core's socket. */
export class WebSocketLink extends LinkSocket implements Link {
  readonly stream: WebSocketStream
  readonly #socket: AnyWebSocket

  constructor(url: string, socket: AnyWebSocket, trace: Trace) {
    super(trace)
    this.#socket = socket
    this.stream = new WebSocketStream(url, socket)
    socket.binaryType = 'arraybuffer'
    socket.onopen = () => this.opened()
    socket.onmessage = ({ data }) => this.arrived(bytesOf(data))
    socket.onerror = (event) => {
      this.failed(event.error ?? new Error('WebSocket error'))
      this.stream.listenerCount('error') > 0 && this.stream.emit('error', event)
    }
    socket.onclose = ({ code, reason }) => {
      this.gone(code, reason)
      this.stream.emit('close')
    }
    if (socket.readyState === OPEN) this.opened()
  }

  get socket(): WebSocketLike {
    return this
  }

  get protocol(): string {
    return this.#socket.protocol
  }

  get bufferedAmount(): number {
    return this.#socket.bufferedAmount
  }

  send(data: Uint8Array): void {
    this.trace.readOut(data)
    this.#socket.send(data)
  }

  close(): void {
    this.#socket.close()
  }

  /** Used by the core where it does not wait for the other side. */
  terminate(): void {
    this.stream.destroy()
  }

  /** Browsers' WebSockets cannot be paused. */
  pause(): void {}

  resume(): void {}
}

const encoder = new TextEncoder()

function bytesOf(data: unknown): Uint8Array {
  if (data instanceof Uint8Array) return data
  if (data instanceof ArrayBuffer) return new Uint8Array(data)
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  // A socket of the application's that gives texts, as MQTT.js takes them.
  return encoder.encode(String(data))
}
