// What keeps messages from a handler for a while: the option `conflate`, and handlers that are busy.
import type { Hold, Message } from './message.js'
import { LONGEST_TIMEOUT } from './platform.js'

/** How many messages without an acknowledgement wait for a handler. */
const LIMIT = 10_000

/** Takes a message. `hold`: its acknowledgement, where that waits for the handler. */
export type Take = (message: Message, hold: Hold | undefined) => void

interface Waiting {
  message: Message
  hold: Hold | undefined
}

interface Node<T> {
  value: T
  next: Node<T> | undefined
}

/** First in, first out. An array would move all that are left each time. */
class Line<T> {
  size = 0
  #first: Node<T> | undefined
  #last: Node<T> | undefined

  get first(): T | undefined {
    return this.#first?.value
  }

  push(value: T): void {
    const node = { value, next: undefined }
    if (this.#last === undefined) this.#first = node
    else this.#last.next = node
    this.#last = node
    this.size++
  }

  shift(): T | undefined {
    const node = this.#first
    if (node === undefined) return undefined
    this.#first = node.next
    if (node.next === undefined) this.#last = undefined
    this.size--
    return node.value
  }
}

/** Messages that wait until a handler is free. */
export class Backlog {
  // Those whose acknowledgement waits, too, are bounded by Receive Maximum. The others give way, so they have a line of their own; `order` says
  // who is first.
  readonly #held = new Line<Waiting & { order: number }>()
  readonly #loose = new Line<Waiting & { order: number }>()
  #order = 0

  /** Adds a message. Returns whether the oldest one gave way. */
  push(message: Message, hold: Hold | undefined): boolean {
    const line = hold === undefined ? this.#loose : this.#held
    line.push({ message, hold, order: this.#order++ })
    return this.#loose.size > LIMIT && this.#loose.shift() !== undefined
  }

  shift(): Waiting | undefined {
    const held = this.#held.first
    const loose = this.#loose.first
    return held === undefined || (loose !== undefined && loose.order < held.order)
      ? this.#loose.shift()
      : this.#held.shift()
  }
}

/** The time in which no other message of a topic is delivered. */
interface Window {
  topic: string
  /** By `performance`, in ms. */
  end: number
  /** The latest message, for the end of the window. */
  next: Waiting | undefined
}

/** Lets at most one message of a topic through in a time: the first at once, then the latest. */
export class Conflation {
  readonly #time: number
  readonly #take: Take
  readonly #windows = new Map<string, Window>()
  /** In the order of their ends. */
  readonly #line = new Line<Window>()
  #timer: ReturnType<typeof setTimeout> | undefined

  /** `time` in ms, above 0. */
  constructor(time: number, take: Take) {
    this.#time = time
    this.#take = take
  }

  push(message: Message, hold: Hold | undefined): void {
    const now = performance.now()
    // Messages move the time on, too: browsers delay the timers of hidden tabs.
    this.#advance(now)
    const window = this.#windows.get(message.topic)
    if (window !== undefined) {
      window.next?.hold?.release()
      window.next = { message, hold }
    } else {
      this.#deliver({ message, hold }, now)
    }
  }

  /** Drops what waits. */
  end(): void {
    clearTimeout(this.#timer)
    for (const { next } of this.#windows.values()) next?.hold?.release()
    this.#windows.clear()
  }

  #deliver({ message, hold }: Waiting, now: number): void {
    const { topic } = message
    const window = { topic, end: now + this.#time, next: undefined }
    this.#windows.set(topic, window)
    this.#line.push(window)
    if (this.#timer === undefined) this.#arm(now)
    this.#take(message, hold)
  }

  #advance(now: number): void {
    let window: Window | undefined
    while ((window = this.#line.first) !== undefined && window.end <= now) {
      this.#line.shift()
      this.#windows.delete(window.topic)
      if (window.next !== undefined) this.#deliver(window.next, now)
    }
  }

  #arm(now: number): void {
    const { end } = this.#line.first!
    const onTimer = () => {
      this.#timer = undefined
      // Where timers are mocked and `performance` is not, the timers count.
      const now = Math.max(performance.now(), end)
      this.#advance(now)
      if (this.#line.first !== undefined && this.#timer === undefined) this.#arm(now)
    }
    this.#timer = setTimeout(onTimer, Math.min(end - now, this.#time, LONGEST_TIMEOUT))
  }
}
