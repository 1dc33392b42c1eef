import { checkSignal } from './check.js'
import { mqttError, type MqttError } from './errors.js'
import type { Events } from './events.js'
import type { CallOptions, Callback } from './types.js'

type Resolve = (value: any) => void
type Reject = (error: MqttError) => void
/** Tells the core that a call is withdrawn, and why. */
export type Withdraw = (token: number, error: MqttError) => void

// setTimeout's limit, about 25 days: longer ones would fire at once.
const LONGEST = 0x7fff_ffff
const CALLBACK = 'a callback threw'
const SLOT = 0xf_ffff
const USE = SLOT + 1
// Thirty bits: engines keep those as plain integers.
const TOKEN = 0x3fff_ffff

/** A new promise, its functions in `resolve` and `reject` until the next one is made: no closure for each. */
let resolve: Resolve
let reject: Reject
const capture = (onResolve: Resolve, onReject: Reject) => {
  resolve = onResolve
  reject = onReject
}

/**
 * Calls that wait for an answer, each a promise or a callback. A token names one: its slot in the arrays and, above that, how often the
 * slot was used, so that a late answer finds nobody.
 */
export class Calls {
  /** The token of the call that `take` makes next; 0 when there are too many. */
  next = 0
  readonly #events: Events
  readonly #tokens: number[] = []
  readonly #free: number[] = []
  readonly #promises: (Promise<any> | undefined)[] = []
  /** A promise's resolve function, or the callback. */
  readonly #resolves: (Resolve | Callback<any> | undefined)[] = []
  readonly #rejects: (Reject | undefined)[] = []
  readonly #cleanups: ((() => void) | undefined)[] = []

  constructor(events: Events) {
    this.#events = events
    this.#advance()
  }

  #advance(): void {
    let slot = this.#free.pop()
    if (slot === undefined) {
      slot = this.#tokens.length
      this.#tokens.push(slot > SLOT ? 0 : slot + USE)
    }
    this.next = this.#tokens[slot]!
  }

  /** Makes the call that `next` names. Without a callback it is a promise, which is returned. */
  take(callback: Callback<any> | undefined): Promise<any> | undefined {
    const slot = this.next & SLOT
    let promise: Promise<any> | undefined
    if (callback === undefined) {
      promise = new Promise(capture)
      this.#promises[slot] = promise
      this.#resolves[slot] = resolve
      this.#rejects[slot] = reject
    } else {
      this.#promises[slot] = undefined
      this.#resolves[slot] = callback
      this.#rejects[slot] = undefined
    }
    this.#advance()
    return promise
  }

  /** Applies `signal` and `timeout`; `withdraw` tells the core. */
  bound(token: number, { signal, timeout }: CallOptions, withdraw: Withdraw): void {
    if (signal === undefined && (timeout === undefined || timeout === Infinity)) return
    const give = (error: MqttError) => {
      if (!this.has(token)) return
      withdraw(token, error)
      this.reject(token, error)
    }
    const onAbort = () => give(mqttError({ code: 'ABORTED', cause: signal!.reason }))
    const onTimeout = () =>
      give(mqttError({ code: 'TIMEOUT', what: `no answer within ${timeout} ms`, retryable: true }))
    if (signal !== undefined) checkSignal(signal).addEventListener('abort', onAbort)
    const timer =
      timeout === undefined ? undefined : setTimeout(onTimeout, Math.min(timeout, LONGEST))
    this.#cleanups[token & SLOT] = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    }
  }

  has(token: number): boolean {
    const slot = token & SLOT
    return this.#tokens[slot] === token && this.#resolves[slot] !== undefined
  }

  resolve(token: number, value: unknown): void {
    if (!this.has(token)) return
    const slot = token & SLOT
    const resolve = this.#resolves[slot]!
    const callback = this.#promises[slot] === undefined
    this.#release(slot)
    if (callback) this.answer(resolve, null, value)
    else (resolve as Resolve)(value)
  }

  reject(token: number, error: MqttError): void {
    if (!this.has(token)) return
    const slot = token & SLOT
    const promise = this.#promises[slot]
    const resolve = this.#resolves[slot]!
    const reject = this.#rejects[slot]!
    this.#release(slot)
    if (promise === undefined) {
      queueMicrotask(() => this.answer(resolve, error))
    } else {
      // What comes from outside must not end a process that does not look at the promise.
      promise.catch(() => {})
      reject(error)
    }
  }

  rejectAll(error: MqttError): void {
    for (const token of this.#tokens) this.reject(token, error)
  }

  /** What a call that was refused at once returns. */
  refuse(error: MqttError, callback: Callback<any> | undefined): Promise<never> | undefined {
    if (typeof callback !== 'function') return Promise.reject(error)
    queueMicrotask(() => this.answer(callback, error))
    return undefined
  }

  answer(callback: Callback<any>, error: MqttError | null, result?: unknown): void {
    try {
      const returned: unknown = callback(error, result)
      if (returned !== undefined) this.#events.watch(CALLBACK, returned)
    } catch (cause) {
      this.#events.failed(CALLBACK, cause)
    }
  }

  #release(slot: number): void {
    this.#promises[slot] = this.#resolves[slot] = this.#rejects[slot] = undefined
    if (this.#cleanups[slot] !== undefined) {
      this.#cleanups[slot]!()
      this.#cleanups[slot] = undefined
    }
    const token = (this.#tokens[slot]! + USE) & TOKEN
    this.#tokens[slot] = token > SLOT ? token : token + USE
    this.#free.push(slot)
  }
}
