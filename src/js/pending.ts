import type { Emitter } from './emitter.js'
import { type AnyMqttError, invalid, keepName, MqttError, mqttError } from './errors.js'
import { LONGEST_TIMEOUT, soon, task } from './platform.js'
import type { CallOptions } from './types/basics.js'
import type { Callback } from './types/calls.js'
import type { ClientState } from './types/events.js'
import { checkSignal } from './validate.js'

type Resolve = (value: any) => void
type Reject = (error: AnyMqttError) => void
/** Tells the core that a call is withdrawn, and why. */
export type Withdraw = (token: number, error: AnyMqttError) => void

const CALLBACK = 'a callback threw'
/** The bits of a token that name its slot. */
const SLOT = 0xf_ffff
/** Added to a token for each use of its slot. */
const USE = SLOT + 1
/** A token has thirty bits: engines keep those as plain integers. */
const TOKEN = 0x3fff_ffff

// The functions of the promise that was made last. They are captured here so that a promise costs no closure.
let resolve: Resolve
let reject: Reject
const capture = (onResolve: Resolve, onReject: Reject) => {
  resolve = onResolve
  reject = onReject
}

/**
 * A promise of a client. When nobody has observed its rejection by the next task, the rejection becomes an 'error' event and not an unhandled
 * rejection, which ends a Node process. The same holds for what `then()` and `finally()` derive from it. A mistake of the caller stays an ordinary
 * rejection.
 */
export class CallPromise<T> extends Promise<T> {
  #observed = false
  #emitter: Emitter | undefined

  static {
    keepName(CallPromise, 'Promise')
    // Whoever takes the promise asks for its constructor first: `await`, Promise.all() and the like, and then(). The answer makes it as good as
    // a plain promise to them, so that they take it as it is. A subclass would cost each a promise and two turns of the microtask queue more.
    Object.defineProperty(CallPromise.prototype, 'constructor', {
      get(this: object) {
        // The prototype is asked by compilers that make functions of classes, as React Native's: for what makes an instance.
        if (!(#observed in this)) return CallPromise
        this.#observed = true
        return Promise
      },
    })
  }

  /** Says who emits the 'error'. */
  by(emitter: Emitter | undefined): this {
    this.#emitter = emitter
    return this
  }

  /** To be called when the promise has been rejected. */
  rejected(error: unknown): void {
    if (this.#observed || !(error instanceof MqttError) || error.code === 'INVALID_ARGUMENT') return
    super.then(undefined, () => {})
    this.#observed = false
    task(() => {
      if (!this.#observed) this.#emitter!.report(error as AnyMqttError)
    })
  }

  // biome-ignore lint/suspicious/noThenProperty: it is a promise.
  override then<A = T, B = never>(
    onFulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: any) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    const derived = super.then(onFulfilled, onRejected)
    return typeof onRejected === 'function' ? derived : this.#follow(derived)
  }

  override finally(onFinally?: (() => void) | null): Promise<T> {
    return this.#follow(super.finally(onFinally))
  }

  /** Throws: `for await` over a call is a mistake for which engines have no good words. */
  [Symbol.asyncIterator](): never {
    throw invalid('iterable', 'is the promise of a call: iterate over client.messages()')
  }

  #follow<A>(derived: Promise<A>): Promise<A> {
    const promise: CallPromise<A> = new CallPromise<A>((resolve, reject) => {
      derived.then(resolve, (error) => {
        reject(error)
        promise.rejected(error)
      })
    })
    return promise.by(this.#emitter)
  }
}

/** A call that waits for an answer, or a place for one. */
class Call {
  token: number
  promise: CallPromise<any> | undefined
  /** The promise's resolve function, or the callback; undefined: no call waits here. */
  resolve: Resolve | Callback<any> | undefined
  reject: Reject | undefined
  cleanup: (() => void) | undefined
  /** The next free place, while this one is free. */
  nextFree: Call | undefined

  constructor(slot: number) {
    this.token = slot + USE
  }
}

/**
 * The calls that wait for an answer, each a promise or a callback. A token names a call: by its slot in the array, and above that by how often
 * the slot was used, so that a late answer finds nobody.
 */
export class Pending {
  readonly #emitter: Emitter
  readonly #client: { readonly state: ClientState }
  #free: Call | undefined = new Call(0)
  readonly #calls = [this.#free!]

  /** `client`: whose state the message of a call that is withdrawn tells. */
  constructor(emitter: Emitter, client: { readonly state: ClientState }) {
    this.#emitter = emitter
    this.#client = client
  }

  /** The token of the call that `take` makes next; 0 when there are too many. */
  get next(): number {
    return (this.#free ??= this.#more())?.token ?? 0
  }

  #more(): Call | undefined {
    const slot = this.#calls.length
    if (slot > SLOT) return undefined
    const call = new Call(slot)
    this.#calls.push(call)
    return call
  }

  /** Makes the call that `next` names. Returns its promise, unless there is a callback. */
  take(callback: Callback<any> | undefined): Promise<any> | undefined {
    const call = (this.#free ??= this.#more())!
    this.#free = call.nextFree
    call.nextFree = undefined
    if (callback !== undefined) {
      call.resolve = callback
      return undefined
    }
    const promise = new CallPromise<any>(capture).by(this.#emitter)
    call.promise = promise
    call.resolve = resolve
    call.reject = reject
    return promise
  }

  /** Withdraws the call when its signal is aborted or its time is over. */
  bound(token: number, { signal, timeout }: CallOptions, withdraw: Withdraw): void {
    if (signal === undefined && (timeout === undefined || timeout === Infinity)) return
    const give = (error: AnyMqttError) => {
      if (!this.waiting(token)) return
      // What comes of it must not withdraw the call again: a stream aborts the signal of its call when the call is late.
      stop()
      withdraw(token, error)
      this.reject(token, error)
    }
    const onAbort = () => give(mqttError({ code: 'ABORTED', cause: signal!.reason }))
    const onTimeout = () => {
      const { state } = this.#client
      let what = `no answer within ${timeout} ms`
      if (state !== 'connected') what += `, the client is ${state}`
      if (state === 'idle') what += ': call connect()'
      give(mqttError({ code: 'TIMEOUT', what, retryable: true }))
    }
    if (signal !== undefined) checkSignal(signal).addEventListener('abort', onAbort)
    const timer =
      timeout === undefined ? undefined : setTimeout(onTimeout, Math.min(timeout, LONGEST_TIMEOUT))
    const stop = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    }
    this.#calls[token & SLOT]!.cleanup = stop
  }

  /** The call, if it still waits. */
  waiting(token: number): Call | undefined {
    const call = this.#calls[token & SLOT]
    return call?.token === token && call.resolve !== undefined ? call : undefined
  }

  resolve(token: number, value: unknown): void {
    const call = this.waiting(token)
    if (call === undefined) return
    const { promise, resolve } = call
    this.#release(call)
    if (promise === undefined) this.answer(resolve!, null, value)
    else (resolve as Resolve)(value)
  }

  reject(token: number, error: AnyMqttError): void {
    const call = this.waiting(token)
    if (call === undefined) return
    const { promise, resolve, reject } = call
    this.#release(call)
    if (promise === undefined) {
      soon(() => this.answer(resolve!, error))
    } else {
      reject!(error)
      promise.rejected(error)
    }
  }

  /** Rejects all calls but these. */
  rejectAll(error: AnyMqttError, except: readonly number[]): void {
    for (const { token } of this.#calls) if (!except.includes(token)) this.reject(token, error)
  }

  /** The answer to a call that was refused at once: a promise that rejects, unless there is a callback. */
  refuse(error: AnyMqttError, callback: Callback<any> | undefined): Promise<never> | undefined {
    if (typeof callback !== 'function') {
      const promise = new CallPromise<never>(capture).by(this.#emitter)
      reject(error)
      promise.rejected(error)
      return promise
    }
    soon(() => this.answer(callback, error))
    return undefined
  }

  /** Calls back. */
  answer(callback: Callback<any>, error: AnyMqttError | null, result?: unknown): void {
    // Without a closure: there may be hundreds of thousands of answers a second.
    try {
      this.#emitter.watch(CALLBACK, callback(error, result))
    } catch (cause) {
      this.#emitter.failed(CALLBACK, cause)
    }
  }

  #release(call: Call): void {
    call.promise = call.resolve = call.reject = undefined
    call.cleanup?.()
    call.cleanup = undefined
    const token = (call.token + USE) & TOKEN
    call.token = token > SLOT ? token : token + USE
    // Behind the first, which `next` may have named already.
    const first = this.#free
    if (first === undefined) {
      this.#free = call
    } else {
      call.nextFree = first.nextFree
      first.nextFree = call
    }
  }
}
