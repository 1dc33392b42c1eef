import { EventEmitter } from './emitter.js'

/** What the stream of a Store emits: a packet at a time, then 'end'. */
export type ReadableEvents = {
  data: [packet: any]
  end: []
  close: []
  error: [error: Error]
}

/**
 * The part of a readable stream of objects that stores need, for runtimes without Node's. Packets come by 'data' from the next microtask
 * after somebody listens, then 'end'.
 */
export class Readable extends EventEmitter<ReadableEvents> {
  readonly #items: unknown[]
  #flowing = false
  #destroyed = false

  constructor(items: Iterable<unknown>) {
    super()
    this.#items = [...items]
  }

  override on<E extends keyof ReadableEvents>(
    event: E,
    listener: (...args: ReadableEvents[E]) => void,
  ): this {
    super.on(event, listener)
    if (event === 'data' && !this.#flowing) {
      this.#flowing = true
      queueMicrotask(() => this.#flow())
    }
    return this
  }

  /** Ends the stream early: only 'close' comes any more. */
  destroy(): this {
    if (this.#destroyed) return this
    this.#destroyed = true
    queueMicrotask(() => this.emit('close'))
    return this
  }

  #flow(): void {
    for (const item of this.#items) {
      if (this.#destroyed) return
      this.emit('data', item)
    }
    if (this.#destroyed) return
    this.emit('end')
    this.destroy()
  }
}

/** A stream of these packets. */
export function readable(items: Iterable<unknown>): Readable {
  return new Readable(items)
}
