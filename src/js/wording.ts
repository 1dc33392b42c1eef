// What errors carry, and what they say: one line for people.
import { reasonName } from './reason-code.js'
import type { Grant, UnsubscribeResult, UserProperties } from './types/basics.js'

/** Says in one word what went wrong. Each code belongs to one class. */
export type ErrorCode =
  | 'INVALID_ARGUMENT'
  | 'CONNECTION_FAILED'
  | 'CONNECTION_REFUSED'
  | 'CONNECTION_LOST'
  | 'SESSION_LOST'
  | 'SERVER_DISCONNECTED'
  | 'KEEPALIVE_TIMEOUT'
  | 'PROTOCOL_ERROR'
  | 'AUTHENTICATION_FAILED'
  | 'PUBLISH_REFUSED'
  | 'SUBSCRIBE_REFUSED'
  | 'UNSUBSCRIBE_REFUSED'
  | 'PACKET_TOO_LARGE'
  | 'NOT_SUPPORTED'
  | 'QUEUE_FULL'
  | 'EXPIRED'
  | 'TIMEOUT'
  | 'ABORTED'
  | 'CLOSED'
  | 'HANDLER_FAILED'
  | 'STORE_FAILED'
  | 'INTERNAL'

/** How far an attempt to connect came: to the socket, to CONNECT and CONNACK, or to AUTH. */
export type Phase = 'transport' | 'mqtt' | 'authentication'

/** Everything an error can carry. @internal */
export interface ErrorFields {
  code: ErrorCode
  /** What happened, in a few words. */
  what?: string | undefined
  /** The whole message, where it is not made of the other fields. */
  sentence?: string
  reasonCode?: number
  reasonString?: string
  userProperties?: UserProperties
  serverReference?: string
  retryable?: boolean
  argument?: string
  /** What the argument is. */
  value?: string | undefined
  phase?: Phase
  url?: string
  closeCode?: number
  closeReason?: string | undefined
  status?: number
  grants?: readonly Grant[]
  reasonCodes?: UnsubscribeResult['reasonCodes']
  size?: number
  limit?: number
  topic?: string
  filter?: string | undefined
  cause?: unknown
}

/** A URL without the values of its query, which may be secrets: `wss://example.org/mqtt?token=...`. @internal */
export function withoutValues(url: string): string {
  return url.replace(/\?.*/s, (query) => query.replace(/=(?!\.{3})[^&]*/g, '=...'))
}

/** What a value is, in a word. @internal */
export function kind(value: unknown): string {
  return typeof value === 'object'
    ? Object.prototype.toString.call(value).slice(8, -1).toLowerCase()
    : typeof value
}

/** A value as it can stand in a message. @internal */
export function shown(value: unknown): string {
  return typeof value === 'string'
    ? `'${value.length > 100 ? `${value.slice(0, 100)}...` : value}'`
    : typeof value === 'number'
      ? String(value)
      : kind(value)
}

/** What comes before `what`, where that is not the whole sentence. */
const subjects: { [code in ErrorCode]?: string } = {
  INVALID_ARGUMENT: 'Invalid argument',
  CONNECTION_FAILED: 'Cannot connect',
  PROTOCOL_ERROR: 'The server broke the protocol',
  AUTHENTICATION_FAILED: 'Authentication failed',
  NOT_SUPPORTED: 'Not supported',
  ABORTED: 'The call was aborted',
  INTERNAL: 'Internal error, the client is closed',
}

const hints: Record<number, string> = {
  0x84: 'set protocolVersion to one that the server speaks',
  0x85: 'choose another clientId',
  0x86: 'check username and password',
  0x87: 'check the credentials and what the server lets them do',
  0x8c: 'choose another authentication.method',
  0x8e: 'another client has connected with the same clientId',
}

/** One line for people: what happened to what, why, and what to do where that is known. @internal */
export function describe(
  error: ErrorFields,
  what: string | undefined,
  value: string | undefined,
  cause: unknown,
): string {
  const { code, argument, url, topic, size, limit, reasonCode, reasonString, grants } = error
  const { closeCode, closeReason } = error
  const reasons = what === undefined ? [] : [what]
  let text = subjects[code] ?? reasons.shift()!
  if (argument !== undefined) text += ` ${argument}`
  if (value !== undefined) text += ` ${value}`
  if (url) text += code === 'CONNECTION_FAILED' ? ` to ${url}` : ` (${url})`
  if (topic !== undefined && code !== 'HANDLER_FAILED')
    text += `${argument === undefined ? ' to' : ''} ${shown(topic)}`
  if (size !== undefined) reasons.push(`${size} bytes, the limit is ${limit}`)
  if (reasonCode) reasons.push(reasonName(reasonCode))
  for (const grant of grants ?? [])
    reasons.push(`'${grant.filter}' ${reasonName(grant.reasonCode)}`)
  if (reasonString) reasons.push(`"${reasonString}"`)
  const said = cause instanceof Error && code !== 'ABORTED' ? cause.message : ''
  if (what !== undefined) {
    if (closeCode !== undefined) reasons.push(`close code ${closeCode}`)
    if (closeReason && closeReason !== said) reasons.push(`"${closeReason}"`)
  }
  if (said) {
    const at = topic === undefined ? '' : ` (at topic '${topic}')`
    reasons.push(code === 'HANDLER_FAILED' ? `${(cause as Error).name}: ${said}${at}` : said)
  }
  const hint = reasonCode !== undefined && hints[reasonCode]
  if (hint) reasons.push(hint)
  text = text.charAt(0).toUpperCase() + text.slice(1)
  const whole = reasons.length > 0 ? `${text}: ${reasons.join(', ')}` : text
  // The server and the application may have their own idea of a line, and runtimes quote URLs.
  return whole.replace(/\s*[\r\n]\s*/g, ' ').replace(/\b(ws|http)s?:\S+/g, withoutValues)
}
