import type { WebSocketLike } from '../types.js'

/**
 * A MessagePort in a WebSocket's clothes, for `transport`: each message is a chunk of bytes, `null` says that the other end has closed.
 */
export function fromMessagePort(port: MessagePort): WebSocketLike {
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
  readonly #port: MessagePort
  #onopen: WebSocketLike['onopen'] = null

  constructor(port: MessagePort) {
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
    queueMicrotask(() => {
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
