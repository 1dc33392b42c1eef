import type { TransportContext, WebSocketLike } from '../index.js'
import { later } from './turn.js'
import type { FarEnd, NearEnd } from './types.js'

const CONNECTING = 0
const OPEN = 1
const CLOSING = 2
const CLOSED = 3

/** A connection in WebSocket's clothes. What comes from the broker comes in a task of its own, as from a network. */
export class MemorySocket implements WebSocketLike, FarEnd {
  binaryType = 'arraybuffer'
  readyState = CONNECTING
  readonly bufferedAmount = 0
  readonly protocol: string
  onopen: WebSocketLike['onopen'] = null
  onmessage: WebSocketLike['onmessage'] = null
  onclose: WebSocketLike['onclose'] = null
  onerror: WebSocketLike['onerror'] = null
  #near: NearEnd | undefined

  constructor(accept: (end: FarEnd) => NearEnd, { protocols }: TransportContext) {
    this.protocol = protocols.includes('mqtt') ? 'mqtt' : ''
    later(() => {
      if (this.readyState !== CONNECTING) return
      this.readyState = OPEN
      this.#near = accept(this)
      this.onopen?.({})
    })
  }

  send(data: Uint8Array | string): void {
    if (this.readyState !== OPEN) return
    if (typeof data === 'string') this.#near?.text()
    else this.#near?.input(data)
  }

  close(): void {
    if (this.readyState >= CLOSING) return
    this.readyState = CLOSING
    this.#near?.closed()
    this.#end(1000)
  }

  receive(data: Uint8Array<ArrayBuffer>): void {
    later(() => {
      if (this.readyState === OPEN) this.onmessage?.({ data })
    })
  }

  end(how: 'close' | 'drop'): void {
    this.#end(how === 'close' ? 1000 : 1006)
  }

  #end(code: number): void {
    later(() => {
      if (this.readyState === CLOSED) return
      this.readyState = CLOSED
      this.onclose?.({ code, reason: '', wasClean: code === 1000 })
    })
  }
}
