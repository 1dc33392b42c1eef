import type { Emitter } from './emitter.js'
import { type AnyMqttError, keepName, mqttError } from './errors.js'
import type { Hold, Message } from './message.js'
import { readIterate } from './options.js'
import { CallPromise } from './pending.js'
import { asyncDispose } from './platform.js'
import type { Sink } from './subscription.js'
import type * as api from './types/calls.js'

/** Where streams and watches get their messages: a client. */
export interface Source {
  subscribe(
    filters: api.Filters,
    options: api.SubscribeOptions,
    sink: Sink,
    callback: api.Callback<api.Subscription>,
  ): void
  /** Has the core remember so many topics of incoming messages. */
  reserveTopics(count: number): void
  /** Whether a server is there to answer. */
  isConnected(): boolean
  /** Emits an error that belongs to no call of the reader. */
  readonly emitter: Emitter
}

interface Waiter {
  resolve(result: IteratorResult<Message>): void
  reject(error: unknown): void
}

/** What `messages()` returns. The types show its interface only. */
export class MessageStream implements api.MessageStream {
  readonly #source: Source
  readonly #filters: api.Filters
  readonly #options: api.IterateOptions | undefined
  /** Withdraws the subscribe call while it is pending. */
  readonly #withdraw = new AbortController()
  readonly #waiting: Waiter[] = []
  #buffer: { message: Message; hold: Hold | undefined }[] = []
  /** Of the messages that the reader has. */
  #read: Hold[] = []
  #limit = 0
  #overflow: api.IterateOptions['overflow']
  #started = false
  #finished = false
  #error: AnyMqttError | undefined
  #subscription: api.Subscription | undefined
  #dropped = 0

  static {
    keepName(MessageStream, 'MessageStream')
  }

  constructor(source: Source, filters: api.Filters, options: api.IterateOptions | undefined) {
    this.#source = source
    this.#filters = filters
    this.#options = options
  }

  get dropped(): number {
    return this.#dropped
  }

  next(): Promise<IteratorResult<Message>> {
    if (!this.#started) this.#start()
    this.#acknowledge()
    let waiter!: Waiter
    const next = new CallPromise<IteratorResult<Message>>((resolve, reject) => {
      waiter = {
        resolve,
        reject: (error) => {
          reject(error)
          next.rejected(error)
        },
      }
    }).by(this.#source.emitter)
    this.#waiting.push(waiter)
    this.#serve()
    return next
  }

  async return(): Promise<IteratorResult<Message>> {
    this.#started = true
    this.#acknowledge()
    for (const { hold } of this.#buffer) hold?.release()
    this.#buffer = []
    const ended = this.#finish()
    if (this.#source.isConnected()) await ended
    return { value: undefined, done: true }
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [asyncDispose](): Promise<void> {
    await this.return()
  }

  #start(): void {
    this.#started = true
    try {
      const { limit, overflow, signal, subscribe } = readIterate(this.#options)
      this.#limit = limit
      this.#overflow = overflow
      if (signal !== undefined) {
        const abort = () => void this.#finish(mqttError({ code: 'ABORTED', cause: signal.reason }))
        if (signal.aborted) {
          abort()
          return
        }
        signal.addEventListener('abort', abort, { once: true, signal: this.#withdraw.signal })
      }
      this.#source.subscribe(
        this.#filters,
        { ...subscribe, signal: this.#withdraw.signal },
        {
          holds: true,
          push: (message, hold) => this.#push(message, hold),
          finish: (error) => void this.#finish(error),
        },
        (error, subscription) => this.#subscribed(error, subscription),
      )
    } catch (error) {
      void this.#finish(error as AnyMqttError)
    }
  }

  #subscribed(error: AnyMqttError | null, subscription: api.Subscription): void {
    if (error !== null) void this.#finish(error)
    else if (this.#finished) void subscription.unsubscribe().catch(() => {})
    else this.#subscription = subscription
  }

  #push(message: Message, hold: Hold | undefined): void {
    if (this.#finished || (this.#buffer.length >= this.#limit && !this.#makeRoom(hold))) {
      this.#dropped++
      hold?.release()
      return
    }
    this.#buffer.push({ message, hold })
    this.#serve()
  }

  /** Whether one more message may be kept. */
  #makeRoom(hold: Hold | undefined): boolean {
    let oldest = 0
    switch (this.#overflow) {
      case 'pause':
        if (hold !== undefined) return true
        oldest = this.#buffer.findIndex((each) => each.hold === undefined)
        if (oldest < 0) return false
        break
      case 'drop-newest':
        return false
      case 'error':
        void this.#finish(
          mqttError({
            code: 'QUEUE_FULL',
            what: `the stream holds ${this.#limit} messages that were not read`,
            retryable: true,
          }),
        )
        return false
    }
    this.#dropped++
    // The first one is taken without moving the others.
    const [dropped] = oldest === 0 ? [this.#buffer.shift()!] : this.#buffer.splice(oldest, 1)
    dropped!.hold?.release()
    return true
  }

  #acknowledge(): void {
    for (const hold of this.#read) hold.release()
    this.#read = []
  }

  #serve(): void {
    while (this.#waiting.length > 0) {
      const next = this.#buffer.shift()
      if (next === undefined && !this.#finished) return
      const { resolve, reject } = this.#waiting.shift()!
      if (next !== undefined) {
        if (next.hold !== undefined) this.#read.push(next.hold)
        resolve({ value: next.message, done: false })
      } else if (this.#error !== undefined) {
        reject(this.#error)
        this.#error = undefined
      } else {
        resolve({ value: undefined, done: true })
      }
    }
  }

  /** No message comes any more; the reader still gets what is in the buffer. Resolves when the subscription is gone. */
  async #finish(error?: AnyMqttError): Promise<void> {
    if (this.#finished) return
    this.#finished = true
    this.#error = error
    this.#withdraw.abort()
    this.#serve()
    await leave(this.#source, this.#subscription)
  }
}

/** Ends the subscription. What goes wrong then belongs to no call of the reader. */
export async function leave(
  source: Source,
  subscription: api.Subscription | undefined,
): Promise<void> {
  await subscription
    ?.unsubscribe()
    .catch((error: AnyMqttError) => error.code === 'CLOSED' || source.emitter.emit('error', error))
}
