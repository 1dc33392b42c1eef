import { keepName, mqttError } from './errors.js'
import { compact, type Message } from './message.js'
import { readWatch, type WatchCall } from './options.js'
import { CallPromise } from './pending.js'
import { asyncDispose, LONGEST_TIMEOUT, soon } from './platform.js'
import { leave, type Source } from './stream.js'
import type { Cell, Sink, Slot } from './subscription.js'
import type * as api from './types/calls.js'
import * as validate from './validate.js'

type Listener = (topics: readonly string[]) => unknown

/** The latest message of each topic of one subscription, which all watches of its filters share. */
class Feed implements Sink {
  readonly holds = false
  /** In the order in which the topics came. */
  readonly cells = new Map<string, Cell>()
  version = 0
  readonly #source: Source
  readonly #onEnd: () => void
  readonly #watches = new Set<Watch>()
  /** Withdraws the subscribe call while it is pending. */
  readonly #withdraw = new AbortController()
  #limit = 0
  /** What has not changed for longest when that was last found out: the oldest is the last. */
  #oldest: { cell: Cell; version: number }[] = []
  #subscription: api.Subscription | undefined
  #ended = false

  constructor(source: Source, filters: api.Filters, call: WatchCall, onEnd: () => void) {
    this.#source = source
    this.#onEnd = onEnd
    const options = { ...call.subscribe, signal: this.#withdraw.signal }
    source.subscribe(filters, options, this, (error, subscription) => {
      if (error !== null) this.#end()
      else if (this.#ended) void leave(source, subscription)
      else this.#subscription = subscription
      for (const watch of this.#watches) watch.answered(error)
    })
  }

  /** Whether the server has answered the SUBSCRIBE. */
  get isAnswered(): boolean {
    return this.#subscription !== undefined
  }

  /** The largest limit counts for all watches. */
  join(watch: Watch, limit: number): void {
    this.#watches.add(watch)
    this.#limit = Math.max(this.#limit, limit)
    this.#source.reserveTopics(this.#limit)
  }

  /** A watch has ended: with the last one the subscription does, too. Resolves when it is gone. */
  async leave(watch: Watch): Promise<void> {
    this.#watches.delete(watch)
    if (this.#watches.size > 0 || this.#ended) return
    this.#end()
    this.#withdraw.abort()
    const left = leave(this.#source, this.#subscription)
    if (this.#source.isConnected()) await left
  }

  push(message: Message, _hold: undefined, slot: Slot): void {
    const { topic } = message
    let cell = slot.cell
    // One that was deleted is not used again: by now there may be another one for its topic.
    if (cell?.feed !== this || cell.message === undefined) {
      const version = cell?.feed === this ? cell.version : 0
      cell = this.cells.get(topic) ?? { feed: this, topic, message: undefined, version }
      slot.cell = cell
    }
    if (message.payload.length === 0) {
      // On the wire, the deletion of a retained message looks like this, and need not have the retain flag.
      if (cell.message !== undefined) this.#delete(cell)
      return
    }
    if (cell.message === undefined) {
      if (this.cells.size >= this.#limit) this.#makeRoom()
      this.cells.set(topic, cell)
    }
    cell.message = compact(message)
    this.#changed(cell)
  }

  /** No message comes any more. */
  finish(): void {
    this.#end()
    for (const watch of this.#watches) watch.finish()
  }

  #changed(cell: Cell): void {
    const before = cell.version
    cell.version = ++this.version
    for (const watch of this.#watches) watch.changed(cell, before)
  }

  #delete(cell: Cell): void {
    this.cells.delete(cell.topic)
    cell.message = undefined
    this.#changed(cell)
  }

  /** Removes the topic that has not changed for longest. To sort them now and then costs less than to keep them in order at every message. */
  #makeRoom(): void {
    for (;;) {
      if (this.#oldest.length === 0)
        this.#oldest = [...this.cells.values()]
          .map((cell) => ({ cell, version: cell.version }))
          .sort((a, b) => b.version - a.version)
      const { cell, version } = this.#oldest.pop()!
      if (cell.version === version && cell.message !== undefined) {
        this.#delete(cell)
        return
      }
    }
  }

  /** A watch that comes later needs a subscription of its own. */
  #end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#onEnd()
  }
}

/** What `watch()` returns. The types show its interface only. */
export class Watch implements api.Watch {
  readonly ready: CallPromise<void>
  readonly #source: Source
  readonly #listeners = new Set<{ listener: Listener }>()
  /** Topics of which the listeners have not been told. */
  #topics: string[] = []
  /** What they have been told of. */
  #told = 0
  #resolve!: () => void
  #reject!: (error: unknown) => void
  #feed: Feed | undefined
  #cells: ReadonlyMap<string, Cell> = new Map()
  #filters = ''
  #conflate = 0
  #signal: AbortSignal | undefined
  /** When the listeners were called last, by `performance`, in ms. */
  #called = -Infinity
  /** Whether they are called at the end of this turn. */
  #calling = false
  #timer: ReturnType<typeof setTimeout> | undefined
  #end: Promise<void> | undefined

  static {
    keepName(Watch, 'Watch')
  }

  constructor(source: Source) {
    this.#source = source
    this.ready = new CallPromise<void>((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    }).by(source.emitter)
  }

  /** Shows what a feed brings. */
  join(feed: Feed, { filters, limit, conflate, signal }: WatchCall): void {
    this.#feed = feed
    this.#cells = feed.cells
    feed.join(this, limit)
    this.#filters = filters.join(', ')
    this.#conflate = conflate
    this.#signal = signal
    signal?.addEventListener('abort', this.#onAbort)
    if (feed.isAnswered) this.answered(null)
  }

  /** The server has answered the SUBSCRIBE, or the call went wrong. */
  answered(error: unknown): void {
    if (error === null) {
      this.#resolve()
    } else {
      this.#reject(error)
      this.ready.rejected(error)
    }
  }

  /** A topic has another message, or none any more. `before`: the version at which it had changed before. */
  changed(cell: Cell, before: number): void {
    if (this.#listeners.size === 0) return
    if (before <= this.#told) this.#topics.push(cell.topic)
    if (this.#calling) return
    const wait = this.#conflate > 0 ? this.#called + this.#conflate - performance.now() : 0
    if (wait > 0) {
      // The clock is asked at every change: browsers delay the timers of hidden tabs.
      this.#timer ??= setTimeout(this.#call, Math.min(wait, this.#conflate, LONGEST_TIMEOUT))
    } else {
      this.#calling = true
      soon(this.#call)
    }
  }

  /** Nothing changes any more: what the listeners have not been told, they are told now. */
  finish(): void {
    if (this.#timer !== undefined) this.#call()
  }

  get version(): number {
    return this.#feed?.version ?? 0
  }

  get size(): number {
    return this.#cells.size
  }

  get(topic: string): Message | undefined {
    return this.#cells.get(topic)?.message
  }

  has(topic: string): boolean {
    return this.#cells.has(topic)
  }

  keys(): MapIterator<string> {
    return this.#cells.keys()
  }

  *values(): MapIterator<Message> {
    for (const { message } of this.#cells.values()) yield message!
  }

  *entries(): MapIterator<[string, Message]> {
    for (const [topic, { message }] of this.#cells) yield [topic, message!]
  }

  [Symbol.iterator](): MapIterator<[string, Message]> {
    return this.entries()
  }

  forEach(
    callback: (message: Message, topic: string, map: ReadonlyMap<string, Message>) => void,
    thisArg?: unknown,
  ): void {
    for (const [topic, message] of this) callback.call(thisArg, message, topic, this)
  }

  // useSyncExternalStore() takes it off the object.
  readonly onChange = (listener: Listener): (() => void) => {
    const each = { listener: validate.func(listener, 'listener') }
    if (this.#listeners.size === 0) {
      this.#topics = []
      this.#told = this.version
    }
    if (this.#end === undefined) this.#listeners.add(each)
    return () => void this.#listeners.delete(each)
  }

  end(): Promise<void> {
    return (this.#end ??= this.#leave())
  }

  [asyncDispose](): Promise<void> {
    return this.end()
  }

  async #leave(): Promise<void> {
    this.#signal?.removeEventListener('abort', this.#onAbort)
    this.#listeners.clear()
    clearTimeout(this.#timer)
    // Who ends it need not look at the promise.
    this.ready.catch(() => {})
    this.#reject(mqttError({ code: 'ABORTED', cause: this.#signal?.reason }))
    await this.#feed?.leave(this)
  }

  readonly #onAbort = (): void => void this.end()

  readonly #call = (): void => {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#calling = false
    this.#called = performance.now()
    const topics = this.#topics
    this.#topics = []
    this.#told = this.version
    if (topics.length === 0) return
    const { emitter } = this.#source
    const filter = this.#filters
    const what = `the listener of watch '${filter}' threw`
    for (const { listener } of this.#listeners)
      emitter.run(what, () => listener(topics), { filter })
  }
}

/** The watches of a client. */
export class Watches {
  readonly #source: Source
  readonly #feeds = new Map<string, Feed>()

  constructor(source: Source) {
    this.#source = source
  }

  watch(filters: api.Filters, options: api.WatchOptions | undefined): Watch {
    const watch = new Watch(this.#source)
    try {
      const call = readWatch(filters, options)
      const { key } = call
      let feed = this.#feeds.get(key)
      if (feed === undefined) {
        feed = new Feed(this.#source, filters, call, () => this.#feeds.delete(key))
        this.#feeds.set(key, feed)
      }
      watch.join(feed, call)
    } catch (error) {
      watch.answered(error)
    }
    return watch
  }
}
