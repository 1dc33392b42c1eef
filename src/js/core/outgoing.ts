import type { Core, Leaves } from '#glue'
import { mistake } from '../errors.js'
import type { Payload } from '../types/basics.js'
import * as validate from '../validate.js'
import { memoryBytes, reserve } from './instance.js'
import { BIG_FRAME } from './records.js'

/** How many topics are remembered by number. */
const TOPICS = 4_096
/** Longer strings are encoded before they are copied, so that the core's scratch need not be three times as long. */
const IN_PLACE = 16_384
/** Strings up to this length are tried as ASCII first, which is faster. */
const SHORT = 64

/** Takes topics, payloads and properties into the core. */
export class Outgoing {
  readonly #topics = new Map<string, number>()

  /** The number of a topic. */
  topic(core: Core, topic: string): number {
    return this.#topics.get(topic) ?? this.#intern(core, topic)
  }

  #intern(core: Core, topic: string): number {
    validate.string(topic, 'topic')
    if (this.#topics.size >= TOPICS) {
      this.#topics.clear()
      core.forgetTopics()
    }
    try {
      const id = core.topic(topic)
      this.#topics.set(topic, id)
      return id
    } catch (thrown) {
      throw mistake(thrown, ['topic', topic]) ?? thrown
    }
  }

  /** Copies a payload to the core's scratch. Returns its length. */
  payload(core: Core, payload: Payload): number {
    if (typeof payload === 'string' && payload.length <= IN_PLACE) {
      const length = payload.length
      const at = reserve(core, length * 3)
      const bytes = memoryBytes()
      if (length <= SHORT) {
        let index = 0
        for (let unit: number; index < length && (unit = payload.charCodeAt(index)) < 0x80; index++)
          bytes[at + index] = unit
        if (index === length) return length
      }
      return validate.encoder.encodeInto(
        validate.wellFormed(payload, 'payload'),
        bytes.subarray(at, at + length * 3),
      ).written
    }
    const bytes =
      payload instanceof Uint8Array && payload.length < BIG_FRAME
        ? payload
        : validate.payloadBytes(payload, 'payload')
    const at = reserve(core, bytes.length)
    memoryBytes().set(bytes, at)
    return bytes.length
  }

  /** Sets the properties of the call that comes next. */
  properties(core: Core, draft: Leaves): void {
    for (let at = 0; at < draft.length; at += 2) core.property(draft[at] as string, draft[at + 1])
  }
}
