// Node: the same with `ws` for the socket, also where there is a global WebSocket, which can neither send headers nor be closed at once.
import { type ClientOptions, WebSocket } from 'ws'
import { platform } from './platform.js'
import type { WebSocketLike } from './types/connecting.js'

export * from './index.js'

/** Bytes of one WebSocket message. It may hold many packets, each of which the core limits. */
const MAX_PAYLOAD = 0x2000_0000
/** Milliseconds that the peer has to answer a close frame, before the socket is destroyed. */
const CLOSE_TIMEOUT = 1_000

Object.assign(platform, {
  native: true,
  // A view of the bytes as they came: 'arraybuffer' copies them.
  binaryType: 'nodebuffer',
  open(url, { protocols, headers, tls }) {
    const { alpnProtocols, ...others } = tls ?? {}
    const options: ClientOptions & { closeTimeout: number } = {
      ...(others as ClientOptions),
      ...(alpnProtocols && { ALPNProtocols: alpnProtocols }),
      headers,
      perMessageDeflate: false,
      maxPayload: MAX_PAYLOAD,
      closeTimeout: CLOSE_TIMEOUT,
    }
    const socket = new WebSocket(url, protocols, options)
    // Errors that come when the client has let go of the socket must not end the process.
    socket.on('error', () => {})
    return joined(socket)
  },
} satisfies typeof platform)

/** Bytes of a message that is not worth a copy. */
const LONG = 4 * 1024
/** Bytes that are handed over at once, at most about. */
const ENOUGH = 32 * 1024

/**
 * Hands over what one read of the socket brought as one message: brokers send a WebSocket message for each packet, and each costs the same
 * whatever is in it. Also without the Event object that `ws` makes for each.
 */
function joined(socket: WebSocket): WebSocketLike {
  let handler: WebSocketLike['onmessage'] = null
  let pieces: Buffer[] = []
  let length = 0
  const flush = (): void => {
    if (length === 0) return
    const data = pieces.length === 1 ? pieces[0] : Buffer.concat(pieces, length)
    pieces = []
    length = 0
    handler?.({ data })
  }
  socket.on('message', (data: Buffer, isBinary) => {
    if (!isBinary || data.length >= LONG) {
      flush()
      handler?.({ data: isBinary ? data : String(data) })
      return
    }
    if (length === 0) queueMicrotask(flush)
    pieces.push(data)
    length += data.length
    if (length >= ENOUGH) flush()
  })
  socket.on('close', flush)
  return Object.defineProperty(socket, 'onmessage', {
    set: (value) => (handler = value),
  }) as unknown as WebSocketLike
}
