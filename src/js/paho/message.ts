import type { QoS } from '../api.js'
import { fail } from './errors.js'

/** Bytes of a payload. */
export type TypedArray = ArrayBufferView

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** A message to send, or one that came. */
export class Message {
  readonly #payload: string | ArrayBuffer | ArrayBufferView
  #destinationName: string | undefined
  #qos: QoS = 0
  #retained = false
  #duplicate = false

  /** `payload`: a text, or bytes. Throws for anything else. */
  constructor(payload: string | ArrayBuffer | ArrayBufferView) {
    const isBytes =
      payload instanceof ArrayBuffer ||
      (ArrayBuffer.isView(payload) && !(payload instanceof DataView))
    if (typeof payload !== 'string' && !isBytes) fail('invalidArgument', payload, 'newPayload')
    this.#payload = payload
  }

  /** The payload as a text. Throws if it is not UTF-8. */
  get payloadString(): string {
    if (typeof this.#payload === 'string') return this.#payload
    try {
      return decoder.decode(this.#payload)
    } catch {
      return fail('malformedUtf')
    }
  }

  /** The payload as bytes, as it was given; of a text its UTF-8. */
  get payloadBytes(): ArrayBuffer | ArrayBufferView {
    return typeof this.#payload === 'string' ? encoder.encode(this.#payload) : this.#payload
  }

  /** The topic. */
  get destinationName(): string {
    return this.#destinationName as string
  }

  set destinationName(name: string) {
    if (typeof name !== 'string') fail('invalidArgument', name, 'newDestinationName')
    this.#destinationName = name
  }

  /** The same as `destinationName`. */
  get topic(): string {
    return this.#destinationName as string
  }

  set topic(name: string) {
    this.#destinationName = name
  }

  /** Default 0. */
  get qos(): QoS {
    return this.#qos
  }

  set qos(qos: QoS) {
    if (qos !== 0 && qos !== 1 && qos !== 2) throw new Error(`Invalid argument:${qos}`)
    this.#qos = qos
  }

  /** Default false. Of a message that came: whether the server had stored it. */
  get retained(): boolean {
    return this.#retained
  }

  set retained(retained: boolean) {
    if (typeof retained !== 'boolean') fail('invalidArgument', retained, 'newRetained')
    this.#retained = retained
  }

  /** Whether the server may have sent the message before. Of a message to send it has no effect. */
  get duplicate(): boolean {
    return this.#duplicate
  }

  set duplicate(duplicate: boolean) {
    this.#duplicate = duplicate
  }
}
