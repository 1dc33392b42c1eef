// -D: properties of MQTT 5 by the names of mosquitto's manual.
import type { ConnectProperties, EndOptions, PublishProperties, Will } from '../api.js'
import { type GivenProperty, UsageError } from './options.js'

type Users = [name: string, value: string][]

/** The properties of each packet. */
export interface Properties {
  connect: ConnectProperties & { authenticationMethod?: string; authenticationData?: Uint8Array }
  publish: PublishProperties
  subscribe: { subscriptionIdentifier?: number; userProperties?: Users }
  unsubscribe: { userProperties?: Users }
  disconnect: NonNullable<EndOptions['properties']>
  will: NonNullable<Will['properties']>
}

type Kind = 'number' | 'bit' | 'flag' | 'text' | 'bytes'

const MESSAGE = {
  'payload-format-indicator': 'bit',
  'message-expiry-interval': 'number',
  'content-type': 'text',
  'response-topic': 'text',
  'correlation-data': 'bytes',
} as const

/** By packet: the properties that it may have, besides user-property. */
const KNOWN: Record<keyof Properties, Record<string, Kind>> = {
  connect: {
    'authentication-data': 'bytes',
    'authentication-method': 'text',
    'maximum-packet-size': 'number',
    'receive-maximum': 'number',
    'request-problem-information': 'flag',
    'request-response-information': 'flag',
    'session-expiry-interval': 'number',
    'topic-alias-maximum': 'number',
  },
  publish: { ...MESSAGE, 'topic-alias': 'number' },
  subscribe: { 'subscription-identifier': 'number' },
  unsubscribe: {},
  disconnect: { 'session-expiry-interval': 'number', 'reason-string': 'text' },
  will: { ...MESSAGE, 'will-delay-interval': 'number' },
}

/** Reads all uses of -D. Throws UsageError. */
export function applyProperties(given: readonly GivenProperty[]): Properties {
  const all: Properties = {
    connect: {},
    publish: {},
    subscribe: {},
    unsubscribe: {},
    disconnect: {},
    will: {},
  }
  for (const { packet, name, values } of given) {
    const known = KNOWN[packet as keyof Properties]
    if (known === undefined)
      throw new UsageError(`-D knows ${Object.keys(KNOWN).join(', ')}, not ${packet}`)
    const properties = all[packet as keyof Properties] as Record<string, unknown>
    if (name === 'user-property') {
      const users = (properties.userProperties ??= []) as Users
      users.push(values as [string, string])
      continue
    }
    const kind = known[name]
    if (kind === undefined) {
      const names = [...Object.keys(known), 'user-property'].join(', ')
      throw new UsageError(`-D ${packet} has no ${name}: it has ${names}`)
    }
    const key = name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())
    properties[key] = readValue(kind, values[0]!, name)
  }
  return all
}

function readValue(kind: Kind, text: string, name: string): unknown {
  if (kind === 'text') return text
  if (kind === 'bytes') return new TextEncoder().encode(text)
  const number = Number(text)
  if (!Number.isInteger(number) || number < 0)
    throw new UsageError(`${name} must be a number, not ${text}`)
  return kind === 'flag' ? number !== 0 : number
}
