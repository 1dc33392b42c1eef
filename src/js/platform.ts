import { unsupported } from './errors.js'
import type { TransportContext, WebSocketLike } from './types/connecting.js'

/** What differs between runtimes. The entry for Node puts its own in place. */
export const platform = {
  /** Makes the socket for a ws: or wss: URL. */
  open(url: URL, { protocols }: TransportContext): WebSocketLike {
    if (typeof WebSocket === 'undefined')
      throw unsupported('there is no WebSocket here: give a `transport`')
    return new WebSocket(url, protocols)
  },
  binaryType: 'arraybuffer',
  /**
   * Whether `open` also makes sockets for a URL that is neither ws: nor wss:. Throws an InvalidArgumentError where such a URL lacks something.
   */
  speaks: (_url: URL): boolean => false,
  /** Whether `open` can send headers and set TLS options. */
  native: false,
}

/** Milliseconds, about 25 days: setTimeout fires at once where it is given more. */
export const LONGEST_TIMEOUT = 0x7fff_ffff

/** Runtimes that lack the symbol get the one that polyfills and compilers agree on. */
export const asyncDispose: typeof Symbol.asyncDispose =
  Symbol.asyncDispose ?? (Symbol.for('Symbol.asyncDispose') as never)
