import type { Core } from '#glue'
import { decodeProperties } from '#glue'
import * as check from './check.js'
import { invalid, mqttError, unsupported, type MqttError } from './errors.js'
import type { Host } from './host.js'
import { asyncDispose } from './platform.js'
import type {
  CallOptions,
  Filters,
  Grant,
  IterateOptions,
  MessageHandler,
  MessageProperties,
  MessageStream,
  QoS,
  Subscription,
} from './types.js'
import { call } from './wasm.js'

const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/** What PUBACK and PUBREC may say. MQTT 5, 3.4.2.1. */
const ACKNOWLEDGEMENTS = [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]

/** One received QoS 1 or 2 message whose acknowledgement waits until all its holders have let go. @internal */
export class Hold {
  readonly #host: Host
  readonly #sequence: number
  #holders = 1
  #reasonCode = 0

  constructor(host: Host, core: Core, sequence: number) {
    this.#host = host
    this.#sequence = sequence
    core.hold(sequence)
  }

  /** One holder more. */
  share(): this {
    this.#holders++
    return this
  }

  /** The first refusal among the holders is the answer. */
  release(reasonCode = 0): void {
    if (this.#reasonCode < 0x80) this.#reasonCode = reasonCode
    if (--this.#holders === 0) this.#host.acknowledge(this.#sequence, this.#reasonCode)
  }

  check(reasonCode: number): void {
    if (!ACKNOWLEDGEMENTS.includes(reasonCode))
      throw invalid('reasonCode', `is none that a message can be acknowledged with`)
    if (reasonCode >= 0x80 && this.#host.server?.protocolVersion === 4)
      throw unsupported('MQTT 3.1.1 cannot refuse a message')
  }
}

/** A received message. */
export class Message {
  readonly topic: string
  /**
   * Never changed by the client afterwards. May share its ArrayBuffer with other messages: respect byteOffset, and copy before transferring it.
   * While it is kept, so is that buffer: at most 64 KiB, or eight times its own length.
   */
  readonly payload: Uint8Array
  readonly qos: QoS
  readonly retain: boolean
  /** The server sends it again and cannot know whether the first one arrived. */
  readonly dup: boolean
  /** Decoded when they are asked for first. */
  #properties: MessageProperties | Uint8Array | undefined
  #hold: Hold | undefined

  /** @internal */
  constructor(
    topic: string,
    payload: Uint8Array,
    qos: QoS,
    retain: boolean,
    dup: boolean,
    properties: MessageProperties | Uint8Array | undefined,
  ) {
    this.topic = topic
    this.payload = payload
    this.qos = qos
    this.retain = retain
    this.dup = dup
    this.#properties = properties
    this.#hold = undefined
  }

  /** MQTT 5, 3.3.2.3; undefined where the message has none. */
  get properties(): MessageProperties | undefined {
    const block = this.#properties
    if (!(block instanceof Uint8Array)) return block
    const { topicAlias, ...properties } = call(() => decodeProperties(block))
    return (this.#properties = properties as MessageProperties)
  }

  /** The payload as UTF-8; what is none becomes U+FFFD. */
  text(): string {
    return decoder.decode(this.payload)
  }

  /** The payload as JSON. Throws SyntaxError if it is none. */
  json<T = unknown>(): T {
    return JSON.parse(this.text()) as T
  }

  /**
   * Acknowledges, for `ack: 'manual'`; does nothing where there is nothing (left) to acknowledge. The order of acknowledgements on the wire is
   * kept. `reasonCode`: 0 by default, 0x80 and above refuses the message (MQTT 5, 3.4.2.1). Throws InvalidArgumentError for another
   * code, NotSupportedError for a refusal on 3.1.1.
   */
  ack(reasonCode = 0): void {
    const hold = this.#hold
    if (hold === undefined) return
    hold.check(reasonCode)
    this.#hold = undefined
    hold.release(reasonCode)
  }

  /** The same message for one more Subscription that acknowledges by hand. @internal */
  copy(): Message {
    return new Message(this.topic, this.payload, this.qos, this.retain, this.dup, this.#properties)
  }

  /** Gives `ack` something to let go; false if it has. @internal */
  arm(hold: Hold): boolean {
    if (this.#hold !== undefined) return false
    this.#hold = hold.share()
    return true
  }
}

/** A Subscription, and where its messages go. @internal */
export class Route implements Subscription {
  readonly handle: number
  readonly ack: 'auto' | 'settled' | 'manual'
  handler: MessageHandler | undefined
  stream: Stream | undefined
  readonly #host: Host
  #grants: readonly Grant[] = []
  #active = false
  #ending: Promise<void> | undefined

  constructor(
    host: Host,
    handle: number,
    ack: 'auto' | 'settled' | 'manual',
    handler: MessageHandler | undefined,
    stream: Stream | undefined,
  ) {
    this.#host = host
    this.handle = handle
    this.ack = ack
    this.handler = handler
    this.stream = stream
  }

  get grants(): readonly Grant[] {
    return this.#grants
  }

  get active(): boolean {
    return this.#active
  }

  unsubscribe(options?: CallOptions): Promise<void> {
    if (this.#ending !== undefined || !this.#active) return this.#ending ?? Promise.resolve()
    const ended = this.#host.unsubscribeRoute(this, options)
    // One that was refused for its options is no end.
    if (!this.#active) this.#ending = ended
    return ended
  }

  [asyncDispose](): Promise<void> {
    return this.unsubscribe()
  }

  begin(grants: readonly Grant[], active: boolean): void {
    this.#active = active
    this.#grants = grants
  }

  end(error?: MqttError): void {
    this.#active = false
    this.handler = undefined
    void this.stream?.finish(error)
    this.stream = undefined
  }
}

interface Waiter {
  resolve(result: IteratorResult<Message>): void
  reject(error: unknown): void
}

/** What `messages()` returns. @internal */
export class Stream implements MessageStream {
  readonly #host: Host
  readonly #filters: Filters
  readonly #options: IterateOptions
  /** Withdraws the subscribe call while it is pending. */
  readonly #withdraw = new AbortController()
  readonly #waiting: Waiter[] = []
  #buffer: { message: Message; hold: Hold | undefined }[] = []
  /** Of the messages that the reader has. */
  #read: Hold[] = []
  #limit = 0
  #overflow: IterateOptions['overflow']
  #started = false
  #finished = false
  #error: MqttError | undefined
  #subscription: Subscription | undefined
  #dropped = 0

  constructor(host: Host, filters: Filters, options: IterateOptions = {}) {
    this.#host = host
    this.#filters = filters
    this.#options = options
  }

  get dropped(): number {
    return this.#dropped
  }

  next(): Promise<IteratorResult<Message>> {
    if (!this.#started) this.#start()
    this.#acknowledge()
    const next = new Promise<IteratorResult<Message>>((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
      this.#serve()
    })
    // What comes from outside must not end a process that does not look at the promise.
    next.catch(() => {})
    return next
  }

  async return(): Promise<IteratorResult<Message>> {
    this.#started = true
    this.#acknowledge()
    for (const { hold } of this.#buffer) hold?.release()
    this.#buffer = []
    const ended = this.finish()
    if (this.#host.state === 'connected') await ended
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
      const {
        buffer = 1_000,
        overflow = 'pause',
        signal,
        ...rest
      } = check.object(this.#options, 'options')
      if ('ack' in rest || 'conflate' in rest)
        throw invalid('ack' in rest ? 'ack' : 'conflate', 'is no option here')
      this.#limit = check.number(buffer, 'buffer', 1)
      this.#overflow = check.oneOf(overflow, 'overflow', [
        'pause',
        'drop-oldest',
        'drop-newest',
        'error',
      ] as const)
      if (signal !== undefined) {
        const given = check.checkSignal(signal)
        const abort = () => void this.finish(mqttError({ code: 'ABORTED', cause: given.reason }))
        if (given.aborted) return abort()
        given.addEventListener('abort', abort, { once: true, signal: this.#withdraw.signal })
      }
      const options = { ...rest, signal: this.#withdraw.signal }
      this.#host.subscribe(
        this.#filters,
        options,
        undefined,
        (error, subscription) => this.#subscribed(error, subscription),
        this,
      )
    } catch (error) {
      void this.finish(error as MqttError)
    }
  }

  #subscribed(error: MqttError | null, subscription: Subscription | undefined): void {
    if (error !== null) void this.finish(error)
    else if (this.#finished) void subscription!.unsubscribe().catch(() => {})
    else this.#subscription = subscription
  }

  push(message: Message, hold: Hold | undefined): void {
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
        void this.finish(
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
  async finish(error?: MqttError): Promise<void> {
    if (this.#finished) return
    this.#finished = true
    this.#error = error
    this.#withdraw.abort()
    this.#serve()
    // What goes wrong here belongs to no call of the reader.
    await this.#subscription
      ?.unsubscribe()
      .catch(
        (error: MqttError) => error.code === 'CLOSED' || this.#host.events.emit('error', error),
      )
  }
}
