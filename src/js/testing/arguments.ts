// What a test passes in, and what goes wrong with it.
import {
  AbortError,
  ClosedError,
  InvalidArgumentError,
  type MqttError,
  type Payload,
  TimeoutError,
  type UserProperties,
} from '../index.js'

const encoder = new TextEncoder()

/** An object with no other names than these. */
export function pick<T extends object>(given: T, argument: string, names: readonly string[]): T {
  if (typeof given !== 'object' || given === null) throw invalid(argument, 'must be an object')
  for (const name of Object.keys(given))
    if (!names.includes(name)) throw invalid(name, 'is no option here')
  return given
}

/** A Uint8Array of the realm of this module: in jsdom those of a TextEncoder are of another one, and the core would not know them. */
export function bytes(payload: Payload | null | undefined): Uint8Array {
  if (payload === undefined || payload === null) return new Uint8Array()
  if (typeof payload === 'string') return new Uint8Array(encoder.encode(payload))
  if (payload instanceof ArrayBuffer) return new Uint8Array(payload)
  if (ArrayBuffer.isView(payload))
    return new Uint8Array(payload.buffer, payload.byteOffset, payload.byteLength)
  throw invalid('payload', 'must be a string, an ArrayBuffer or a view of one: try JSON.stringify')
}

export function pairs(
  given: UserProperties | Record<string, string | readonly string[]> = [],
): UserProperties {
  if (Array.isArray(given)) return given
  return Object.entries(given).flatMap(([name, values]) =>
    (Array.isArray(values) ? values : [values]).map((value) => [name, value] as const),
  )
}

/** Calls the core. What the caller did wrong becomes an InvalidArgumentError. */
export function checked<T>(work: () => T): T {
  try {
    return work()
  } catch (thrown) {
    throw mistake(thrown) ?? thrown
  }
}

export function mistake(thrown: unknown): MqttError | undefined {
  const { argument, message } = Object(thrown) as { argument?: string; message: string }
  const isOurs = argument !== undefined && !(thrown instanceof Error)
  return isOurs ? invalid(argument, message) : undefined
}

export function invalid(argument: string, what: string): MqttError {
  return new InvalidArgumentError({ code: 'INVALID_ARGUMENT', argument, what })
}

export function aborted(signal: AbortSignal): MqttError {
  return new AbortError({ code: 'ABORTED', cause: signal.reason })
}

export function timedOut(timeout: number, type: string): MqttError {
  return new TimeoutError({ code: 'TIMEOUT', what: `no '${type}' within ${timeout} ms` })
}

export function closed(): MqttError {
  return new ClosedError({ code: 'CLOSED', what: 'the broker was disposed of' })
}
