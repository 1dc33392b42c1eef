import type { Core, CoreEvent } from '#glue'
import { type Emitter, isThenable } from '../emitter.js'
import type { Take } from '../flow.js'
import { type Acknowledger, arm, copyOf, Hold, type Message } from '../message.js'
import type { Pending } from '../pending.js'
import type { Route } from '../subscription.js'
import type { ConnectInfo } from '../types/events.js'
import type { CoreHandle } from './handle.js'
import type { RecordTaker, Slot } from './records.js'
import { SUCCESS, type Turn } from './turn.js'

/** Takes events that are no messages. */
export interface Owner {
  /** What the current or last connection brought. */
  readonly info: ConnectInfo | undefined
  event(event: CoreEvent): void
}

/** Takes messages to their handlers, answers to their calls, and events to their client. */
export class Delivery implements RecordTaker, Acknowledger {
  readonly #handle: CoreHandle
  readonly #emitter: Emitter
  readonly #pending: Pending
  readonly #turn: Turn
  readonly #owner: Owner
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

  message(core: Core, slot: Slot, message: Message, sequence: number): void {
    const { direct } = slot
    if (direct?.sink !== undefined) direct.sink.push(message, undefined, slot)
    else if (direct !== undefined && direct.working < direct.concurrency)
      this.#call(direct, message)
    else this.#deliver(core, slot, message, sequence)
    const listeners = this.#emitter.get('message')
    if (listeners !== undefined) this.#emitter.each(listeners, message)
  }

  done(token: number, reasonCode: number): void {
    this.#pending.resolve(token, reasonCode === 0 ? SUCCESS : { reasonCode })
  }

  event(event: CoreEvent): void {
    this.#owner.event(event)
  }

  acknowledge(sequence: number, reasonCode: number): void {
    this.#handle.run((core) => core.ack(sequence, reasonCode))
    this.#turn.wake()
  }

  /** Delivers to several Subscriptions, or to one that has a say in the acknowledgement. */
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
  readonly taker = (route: Route): Take => {
    return (message, hold) => this.#take(route, message, hold)
  }

  /** Takes a message to the handler, or has it wait until the handler is free. */
  #take(route: Route, message: Message, hold: Hold | undefined): void {
    if (route.working < route.concurrency) this.#show(route, message, hold)
    else if (route.backlog.push(message, hold)) this.dropped++
  }

  #show(route: Route, message: Message, hold: Hold | undefined): void {
    if (hold === undefined) {
      this.#call(route, message)
    } else if (route.ack === 'settled') {
      this.#call(route, message, () => hold.release())
    } else if (route.ack === 'manual') {
      const own = arm(message, hold) || route.handler === undefined ? message : copyOf(message)
      arm(own, hold)
      hold.release()
      this.#call(route, own, (failed) => failed && own.ack())
    } else {
      this.#call(route, message)
      hold.release()
    }
  }

  /** A promise of the handler has settled. */
  #settled(route: Route): void {
    route.working--
    while (route.working < route.concurrency) {
      const next = route.backlog.shift()
      if (next === undefined) return
      this.#show(route, next.message, next.hold)
    }
  }

  #hold(core: Core, sequence: number): Hold {
    core.hold(sequence)
    return new Hold(this, sequence)
  }

  /** Calls the handler, and `done` when what it returned has settled. */
  #call(route: Route, message: Message, done?: (failed: boolean) => void): void {
    const { handler } = route
    try {
      const returned: unknown =
        handler === undefined ? undefined : handler(message, route.subscription)
      if (returned === undefined || !isThenable(returned)) done?.(false)
      else {
        route.working++
        this.#follow(returned, route, message, (failed) => {
          done?.(failed)
          this.#settled(route)
        })
      }
    } catch (cause) {
      this.#failed(route, message, cause)
      done?.(true)
    }
  }

  #follow(
    returned: PromiseLike<unknown>,
    route: Route,
    message: Message,
    done?: (failed: boolean) => void,
  ): void {
    returned.then(
      () => done?.(false),
      (cause) => {
        this.#failed(route, message, cause)
        done?.(true)
      },
    )
  }

  #failed({ filters }: Route, { topic }: Message, cause: unknown): void {
    const filter = filters.join(', ')
    this.#emitter.failed(`the handler of subscription '${filter}' threw`, cause, { topic, filter })
  }
}
