// Options on their way to the core: what is JavaScript's own is kept here, the rest crosses as one list of leaves.
import type { Leaves } from '#glue'
import { invalid, unsupported } from './errors.js'
import { platform } from './platform.js'
import type { CallOptions, Payload, QoS } from './types/basics.js'
import type { Filters, IterateOptions, PublishOptions, SubscribeOptions } from './types/calls.js'
import type { Authenticator, ConnectOptions, Store, Will } from './types/connecting.js'
import * as validate from './validate.js'

const words = (text: string): readonly string[] => text.split(' ')
const CALL = words('signal timeout')
const FILTER = words('qos noLocal retainAsPublished retainHandling')
const MESSAGE = words('qos retain properties')
const MESSAGE_PROPERTIES = words(
  'payloadFormatIndicator messageExpiryInterval contentType responseTopic correlationData userProperties',
)
const PUBLISH = [...CALL, ...MESSAGE]
const ROUTED = [...CALL, ...FILTER, 'subscriptionIdentifier', 'userProperties']
const SUBSCRIBE = [...ROUTED, 'ack', 'conflate', 'concurrency']
const ITERATE = [...ROUTED, 'buffer', 'overflow']
const WATCH = words('qos signal conflate subscriptionIdentifier limit')
const END = [...CALL, ...words('force reasonCode properties')]
// A received message has `subscriptionIdentifiers`, which are not sent on.
const PUBLISH_PROPERTIES = [...MESSAGE_PROPERTIES, 'topicAlias', 'subscriptionIdentifiers']
const END_PROPERTIES = words('sessionExpiryInterval reasonString userProperties')
/** The options of a client that hold others, by their paths. */
const GROUPS = {
  will: [...MESSAGE, 'topic', 'payload'],
  presence: words('topic online offline qos retain'),
  reconnect: words('minDelay maxDelay factor jitter maxAttempts initial shouldRetry'),
  queue: words('maxMessages maxBytes overflow qos0'),
  properties: words(
    'sessionExpiryInterval receiveMaximum maximumPacketSize topicAliasMaximum requestResponseInformation requestProblemInformation userProperties',
  ),
  websocket: words('protocols headers'),
  tls: words('ca cert key passphrase servername rejectUnauthorized alpnProtocols'),
  'will.properties': [...MESSAGE_PROPERTIES, 'willDelayInterval'],
}
const CONNECT = [
  ...words(
    'protocolVersion clientId username password clean keepalive connectTimeout authentication resubscribe store topicAliases transport signal',
  ),
  ...Object.keys(GROUPS),
]
const QOS: readonly QoS[] = [0, 1, 2]
const OVERFLOW = ['pause', 'drop-oldest', 'drop-newest', 'error'] as const

/** What presence publishes. */
export interface PresenceSettings {
  topic: string
  online: Uint8Array
  offline: Uint8Array
  options: Pick<PublishOptions, 'qos' | 'retain'>
}

/** What of ConnectOptions is for JavaScript. */
export interface Settings
  extends Pick<
    ConnectOptions,
    | 'clientId'
    | 'username'
    | 'password'
    | 'store'
    | 'transport'
    | 'tls'
    | 'signal'
    | 'authentication'
  > {
  protocols: string[]
  presence?: PresenceSettings | undefined
  headers?: NonNullable<ConnectOptions['websocket']>['headers']
  shouldRetry?: ((...args: any[]) => unknown) | undefined
}

/** Divides the options: what JavaScript needs, and the leaves for the core. */
export const readConnect = validate.careful(
  (given: ConnectOptions): { settings: Settings; leaves: Leaves } => {
    const settings: Settings = { protocols: ['mqtt'] }
    const leaves: Leaves = []
    validate.object(given, 'options')
    for (const [name, value] of Object.entries(
      validate.options(given, 'options', CONNECT, '', GROUPS),
    ))
      if (value !== undefined) readOption(name, value, settings, leaves)
    if (settings.presence !== undefined && given.will !== undefined)
      throw invalid('presence', 'makes the will, so the option will cannot be set, too')
    if (settings.transport === undefined && !platform.native) {
      if (settings.tls)
        throw unsupported('the option tls: this runtime makes its own TLS connections')
      if (settings.headers)
        throw unsupported('the option websocket.headers: this runtime sends none')
    }
    return { settings, leaves }
  },
)

function readOption(name: string, value: unknown, settings: Settings, leaves: Leaves): void {
  switch (name) {
    case 'clientId':
      settings.clientId = value as string
      pass(leaves, name, value)
      break
    case 'username':
    case 'password':
      if (typeof value !== 'function') checkCredential(name, value)
      settings[name] = value as never
      break
    case 'transport':
      settings.transport = validate.func(value, name) as ConnectOptions['transport']
      break
    case 'signal':
      settings.signal = validate.checkSignal(value)
      break
    case 'tls':
      settings.tls = readTls(value)
      break
    case 'websocket': {
      const { protocols, headers } = readGroup(value, name)
      if (protocols !== undefined)
        settings.protocols = validate.strings(protocols, 'websocket.protocols')
      if (headers !== undefined && typeof headers !== 'function') checkHeaders(headers)
      settings.headers = headers as Settings['headers']
      break
    }
    case 'authentication':
      settings.authentication = readAuthenticator(value, leaves)
      break
    case 'store':
      settings.store = readStore(value)
      leaves.push(name, true)
      break
    case 'will':
      leaves.push(...readWill(value as Will))
      break
    case 'presence':
      settings.presence = readPresence(value, leaves)
      break
    case 'reconnect':
      if (typeof value === 'object') pass(leaves, name, readReconnect(value, settings, leaves))
      else leaves.push(name, value)
      break
    default:
      pass(leaves, name, value)
  }
}

/** Adds the will that presence makes. */
function readPresence(value: unknown, leaves: Leaves): PresenceSettings {
  const bag = readGroup(value, 'presence')
  const { topic = '', online = 'online', offline = 'offline', qos = 1, retain = true } = bag
  const payload = (given: unknown, name: string) =>
    new Uint8Array(validate.payloadBytes((given ?? '') as Payload, `presence.${name}`))
  const settings = {
    topic: validate.string(topic, 'presence.topic'),
    online: payload(online, 'online'),
    offline: payload(offline, 'offline'),
    options: {
      qos: validate.oneOf(qos, 'presence.qos', QOS),
      retain: validate.boolean(retain, 'presence.retain'),
    },
  }
  for (const [name, each] of Object.entries({ ...settings, ...settings.options }))
    if (name !== 'online' && name !== 'options') leaves.push(`presence.${name}`, each)
  return settings
}

function readStore(value: unknown): Store {
  const { load, write, close } = validate.object(value, 'store')
  validate.func(load, 'store.load')
  validate.func(write, 'store.write')
  if (close !== undefined) validate.func(close, 'store.close')
  return value as Store
}

function readAuthenticator(value: unknown, leaves: Leaves): Authenticator {
  const { method, start, continue: next } = validate.object(value, 'authentication')
  leaves.push('authentication.method', validate.string(method, 'authentication.method'))
  validate.func(start, 'authentication.start')
  validate.func(next, 'authentication.continue')
  return value as Authenticator
}

/** Takes `shouldRetry` out, of which the core only needs to know whether it is there. */
function readReconnect(value: unknown, settings: Settings, leaves: Leaves): unknown {
  const { shouldRetry, ...rest } = readGroup(value, 'reconnect')
  if (shouldRetry !== undefined) {
    const path = 'reconnect.shouldRetry'
    settings.shouldRetry = validate.func(shouldRetry, path) as Settings['shouldRetry']
    leaves.push(path, true)
  }
  return rest
}

/** The leaves of a will. */
export const readWill = validate.careful((will: Will): Leaves => {
  const leaves: Leaves = []
  const bag = readGroup(will, 'will')
  // A will without a topic is still a will, which the core refuses.
  for (const [name, value] of Object.entries({ ...bag, topic: bag.topic ?? '' })) {
    const path = `will.${name}`
    pass(leaves, path, name === 'payload' ? validate.payloadBytes(value as Payload, path) : value)
  }
  return leaves
})

/** An option that holds others. */
const readGroup = (value: unknown, path: keyof typeof GROUPS): validate.Bag =>
  validate.options(validate.object(value, path), path, GROUPS[path], `${path}.`)

/** Adds what is found at a path: a leaf, or those of a group. */
function pass(leaves: Leaves, path: string, value: unknown): void {
  if (value === undefined) return
  if (path in GROUPS) {
    for (const [name, each] of Object.entries(readGroup(value, path as keyof typeof GROUPS)))
      pass(leaves, `${path}.${name}`, each)
  } else {
    leaves.push(path, leaf(path.slice(path.lastIndexOf('.') + 1), value, path))
  }
}

function leaf(name: string, value: unknown, path: string): unknown {
  if (typeof value === 'string') return validate.wellFormed(value, path)
  if (name === 'userProperties') return validate.userProperties(value, path)
  if (name === 'correlationData') return validate.binary(value, path)
  return value
}

export function checkCredential(name: string, value: unknown): void {
  const text = name === 'username' || typeof value === 'string'
  const bytes = text
    ? validate.encoder.encode(validate.string(value, name))
    : validate.binary(value, name)
  if (bytes.length > 65_535) throw invalid(name, 'must have at most 65535 bytes')
  if (name === 'username' && bytes.includes(0)) throw invalid(name, 'must not hold U+0000')
}

export function checkHeaders(headers: unknown): void {
  for (const [name, value] of Object.entries(validate.object(headers, 'websocket.headers')))
    validate.string(value, `websocket.headers.${name}`)
}

function readTls(value: unknown): ConnectOptions['tls'] {
  const tls = readGroup(value, 'tls')
  for (const [name, each] of Object.entries(tls)) {
    const path = `tls.${name}`
    if (each === undefined) continue
    if (name === 'rejectUnauthorized') validate.boolean(each, path)
    else if (name === 'alpnProtocols') validate.strings(each, path)
    else if (typeof each === 'string' || name === 'passphrase' || name === 'servername')
      validate.string(each, path)
    else validate.binary(each, path)
  }
  return { ...tls }
}

// ------------------------------------------------------------------------------------------------ calls

/** The leaves of a call's properties. */
function draftOf(properties: validate.Bag, prefix: string): Leaves {
  const draft: Leaves = []
  for (const [name, value] of Object.entries(properties)) {
    const path = prefix + name
    if (value !== undefined && name !== 'subscriptionIdentifiers')
      draft.push(path, leaf(name, value, path))
  }
  return draft
}

const readProperties = (given: unknown, names: readonly string[]): Leaves =>
  draftOf(validate.options(given, 'properties', names, 'properties.'), 'properties.')

/** The flags of a publish that has no other options than `qos` and `retain`, as most have; -1: it needs `readPublish`. */
export function quickPublish(given: PublishOptions): number {
  if (typeof given !== 'object' || given === null) return -1
  let flags = 0
  try {
    if (Object.getPrototypeOf(given) !== Object.prototype) return -1
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

/** A publish as the core takes it. */
export interface PublishCall extends CallOptions {
  /** QoS, 4 for retain, 8 for properties. */
  flags: number
  draft: Leaves
}

export const readPublish = validate.careful((given: unknown): PublishCall => {
  const bag = validate.options(given, 'options', PUBLISH)
  const { qos = 0, retain = false, properties } = bag
  const flags = validate.oneOf(qos, 'qos', QOS) | (validate.boolean(retain, 'retain') ? 4 : 0)
  const draft = readProperties(properties, PUBLISH_PROPERTIES)
  return { flags: draft.length ? flags | 8 : flags, draft, ...validate.call(bag) }
})

/** A copy of a publish's options, checked: a request is published later. */
export const readRequest = validate.careful((given: PublishOptions = {}): PublishOptions => {
  readPublish(given)
  return { ...given, properties: { ...given.properties } }
})

/** A subscribe as the core takes it. */
export interface SubscribeCall extends CallOptions {
  filters: string[]
  /** One byte each, as in a SUBSCRIBE. */
  bits: Uint8Array
  ack: 'auto' | 'settled' | 'manual'
  conflate: number
  concurrency: number
  draft: Leaves
}

export const readSubscribe = validate.careful((filters: Filters, given: unknown): SubscribeCall => {
  const whole = validate.options(given, 'options', SUBSCRIBE)
  const entries: [string, unknown][] =
    typeof filters === 'object' && filters !== null && !Array.isArray(filters)
      ? Object.entries(filters)
      : readFilters(filters).map((filter) => [filter, undefined])
  if (entries.length === 0) throw invalid('filter', 'names no filter')
  const bits = entries.map(([, own]) => filterBits(validate.options(own, 'filter', FILTER), whole))
  const { ack = 'auto', conflate = 0, concurrency = 1_000 } = whole
  const { subscriptionIdentifier, userProperties } = whole
  return {
    filters: entries.map(([filter]) => validate.wellFormed(filter, 'filter')),
    bits: Uint8Array.from(bits),
    ack: validate.oneOf(ack, 'ack', ['auto', 'settled', 'manual'] as const),
    conflate: validate.number(conflate, 'conflate'),
    concurrency: validate.number(concurrency, 'concurrency', 1),
    draft: draftOf({ subscriptionIdentifier, userProperties }, ''),
    ...validate.call(whole),
  }
})

/** The options of one filter as in a SUBSCRIBE: its own, then those of the call. MQTT 5.0, section 3.8.3.1. */
function filterBits(own: validate.Bag, whole: validate.Bag): number {
  const [qos = 0, noLocal = false, retainAsPublished = false, retainHandling = 0] = FILTER.map(
    (name) => (own[name] === undefined ? whole : own)[name],
  )
  return (
    validate.oneOf(qos, 'qos', QOS) |
    (validate.boolean(noLocal, 'noLocal') ? 4 : 0) |
    (validate.boolean(retainAsPublished, 'retainAsPublished') ? 8 : 0) |
    (validate.oneOf(retainHandling, 'retainHandling', QOS) << 4)
  )
}

/** What a stream keeps of its options, and those of its subscribe call. */
export interface IterateCall {
  limit: number
  overflow: NonNullable<IterateOptions['overflow']>
  signal: AbortSignal | undefined
  subscribe: SubscribeOptions
}

export const readIterate = validate.careful((given: unknown): IterateCall => {
  const bag = validate.options(given, 'options', ITERATE)
  const { buffer = 1_000, overflow = 'pause', signal, ...subscribe } = bag
  return {
    limit: validate.number(buffer, 'buffer', 1),
    overflow: validate.oneOf(overflow, 'overflow', OVERFLOW),
    signal: signal === undefined ? undefined : validate.checkSignal(signal),
    subscribe,
  }
})

/** What a watch keeps of its options, and those of the subscribe call. */
export interface WatchCall {
  /** Watches with the same one share a subscription. */
  key: string
  filters: string[]
  limit: number
  conflate: number
  signal: AbortSignal | undefined
  subscribe: SubscribeOptions
}

export const readWatch = validate.careful((filters: Filters, given: unknown): WatchCall => {
  const bag = validate.options(given, 'options', WATCH)
  const { limit = 10_000, conflate = 0, signal, ...subscribe } = bag
  const call = readSubscribe(filters, subscribe)
  return {
    key: JSON.stringify([call.filters, [...call.bits], call.draft]),
    filters: call.filters,
    limit: validate.number(limit, 'limit', 1),
    conflate: validate.number(conflate, 'conflate'),
    signal: validate.call({ signal }).signal ?? undefined,
    subscribe,
  }
})

export const readFilters = validate.careful((filters: unknown): string[] => {
  const list: unknown[] = Array.isArray(filters) ? filters : [filters]
  if (list.length === 0) throw invalid('filter', 'names no filter')
  return list.map((filter) => validate.string(filter, 'filter'))
})

export const readUnsubscribe = validate.careful(
  (given: unknown): CallOptions & { draft: Leaves } => {
    const { userProperties, ...bag } = validate.options(given, 'options', [
      ...CALL,
      'userProperties',
    ])
    return { draft: draftOf({ userProperties }, ''), ...validate.call(bag) }
  },
)

/** An end as the core takes it. */
export interface EndCall extends CallOptions {
  timeout: number
  force: boolean
  reasonCode: number
  draft: Leaves
}

export const readEnd = validate.careful((given: unknown): EndCall => {
  const bag = validate.options(given, 'options', END)
  const { force = false, reasonCode = 0, properties } = bag
  const { signal, timeout = 3_000 } = validate.call(bag)
  return {
    signal,
    timeout,
    force: validate.boolean(force, 'force'),
    reasonCode: validate.byte(reasonCode, 'reasonCode'),
    draft: readProperties(properties, END_PROPERTIES),
  }
})

export const readCall = validate.careful(
  (given: unknown): CallOptions => validate.call(validate.options(given, 'options', CALL)),
)
