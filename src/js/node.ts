// Node: the same with `ws` for the socket, also where there is a global WebSocket, which can neither send headers nor be closed at once.
import { WebSocket, type ClientOptions } from 'ws'
import { platform } from './platform.js'
import type { WebSocketLike } from './types.js'

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
    // Without an Event object for each message, which is most of what `ws` would spend on it.
    return Object.defineProperty(socket, 'onmessage', {
      set(handler: WebSocketLike['onmessage']) {
        socket.removeAllListeners('message')
        if (handler) socket.on('message', (data, isBinary) => handler({ data: isBinary ? data : String(data) }))
      },
    }) as unknown as WebSocketLike
  },
} satisfies typeof platform)
