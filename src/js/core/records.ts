// The records in which the core hands over messages and answers: the other half of src/web/records.rs, which says what they hold.
import type { Core, CoreEvent } from '#glue'
import { Message, SMALL } from '../message.js'
import type { Route, Routes, Slot } from '../subscription.js'
import type { MessageProperties, QoS } from '../types/basics.js'
import { memoryBytes, memoryWords } from './instance.js'

// #region constants of src/web/records.rs, written by scripts/records.mjs
/** The bits of the first word that say of which kind the record is. */
const KIND = 0xf
/** A received message. */
const MESSAGE = 1
/** What the messages of a slot have in common: the topic, the Subscriptions, the subscription identifiers. */
const SLOT = 2
/** A call has succeeded. */
const DONE = 3
/** An event that crosses as an object. */
const EVENT = 4
/** Where the QoS of a message begins, two bits. */
const QOS_SHIFT = 4
/** Set where the message has the retain flag. */
const RETAIN = 1 << 6
/** Set where the message has the DUP flag. */
const DUP = 1 << 7
/** Set where the message has properties of its own. */
const HAS_PROPERTIES = 1 << 8
/** Set where offsets are addresses in memory. Otherwise they count from the beginning of the chunk. */
const IN_MEMORY = 1 << 9
/** Where the slot begins, up to the last bit. */
const SLOT_SHIFT = 12
/** Where the reason code of DONE begins, eight bits. */
const REASON_SHIFT = 8
// #endregion

/** Bytes. A view would keep its whole frame alive: a small part of a larger frame than this is copied. */
export const BIG_FRAME = 65_536

const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/** Takes what the records say. */
export interface RecordTaker {
  /** Whether the instance trapped while a record was taken: there is nothing more to read then. */
  readonly evicted: boolean
  message(core: Core, slot: Slot, message: Message, sequence: number): void
  done(token: number, reasonCode: number): void
  event(event: CoreEvent): void
}

/** Reads records, and remembers the topics that they name. */
export class Records {
  readonly #slots: Slot[] = []
  readonly #routes: Routes

  constructor(routes: Routes) {
    this.#routes = routes
  }

  /** Reads `count` words from `pointer` on. `chunk` is where the offsets of messages point to that are not in memory. */
  read(core: Core, pointer: number, count: number, chunk: Uint8Array, taker: RecordTaker): void {
    let at = pointer >>> 2
    const end = at + count
    // Read once: the getters of typed arrays are slow.
    const { buffer, byteOffset, length: chunkLength } = chunk
    const big = chunkLength > BIG_FRAME
    while (at < end && !taker.evicted) {
      // The memory may have grown since the record before.
      const words = memoryWords()
      const head = words[at]!
      switch (head & KIND) {
        case MESSAGE: {
          const slot = this.#slots[head >>> SLOT_SHIFT]!
          const offset = words[at + 1]!
          const length = words[at + 2]!
          at += 3
          const qos = ((head >>> QOS_SHIFT) & 3) as QoS
          const sequence = qos === 0 ? 0 : words[at++]!
          const inMemory = (head & IN_MEMORY) !== 0
          let properties: MessageProperties | Uint8Array | undefined = slot.properties
          if ((head & HAS_PROPERTIES) !== 0) {
            properties = copied(inMemory ? memoryBytes() : chunk, words[at]!, words[at + 1]!)
            at += 2
          }
          const message = new Message(
            slot.topic,
            inMemory
              ? copied(memoryBytes(), offset, length)
              : length <= SMALL || (big && length < chunkLength >>> 3)
                ? copied(chunk, offset, length)
                : new Uint8Array(buffer, byteOffset + offset, length),
            qos,
            (head & RETAIN) !== 0,
            (head & DUP) !== 0,
            properties,
          )
          taker.message(core, slot, message, sequence)
          break
        }
        case DONE:
          taker.done(words[at + 1]!, (head >>> REASON_SHIFT) & 0xff)
          at += 2
          break
        case SLOT:
          at = this.#readSlot(words, at)
          break
        case EVENT:
          taker.event(core.event(words[at + 1]!))
          at += 2
          break
        default:
          throw new Error('a record of no kind')
      }
    }
  }

  #readSlot(words: Uint32Array, at: number): number {
    const [head, start, length, routeCount, identifierCount] = words.subarray(
      at,
      at + 5,
    ) as unknown as [number, number, number, number, number]
    const routesEnd = at + 5 + routeCount
    const routes: Route[] = []
    for (const handle of words.subarray(at + 5, routesEnd)) {
      const route = this.#routes.get(handle)
      if (route !== undefined) routes.push(route)
    }
    const [only] = routes
    this.#slots[head >>> SLOT_SHIFT] = {
      topic: decoder.decode(memoryBytes().subarray(start, start + length)),
      direct: routes.length === 1 && only!.isDirect ? only : undefined,
      routes,
      properties:
        identifierCount > 0
          ? { subscriptionIdentifiers: [...words.subarray(routesEnd, routesEnd + identifierCount)] }
          : undefined,
      cell: undefined,
    }
    return routesEnd + identifierCount
  }
}

/** A copy, made by hand where it is short, which is faster. */
function copied(bytes: Uint8Array, offset: number, length: number): Uint8Array {
  if (length > SMALL)
    return new Uint8Array(
      bytes.buffer.slice(bytes.byteOffset + offset, bytes.byteOffset + offset + length),
    )
  const copy = new Uint8Array(length)
  for (let index = 0; index < length; index++) copy[index] = bytes[offset + index]!
  return copy
}
