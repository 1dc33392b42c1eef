import type { Grant, UnsubscribeResult, UserProperties } from './types.js'

export type ErrorCode = keyof typeof classes

/** Names as in the MQTT 5 specification, 2.4, in camelCase. */
export const ReasonCode: Readonly<Record<string, number>> = Object.freeze({
  success: 0x00,
  normalDisconnection: 0x00,
  grantedQoS0: 0x00,
  grantedQoS1: 0x01,
  grantedQoS2: 0x02,
  disconnectWithWillMessage: 0x04,
  noMatchingSubscribers: 0x10,
  noSubscriptionExisted: 0x11,
  continueAuthentication: 0x18,
  reAuthenticate: 0x19,
  unspecifiedError: 0x80,
  malformedPacket: 0x81,
  protocolError: 0x82,
  implementationSpecificError: 0x83,
  unsupportedProtocolVersion: 0x84,
  clientIdentifierNotValid: 0x85,
  badUserNameOrPassword: 0x86,
  notAuthorized: 0x87,
  serverUnavailable: 0x88,
  serverBusy: 0x89,
  banned: 0x8a,
  serverShuttingDown: 0x8b,
  badAuthenticationMethod: 0x8c,
  keepAliveTimeout: 0x8d,
  sessionTakenOver: 0x8e,
  topicFilterInvalid: 0x8f,
  topicNameInvalid: 0x90,
  packetIdentifierInUse: 0x91,
  packetIdentifierNotFound: 0x92,
  receiveMaximumExceeded: 0x93,
  topicAliasInvalid: 0x94,
  packetTooLarge: 0x95,
  messageRateTooHigh: 0x96,
  quotaExceeded: 0x97,
  administrativeAction: 0x98,
  payloadFormatInvalid: 0x99,
  retainNotSupported: 0x9a,
  qosNotSupported: 0x9b,
  useAnotherServer: 0x9c,
  serverMoved: 0x9d,
  sharedSubscriptionsNotSupported: 0x9e,
  connectionRateExceeded: 0x9f,
  maximumConnectTime: 0xa0,
  subscriptionIdentifiersNotSupported: 0xa1,
  wildcardSubscriptionsNotSupported: 0xa2,
})

/** Everything an error can carry. @internal */
export interface ErrorFields {
  code: ErrorCode
  /** What happened, in a few words. */
  what?: string
  reasonCode?: number
  reasonString?: string
  userProperties?: UserProperties
  serverReference?: string
  retryable?: boolean
  argument?: string
  phase?: 'transport' | 'mqtt' | 'authentication'
  url?: string
  closeCode?: number
  grants?: readonly Grant[]
  reasonCodes?: UnsubscribeResult['reasonCodes']
  size?: number
  limit?: number
  topic?: string
  cause?: unknown
}

/** What every promise rejects with and every 'error' event carries. */
export class MqttError extends Error {
  declare readonly code: ErrorCode
  /** MQTT reason code, also for 3.1.1 return codes (mapped to their MQTT 5 equivalent). */
  declare readonly reasonCode: number | undefined
  /** The server's own words. */
  declare readonly reasonString: string | undefined
  declare readonly userProperties: UserProperties | undefined
  /** Another server that the server names. */
  declare readonly serverReference: string | undefined
  /** Whether the same call can succeed later without a change. */
  declare readonly retryable: boolean

  /** @internal */
  constructor({ what, cause, ...fields }: ErrorFields) {
    super(describe(fields, what, cause), cause === undefined ? undefined : { cause })
    const none = undefined
    Object.assign(
      this,
      {
        reasonCode: none,
        reasonString: none,
        userProperties: none,
        serverReference: none,
        retryable: false,
      },
      fields,
    )
  }
}

/** A caller's mistake. Nothing was sent. */
export class InvalidArgumentError extends MqttError {
  /** The argument or option at fault, as 'topic' or 'reconnect.minDelay'. */
  declare readonly argument: string
}
/** The connection could not be made (CONNECTION_FAILED), or the server refused it (CONNECTION_REFUSED). */
export class ConnectError extends MqttError {
  /** How far it came. */
  declare readonly phase: 'transport' | 'mqtt' | 'authentication'
  /** Without credentials. */
  declare readonly url: string
  /** Of the WebSocket. */
  declare readonly closeCode: number | undefined
}
/** Enhanced authentication failed. `cause` is what the Authenticator threw, if it did. */
export class AuthenticationError extends MqttError {}
/** The server refused a message. */
export class PublishError extends MqttError {}
/** The server granted none of the filters. */
export class SubscribeError extends MqttError {
  declare readonly grants: readonly Grant[]
}
/** The server refused to end any of the subscriptions. */
export class UnsubscribeError extends MqttError {
  declare readonly reasonCodes: UnsubscribeResult['reasonCodes']
}
/** Larger than what the server takes, or the protocol allows. */
export class PacketTooLargeError extends MqttError {
  /** Bytes. */
  declare readonly size: number
  /** Bytes. */
  declare readonly limit: number
}
/** Beyond what the server, the protocol version, the runtime or this version of the library offers. */
export class NotSupportedError extends MqttError {}
/** The queue, or a stream's buffer, is full. */
export class QueueFullError extends MqttError {}
/** The message's expiry interval was over before it could be sent. */
export class ExpiredError extends MqttError {}
/** The `timeout` of the call was over. */
export class TimeoutError extends MqttError {}
/** The `signal` of the call was aborted. `cause` is its reason. */
export class AbortError extends MqttError {}
/** The client is closed, or closed before the call was done. */
export class ClosedError extends MqttError {}
/** The connection is gone. */
export class ConnectionLostError extends MqttError {
  /** Of the WebSocket. */
  declare readonly closeCode: number | undefined
}
/** The server sent DISCONNECT. */
export class ServerDisconnectedError extends MqttError {}
/** The server did not answer in time. */
export class KeepaliveTimeoutError extends MqttError {}
/** The server lost the session: sending the QoS 2 message again could deliver it twice. */
export class SessionLostError extends MqttError {}
/** The server broke the protocol. */
export class ProtocolError extends MqttError {}
/** A Store failed. */
export class StoreError extends MqttError {}
/** A handler, listener or callback threw, or its promise rejected: `cause` is what with. */
export class HandlerError extends MqttError {}
/** The WebAssembly instance failed: every client of it is closed, the next one gets a fresh instance. */
export class InternalError extends MqttError {}

const classes = {
  INVALID_ARGUMENT: InvalidArgumentError,
  CONNECTION_FAILED: ConnectError,
  CONNECTION_REFUSED: ConnectError,
  CONNECTION_LOST: ConnectionLostError,
  SESSION_LOST: SessionLostError,
  SERVER_DISCONNECTED: ServerDisconnectedError,
  KEEPALIVE_TIMEOUT: KeepaliveTimeoutError,
  PROTOCOL_ERROR: ProtocolError,
  AUTHENTICATION_FAILED: AuthenticationError,
  PUBLISH_REFUSED: PublishError,
  SUBSCRIBE_REFUSED: SubscribeError,
  UNSUBSCRIBE_REFUSED: UnsubscribeError,
  PACKET_TOO_LARGE: PacketTooLargeError,
  NOT_SUPPORTED: NotSupportedError,
  QUEUE_FULL: QueueFullError,
  EXPIRED: ExpiredError,
  TIMEOUT: TimeoutError,
  ABORTED: AbortError,
  CLOSED: ClosedError,
  HANDLER_FAILED: HandlerError,
  STORE_FAILED: StoreError,
  INTERNAL: InternalError,
}

// Minifiers rename classes: the names are kept as keys.
const named = {
  MqttError,
  InvalidArgumentError,
  ConnectError,
  ConnectionLostError,
  SessionLostError,
  ServerDisconnectedError,
  KeepaliveTimeoutError,
  ProtocolError,
  AuthenticationError,
  PublishError,
  SubscribeError,
  UnsubscribeError,
  PacketTooLargeError,
  NotSupportedError,
  QueueFullError,
  ExpiredError,
  TimeoutError,
  AbortError,
  ClosedError,
  HandlerError,
  StoreError,
  InternalError,
}
for (const [name, type] of Object.entries(named)) {
  Object.defineProperty(type, 'name', { value: name })
  Object.defineProperty(type.prototype, 'name', { value: name, configurable: true, writable: true })
}

/** @internal */
export function mqttError(fields: ErrorFields): MqttError {
  return new classes[fields.code](fields)
}

/** @internal */
export function invalid(argument: string, what: string, cause?: unknown): MqttError {
  return mqttError({ code: 'INVALID_ARGUMENT', argument, what, cause })
}

/** @internal */
export function unsupported(what: string, cause?: unknown): MqttError {
  return mqttError({ code: 'NOT_SUPPORTED', what, cause })
}

/** What comes before `what`, where that is not the whole sentence. */
const subjects: { [code in ErrorCode]?: string } = {
  INVALID_ARGUMENT: 'Invalid argument',
  CONNECTION_FAILED: 'Cannot connect',
  PROTOCOL_ERROR: 'The server broke the protocol',
  AUTHENTICATION_FAILED: 'Authentication failed',
  NOT_SUPPORTED: 'Not supported',
  ABORTED: 'The call was aborted',
  HANDLER_FAILED: 'A function of the application failed',
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

/** One line for people: what happened to what, why, and what to do where that is known. */
function describe(error: ErrorFields, what: string | undefined, cause: unknown): string {
  const { code, argument, url, topic, size, limit, reasonCode, reasonString, closeCode, grants } =
    error
  const reasons = what === undefined ? [] : [what]
  let text = subjects[code] ?? reasons.shift()!
  if (argument !== undefined) text += ` ${argument}`
  if (url) text += code === 'CONNECTION_FAILED' ? ` to ${url}` : ` (${url})`
  if (topic !== undefined) text += ` to '${topic}'`
  if (size !== undefined) reasons.push(`${size} bytes, the limit is ${limit}`)
  if (reasonCode) reasons.push(reasonName(reasonCode))
  for (const grant of grants ?? [])
    reasons.push(`'${grant.filter}' ${reasonName(grant.reasonCode)}`)
  if (reasonString) reasons.push(`"${reasonString}"`)
  if (closeCode !== undefined) reasons.push(`close code ${closeCode}`)
  if (cause instanceof Error && cause.message && code !== 'ABORTED') reasons.push(cause.message)
  const hint = reasonCode !== undefined && hints[reasonCode]
  if (hint) reasons.push(hint)
  text = text.charAt(0).toUpperCase() + text.slice(1)
  return reasons.length > 0 ? `${text}: ${reasons.join(', ')}` : text
}

/** 'not authorized (0x87)' */
function reasonName(code: number): string {
  const key = Object.keys(ReasonCode).find((name) => ReasonCode[name] === code) ?? 'reasonCode'
  return `${key.replace(/[A-Z]+/g, (capital) => ` ${capital.toLowerCase()}`)} (0x${code.toString(16).padStart(2, '0')})`
}
