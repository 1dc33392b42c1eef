// Which socket a protocol means, on Node.
import type { ConnectionOptions } from 'node:tls'
import type { WebSocket } from 'ws'
import { openStream, type StreamTarget } from '../transports/stream.js'
import {
  type AnyWebSocket,
  DuplexLink,
  type Link,
  LinkSocket,
  OPEN,
  type Trace,
  WebSocketStream,
} from './links.js'
import type { IClientOptions } from './options.js'
import { openWebSocket, webSocketUrl } from './sockets.js'

export const defaultHost = 'localhost'

export const protocols: readonly string[] = ['mqtt', 'tcp', 'mqtts', 'ssl', 'tls', 'ws', 'wss']

export const hasPage = false

/** Options of `wss:` that MQTT.js takes from its own options where `wsOptions` does not have them. */
const TLS_OPTIONS = ['rejectUnauthorized', 'ca', 'cert', 'key', 'pfx', 'passphrase'] as const

export function openSocket(
  options: IClientOptions,
  trace: Trace,
  transform: (url: string) => string,
): Link {
  switch (options.protocol) {
    case 'ws':
    case 'wss':
      options.hostname ??= options.host ?? defaultHost
      if (options.forceNativeWebSocket) return openWebSocket(options, trace, transform)
      return openWs(options, trace, transform)
    case 'mqtts':
    case 'ssl':
    case 'tls':
      return open(options, trace, 8883, tlsOptions(options))
    default:
      return open(options, trace, 1883)
  }
}

/** Those of tls.connect(), which stand among the others. Their `path` is the one of a URL. */
function tlsOptions({ path: _, ...options }: IClientOptions): ConnectionOptions {
  return options as ConnectionOptions
}

/** `port`: the one to use where the options name none. */
function open(options: IClientOptions, trace: Trace, port: number, tls?: ConnectionOptions): Link {
  const target: StreamTarget = options.unixSocket
    ? { path: options.path! }
    : { port: (options.port ||= port), host: (options.hostname ??= options.host ?? defaultHost) }
  const { socket, opened } = openStream(target, tls)
  return new DuplexLink(socket, trace, opened)
}

function openWs(options: IClientOptions, trace: Trace, transform: (url: string) => string): Link {
  const wsOptions: Record<string, unknown> = {
    perMessageDeflate: false,
    ...(options.wsOptions as object),
  }
  if (options.protocol === 'wss')
    for (const name of TLS_OPTIONS)
      if (options[name] !== undefined && !(name in wsOptions)) wsOptions[name] = options[name]
  const url = transform(webSocketUrl(options))
  const subprotocols = ['mqtt']
  const socket: WebSocket =
    options.createWebsocket === undefined
      ? new (socketClass())(url, subprotocols, wsOptions)
      : options.createWebsocket(url, subprotocols, options)
  return new WsLink(url, socket, trace)
}

/** The class of `ws`, which is loaded when the first WebSocket is opened, because that takes time. */
const socketClass = (): typeof WebSocket => require('ws').WebSocket

/** Bytes of a message that is not worth a copy. */
const LONG = 4 * 1024
/** Bytes that are handed over at once, at most about. */
const ENOUGH = 32 * 1024

/** A socket of `ws`. What one read of it brought is handed over at once: brokers send a WebSocket message for each packet. */
class WsLink extends LinkSocket implements Link {
  readonly stream: WebSocketStream
  readonly #socket: WebSocket
  #pieces: Uint8Array[] = []
  #length = 0

  constructor(url: string, socket: WebSocket, trace: Trace) {
    super(trace)
    this.#socket = socket
    this.stream = new WebSocketStream(url, socket as unknown as AnyWebSocket)
    socket.binaryType = 'nodebuffer'
    socket.addEventListener('open', () => this.opened())
    socket.addEventListener('error', (event) => {
      this.failed(event.error)
      this.stream.listenerCount('error') > 0 && this.stream.emit('error', event.error)
    })
    socket.addEventListener('close', ({ code, reason }) => {
      this.#flush()
      this.gone(code, reason)
      this.stream.emit('close')
    })
    // Not by an event object for each message, where the socket is one of `ws`.
    if (typeof socket.on === 'function') socket.on('message', (data) => this.#gather(data))
    else (socket as WebSocket).addEventListener('message', ({ data }) => this.#gather(data))
    if (socket.readyState === OPEN) this.opened()
  }

  get socket(): this {
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

  terminate(): void {
    this.stream.destroy()
  }

  pause(): void {
    this.#socket.pause?.()
  }

  resume(): void {
    this.#socket.resume?.()
  }

  #gather(data: unknown): void {
    const bytes = data instanceof Uint8Array ? data : new Uint8Array(data as ArrayBuffer)
    if (bytes.length >= LONG) {
      this.#flush()
      this.arrived(bytes)
      return
    }
    if (this.#length === 0) queueMicrotask(() => this.#flush())
    this.#pieces.push(bytes)
    this.#length += bytes.length
    if (this.#length >= ENOUGH) this.#flush()
  }

  #flush(): void {
    if (this.#length === 0) return
    const bytes =
      this.#pieces.length === 1 ? this.#pieces[0]! : Buffer.concat(this.#pieces, this.#length)
    this.#pieces = []
    this.#length = 0
    this.arrived(bytes)
  }
}
