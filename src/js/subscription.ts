import { type AnyMqttError, keepName } from './errors.js'
import { type Backlog, Conflation, type Take } from './flow.js'
import type { Hold, Message } from './message.js'
import type { SubscribeCall } from './options.js'
import { asyncDispose, soon } from './platform.js'
import type { CallOptions, Grant, MessageProperties } from './types/basics.js'
import type * as api from './types/calls.js'

/** Takes the messages of a Subscription that has no handler: a stream, or what watches share. */
export interface Sink {
  /** Whether it keeps acknowledgements waiting. */
  readonly holds: boolean
  push(message: Message, hold: Hold | undefined, slot: Slot): void
  /** No message comes any more. */
  finish(error?: AnyMqttError): void
}

/** A topic's latest message, for watches. */
export interface Cell {
  /** Whose it is. */
  feed: Sink
  topic: string
  /** Undefined once the topic is not in the map any more. */
  message: Message | undefined
  /** That of the feed when it changed last. */
  version: number
}

/** A topic, and what is known about its messages before they come. */
export interface Slot {
  topic: string
  /** The one Subscription, if its messages need nothing more than that its handler is called or its watches are told. */
  direct: Route | undefined
  routes: Route[]
  properties: MessageProperties | undefined
  /** What a watch has of the topic, so that it need not look for it. */
  cell: Cell | undefined
}

/** What a Subscription needs of its client. */
export interface RouteOwner {
  /** Takes what conflation lets through to the handler. */
  taker(route: Route): Take
  /** Ends the Subscription. */
  leave(route: Route, options: CallOptions | undefined): Promise<void>
}

/** A Subscription as the client keeps it, and where its messages go. */
export class Route {
  /** Names it in the core. */
  readonly handle: number
  readonly filters: string[]
  readonly ack: 'auto' | 'settled' | 'manual'
  readonly concurrency: number
  readonly conflation: Conflation | undefined
  /** Whether each message is taken at once, and is acknowledged then. */
  readonly isDirect: boolean
  /** How many promises of the handler have not settled. */
  working = 0
  /** Messages that wait until the handler is free; made when one does. */
  backlog: Backlog | undefined
  handler: api.MessageHandler | undefined
  sink: Sink | undefined
  grants: readonly Grant[] = []
  active = false
  /** Ends the watch over the signal of the call. */
  unwatch: (() => void) | undefined
  readonly owner: RouteOwner
  readonly subscription = new Subscription(this)

  constructor(
    handle: number,
    { filters, ack, concurrency, conflate }: SubscribeCall,
    handler: api.MessageHandler | undefined,
    sink: Sink | undefined,
    owner: RouteOwner,
  ) {
    this.handle = handle
    this.filters = filters
    this.ack = ack
    this.concurrency = concurrency
    this.conflation = conflate > 0 ? new Conflation(conflate, owner.taker(this)) : undefined
    this.isDirect = ack === 'auto' && !sink?.holds && conflate === 0
    this.handler = handler
    this.sink = sink
    this.owner = owner
  }

  /** Has the signal end the Subscription whenever it is aborted. */
  watch(signal: AbortSignal, onAbort: () => void): void {
    signal.addEventListener('abort', onAbort)
    this.unwatch = () => signal.removeEventListener('abort', onAbort)
  }
}

/** What `subscribe()` yields. The types show its interface only. */
export class Subscription implements api.Subscription {
  readonly #route: Route
  #ending: Promise<void> | undefined

  static {
    keepName(Subscription, 'Subscription')
  }

  constructor(route: Route) {
    this.#route = route
  }

  get grants(): readonly Grant[] {
    return this.#route.grants
  }

  get active(): boolean {
    return this.#route.active
  }

  unsubscribe(options?: CallOptions): Promise<void> {
    const route = this.#route
    if (this.#ending !== undefined || !route.active) return this.#ending ?? Promise.resolve()
    const ended = route.owner.leave(route, options)
    // A call that is refused for its options ends nothing.
    if (!route.active) this.#ending = ended
    return ended
  }

  [asyncDispose](): Promise<void> {
    return this.unsubscribe()
  }
}

/** All Subscriptions of a client: those that wait for the server's answer, and those in force. */
export class Routes {
  readonly #byHandle = new Map<number, Route>()
  /** By the tokens of their calls; there while one waits. */
  #waiting: Map<number, Route> | undefined
  readonly #freeHandles: number[] = []
  /** Whether a Subscription of this client has ended. */
  hasEnded = false
  #lastHandle = 0

  /** A copy: what is done to it changes nothing here. */
  get inForce(): Set<api.Subscription> {
    const active = [...this.#byHandle.values()].filter((route) => route.active)
    return new Set(active.map((route) => route.subscription))
  }

  /** A number for the next Subscription. */
  takeHandle(): number {
    return this.#freeHandles.pop() ?? ++this.#lastHandle
  }

  /** Adds a Subscription for which the call `token` waits. */
  add(token: number, route: Route): void {
    this.#byHandle.set(route.handle, route)
    this.#waiting ??= new Map()
    this.#waiting.set(token, route)
  }

  get(handle: number): Route | undefined {
    return this.#byHandle.get(handle)
  }

  /** The Subscription that waits for this call; it waits no more. */
  answered(token: number): Route | undefined {
    const route = this.#waiting?.get(token)
    this.#waiting?.delete(token)
    if (this.#waiting?.size === 0) this.#waiting = undefined
    return route
  }

  /** The server has granted it. It may have ended before the answer came. */
  begin(route: Route, grants: readonly Grant[]): void {
    route.grants = grants
    route.active = this.#byHandle.get(route.handle) === route
  }

  end(route: Route | undefined, error?: AnyMqttError): void {
    // A Subscription whose filter was left before its answer ends with that, and not once more when it is refused: its number may be another's.
    if (route === undefined || this.#byHandle.get(route.handle) !== route) return
    const { handle, sink } = route
    this.hasEnded = true
    this.#byHandle.delete(handle)
    // Records of the batch that is being delivered may still name it.
    soon(() => this.#freeHandles.push(handle))
    route.active = false
    route.unwatch?.()
    route.handler = undefined
    route.sink = undefined
    route.conflation?.end()
    // What waits for the handler is not for anybody any more.
    for (let next = route.backlog?.shift(); next !== undefined; next = route.backlog!.shift())
      next.hold?.release()
    sink?.finish(error)
  }

  endAll(error: AnyMqttError | undefined): void {
    for (const route of [...this.#byHandle.values()]) this.end(route, error)
  }
}
