import { soon } from '../platform.js'
import type { WebSocketLike } from '../types/connecting.js'

/** The part of a MessagePort that `fromMessagePort()` needs: those of browsers and of Node's `worker_threads` have it. */
export interface MessagePortLike {
  /** Sends a message to the other end. */
  postMessage(message: unknown): void
  /** Ends the port. */
  close(): void
  /** Called with each message. `fromMessagePort()` sets it, which starts the port. */
  onmessage?: ((event: any) => void) | null
  /** Called with a message that cannot be read. `fromMessagePort()` sets it. */
  onmessageerror?: ((event: any) => void) | null
  /** Adds a listener of 'close', where the runtime tells that the other end is gone. */
  addEventListener(type: 'close', listener: () => void): void
}

/**
 * Makes a socket of a MessagePort, for the option `transport`: each message is a chunk of bytes, and `null` says that the other end has closed.
 *
 * @example
 * const { port1, port2 } = new MessageChannel()
 * worker.postMessage(port2, [port2])
 * const client = new Client('port://worker', { transport: () => fromMessagePort(port1) })
 */
export function fromMessagePort(port: MessagePortLike): WebSocketLike {
  return new PortSocket(port)
}

const OPEN = 1
const CLOSED = 3

class PortSocket implements WebSocketLike {
  binaryType = 'arraybuffer'
  readyState = 0
  readonly bufferedAmount = 0
  onmessage: WebSocketLike['onmessage'] = null
  onclose: WebSocketLike['onclose'] = null
  onerror: WebSocketLike['onerror'] = null
  readonly #port: MessagePortLike
  #onopen: WebSocketLike['onopen'] = null

  constructor(port: MessagePortLike) {
    this.#port = port
    port.onmessage = ({ data }) => (data === null ? this.#closed(1000) : this.onmessage?.({ data }))
    port.onmessageerror = () => this.#closed(1006)
    // Node and recent browsers tell that the other end is gone.
    port.addEventListener('close', () => this.#closed(1006))
  }

  get onopen(): WebSocketLike['onopen'] {
    return this.#onopen
  }

  /** A port is open from the start: that is said as soon as somebody listens. */
  set onopen(listener: WebSocketLike['onopen']) {
    this.#onopen = listener
    if (listener === null || this.readyState !== 0) return
    soon(() => {
      if (this.readyState !== 0) return
      this.readyState = OPEN
      this.#onopen?.({})
    })
  }

  send(data: Uint8Array): void {
    if (this.readyState === OPEN) this.#port.postMessage(data)
  }

  close(): void {
    if (this.readyState === CLOSED) return
    this.#port.postMessage(null)
    this.#closed(1000)
  }

  #closed(code: number): void {
    if (this.readyState === CLOSED) return
    this.readyState = CLOSED
    this.#port.close()
    this.onclose?.({ code, reason: '', wasClean: code === 1000 })
  }
}
