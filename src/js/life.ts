import type { Core, CoreAnswer, CoreEvent, Leaves } from '#glue'
import { Attempt } from './core/attempt.js'
import { Delivery, type Owner } from './core/delivery.js'
import { CoreHandle, closedError } from './core/handle.js'
import { Host } from './core/host.js'
import { memoryBytes, type Tenant } from './core/instance.js'
import type { Keeper } from './core/keeper.js'
import { Outgoing } from './core/outgoing.js'
import { Records } from './core/records.js'
import { Turn } from './core/turn.js'
import { Emitter } from './emitter.js'
import { type AnyMqttError, mqttError } from './errors.js'
import type { Take } from './flow.js'
import { type PresenceSettings, readCall, readConnect, readEnd } from './options.js'
import { listenToPage, type PageEvent, tellsOfConnection } from './page.js'
import { Pending, type Withdraw } from './pending.js'
import { atLatest, soon } from './platform.js'
import type { Presence } from './presence.js'
import { ReasonCode } from './reason-code.js'
import { type Route, type RouteOwner, Routes } from './subscription.js'
import type { CallOptions } from './types/basics.js'
import type { Callback, EndOptions } from './types/calls.js'
import type { BrokerUrl, ConnectOptions } from './types/connecting.js'
import type { ClientState, ConnectInfo, Stats } from './types/events.js'
import * as validate from './validate.js'
import { withoutValues } from './wording.js'

/** The statistics of a client that has done nothing. */
let noStats: Omit<Stats, 'wasmMemoryBytes'> | undefined

/** The life of one client: its state, its calls, and what the core tells of it. A process may have thousands of them: it makes little in advance. */
export class Life implements Owner, RouteOwner, Tenant {
  readonly emitter = new Emitter()
  readonly pending = new Pending(this.emitter, this)
  readonly routes = new Routes()
  readonly outgoing = new Outgoing()
  readonly handle = new CoreHandle(this)
  readonly turn = new Turn(this.handle, this.pending)
  readonly #attempt: Attempt
  readonly #delivery: Delivery
  readonly #host: Host
  /** Ends the watch over the signal of the options. */
  #unwatchSignal: (() => void) | undefined
  /** What calls of connect() reject with once the signal is aborted. */
  #aborted: AnyMqttError | undefined
  readonly presenceSettings: PresenceSettings | undefined
  /** What the options ask for. */
  readonly protocolVersion: ConnectOptions['protocolVersion']
  presence: Presence | undefined
  state: ClientState = 'idle'
  /** What the current or last connection brought. */
  info: ConnectInfo | undefined

  // The core knows no tokens of connect() and end().
  readonly #connecting: number[] = []
  readonly #ending: number[] = []
  #end: Promise<void> | undefined
  /** When the end has to be over, by `performance`, in ms. */
  #deadline = 0
  /** Whether the end waits for the store only. */
  #forced = false
  /** Ends the core, where that still waits for handlers at work. */
  #goodbye: (() => void) | undefined
  #draining: number[] = []
  #hearsPage = false
  /** For when the core cannot be asked any more. */
  #lastStats: Omit<Stats, 'wasmMemoryBytes'> | undefined

  constructor(url: BrokerUrl, options: ConnectOptions) {
    const { settings, leaves } = readConnect(options)
    const { emitter, pending, handle, turn } = this
    this.presenceSettings = settings.presence
    this.protocolVersion = options.protocolVersion
    this.#attempt = new Attempt(url, settings, emitter)
    const delivery = (this.#delivery = new Delivery(handle, emitter, pending, turn, this))
    this.#host = new Host(handle, turn, this.#attempt, new Records(this.routes), delivery)
    handle.make(this.#host, leaves)
    noStats ??= this.stats()
    this.#lastStats = noStats
    const { signal } = settings
    if (signal === undefined) return
    const onAbort = () => {
      this.#aborted = mqttError({ code: 'ABORTED', cause: signal.reason })
      this.end({ timeout: 0 }).catch(() => {})
    }
    signal.addEventListener('abort', onAbort)
    this.#unwatchSignal = () => signal.removeEventListener('abort', onAbort)
    if (signal.aborted) onAbort()
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
      const { core } = this.handle
      if (core !== undefined && this.#ending.length === 0) {
        this.#deadline = performance.now() + timeout
        this.#forced = force
        const says = !force && reasonCode !== ReasonCode.disconnectWithWillMessage
        if (says) this.presence?.leave()
        const say = () => {
          this.outgoing.properties(core, draft)
          core.end(this.#left(), force, reasonCode)
        }
        try {
          if (force || this.state !== 'connected' || this.#delivery.working === 0) say()
          else this.#waitForHandlers(say)
          this.#delivery.stopped = true
          if (this.state !== 'closing') this.#setState('closing')
        } catch (thrown) {
          // The client goes on.
          if (says) this.presence?.enter()
          throw thrown
        }
      }
      const token = this.pending.next
      if (core === undefined) soon(() => this.pending.resolve(token, undefined))
      else this.#ending.push(token)
      const promise = this.take(callback, { signal }, () => {})
      if (callback === undefined) this.#end = promise as Promise<void>
      return promise
    })
  }

  /** Milliseconds that are left for the end. */
  #left(): number {
    return Math.max(0, this.#deadline - performance.now())
  }

  /** Says goodbye when no handler is at work any more, when the connection is gone, or when the time is over. */
  #waitForHandlers(say: () => void): void {
    this.handle.ending = true
    this.#goodbye = atLatest(this.#left(), () => {
      this.#goodbye = undefined
      if (this.handle.core === undefined) return
      try {
        say()
      } catch (thrown) {
        const error = this.handle.fault(thrown)
        for (const token of this.#ending.splice(0)) this.pending.reject(token, error)
        this.handle.run((core) => core.end(0, false, 0))
      }
      this.turn.wake()
    })
    this.#delivery.whenIdle(this.#goodbye)
  }

  drain(options: CallOptions | undefined): Promise<void> {
    return this.call(undefined, () => {
      const call = readCall(options)
      this.handle.open()
      const token = this.pending.next
      const promise = this.take(undefined, call, () => {
        this.#drained(token)
        this.cancel(token)
      })
      this.#draining.push(token)
      this.#drain(token)
      return promise
    })
  }

  #drain(token: number): void {
    this.#delivery.whenIdle(() => {
      // Where it is refused, the end of the client is near, which settles it.
      if (this.pending.waiting(token)) this.handle.run((core) => core.drain(token))
      else this.#drained(token)
      this.turn.wake()
    })
  }

  #drained(token: number): void {
    this.#draining = this.#draining.filter((each) => each !== token)
  }

  stats(): Stats {
    this.handle.run((core) => (this.#lastStats = core.stats()))
    const none = { connectedSince: undefined, roundTrip: undefined }
    const stats: Stats = Object.assign(none, this.#lastStats!, {
      wasmMemoryBytes: memoryBytes().length,
    })
    stats.droppedMessages += this.#delivery.dropped
    return stats
  }

  taker(route: Route): Take {
    return this.#delivery.taker(route)
  }

  leave(route: Route, options: CallOptions | undefined): Promise<void> {
    return this.call(undefined, () => {
      const leave = this.ask<void>(undefined, readCall(options), (core, token) =>
        core.unsubscribeHandle(token, route.handle),
      )
      this.routes.end(route)
      return leave as Promise<void>
    })
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
    withdraw: Withdraw = (token) => this.cancel(token),
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
    return this.take(callback, options)
  }

  /** Why the core refused a call. */
  refusal(core: Core): AnyMqttError {
    return this.#attempt.error(core.refusal())
  }

  /** Withdraws a call from the core. */
  cancel(token: number): void {
    this.handle.run((core) => core.cancel(token))
    this.turn.wake()
  }

  // ---------------------------------------------------------------------------------------------- what the core tells

  event(event: CoreEvent): void {
    const { emitter } = this
    switch (event.type) {
      case 'state':
        if (this.#goodbye === undefined && event.state !== this.state) this.#setState(event.state)
        break
      case 'connect':
        this.info = event.info
        event.info.url = withoutValues(event.info.url)
        emitter.emit('connect', event.info)
        for (const token of this.#connecting.splice(0)) this.pending.resolve(token, event.info)
        break
      case 'connectFailed': {
        const error = this.#attempt.error(event.error)
        for (const token of this.#connecting.splice(0)) this.pending.reject(token, error)
        break
      }
      case 'disconnect':
        // Errors take long to make, and thousands of clients may lose their server at once.
        if (this.#goodbye !== undefined) this.#goodbye()
        else if (emitter.get('disconnect') !== undefined)
          emitter.emit('disconnect', this.#attempt.error(event.error), event.willReconnect)
        break
      case 'reconnecting': {
        if (this.#ending.length > 0 || emitter.get('reconnecting') === undefined) break
        const { attempt, delay, url } = event
        const error = this.#attempt.error(event.error)
        emitter.emit('reconnecting', { attempt, delay, error, url: withoutValues(url) })
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
      case 'done': {
        const { token } = event
        if (!this.#draining.includes(token)) pending.resolve(token, undefined)
        else if (this.#delivery.working > 0) this.#drain(token)
        else {
          this.#drained(token)
          this.#whenDone([token], Infinity)
        }
      }
    }
  }

  #setState(state: ClientState): void {
    const previous = this.state
    this.state = state
    this.#host.keepAwake(state !== 'connected')
    if (state === 'idle' || state === 'connecting') this.#hearPage(state === 'connecting')
    this.emitter.emit('state', state, previous)
  }

  // ---------------------------------------------------------------------------------------------- how it ends

  /** The core's part is over. */
  #close(error: AnyMqttError | undefined): void {
    this.stats()
    this.#leave()
    this.handle.close(error)
    // Where it still waits, there is nobody left to say it to: only its timer is.
    this.#goodbye?.()
    this.emitter.emit('close', error)
    this.routes.endAll(error)
    const ending = this.#ending.splice(0)
    this.#whenDone(ending, this.#left(), this.#attempt.keeper)
    const ended = this.handle.ended()
    for (const token of this.#connecting.splice(0))
      this.pending.reject(token, error ?? this.#aborted ?? ended)
    this.pending.rejectAll(ended, ending)
  }

  /** Resolves calls when the transport has written everything and the store, if one is given, is closed, after `patience` ms at the latest. */
  #whenDone(tokens: readonly number[], patience: number, keeper?: Keeper): void {
    const { pending, emitter } = this
    let awaited = keeper === undefined ? 1 : 2
    const done = () => {
      awaited--
      if (awaited === 0) for (const token of tokens) pending.resolve(token, undefined)
    }
    const isAwaited = () => tokens.some((token) => pending.waiting(token))
    this.#attempt.whenWritten(done, this.#forced ? 0 : patience, isAwaited)
    keeper?.close(emitter, patience, done)
  }

  /** The instance trapped. This is called under whatever ran into it, so the rest happens later. */
  evict(error: AnyMqttError): void {
    this.#leave()
    soon(() => {
      this.#attempt.abandon()
      this.#setState('closed')
      this.#close(error)
    })
  }

  /** The page or its network has come back, or the network goes. */
  handleEvent(event: PageEvent): void {
    if (!tellsOfConnection(event)) return
    // Without a network there is nothing to try.
    if (event.type === 'offline' && this.state !== 'connected') return
    this.handle.run((core) => core.check())
    this.turn.wake()
  }

  #hearPage(hears: boolean): void {
    if (hears !== this.#hearsPage) listenToPage(this, hears)
    this.#hearsPage = hears
  }

  /** Nothing is left that keeps the page or process busy. */
  #leave(): void {
    this.#host.timer(-1)
    this.#hearPage(false)
    this.#unwatchSignal?.()
  }
}
