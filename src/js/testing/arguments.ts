// What a test passes in, and what goes wrong with it.
import {
  AbortError,
  ClosedError,
  InvalidArgumentError,
  type MqttError,
  type Payload,
  type PublishProperties,
  TimeoutError,
  type UserProperties,
} from '../index.js'
import type { TestBrokerOptions } from './types.js'

const encoder = new TextEncoder()

/** An object with no other names than these. */
export function pick<T extends object>(given: T, argument: string, names: readonly string[]): T {
  if (typeof given !== 'object' || given === null) throw invalid(argument, 'must be an object')
  for (const name of Object.keys(given))
    if (!names.includes(name)) throw invalid(name, 'is no option here')
  return given
}

const isWellFormed: (text: string) => boolean =
  'isWellFormed' in String.prototype
    ? (text) => (text as unknown as { isWellFormed(): boolean }).isWellFormed()
    : (text) => !/\p{Surrogate}/u.test(text)

/** A string that UTF-8 can encode: the core would replace what it cannot. */
export function string(given: unknown, argument: string): string {
  if (typeof given !== 'string') throw invalid(argument, 'must be a string')
  if (!isWellFormed(given))
    throw invalid(argument, 'has a lone surrogate, which UTF-8 cannot encode')
  return given
}

/** A string, or nothing: the core trusts the type. */
export function optional(given: unknown, argument: string): string | undefined {
  return given === undefined ? undefined : string(given, argument)
}

/** A whole number that fits into so many bytes. */
export function whole(given: unknown, argument: string, bytes: number): number {
  const limit = 256 ** bytes
  if (!Number.isInteger(given) || !((given as number) >= 0 && (given as number) < limit))
    throw invalid(argument, `must be a whole number from 0 to ${limit - 1}`)
  return given as number
}

/** Such a number, or nothing. */
function optionalWhole(given: unknown, argument: string, bytes: number): number | undefined {
  return given === undefined ? undefined : whole(given, argument, bytes)
}

export function boolean(given: unknown, argument: string): boolean {
  if (typeof given !== 'boolean') throw invalid(argument, 'must be a boolean')
  return given
}

/** A Uint8Array of the realm of this module: in jsdom those of a TextEncoder are of another one, and the core would not know them. */
export function bytes(payload: Payload | null | undefined): Uint8Array {
  if (payload === undefined || payload === null) return new Uint8Array()
  if (typeof payload === 'string') return new Uint8Array(encoder.encode(string(payload, 'payload')))
  if (payload instanceof ArrayBuffer) return new Uint8Array(payload)
  if (ArrayBuffer.isView(payload))
    return new Uint8Array(payload.buffer, payload.byteOffset, payload.byteLength)
  throw invalid('payload', 'must be a string, an ArrayBuffer or a view of one: try JSON.stringify')
}

export function pairs(
  given: UserProperties | Record<string, string | readonly string[]> = [],
): UserProperties {
  const all: UserProperties = Array.isArray(given)
    ? given
    : Object.entries(given).flatMap(([name, values]) =>
        (Array.isArray(values) ? values : [values]).map((value) => [name, value] as const),
      )
  for (const text of all.flat()) string(text, 'userProperties')
  return all
}

/** What the core reads: the users as pairs, and each option of its type. */
export function brokerOptions(options: TestBrokerOptions): object {
  const given = pick(options, 'options', [
    'versions',
    'users',
    'receiveMaximum',
    'maximumPacketSize',
    'maximumQoS',
    'topicAliasMaximum',
    'retainAvailable',
  ])
  const { versions, users, retainAvailable } = given
  if (versions !== undefined && !Array.isArray(versions))
    throw invalid('versions', 'must be an array')
  if (users !== undefined && (typeof users !== 'object' || users === null))
    throw invalid('users', 'must be an object with a password for each name')
  return {
    versions: versions?.map((version) => whole(version, 'versions', 1)),
    users:
      users &&
      Object.entries(users).map(([name, password]) => [
        string(name, 'users'),
        string(password, 'users'),
      ]),
    receiveMaximum: optionalWhole(given.receiveMaximum, 'receiveMaximum', 2),
    maximumPacketSize: optionalWhole(given.maximumPacketSize, 'maximumPacketSize', 4),
    maximumQoS: optionalWhole(given.maximumQoS, 'maximumQoS', 1),
    topicAliasMaximum: optionalWhole(given.topicAliasMaximum, 'topicAliasMaximum', 2),
    retainAvailable:
      retainAvailable === undefined ? undefined : boolean(retainAvailable, 'retainAvailable'),
  }
}

/** What the core reads. The properties of a received message may be passed on as they are: its subscription identifiers and alias are dropped. */
export function messageProperties(properties: PublishProperties): object {
  const given = pick(properties, 'properties', [
    'payloadFormatIndicator',
    'messageExpiryInterval',
    'contentType',
    'responseTopic',
    'correlationData',
    'userProperties',
    'subscriptionIdentifiers',
    'topicAlias',
  ])
  const { correlationData } = given
  return {
    payloadFormatIndicator: optionalWhole(
      given.payloadFormatIndicator,
      'payloadFormatIndicator',
      1,
    ),
    messageExpiryInterval: optionalWhole(given.messageExpiryInterval, 'messageExpiryInterval', 4),
    contentType: optional(given.contentType, 'contentType'),
    responseTopic: optional(given.responseTopic, 'responseTopic'),
    correlationData: correlationData && bytes(correlationData),
    userProperties: pairs(given.userProperties),
  }
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
