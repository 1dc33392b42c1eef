// What differs in Node, Deno and Bun: `ws` for WebSockets, because a global WebSocket can neither set TLS options nor be closed at once, and sockets
// of TCP and TLS for mqtt:, mqtts: and unix: URLs.
import { readFile } from 'node:fs/promises'
import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { ClientOptions, WebSocket } from 'ws'
import { openGlobalWebSocket, platform, soon } from './platform.js'
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
  speaks: isTcp,
  open: (url, context) => (isTcp(url) ? openTcp(url, context) : openWebSocket(url, context)),
  async fetch(source) {
    const url = URL.canParse(source) ? new URL(source) : source
    const isFile = typeof url === 'string' || url.protocol === 'file:'
    return isFile ? new Response(await readFile(url)) : fetch(url)
  },
} satisfies typeof platform)

function openWebSocket(url: URL, context: TransportContext): WebSocketLike {
  const { protocols, headers, tls } = context
  // Deno's own needs no permission but that of the network.
  if ('Deno' in globalThis && headers === undefined && tls === undefined)
    return openGlobalWebSocket(url, context)
  // Loaded when the first WebSocket is opened, because it costs time.
  const { WebSocket } = require('ws') as typeof import('ws')
  try {
    const options: ClientOptions & { closeTimeout: number } = {
      ...(tlsOptions(tls) as object),
      headers,
      perMessageDeflate: false,
      maxPayload: MAX_PAYLOAD,
      closeTimeout: CLOSE_TIMEOUT,
    }
    return adapted(new WebSocket(url, protocols, options), url)
  } catch (thrown) {
    throw explain(thrown, url)
  }
}

/** Bytes of a message that is not worth a copy. */
const LONG = 4 * 1024
/** Bytes that are handed over at once, at most about. */
const ENOUGH = 32 * 1024

/**
 * The socket as the client wants it. It hands over what one read of the network brought as one message: brokers send a WebSocket message for each
 * packet, and each costs the same whatever is in it. And its errors say what happened and what to do.
 */
function adapted(socket: WebSocket, url: URL): WebSocketLike {
  let onmessage: WebSocketLike['onmessage'] = null
  let onerror: WebSocketLike['onerror'] = null
  let onclose: WebSocketLike['onclose'] = null
  let pieces: Buffer[] = []
  let length = 0
  let isOpen = false
  // A view of the bytes as they came: 'arraybuffer' copies them.
  socket.binaryType = 'nodebuffer'
  let failure: TransportError | undefined
  const flush = (): void => {
    if (length === 0) return
    const data = pieces.length === 1 ? pieces[0] : Buffer.concat(pieces, length)
    pieces = []
    length = 0
    onmessage?.({ data })
  }
  socket.on('open', () => (isOpen = true))
  // Without the Event object that `ws` makes for each message.
  socket.on('message', (data: Buffer, isBinary) => {
    if (!isBinary || data.length >= LONG) {
      flush()
      onmessage?.({ data: isBinary ? data : String(data) })
      return
    }
    if (length === 0) soon(flush)
    pieces.push(data)
    length += data.length
    if (length >= ENOUGH) flush()
  })
  socket.on('unexpected-response', (_request, { statusCode = 0, headers }) => {
    failure = explainStatus(statusCode, STATUS_CODES[statusCode], url, headers.location)
    socket.terminate()
  })
  // Also for errors that come when the client has let go of the socket: an error event without a listener ends the process.
  socket.on('error', (error) => {
    failure ??= explain(error, url, isOpen ? 'open' : 'opening')
    onerror?.({ type: 'error', error: failure, message: failure.message })
  })
  socket.on('close', (code, reason) => {
    flush()
    const said = String(reason)
    onclose?.({
      type: 'close',
      code,
      reason: said || (failure?.message ?? ''),
      wasClean: code !== 1006,
    })
  })
  const close = socket.close.bind(socket)
  // Not there before the handshake, when there is nothing to write either.
  const stream = () => (socket as unknown as { _socket?: Socket | null })._socket
  return Object.defineProperties(socket, {
    whenWritten: {
      value: (done: () => void) => {
        const writing = stream()
        if (writing) whenWritten(writing, done)
        else done()
      },
    },
    // When `ws` has been told to close, it soon destroys the socket: what is still to be written comes first.
    close: {
      value: () => {
        const writing = stream()
        if (!writing) return close()
        watchWriting(writing)
        whenWritten(writing, close)
      },
    },
    onmessage: { set: (listener) => (onmessage = listener) },
    onerror: { set: (listener) => (onerror = listener) },
    onclose: { set: (listener) => (onclose = listener) },
  }) as unknown as WebSocketLike
}
