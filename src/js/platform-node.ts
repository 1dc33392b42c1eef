// What differs in Node, Deno and Bun: `ws` for WebSockets, because a global WebSocket can neither set TLS options nor be closed at once, and sockets
// of TCP and TLS for mqtt:, mqtts: and unix: URLs.
import { readFile } from 'node:fs/promises'
import { type IncomingMessage, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { setImmediate } from 'node:timers'
import type { ClientOptions, WebSocket } from 'ws'
import { openGlobalWebSocket, platform, soon, task } from './platform.js'
import { explain, explainStatus, type TransportError } from './transports/failure.js'
import { isTcp, openTcp, watchWriting, whenWritten } from './transports/tcp.js'
import { tlsOptions } from './transports/tls.js'
import type { TransportContext, WebSocketLike } from './types/connecting.js'

/** Bytes of one WebSocket message. It may hold many packets, each of which the core limits. */
const MAX_PAYLOAD = 0x2000_0000
/** Milliseconds that the peer has to answer a close frame, before the socket is destroyed. */
const CLOSE_TIMEOUT = 1_000

Object.assign(platform, {
  native: true,
  // A channel takes seven times as long. Not the global function, and as it is when the package is loaded: frameworks for tests replace it.
  post: setImmediate as (work: () => void) => void,
  speaks: isTcp,
  async open(url, context) {
    await turn()
    return isTcp(url) ? openTcp(url, context) : openWebSocket(url, context)
  },
  async fetch(source) {
    const url = URL.canParse(source) ? new URL(source) : source
    const isFile = typeof url === 'string' || url.protocol === 'file:'
    return isFile ? new Response(await readFile(url)) : fetch(url)
  },
} satisfies typeof platform)

/** Sockets that are opened together. With one, all of them together take a third longer. */
const TOGETHER = 8
/** Those that wait for their turn to open a socket; undefined: nobody has to wait. */
let waiting: (() => void)[] | undefined

/**
 * Sockets are opened a few at a time, each time in a new task. Thousands of clients that have lost their server may try again at once. Then what the
 * first sockets bring is handled before the last ones are opened, so that the process goes on with its other work, and the server meets no crowd.
 */
function turn(): Promise<void> | undefined {
  if (waiting !== undefined) return new Promise((resolve) => waiting!.push(resolve))
  waiting = []
  task(next)
  return undefined
}

function next(): void {
  const first = waiting!.splice(0, TOGETHER)
  if (first.length === 0) waiting = undefined
  else task(next)
  for (const open of first) open()
}

/** Loaded when the first WebSocket is opened, because it costs time. */
let NodeSocket: ReturnType<typeof socketClass> | undefined

function openWebSocket(url: URL, context: TransportContext): WebSocketLike {
  const { protocols, headers, tls } = context
  // Deno's own needs no permission but that of the network.
  if ('Deno' in globalThis && headers === undefined && tls === undefined)
    return openGlobalWebSocket(url, context)
  NodeSocket ??= socketClass()
  try {
    return new NodeSocket(url, protocols, {
      ...(tlsOptions(tls) as object),
      headers,
      perMessageDeflate: false,
      maxPayload: MAX_PAYLOAD,
      closeTimeout: CLOSE_TIMEOUT,
    })
  } catch (thrown) {
    throw explain(thrown, url)
  }
}

/** Bytes of a message that is not worth a copy. */
const LONG = 4 * 1024
/** Bytes that are handed over at once, at most about. */
const ENOUGH = 32 * 1024

/** A WebSocket of `ws`, without the handlers that it makes of listeners, and without the Event objects that it makes for them. */
type Bare = new (
  url: URL,
  protocols: string[],
  options: ClientOptions & { closeTimeout: number },
) => BareSocket

interface BareSocket
  extends Omit<WebSocket, 'onopen' | 'onmessage' | 'onclose' | 'onerror' | 'close' | 'emit'> {
  close(): void
  emit(event: string, ...args: unknown[]): boolean
}

/**
 * The class of sockets as the client wants them. They hand over what one read of the network brought as one message: brokers send a WebSocket message
 * for each packet, and each costs the same whatever is in it. And their errors say what happened and what to do. Nobody else listens to them: without
 * listeners, thousands of sockets stay small.
 */
function socketClass() {
  const { WebSocket } = require('ws') as { WebSocket: unknown }
  return class NodeSocket extends (WebSocket as Bare) {
    onopen: WebSocketLike['onopen'] = null
    onmessage: WebSocketLike['onmessage'] = null
    onclose: WebSocketLike['onclose'] = null
    onerror: WebSocketLike['onerror'] = null
    #pieces: Buffer[] | undefined
    #length = 0
    #isOpen = false
    #failure: TransportError | undefined

    constructor(...its: ConstructorParameters<Bare>) {
      super(...its)
      // A view of the bytes as they came: 'arraybuffer' copies them.
      this.binaryType = 'nodebuffer'
    }

    override emit(event: string, one: never, other: never): boolean {
      if (event === 'message') this.#came(one, other)
      else if (event === 'open') this.#opened()
      else if (event === 'unexpected-response') this.#refused(other)
      else if (event === 'error') this.#failed(one)
      else if (event === 'close') this.#closed(one, other)
      return true
    }

    /** Calls `done` when what was sent is on its way, or the socket is gone. */
    whenWritten(done: () => void): void {
      const stream = this.#stream
      if (stream) whenWritten(stream, done)
      else done()
    }

    /** When `ws` has been told to close, it soon destroys the socket: what is still to be written comes first. */
    override close(): void {
      const stream = this.#stream
      if (stream) watchWriting(stream)
      this.whenWritten(() => super.close())
    }

    /** Not there before the handshake, when there is nothing to write either. */
    get #stream(): Socket | null | undefined {
      return (this as unknown as { _socket?: Socket | null })._socket
    }

    #flush(): void {
      const pieces = this.#pieces
      if (pieces === undefined) return
      const data = pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces, this.#length)
      this.#pieces = undefined
      this.#length = 0
      if (data.length > 0) this.onmessage?.({ data })
    }

    // Apart, because a function that makes a closure somewhere allocates whenever it is called.
    #flushSoon(): void {
      soon(() => this.#flush())
    }

    #opened(): void {
      this.#isOpen = true
      this.onopen?.({ type: 'open' })
    }

    #came(data: Buffer, isBinary: boolean): void {
      if (!isBinary || data.length >= LONG) {
        this.#flush()
        this.onmessage?.({ data: isBinary ? data : String(data) })
        return
      }
      if (this.#pieces === undefined) {
        this.#pieces = [data]
        this.#flushSoon()
      } else {
        this.#pieces.push(data)
      }
      this.#length += data.length
      if (this.#length >= ENOUGH) this.#flush()
    }

    #refused({ statusCode = 0, headers }: IncomingMessage): void {
      const url = new URL(this.url)
      this.#failure = explainStatus(statusCode, STATUS_CODES[statusCode], url, headers.location)
      this.terminate()
    }

    #failed(error: Error): void {
      const stage = this.#isOpen ? 'open' : 'opening'
      const failure = (this.#failure ??= explain(error, new URL(this.url), stage))
      this.onerror?.({ type: 'error', error: failure, message: failure.message })
    }

    #closed(code: number, reason: Buffer): void {
      this.#flush()
      const said = String(reason)
      this.onclose?.({
        type: 'close',
        code,
        reason: said || (this.#failure?.message ?? ''),
        wasClean: code !== 1006,
      })
    }
  } as new (
    ...its: ConstructorParameters<Bare>
  ) => WebSocketLike
}
