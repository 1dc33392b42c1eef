/** What an EventEmitter's listener is. */
export type Listener = (...args: any[]) => void

/** The arguments of each event, by its name. */
export type EventMap = Record<string, unknown[]>

interface Entry {
  listener: Listener
  once: boolean
}

/**
 * The part of Node's EventEmitter that users of MQTT.js rely on, for runtimes without one. The build for Node takes Node's own class instead
 * (emitter.node.ts). As there, an 'error' without a listener is thrown, and a listener that throws stops the ones after it.
 */
export class EventEmitter<Events extends { [name in keyof Events]: unknown[] } = EventMap> {
  readonly #entries = new Map<keyof Events, readonly Entry[]>()
  #maxListeners = 10

  /** Calls `listener` at every such event. */
  on<E extends keyof Events>(event: E, listener: (...args: Events[E]) => void): this {
    return this.#add(event, listener as Listener, false, false)
  }

  /** The same as `on`. */
  addListener<E extends keyof Events>(event: E, listener: (...args: Events[E]) => void): this {
    return this.#add(event, listener as Listener, false, false)
  }

  /** Calls `listener` at the next such event only. */
  once<E extends keyof Events>(event: E, listener: (...args: Events[E]) => void): this {
    return this.#add(event, listener as Listener, true, false)
  }

  /** As `on`, in front of the listeners that are there. */
  prependListener<E extends keyof Events>(event: E, listener: (...args: Events[E]) => void): this {
    return this.#add(event, listener as Listener, false, true)
  }

  /** As `once`, in front of the listeners that are there. */
  prependOnceListener<E extends keyof Events>(
    event: E,
    listener: (...args: Events[E]) => void,
  ): this {
    return this.#add(event, listener as Listener, true, true)
  }

  /** Takes back one registration of `listener`, the latest. */
  off<E extends keyof Events>(event: E, listener: (...args: Events[E]) => void): this {
    const entries = this.#entries.get(event) ?? []
    const at = entries.map((entry) => entry.listener).lastIndexOf(listener as Listener)
    if (at >= 0)
      this.#set(
        event,
        entries.filter((_, index) => index !== at),
      )
    return this
  }

  /** The same as `off`. */
  removeListener<E extends keyof Events>(event: E, listener: (...args: Events[E]) => void): this {
    return this.off(event, listener)
  }

  /** Takes back all listeners, of one event or of every one. */
  removeAllListeners(event?: keyof Events): this {
    if (event === undefined) this.#entries.clear()
    else this.#entries.delete(event)
    return this
  }

  /** Calls the listeners in order; false if there are none. Throws what an 'error' carries if nobody listens. */
  emit<E extends keyof Events>(event: E, ...args: Events[E]): boolean {
    const entries = this.#entries.get(event)
    if (entries === undefined) {
      if (event === 'error') throw args[0] ?? new Error('Unhandled error')
      return false
    }
    for (const entry of entries) {
      if (entry.once) this.#remove(event, entry)
      entry.listener.apply(this, args)
    }
    return true
  }

  /** How many listeners an event has, or how often it has this one. */
  listenerCount(event: keyof Events, listener?: Listener): number {
    const entries = this.#entries.get(event) ?? []
    return listener === undefined
      ? entries.length
      : entries.filter((entry) => entry.listener === listener).length
  }

  /** The listeners of an event. */
  listeners<E extends keyof Events>(event: E): ((...args: Events[E]) => void)[] {
    return (this.#entries.get(event) ?? []).map(({ listener }) => listener)
  }

  /** The same as `listeners`. */
  rawListeners<E extends keyof Events>(event: E): ((...args: Events[E]) => void)[] {
    return this.listeners(event)
  }

  /** The events that have listeners. */
  eventNames(): (keyof Events)[] {
    return [...this.#entries.keys()]
  }

  /** Kept for `getMaxListeners`; there is no warning about many listeners here. */
  setMaxListeners(count: number): this {
    this.#maxListeners = count
    return this
  }

  /** What `setMaxListeners` was given. Default 10, as in Node. */
  getMaxListeners(): number {
    return this.#maxListeners
  }

  #add(event: keyof Events, listener: Listener, once: boolean, first: boolean): this {
    if (typeof listener !== 'function')
      throw new TypeError('The "listener" argument must be a function')
    const entries = this.#entries.get(event) ?? []
    const entry = { listener, once }
    this.#set(event, first ? [entry, ...entries] : [...entries, entry])
    return this
  }

  #remove(event: keyof Events, entry: Entry): void {
    const entries = this.#entries.get(event) ?? []
    this.#set(
      event,
      entries.filter((each) => each !== entry),
    )
  }

  #set(event: keyof Events, entries: readonly Entry[]): void {
    if (entries.length > 0) this.#entries.set(event, entries)
    else this.#entries.delete(event)
  }
}
