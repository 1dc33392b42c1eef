import { decodeProperties } from '#glue'
import { call } from './core/instance.js'
import { invalid, keepName, unsupported } from './errors.js'
import { ACKNOWLEDGEMENTS } from './reason-code.js'
import type { MessageProperties, QoS } from './types/basics.js'

/** Bytes. Payloads up to this length are copied when they come: that costs less than a view. @internal */
export const SMALL = 64

/** @internal */
export const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/** Takes acknowledgements to the server. @internal */
export interface Acknowledger {
  acknowledge(sequence: number, reasonCode: number): void
  /** Whether the server's version of MQTT has a way to refuse a message. */
  readonly canRefuse: boolean
}

/** The acknowledgement of one received QoS 1 or 2 message, which waits until all its holders have let go. @internal */
export class Hold {
  readonly #to: Acknowledger
  readonly #sequence: number
  #holders = 1
  #reasonCode = 0

  constructor(to: Acknowledger, sequence: number) {
    this.#to = to
    this.#sequence = sequence
  }

  /** Adds a holder. */
  share(): this {
    this.#holders++
    return this
  }

  /** Lets go. The first refusal among the holders is the answer. */
  release(reasonCode = 0): void {
    if (this.#reasonCode < 0x80) this.#reasonCode = reasonCode
    if (--this.#holders === 0) this.#to.acknowledge(this.#sequence, this.#reasonCode)
  }

  /** Throws where the message cannot be acknowledged with this code. */
  check(reasonCode: number): void {
    if (!ACKNOWLEDGEMENTS.includes(reasonCode))
      throw invalid('reasonCode', 'is none that a message can be acknowledged with')
    if (reasonCode >= 0x80 && !this.#to.canRefuse)
      throw unsupported('MQTT 3.1.1 cannot refuse a message')
  }
}

/** Gives `ack` something to let go of; false if it has. @internal */
export let arm: (message: Message, hold: Hold) => boolean
/** The same message for one more Subscription that acknowledges by hand. @internal */
export let copyOf: (message: Message) => Message
/** The same message, to be kept for long: no buffer is kept with it that is much larger than its payload. @internal */
export let compact: (message: Message) => Message

/**
 * A received message.
 *
 * @example
 * client.on('message', (message) => console.log(message.topic, message.text()))
 */
export class Message {
  /** The topic that it was published to. */
  declare readonly topic: string
  /**
   * The payload. The client never changes it afterwards. It may share its ArrayBuffer with other messages: respect `byteOffset`, and copy it
   * before you transfer it. While it is kept, so is that buffer: at most 64 KiB, or eight times the payload's own length.
   */
  declare readonly payload: Uint8Array
  /** The QoS that it came with. */
  declare readonly qos: QoS
  /** Whether the server had kept it from before the subscription. MQTT 5.0, section 3.3.1.3. */
  declare readonly retain: boolean
  /** Whether the server sends it again, and cannot know whether the first one arrived. MQTT 5.0, section 3.3.1.1. */
  declare readonly dup: boolean
  /** The block of bytes until somebody asks for it. */
  #properties: MessageProperties | Uint8Array | undefined
  #hold: Hold | undefined

  static {
    keepName(Message, 'Message')
    arm = (message, hold) => {
      if (message.#hold !== undefined) return false
      message.#hold = hold.share()
      return true
    }
    const copy = (message: Message, payload: Uint8Array) => {
      const { topic, qos, retain, dup } = message
      return new Message(topic, payload, qos, retain, dup, message.#properties)
    }
    copyOf = (message) => copy(message, message.payload)
    compact = (message) => {
      const { payload } = message
      // Short ones have a buffer of their own, which engines make only when it is asked for.
      return payload.length > SMALL && payload.buffer.byteLength > 2 * payload.length
        ? copy(message, payload.slice())
        : message
    }
  }

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

  /** The properties, or undefined where the message has none, as on MQTT 3.1.1. MQTT 5.0, section 3.3.2.3. */
  get properties(): MessageProperties | undefined {
    const block = this.#properties
    if (!(block instanceof Uint8Array)) return block
    const { topicAlias, ...properties } = call(() => decodeProperties(block))
    return (this.#properties = properties as MessageProperties)
  }

  /**
   * Decodes the payload as UTF-8. Invalid bytes become U+FFFD.
   *
   * @example
   * if (message.text() === 'on') lamp.on()
   */
  text(): string {
    return decoder.decode(this.payload)
  }

  /**
   * Decodes the payload as JSON. The type is not checked.
   *
   * @throws SyntaxError if the payload is not JSON
   * @example
   * const { celsius } = message.json<{ celsius: number }>()
   */
  json<T = unknown>(): T {
    return JSON.parse(this.text()) as T
  }

  /**
   * Acknowledges the message, for `ack: 'manual'`. It does nothing where there is nothing left to acknowledge. The order of acknowledgements on
   * the wire is kept. A reason code of 0x80 or above refuses the message, on MQTT 5 only. MQTT 5.0, section 3.4.2.1.
   *
   * @throws InvalidArgumentError if the reason code is not one of PUBACK
   * @throws NotSupportedError if a message is refused on MQTT 3.1.1
   * @example
   * await client.subscribe('jobs', { qos: 1, ack: 'manual' }, async (message) => {
   *   await work(message.json())
   *   message.ack()
   * })
   */
  ack(reasonCode = 0): void {
    const hold = this.#hold
    if (hold === undefined) return
    hold.check(reasonCode)
    this.#hold = undefined
    hold.release(reasonCode)
  }
}
