// Node, Deno and Bun: the same with `ws` for WebSockets, also where there is a global WebSocket, which can neither send headers nor be closed at
// once, and with sockets of TCP and TLS for mqtt:, mqtts: and unix: URLs.
import { STATUS_CODES } from 'node:http'
import type { ClientOptions, WebSocket } from 'ws'
import { platform, soon } from './platform.js'
import { explain, explainStatus, type TransportError } from './transports/failure.js'
import { isTcp, openTcp } from './transports/tcp.js'
import { tlsOptions } from './transports/tls.js'
import type { TransportContext, WebSocketLike } from './types/connecting.js'

export * from './index.js'

/** Bytes of one WebSocket message. It may hold many packets, each of which the core limits. */
const MAX_PAYLOAD = 0x2000_0000
/** Milliseconds that the peer has to answer a close frame, before the socket is destroyed. */
const CLOSE_TIMEOUT = 1_000

Object.assign(platform, {
  native: true,
  // A view of the bytes as they came: 'arraybuffer' copies them.
  binaryType: 'nodebuffer',
  speaks: isTcp,
  open: (url, context) => (isTcp(url) ? openTcp(url, context) : openWebSocket(url, context)),
} satisfies typeof platform)

function openWebSocket(url: URL, { protocols, headers, tls }: TransportContext): WebSocketLike {
  // Loaded when the first WebSocket is opened: it costs time, and in Deno it needs a permission that TCP does not.
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
  return Object.defineProperties(socket, {
    onmessage: { set: (listener) => (onmessage = listener) },
    onerror: { set: (listener) => (onerror = listener) },
    onclose: { set: (listener) => (onclose = listener) },
  }) as unknown as WebSocketLike
}
