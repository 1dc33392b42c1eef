// Options on their way to the core: what is JavaScript's own is kept here, the rest crosses as one list of leaves.
import * as check from './check.js'
import { invalid, unsupported } from './errors.js'
import { platform } from './platform.js'
import type {
  Authenticator,
  CallOptions,
  ConnectOptions,
  Filters,
  Payload,
  PublishOptions,
  QoS,
  Will,
} from './types.js'

const CALL = ['signal', 'timeout']
const PUBLISH = [...CALL, 'qos', 'retain', 'properties']
const WHOLE = ['ack', 'conflate', 'subscriptionIdentifier', 'userProperties']
const SUBSCRIBE = [...CALL, ...WHOLE, 'qos', 'noLocal', 'retainAsPublished', 'retainHandling']
const END = [...CALL, 'force', 'reasonCode', 'properties']
const WILL = ['topic', 'payload', 'qos', 'retain', 'properties']
const TLS = ['ca', 'cert', 'key', 'passphrase', 'servername', 'rejectUnauthorized', 'alpnProtocols']
const GROUPS = ['properties', 'will.properties', 'queue', 'reconnect']
const QOS: readonly QoS[] = [0, 1, 2]

/** What stays in JavaScript of ConnectOptions. */
export type Settings = Pick<
  ConnectOptions,
  'username' | 'password' | 'transport' | 'tls' | 'signal' | 'authentication'
> & {
  protocols: string[]
  headers: NonNullable<ConnectOptions['websocket']>['headers']
  shouldRetry?: (...args: any[]) => unknown
}

/** Leaves of options: path, value, path, value and so on. */
export type Leaves = unknown[]

/** Divides the options: what stays here, and the leaves for the core. */
export const configure = check.careful(
  (given: ConnectOptions): { settings: Settings; leaves: Leaves } => {
    const settings: Settings = { protocols: ['mqtt'], headers: undefined }
    const leaves: Leaves = []
    for (const [name, value] of Object.entries(check.object(given, 'options'))) {
      if (value === undefined) continue
      switch (name) {
        case 'username':
        case 'password':
          if (typeof value !== 'function') checkCredential(name, value)
          settings[name] = value as never
          break
        case 'transport':
          settings.transport = check.func(value, name) as ConnectOptions['transport']
          break
        case 'signal':
          settings.signal = check.checkSignal(value)
          break
        case 'tls':
          settings.tls = readTls(value)
          break
        case 'websocket': {
          const { protocols, headers } = check.options(
            value,
            name,
            ['protocols', 'headers'],
            'websocket.',
          )
          if (protocols !== undefined)
            settings.protocols = check.strings(protocols, 'websocket.protocols')
          if (headers !== undefined && typeof headers !== 'function') checkHeaders(headers)
          settings.headers = headers as Settings['headers']
          break
        }
        case 'authentication': {
          const { method, start, continue: next } = check.object(value, name)
          leaves.push('authentication.method', check.string(method, 'authentication.method'))
          check.func(start, 'authentication.start')
          check.func(next, 'authentication.continue')
          settings.authentication = value as unknown as Authenticator
          break
        }
        case 'store':
          throw unsupported('the option store')
        case 'will':
          leaves.push(...willLeaves(value as Will))
          break
        case 'reconnect': {
          if (typeof value !== 'object') {
            leaves.push(name, value)
            break
          }
          const { shouldRetry, ...rest } = check.object(value, name)
          if (shouldRetry !== undefined) {
            settings.shouldRetry = check.func(
              shouldRetry,
              'reconnect.shouldRetry',
            ) as Settings['shouldRetry']
            leaves.push('reconnect.shouldRetry', true)
          }
          pass(leaves, name, rest)
          break
        }
        default:
          pass(leaves, name, value)
      }
    }
    if (settings.transport === undefined && !platform.native) {
      if (settings.tls)
        throw unsupported('the option tls: this runtime makes its own TLS connections')
      if (settings.headers)
        throw unsupported('the option websocket.headers: this runtime sends none')
    }
    return { settings, leaves }
  },
)

export const willLeaves = check.careful((will: Will): Leaves => {
  const leaves: Leaves = []
  check.options(will, 'will', WILL, 'will.')
  // A will without a topic is still a will, which the core refuses.
  for (const [name, value] of Object.entries({ ...will, topic: will.topic ?? '' })) {
    pass(
      leaves,
      `will.${name}`,
      name === 'payload' ? check.payloadBytes(value as Payload, 'will.payload') : value,
    )
  }
  return leaves
})

function pass(leaves: Leaves, path: string, value: unknown): void {
  if (value === undefined) return
  if (GROUPS.includes(path)) {
    for (const [name, each] of Object.entries(check.object(value, path)))
      pass(leaves, `${path}.${name}`, each)
  } else {
    leaves.push(path, leaf(path.slice(path.lastIndexOf('.') + 1), value, path))
  }
}

function leaf(name: string, value: unknown, path: string): unknown {
  if (typeof value === 'string') return check.wellFormed(value, path)
  if (name === 'userProperties') return check.userProperties(value, path)
  if (name === 'correlationData') return check.binary(value, path)
  return value
}

export function checkCredential(name: string, value: unknown): void {
  const text = name === 'username' || typeof value === 'string'
  const bytes = text ? check.encoder.encode(check.string(value, name)) : check.binary(value, name)
  if (bytes.length > 65_535) throw invalid(name, 'must have at most 65535 bytes')
  if (name === 'username' && bytes.includes(0)) throw invalid(name, 'must not hold U+0000')
}

export function checkHeaders(headers: unknown): void {
  for (const [name, value] of Object.entries(check.object(headers, 'websocket.headers')))
    check.string(value, `websocket.headers.${name}`)
}

function readTls(value: unknown): ConnectOptions['tls'] {
  const tls = check.options(value, 'tls', TLS, 'tls.')
  for (const [name, each] of Object.entries(tls)) {
    const path = `tls.${name}`
    if (each === undefined) continue
    if (name === 'rejectUnauthorized') check.boolean(each, path)
    else if (name === 'alpnProtocols') check.strings(each, path)
    else if (typeof each === 'string' || name === 'passphrase' || name === 'servername')
      check.string(each, path)
    else check.binary(each, path)
  }
  return { ...tls }
}

// ------------------------------------------------------------------------------------------------ calls

/** For `Core.property`. */
export type Draft = [path: string, value: unknown][]

function draftOf(properties: unknown, prefix: string): Draft {
  const draft: Draft = []
  if (properties === undefined) return draft
  for (const [name, value] of Object.entries(check.object(properties, 'properties'))) {
    // What a received message has on top: it is not sent on.
    if (value !== undefined && name !== 'subscriptionIdentifiers')
      draft.push([prefix + name, leaf(name, value, prefix + name)])
  }
  return draft
}

/** The flags of a publish whose options are no more than `qos` and `retain`, as most are; -1: have a closer look. */
export function quickPublish(given: PublishOptions): number {
  if (typeof given !== 'object' || given === null) return -1
  let flags = 0
  try {
    for (const name in given) {
      const value: unknown = given[name as keyof PublishOptions]
      if (name === 'qos' && (value === 0 || value === 1 || value === 2)) flags |= value
      else if (name === 'retain' && typeof value === 'boolean') flags |= value ? 4 : 0
      else return -1
    }
  } catch {
    return -1
  }
  return flags
}

export interface PublishCall extends CallOptions {
  flags: number
  draft: Draft
}

export const readPublish = check.careful((given: unknown): PublishCall => {
  const bag = check.options(given, 'options', PUBLISH)
  const { qos = 0, retain = false, properties } = bag
  const flags = check.oneOf(qos, 'qos', QOS) | (check.boolean(retain, 'retain') ? 4 : 0)
  const draft = draftOf(properties, 'properties.')
  return { flags: draft.length ? flags | 8 : flags, draft, ...check.call(bag) }
})

export interface SubscribeCall extends CallOptions {
  filters: string[]
  /** One byte each, as in a SUBSCRIBE. */
  bits: Uint8Array
  ack: 'auto' | 'settled' | 'manual'
  draft: Draft
}

export const readSubscribe = check.careful((filters: Filters, given: unknown): SubscribeCall => {
  const whole = { ...check.options(given, 'options', SUBSCRIBE) }
  const entries: [string, unknown][] =
    typeof filters === 'object' && filters !== null && !Array.isArray(filters)
      ? Object.entries(filters)
      : readFilters(filters).map((filter) => [filter, undefined])
  const bits = entries.map(([, own]) => {
    const each = { ...whole, ...check.options(own, 'filter', SUBSCRIBE) }
    for (const name of [...WHOLE, ...CALL]) {
      if (each[name] === undefined) continue
      const same = entries.every(
        ([, other]) => ((other as check.Bag | undefined)?.[name] ?? whole[name]) === each[name],
      )
      if (!same) throw invalid(name, 'goes for all filters of a call: give it in the options')
      whole[name] = each[name]
    }
    const { qos = 0, noLocal = false, retainAsPublished = false, retainHandling = 0 } = each
    return (
      check.oneOf(qos, 'qos', QOS) |
      (check.boolean(noLocal, 'noLocal') ? 4 : 0) |
      (check.boolean(retainAsPublished, 'retainAsPublished') ? 8 : 0) |
      (check.oneOf(retainHandling, 'retainHandling', QOS) << 4)
    )
  })
  if (bits.length === 0) throw invalid('filter', 'names no filter')
  const { ack = 'auto', conflate = 0, subscriptionIdentifier, userProperties } = whole
  if (check.number(conflate, 'conflate')) throw unsupported('the option conflate')
  return {
    filters: entries.map(([filter]) => check.wellFormed(filter, 'filter')),
    bits: Uint8Array.from(bits),
    ack: check.oneOf(ack, 'ack', ['auto', 'settled', 'manual'] as const),
    draft: draftOf({ subscriptionIdentifier, userProperties }, ''),
    ...check.call(whole),
  }
})

export const readFilters = check.careful((filters: unknown): string[] => {
  const list: unknown[] = Array.isArray(filters) ? filters : [filters]
  if (list.length === 0) throw invalid('filter', 'names no filter')
  return list.map((filter) => check.string(filter, 'filter'))
})

export const readUnsubscribe = check.careful((given: unknown): CallOptions & { draft: Draft } => {
  const { userProperties, ...bag } = check.options(given, 'options', [...CALL, 'userProperties'])
  return { draft: draftOf({ userProperties }, ''), ...check.call(bag) }
})

export interface EndCall extends CallOptions {
  timeout: number
  force: boolean
  reasonCode: number
  draft: Draft
}

export const readEnd = check.careful((given: unknown): EndCall => {
  const bag = check.options(given, 'options', END)
  const { force = false, reasonCode = 0, properties } = bag
  const { signal, timeout = 3_000 } = check.call(bag)
  return {
    signal,
    timeout,
    force: check.boolean(force, 'force'),
    reasonCode: check.byte(reasonCode, 'reasonCode'),
    draft: draftOf(properties, 'properties.'),
  }
})

export const readCall = check.careful(
  (given: unknown): CallOptions => check.call(check.options(given, 'options', CALL)),
)
