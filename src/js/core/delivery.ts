import type { Core, CoreEvent } from '#glue'
import { type Emitter, listenerOf } from '../emitter.js'
import { mqttError } from '../errors.js'
import { Backlog, type Take } from '../flow.js'
import { type Acknowledger, arm, copyOf, Hold, type Message } from '../message.js'
import type { Pending } from '../pending.js'
import type { Route, Slot } from '../subscription.js'
import type { ConnectInfo } from '../types/events.js'
import { isThenable } from '../validate.js'
import type { CoreHandle } from './handle.js'
import type { RecordTaker } from './records.js'
import { SUCCESS, type Turn } from './turn.js'

/** Takes events that are no messages. */
export interface Owner {
  /** What the current or last connection brought. */
  readonly info: ConnectInfo | undefined
  readonly routes: { readonly hasEnded: boolean }
  event(event: CoreEvent): void
}

type Handler = (...args: any[]) => unknown

/** Whether somebody gets what comes for a Subscription. */
const isHeard = ({ handler, sink }: Route) => (handler ?? sink) !== undefined

/** Takes messages to their handlers, answers to their calls, and events to their client. */
export class Delivery implements RecordTaker, Acknowledger {
  readonly #handle: CoreHandle
  readonly #emitter: Emitter
  readonly #pending: Pending
  readonly #turn: Turn
  readonly #owner: Owner
  /** Set when the client ends: messages are left to the server, which keeps them for the session. */
  stopped = false
  /** Handlers whose promises have not settled. */
  working = 0
  #idle: (() => void)[] = []
  /** Whether it was told that a message found nobody. */
  #told = false
  /** Messages that gave way because handlers were busy. */
  dropped = 0

  constructor(handle: CoreHandle, emitter: Emitter, pending: Pending, turn: Turn, owner: Owner) {
    this.#handle = handle
    this.#emitter = emitter
    this.#pending = pending
    this.#turn = turn
    this.#owner = owner
  }

  get evicted(): boolean {
    return this.#handle.evicted
  }

  get canRefuse(): boolean {
    return this.#owner.info?.server.protocolVersion !== 4
  }

  // The usual case, in few words: engines compile what is short into its caller, down to the handler.
  message(core: Core, slot: Slot, message: Message, sequence: number): void {
    if (this.stopped) {
      if (sequence > 0) core.hold(sequence)
      return
    }
    const { direct } = slot
    const handler = direct?.handler
    if (handler !== undefined && direct!.working < direct!.concurrency)
      this.#call(direct, handler, message)
    else this.#deliver(core, slot, message, sequence)
    if (handler === undefined || this.#emitter.get('message') !== undefined)
      this.#emit(slot, message, sequence)
  }

  /** Takes a message to the listeners of 'message', whatever its Subscriptions do with it. */
  #emit(slot: Slot, message: Message, sequence: number): void {
    const listeners = this.#emitter.get('message')
    if (listeners !== undefined)
      for (const listener of listeners) this.#call(undefined, listener, message)
    else if (sequence > 0 && !this.#told) this.#tell(slot, message)
  }

  done(token: number, reasonCode: number): void {
    this.#pending.resolve(token, reasonCode === 0 ? SUCCESS : { reasonCode })
  }

  /**
   * Reports, once, a message that finds neither handler nor listener, and is acknowledged all the same. Where a Subscription has ended, the message may
   * have been on its way to that one.
   */
  #tell({ routes }: Slot, { topic }: Message): void {
    if (this.#owner.routes.hasEnded || routes.some(isHeard)) return
    this.#told = true
    const what = `a message to '${topic}' found no handler and no listener of 'message'`
    this.#emitter.emit('error', mqttError({ code: 'HANDLER_FAILED', what, topic }))
  }

  /** Calls `done` when no handler is at work. */
  whenIdle(done: () => void): void {
    if (this.working > 0) this.#idle.push(done)
    else done()
  }

  event(event: CoreEvent): void {
    this.#owner.event(event)
  }

  acknowledge(sequence: number, reasonCode: number): void {
    this.#handle.run((core) => core.ack(sequence, reasonCode))
    this.#turn.wake()
  }

  /** Delivers to any number of Subscriptions, each as it asked for. */
  #deliver(core: Core, slot: Slot, message: Message, sequence: number): void {
    const unacknowledged = message.qos === 0
    let hold: Hold | undefined
    for (const route of slot.routes) {
      const { sink, conflation } = route
      let share: Hold | undefined
      // Under conflation most messages never reach the handler: with 'auto' none waits for it.
      if (
        !unacknowledged &&
        !(route.isDirect && route.working < route.concurrency) &&
        !(conflation !== undefined && route.ack === 'auto')
      )
        share = (hold ??= this.#hold(core, sequence)).share()
      if (sink !== undefined) sink.push(message, share, slot)
      else if (conflation !== undefined) conflation.push(message, share)
      else this.#take(route, message, share)
    }
    hold?.release()
  }

  /** What conflation lets through. */
  taker(route: Route): Take {
    return (message, hold) => this.#take(route, message, hold)
  }

  /** Takes a message to the handler, or has it wait until the handler is free. */
  #take(route: Route, message: Message, hold: Hold | undefined): void {
    if (route.working < route.concurrency) this.#show(route, message, hold)
    else if ((route.backlog ??= new Backlog()).push(message, hold)) this.dropped++
  }

  #show(route: Route, message: Message, hold: Hold | undefined): void {
    if (hold === undefined) {
      this.#call(route, route.handler, message)
    } else if (route.ack === 'settled') {
      this.#call(route, route.handler, message, () => hold.release())
    } else if (route.ack === 'manual') {
      const own = arm(message, hold) || route.handler === undefined ? message : copyOf(message)
      arm(own, hold)
      hold.release()
      this.#call(route, route.handler, own, (failed) => failed && own.ack())
    } else {
      this.#call(route, route.handler, message)
      hold.release()
    }
  }

  /** A promise of the handler has settled. */
  #settled(route: Route): void {
    route.working--
    while (!this.stopped && route.working < route.concurrency) {
      const next = route.backlog?.shift()
      if (next === undefined) return
      this.#show(route, next.message, next.hold)
    }
  }

  #hold(core: Core, sequence: number): Hold {
    core.hold(sequence)
    return new Hold(this, sequence)
  }

  /** Calls a handler, or a listener of 'message', and `done` when what it returned has settled. */
  #call(
    route: Route | undefined,
    handler: Handler | undefined,
    message: Message,
    done?: (failed: boolean) => void,
  ): void {
    let failed = false
    try {
      const returned =
        route === undefined ? handler?.(message) : handler?.(message, route.subscription)
      if (returned !== undefined && isThenable(returned)) {
        this.#follow(returned, route, message, done)
        return
      }
    } catch (cause) {
      failed = true
      this.#failed(route, message, cause)
    }
    done?.(failed)
  }

  #follow(
    returned: PromiseLike<unknown>,
    route: Route | undefined,
    message: Message,
    done?: (failed: boolean) => void,
  ): void {
    this.working++
    if (route !== undefined) route.working++
    let isOver = false
    // A thenable that is no promise may settle twice, or settle and throw.
    const settled = (failed: boolean, cause?: unknown) => {
      if (isOver) return
      isOver = true
      if (failed) this.#failed(route, message, cause)
      try {
        done?.(failed)
        if (route !== undefined) this.#settled(route)
      } finally {
        if (--this.working === 0) for (const call of this.#idle.splice(0)) call()
      }
    }
    const threw = (cause: unknown) => settled(true, cause)
    try {
      returned.then(() => settled(false), threw)
    } catch (cause) {
      threw(cause)
    }
  }

  #failed(route: Route | undefined, message: Message, cause: unknown): void {
    const { topic } = message
    const filter = route?.filters.join(', ')
    let what =
      filter === undefined ? listenerOf('message') : `the handler of subscription '${filter}' threw`
    // As callbacks of other clients do, which take it for an error.
    if (cause === message) what += ' the message itself: a callback is the fourth argument'
    this.#emitter.failed(what, cause, { topic, filter })
  }
}
