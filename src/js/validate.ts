// Checks what callers pass in, by type. What the values mean is for the core to say.
import { type AnyMqttError, invalid, MqttError, mistake, mqttError } from './errors.js'
import type { CallOptions, Payload } from './types/basics.js'
import { kind, shown } from './wording.js'

/** An object of a caller, of which nothing is known yet. */
export type Bag = Record<string, unknown>

/** Bytes that a packet may have after its length. MQTT 5.0, section 1.5.5. */
const LARGEST = 268_435_455

export const encoder = new TextEncoder()

const isWellFormed: (text: string) => boolean =
  'isWellFormed' in String.prototype
    ? (text) => (text as unknown as { isWellFormed(): boolean }).isWellFormed()
    : (text) => !/\p{Surrogate}/u.test(text)

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | null | undefined)?.then === 'function'
}

export function wellFormed(text: string, argument: string): string {
  if (!isWellFormed(text))
    throw invalid(argument, 'has a lone surrogate, which UTF-8 cannot encode')
  return text
}

export function string(value: unknown, argument: string): string {
  if (typeof value !== 'string') throw invalid(argument, `must be a string, not ${kind(value)}`)
  return wellFormed(value, argument)
}

export function boolean(value: unknown, argument: string): boolean {
  if (typeof value !== 'boolean') throw invalid(argument, `must be a boolean, not ${kind(value)}`)
  return value
}

/** A number of at least `least`. */
export function number(value: unknown, argument: string, least = 0): number {
  if (typeof value !== 'number' || !(value >= least))
    throw invalid(argument, `must be a number of at least ${least}, not ${shown(value)}`)
  return value
}

export function byte(value: unknown, argument: string): number {
  if (!Number.isInteger(value) || (value as number) < 0 || (value as number) > 255)
    throw invalid(argument, `must be a number from 0 to 255, not ${shown(value)}`)
  return value as number
}

export function func<F>(value: F, argument: string): F {
  if (typeof value !== 'function') throw invalid(argument, `must be a function, not ${kind(value)}`)
  return value
}

export function oneOf<T>(value: unknown, argument: string, allowed: readonly T[]): T {
  if (!allowed.includes(value as T))
    throw invalid(argument, `must be one of ${allowed.join(', ')}, not ${shown(value)}`)
  return value as T
}

export function object(value: unknown, argument: string): Bag {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid(
      argument,
      `must be an object, not ${kind(value)}${typeof value === 'function' ? ': a callback comes last' : ''}`,
    )
  return value as Bag
}

/** All that an object of options has, also what it inherits: the fields and getters of a class. */
function inherited(given: Bag): Bag {
  if (Object.getPrototypeOf(given) === Object.prototype) return given
  const bag: Bag = {}
  for (let each: object = given; each && each !== Object.prototype; ) {
    for (const name of Object.getOwnPropertyNames(each))
      if (name !== 'constructor') bag[name] = given[name]
    each = Object.getPrototypeOf(each)
  }
  return bag
}

/** An object with no other names than these. `groups`: the names in those of them that hold others. */
export function options(
  value: unknown,
  argument: string,
  names: readonly string[],
  prefix = '',
  groups: Record<string, readonly string[]> = {},
): Bag {
  if (value === undefined) return {}
  const bag = inherited(object(value, argument))
  for (const name in bag)
    if (!names.includes(name)) throw unknownOption(name, names, prefix, groups)
  return bag
}

/** What options of MQTT.js and Paho are called here. */
const ELSEWHERE: Record<string, string> = {
  reconnectPeriod: 'reconnect.minDelay',
  cleanSession: 'clean',
  cleanStart: 'clean',
  mqttVersion: 'protocolVersion',
  keepAliveInterval: 'keepalive',
  timeout: 'connectTimeout',
  queueQoSZero: 'queue.qos0',
  incomingStore: 'store',
  outgoingStore: 'store',
  willMessage: 'will',
  wsOptions: 'websocket',
  nl: 'noLocal',
  rap: 'retainAsPublished',
  rh: 'retainHandling',
}
for (const name of ['host', 'hostname', 'port', 'path', 'protocol', 'servers', 'useSSL'])
  ELSEWHERE[name] = 'url'

/** The error of an option that does not exist. It names the one that was probably meant. */
function unknownOption(
  name: string,
  names: readonly string[],
  prefix: string,
  groups: Record<string, readonly string[]>,
): AnyMqttError {
  const argument = prefix + name
  const plain = name.toLowerCase()
  const alike = names.find((each) => {
    const other = each.toLowerCase()
    return other.startsWith(plain) || distance(other, plain) <= plain.length / 3
  })
  const group = Object.keys(groups).find((each) => groups[each]!.includes(name))
  const meant =
    (prefix === '' && ELSEWHERE[name]) || (alike ? prefix + alike : group && `${group}.${name}`)
  const hint = meant === undefined ? '' : ` Did you mean '${meant}'?`
  const sentence = `Unknown option '${argument}'.${hint}`
  return mqttError({ code: 'INVALID_ARGUMENT', argument, sentence })
}

/** How many letters have to be changed, added or left out. */
function distance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index)
  for (const letter of one) {
    const next = [row[0]! + 1]
    for (let at = 0; at < other.length; at++)
      next.push(
        Math.min(row[at]! + (letter === other[at] ? 0 : 1), row[at + 1]! + 1, next[at]! + 1),
      )
    row = next
  }
  return row.at(-1)!
}

export function strings(value: unknown, argument: string): string[] {
  if (!Array.isArray(value))
    throw invalid(argument, `must be an array of strings, not ${kind(value)}`)
  return value.map((text) => string(text, argument))
}

/** Names and values in turn, in the order given. */
export function userProperties(value: unknown, argument: string): string[] {
  const flat: string[] = []
  if (Array.isArray(value)) {
    for (const pair of value) {
      if (!Array.isArray(pair) || pair.length !== 2)
        throw invalid(argument, 'must be a list of [name, value], or a record')
      flat.push(...strings(pair, argument))
    }
  } else {
    for (const [name, values] of Object.entries(object(value, argument))) {
      for (const each of Array.isArray(values) ? values : [values])
        flat.push(string(name, argument), string(each, argument))
    }
  }
  return flat
}

/** The bytes of a buffer or view, not copied; undefined if it is none. */
export function view(value: unknown): Uint8Array | undefined {
  if (value instanceof Uint8Array) return value
  if (ArrayBuffer.isView(value))
    return new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
  // Of another realm, or shared, it is no instance of ours.
  const isBuffer =
    value instanceof ArrayBuffer ||
    /^\[object (Shared)?ArrayBuffer]$/.test(Object.prototype.toString.call(value))
  return isBuffer ? new Uint8Array(value as ArrayBuffer) : undefined
}

export function binary(value: unknown, argument: string): Uint8Array {
  const bytes = view(value)
  if (bytes === undefined) throw invalid(argument, `must be a Uint8Array, not ${kind(value)}`)
  return bytes
}

export const payloadBytes = careful(
  (payload: Payload | undefined, argument: string): Uint8Array => {
    const bytes =
      typeof payload === 'string'
        ? encoder.encode(wellFormed(payload, argument))
        : view(payload ?? new Uint8Array())
    if (bytes === undefined) {
      throw invalid(
        argument,
        `must be a string, an ArrayBuffer or a view of one, not ${kind(payload)}: ${isThenable(payload) ? 'await it' : 'try JSON.stringify'}`,
      )
    }
    if (bytes.length > LARGEST)
      throw mqttError({
        code: 'PACKET_TOO_LARGE',
        what: 'the payload is too long',
        size: bytes.length,
        limit: LARGEST,
      })
    return bytes
  },
)

/** `signal` and `timeout` of a call. Throws if it is withdrawn already. */
export function call({ signal, timeout }: Bag): CallOptions {
  const limit = timeout === undefined ? timeout : number(timeout, 'timeout')
  if (signal === undefined) return { timeout: limit }
  const given = checkSignal(signal)
  if (given.aborted) throw mqttError({ code: 'ABORTED', cause: given.reason })
  return { timeout: limit, signal: given }
}

export function checkSignal(signal: unknown): AbortSignal {
  if (typeof (signal as AbortSignal | null)?.addEventListener !== 'function')
    throw invalid('signal', 'must be an AbortSignal')
  return signal as AbortSignal
}

/** A function that reads what a caller gave: getters and proxies may throw. */
export function careful<A extends unknown[], R>(read: (...given: A) => R): (...given: A) => R {
  return (...given) => {
    try {
      return read(...given)
    } catch (thrown) {
      if (thrown instanceof MqttError || thrown instanceof WebAssembly.RuntimeError) throw thrown
      throw mistake(thrown) ?? invalid('options', 'cannot be read', thrown)
    }
  }
}
