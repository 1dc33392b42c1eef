// mqtt:, mqtts: and unix: URLs in Node, Deno and Bun: a socket of node:net or node:tls in a WebSocket's clothes.

import type { Socket } from 'node:net'
import { domainToASCII } from 'node:url'
import { invalid } from '../errors.js'
import { soon } from '../platform.js'
import type { TransportContext, WebSocketLike } from '../types/connecting.js'
import { explain, TransportError } from './failure.js'
import { type OpeningStream, openStream } from './stream.js'
import { tlsOptions } from './tls.js'

/** Milliseconds after which a socket that is closing is destroyed, unless it sent something meanwhile. */
const CLOSE_TIMEOUT = 1_000
/** So many times that long it may go on sending, at most. */
const CLOSE_PATIENCE = 10

const DEFAULT_PORTS: Record<string, number> = { 'mqtt:': 1883, 'mqtts:': 8883 }

/**
 * Whether a URL is one for openTcp: mqtt:, mqtts: or unix:.
 *
 * @throws InvalidArgumentError if it is, but names no host, port 0 or no path, and if it is no WebSocket URL either
 */
export function isTcp(url: URL): boolean {
  if (url.protocol === 'ws:' || url.protocol === 'wss:') return false
  if (url.protocol === 'unix:') {
    if (url.host !== '' || socketPath(url) === '')
      throw invalid('url', 'must name a path, as unix:/run/mosquitto.sock')
    return true
  }
  if (!(url.protocol in DEFAULT_PORTS))
    throw invalid('url', `must begin with mqtt:, mqtts:, ws:, wss: or unix:, not ${url.protocol}`)
  if (url.hostname === '' || url.port === '0' || hostOf(url) === '')
    throw invalid('url', `must name a host, as ${url.protocol}//example.org`)
  return true
}

/**
 * Opens a socket for a mqtt: (TCP, port 1883 by default), mqtts: (TLS, port 8883 by default) or unix: URL (a path). The server's certificate is
 * verified unless `tls.rejectUnauthorized` is false. ALPN is offered only where `tls.alpnProtocols` says so: AWS IoT takes 'mqtt' on any port
 * for its custom authentication, and wants 'x-amzn-mqtt-ca' on port 443 for a client certificate.
 */
export function openTcp(url: URL, { tls }: TransportContext): WebSocketLike {
  try {
    if (url.protocol === 'unix:') return new TcpSocket(openStream({ path: socketPath(url) }), url)
    const target = { host: hostOf(url), port: Number(url.port) || DEFAULT_PORTS[url.protocol]! }
    const secure = url.protocol === 'mqtts:' ? tlsOptions(tls) : undefined
    return new TcpSocket(openStream(target, secure), url)
  } catch (thrown) {
    throw explain(thrown, url)
  }
}

/** URLs of schemes that the URL Standard does not know keep their host as written, other characters percent-encoded. */
function hostOf({ hostname }: URL): string {
  if (hostname.startsWith('[')) return hostname.slice(1, -1)
  try {
    return domainToASCII(decodeURIComponent(hostname))
  } catch {
    return ''
  }
}

function socketPath({ pathname }: URL): string {
  try {
    return decodeURIComponent(pathname)
  } catch {
    return pathname
  }
}

const CONNECTING = 0
const OPEN = 1
const CLOSING = 2
const CLOSED = 3

/** The close code of a connection that ended without a close frame, RFC 6455, section 7.4.1: the only one that a stream can have. */
const ABNORMAL = 1006

/** Calls `done` when the kernel has taken all that was written to a socket, or when the socket is gone. */
export function whenWritten(socket: Socket, done: () => void): void {
  if (socket.destroyed || socket.writableFinished) {
    done()
    return
  }
  if (socket.writableEnded) socket.once('finish', done).once('close', done)
  else socket.write('', () => done())
}

/** Destroys the socket when what is to be written makes no progress, or goes on for too long. */
export function watchWriting(
  socket: Socket,
  patience = CLOSE_PATIENCE,
  left = socket.writableLength,
): void {
  if (left === 0) return
  const timer = setTimeout(() => {
    const { writableLength } = socket
    if (writableLength === 0) return
    if (patience > 0 && writableLength < left) watchWriting(socket, patience - 1, writableLength)
    else socket.destroy()
  }, CLOSE_TIMEOUT)
  // What is still to be written keeps the process by itself.
  timer.unref()
}

class TcpSocket implements WebSocketLike {
  binaryType = 'nodebuffer'
  onopen: WebSocketLike['onopen'] = null
  onmessage: WebSocketLike['onmessage'] = null
  onclose: WebSocketLike['onclose'] = null
  onerror: WebSocketLike['onerror'] = null
  readonly #socket: Socket
  readonly #url: URL
  #state: 0 | 1 | 2 | 3 = CONNECTING
  #corked = false
  /** The server has sent something. */
  #heard = false
  #failure: TransportError | undefined
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor({ socket, opened }: OpeningStream, url: URL) {
    this.#socket = socket
    this.#url = url
    socket.once(opened, () => {
      if (this.#state !== CONNECTING) return
      this.#state = OPEN
      this.onopen?.({})
    })
    socket.on('data', this.#receive)
    socket.on('error', (error) => {
      const stage = this.#state === CONNECTING ? 'opening' : 'open'
      this.#failure ??= explain(error, url, stage)
    })
    // The server has ended its side: it would not read what is still to be sent.
    socket.on('end', () => {
      if (this.#state !== OPEN) return
      if (!this.#heard) this.#failure ??= unanswered(url)
      socket.destroy()
    })
    socket.on('close', () => this.#closed())
  }

  get readyState(): number {
    return this.#state
  }

  /** Bytes that the kernel has not taken yet. */
  get bufferedAmount(): number {
    return this.#socket.writableLength
  }

  /** Copies the bytes, so that the caller may use theirs again. What is sent before the next microtask leaves in one write to the kernel. */
  send(data: Uint8Array): void {
    if (this.#state !== OPEN) return
    if (!this.#corked) {
      this.#corked = true
      this.#socket.cork()
      soon(this.#uncork)
    }
    this.#socket.write(Buffer.from(data))
  }

  /** Sends what is waiting, then ends the connection without waiting for the server's side of it. */
  close(): void {
    if (this.#state === CONNECTING) this.terminate()
    if (this.#state !== OPEN) return
    const socket = this.#socket
    this.#state = CLOSING
    this.#uncork()
    // A socket that is destroyed with unread data resets the connection, which may overtake what was sent: it goes on reading for a moment.
    // The application need not wait for that, and neither does the process.
    socket.end(() => {
      socket.unref()
      this.#tellClosed({ code: 1000, reason: '', wasClean: true })
    })
    this.#watch(CLOSE_PATIENCE, socket.writableLength)
  }

  /** Calls `done` when the kernel has taken everything, or the connection is gone. */
  whenWritten(done: () => void): void {
    whenWritten(this.#socket, done)
  }

  /** Ends the connection at once. What was not sent is lost. */
  terminate(): void {
    if (this.#state === CLOSED) return
    this.#state = CLOSING
    this.#socket.destroy()
  }

  readonly #uncork = (): void => {
    if (!this.#corked) return
    this.#corked = false
    this.#socket.uncork()
  }

  readonly #receive = (data: Buffer): void => {
    if (this.#state !== OPEN) return
    if (!this.#heard) {
      this.#heard = true
      const stranger = otherProtocol(data, this.#url)
      if (stranger !== undefined) {
        this.#failure = stranger
        this.#socket.destroy()
        return
      }
    }
    this.onmessage?.({ data })
  }

  /** Destroys the socket when it makes no progress, or goes on for too long. */
  #watch(patience: number, left: number): void {
    this.#timer = setTimeout(() => {
      const { writableLength } = this.#socket
      if (patience > 0 && writableLength > 0 && writableLength < left)
        this.#watch(patience - 1, writableLength)
      else this.#socket.destroy()
    }, CLOSE_TIMEOUT)
    // What is still to be written keeps the process by itself.
    this.#timer.unref()
  }

  #closed(): void {
    clearTimeout(this.#timer)
    const failure = this.#failure
    if (failure !== undefined && this.#state !== CLOSED) {
      this.#state = CLOSING
      this.onerror?.({ type: 'error', error: failure, message: failure.message })
    }
    this.#tellClosed({ code: ABNORMAL, reason: failure?.message ?? '', wasClean: false })
  }

  #tellClosed(event: { code: number; reason: string; wasClean: boolean }): void {
    if (this.#state === CLOSED) return
    this.#state = CLOSED
    this.onclose?.({ type: 'close', ...event })
  }
}

/** Most servers of TLS and some of HTTP close without a word when they are sent a CONNECT. */
function unanswered(url: URL): TransportError {
  const secure = url.protocol === 'mqtts:'
  const where =
    url.protocol === 'unix:' ? 'the path' : `port ${url.port || DEFAULT_PORTS[url.protocol]}`
  return new TransportError(
    `the server closed the connection without an answer to CONNECT: it refuses this client, or ${where} is not for MQTT ${secure ? 'over' : 'without'} TLS`,
  )
}

/** What the first bytes of a server say that speaks TLS or HTTP and not MQTT: none of them can begin a packet that a server may send first. */
function otherProtocol(data: Buffer, url: URL): TransportError | undefined {
  const secure = url.protocol === 'mqtts:'
  if (data[0] === 0x15 && data[1] === 0x03)
    return new TransportError(
      `the server answered in TLS: check the port, or use mqtts://${url.host}`,
    )
  if (data.subarray(0, 5).toString('latin1') === 'HTTP/')
    return new TransportError(
      `the server answered in HTTP: check the port, or use ${secure ? 'wss' : 'ws'}://${url.host}`,
    )
  return undefined
}
