import type { Pending } from '../pending.js'
import { soon } from '../platform.js'
import type { PublishResult } from '../types/basics.js'
import type { Callback } from '../types/calls.js'
import type { CoreHandle } from './handle.js'

/** The result of a publish that went well, as most do. */
export const SUCCESS: PublishResult = Object.freeze({ reasonCode: 0 })

/** The QoS 0 publishes of one turn of the event loop, which are done together when the send buffer has left. */
interface Written {
  promise?: Promise<PublishResult>
  resolve(result: PublishResult): void
  reject(error: unknown): void
  callbacks: Callback<PublishResult>[]
}

/** Sees that everything written in one turn of the event loop leaves together at its end. */
export class Turn {
  readonly #handle: CoreHandle
  readonly #pending: Pending
  /** Whether records are being delivered, which is followed by a flush. */
  delivering = false
  #waking = false
  #written: Written | undefined

  constructor(handle: CoreHandle, pending: Pending) {
    this.#handle = handle
    this.#pending = pending
  }

  /** Flushes at the end of this turn. */
  wake(): void {
    if (this.#waking) return
    this.#waking = true
    this.#flushSoon()
  }

  // Apart, because a function that makes a closure somewhere allocates whenever it is called.
  #flushSoon(): void {
    soon(() => this.flush())
  }

  /** Flushes at once, so that the state has changed when the call returns. */
  flushNow(): void {
    if (!this.delivering) this.flush()
  }

  /** The answer to a QoS 0 publish that leaves with this turn: a promise, unless there is a callback. */
  written(callback: Callback<PublishResult> | undefined): Promise<PublishResult> | undefined {
    const written = (this.#written ??= { resolve() {}, reject() {}, callbacks: [] })
    if (callback !== undefined) {
      written.callbacks.push(callback)
      return undefined
    }
    return (written.promise ??= promised(written))
  }

  /** Everything that was written leaves. */
  flush(): void {
    this.#waking = false
    const written = this.#written
    this.#written = undefined
    this.#handle.run((core) => core.flush())
    if (written === undefined) return
    if (this.#handle.evicted) {
      const error = this.#handle.ended()
      written.promise?.catch(() => {})
      written.reject(error)
      for (const callback of written.callbacks) this.#pending.answer(callback, error)
    } else {
      written.resolve(SUCCESS)
      for (const callback of written.callbacks) this.#pending.answer(callback, null, SUCCESS)
    }
  }
}

/** A promise that this is settled with. */
function promised(written: Written): Promise<PublishResult> {
  return new Promise((resolve, reject) => Object.assign(written, { resolve, reject }))
}
