import type { Core, CoreAnswer, CoreEvent, Leaves } from '#glue'
import { Attempt } from './core/attempt.js'
import { Delivery, type Owner } from './core/delivery.js'
import { CoreHandle, closedError } from './core/handle.js'
import { Host } from './core/host.js'
import { memoryBytes } from './core/instance.js'
import { Outgoing } from './core/outgoing.js'
import { Records } from './core/records.js'
import { Turn } from './core/turn.js'
import { Emitter } from './emitter.js'
import { type AnyMqttError, mqttError } from './errors.js'
import { readCall, readConnect, readEnd } from './options.js'
import { Pending, type Withdraw } from './pending.js'
import { soon } from './platform.js'
import { Routes } from './subscription.js'
import type { CallOptions } from './types/basics.js'
import type { Callback, EndOptions } from './types/calls.js'
import type { BrokerUrl, ConnectOptions } from './types/connecting.js'
import type { ClientState, ConnectInfo, Stats } from './types/events.js'
import * as validate from './validate.js'

/** The life of one client: its state, its calls, and what the core tells of it. */
export class Life implements Owner {
  readonly emitter = new Emitter()
  readonly pending = new Pending(this.emitter)
  readonly routes = new Routes()
  readonly outgoing = new Outgoing()
  readonly handle = new CoreHandle((error) => this.#evicted(error))
  readonly turn = new Turn(this.handle, this.pending)
  readonly #attempt: Attempt
  readonly #host: Host
  readonly #signal: AbortSignal | undefined
  state: ClientState = 'idle'
  /** What the current or last connection brought. */
  info: ConnectInfo | undefined

  // The core knows no tokens of connect() and end().
  readonly #connecting: number[] = []
  readonly #ending: number[] = []
  #end: Promise<void> | undefined
  /** Until when end() may take, in the client's time. */
  #endBy = 0
  /** For when the core cannot be asked any more. */
  #lastStats: Omit<Stats, 'wasmMemoryBytes'> | undefined

  constructor(url: BrokerUrl, options: ConnectOptions) {
    const { settings, leaves } = readConnect(options)
    const { emitter, pending, handle, turn } = this
    this.#attempt = new Attempt(url, settings, emitter)
    const delivery = new Delivery(handle, emitter, pending, turn, this)
    this.#host = new Host(handle, turn, this.#attempt, new Records(this.routes), delivery)
    handle.make(this.#host, leaves)
    this.stats()
    const { signal } = settings
    this.#signal = signal
    signal?.addEventListener('abort', this.#onAbort)
    if (signal?.aborted) this.#onAbort()
  }

  connect(options: CallOptions | undefined): Promise<ConnectInfo> {
    return this.call(undefined, () => {
      const call = readCall(options)
      const core = this.handle.open()
      if (this.#ending.length > 0) throw closedError()
      const token = this.pending.next
      if (this.state === 'connected') {
        const promise = this.pending.take(undefined)
        soon(() => this.pending.resolve(token, this.info))
        return promise
      }
      core.connect()
      this.#connecting.push(token)
      const promise = this.take(undefined, call, () => {
        this.#connecting.splice(this.#connecting.indexOf(token), 1)
        // Reconnecting goes on without this call.
        if (this.#connecting.length > 0 || this.info !== undefined) return
        this.handle.run((core) => core.abandon())
        this.turn.wake()
      })
      this.turn.flushNow()
      return promise
    })
  }

  end(options: EndOptions | undefined, callback?: Callback<void>): Promise<void> {
    if (callback === undefined && this.#end !== undefined) return this.#end
    return this.call(callback, () => {
      const { signal, timeout, force, reasonCode, draft } = readEnd(options)
      const token = this.pending.next
      const { core } = this.handle
      if (core === undefined) {
        soon(() => this.pending.resolve(token, undefined))
      } else {
        if (this.#ending.length === 0) {
          this.outgoing.properties(core, draft)
          core.end(timeout, force, reasonCode)
          this.#endBy = this.#host.now() + timeout
        }
        this.#ending.push(token)
      }
      const promise = this.take(callback, { signal }, () => {})
      if (callback === undefined) this.#end = promise as Promise<void>
      return promise
    })
  }

  stats(): Stats {
    this.handle.run((core) => (this.#lastStats = core.stats()))
    return { ...this.#lastStats!, wasmMemoryBytes: memoryBytes().length }
  }

  // ---------------------------------------------------------------------------------------------- how a call is made

  /** Makes a call that returns a promise, or that returns undefined and calls back. */
  call<T>(callback: Callback<T> | undefined, start: () => Promise<T> | undefined): Promise<T> {
    try {
      if (callback !== undefined) validate.func(callback, 'callback')
      return start() as Promise<T>
    } catch (error) {
      return this.pending.refuse(this.handle.fault(error), callback) as Promise<never>
    }
  }

  /** Makes the call that `pending.next` names, and sees that what the core did for it leaves. */
  take(
    callback: Callback<any> | undefined,
    options: CallOptions,
    withdraw: Withdraw,
  ): Promise<any> | undefined {
    const token = this.pending.next
    const promise = this.pending.take(callback)
    this.pending.bound(token, options, withdraw)
    this.turn.wake()
    return promise
  }

  /** Makes a call to the core that can be refused, and that is withdrawn by its token. */
  ask<T>(
    callback: Callback<T> | undefined,
    options: CallOptions,
    ask: (core: Core, token: number) => number,
    draft: Leaves = [],
  ): Promise<T> | undefined {
    const core = this.handle.open()
    this.outgoing.properties(core, draft)
    if (ask(core, this.pending.next) < 0) throw this.refusal(core)
    return this.take(callback, options, this.cancel)
  }

  /** Why the core refused a call. */
  refusal(core: Core): AnyMqttError {
    return this.#attempt.error(core.refusal())
  }

  readonly cancel = (token: number): void => {
    this.handle.run((core) => core.cancel(token))
    this.turn.wake()
  }

  // ---------------------------------------------------------------------------------------------- what the core tells

  event(event: CoreEvent): void {
    const { emitter } = this
    switch (event.type) {
      case 'state':
        this.#setState(event.state)
        break
      case 'connect':
        this.info = event.info
        emitter.emit('connect', event.info)
        for (const token of this.#connecting.splice(0)) this.pending.resolve(token, event.info)
        break
      case 'connectFailed': {
        const error = this.#attempt.error(event.error)
        for (const token of this.#connecting.splice(0)) this.pending.reject(token, error)
        break
      }
      case 'disconnect':
        emitter.emit('disconnect', this.#attempt.error(event.error), event.willReconnect)
        break
      case 'reconnecting': {
        const { attempt, delay, url } = event
        const error = this.#attempt.error(event.error)
        emitter.emit('reconnecting', { attempt, delay, error, url })
        break
      }
      case 'error':
        emitter.emit('error', this.#attempt.error(event.error))
        break
      case 'close':
        this.#close(event.error && this.#attempt.error(event.error))
        break
      case 'packet':
        emitter.emit('packet', event.packet)
        break
      default:
        this.#answer(event)
    }
  }

  #answer(event: CoreAnswer): void {
    const { pending, routes } = this
    switch (event.type) {
      case 'published':
        pending.resolve(event.token, event.result)
        break
      case 'failed': {
        // 'close' follows, and says why.
        if (event.error.code === 'CLOSED') break
        const error = this.#attempt.error(event.error)
        routes.end(routes.answered(event.token), error)
        pending.reject(event.token, error)
        break
      }
      case 'subscribed': {
        const route = routes.answered(event.token)
        if (route === undefined) break
        routes.begin(route, event.grants)
        pending.resolve(event.token, route.subscription)
        break
      }
      case 'unsubscribed':
        pending.resolve(event.token, { reasonCodes: event.reasonCodes })
        break
      case 'inactive':
        routes.end(routes.get(event.handle), event.error && this.#attempt.error(event.error))
        break
      case 'done':
        pending.resolve(event.token, undefined)
    }
  }

  #setState(state: ClientState): void {
    const previous = this.state
    this.state = state
    this.emitter.emit('state', state, previous)
  }

  // ---------------------------------------------------------------------------------------------- how it ends

  /** The core's part is over. */
  #close(error: AnyMqttError | undefined): void {
    this.stats()
    this.#leave()
    this.handle.close(error)
    this.emitter.emit('close', error)
    this.routes.endAll(error)
    const ended = this.handle.ended()
    for (const token of this.#connecting.splice(0)) this.pending.reject(token, error ?? ended)
    this.pending.rejectAll(ended, this.#ending)
    const settle = () => {
      for (const token of this.#ending.splice(0)) this.pending.resolve(token, undefined)
    }
    const { keeper } = this.#attempt
    if (keeper === undefined) settle()
    else keeper.close(this.emitter, Math.max(0, this.#endBy - this.#host.now()), settle)
  }

  /** The instance trapped. This is called under whatever ran into it, so the rest happens later. */
  #evicted(error: AnyMqttError): void {
    this.#leave()
    soon(() => {
      this.#attempt.abandon()
      this.#setState('closed')
      this.#close(error)
    })
  }

  /** Nothing is left that keeps the page or process busy. */
  #leave(): void {
    this.#host.timer(-1)
    this.#signal?.removeEventListener('abort', this.#onAbort)
  }

  readonly #onAbort = (): void => {
    const error = mqttError({ code: 'ABORTED', cause: this.#signal!.reason })
    for (const token of this.#connecting.splice(0)) this.pending.reject(token, error)
    this.end({ timeout: 0 }).catch(() => {})
  }
}
