import type { Grant, UnsubscribeResult, UserProperties } from './types/basics.js'
import {
  describe,
  type ErrorCode,
  type ErrorFields,
  type Phase,
  shown,
  withoutValues,
} from './wording.js'

/** Is in errors of every copy of the package. */
const BRAND = Symbol.for('wasmqtt.MqttError')

/**
 * What every promise of the client rejects with and every 'error' event carries. Where the type is AnyMqttError, `code` tells the classes apart.
 *
 * @example
 * try {
 *   await client.publish('house/lamp', 'on', { qos: 1 })
 * } catch (error) {
 *   if (error instanceof MqttError && error.retryable) later()
 *   else throw error
 * }
 */
export class MqttError extends Error {
  /** What went wrong, in one word. */
  declare readonly code: ErrorCode
  /** The server's reason code, if it gave one. A return code of MQTT 3.1.1 appears as its MQTT 5 equivalent. See ReasonCode. */
  declare readonly reasonCode: number | undefined
  /** The server's own words, if it sent some. */
  declare readonly reasonString: string | undefined
  /** The server's user properties, if it sent some. */
  declare readonly userProperties: UserProperties | undefined
  /** Another server that the server names. MQTT 5.0, section 4.11. */
  declare readonly serverReference: string | undefined
  /** Whether the same call can succeed later without a change. */
  declare readonly retryable: boolean

  /** @internal */
  constructor({ what, sentence, value, cause, ...fields }: ErrorFields) {
    if (fields.url) fields.url = withoutValues(fields.url)
    const message = sentence ?? describe(fields, what, value, cause)
    super(message, cause === undefined ? undefined : { cause })
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

/** A mistake of the caller: a wrong type, value, topic, filter or option name. Nothing was sent. */
export class InvalidArgumentError extends MqttError {
  declare readonly code: 'INVALID_ARGUMENT'
  /** The argument or option at fault, as 'topic' or 'reconnect.minDelay'. */
  declare readonly argument: string
}

/** The connection could not be made (CONNECTION_FAILED), or the server refused it (CONNECTION_REFUSED). */
export class ConnectError extends MqttError {
  declare readonly code: 'CONNECTION_FAILED' | 'CONNECTION_REFUSED'
  /** How far the attempt came: to the socket, to CONNECT and CONNACK, or to AUTH. */
  declare readonly phase: Phase
  /** The server's URL, without credentials and without the values of its query. */
  declare readonly url: string
  /** The WebSocket's close code, if there was one. */
  declare readonly closeCode: number | undefined
  /** Why the connection was closed, in the words of the server or of the transport, where there are any. */
  declare readonly closeReason: string | undefined
  /** The status of an HTTP answer that was no upgrade to WebSocket, where the runtime tells. */
  declare readonly status: number | undefined
}

/** Enhanced authentication failed. `cause` is what the Authenticator threw, if it did. MQTT 5.0, section 4.12. */
export class AuthenticationError extends MqttError {
  declare readonly code: 'AUTHENTICATION_FAILED'
}

/**
 * The server refused a message, or ended the connection each time that it was sent. `reasonCode` says why, where the server did. MQTT 5.0, sections 3.4.2.1
 * and 3.5.2.1.
 */
export class PublishError extends MqttError {
  declare readonly code: 'PUBLISH_REFUSED'
}

/** The server granted none of the filters, or ended the connection each time that they were asked for. */
export class SubscribeError extends MqttError {
  declare readonly code: 'SUBSCRIBE_REFUSED'
  /** The server's answer for each filter. */
  declare readonly grants: readonly Grant[]
}

/** The server refused to end any of the subscriptions, or ended the connection each time that it was asked to. */
export class UnsubscribeError extends MqttError {
  declare readonly code: 'UNSUBSCRIBE_REFUSED'
  /** The server's answer for each filter. */
  declare readonly reasonCodes: UnsubscribeResult['reasonCodes']
}

/** The packet is larger than what the server takes, or than what the protocol allows. MQTT 5.0, section 3.2.2.3.6. */
export class PacketTooLargeError extends MqttError {
  declare readonly code: 'PACKET_TOO_LARGE'
  /** Bytes of the packet, or of its payload where that alone is too large. */
  declare readonly size: number
  /** Bytes that are allowed. */
  declare readonly limit: number
}

/** What was asked for is beyond what the server, the protocol version or the runtime offers. */
export class NotSupportedError extends MqttError {
  declare readonly code: 'NOT_SUPPORTED'
}

/** The queue of messages that wait to be sent is full, or a stream holds more unread messages than it may. */
export class QueueFullError extends MqttError {
  declare readonly code: 'QUEUE_FULL'
}

/** The message's expiry interval was over before it could be sent. */
export class ExpiredError extends MqttError {
  declare readonly code: 'EXPIRED'
}

/** The `timeout` of the call was over. */
export class TimeoutError extends MqttError {
  declare readonly code: 'TIMEOUT'
}

/** The `signal` of the call was aborted. `cause` is the signal's reason. */
export class AbortError extends MqttError {
  declare readonly code: 'ABORTED'
}

/** The client is closed, or closed before the call was done. `cause` is the error that closed it, if there was one. */
export class ClosedError extends MqttError {
  declare readonly code: 'CLOSED'
}

/** A connection that was up is gone, without a word of the server. */
export class ConnectionLostError extends MqttError {
  declare readonly code: 'CONNECTION_LOST'
  /** The WebSocket's close code, if there was one. */
  declare readonly closeCode: number | undefined
  /** Why the connection was closed, in the words of the server or of the transport, where there are any. */
  declare readonly closeReason: string | undefined
}

/** The server ended the connection with DISCONNECT. `reasonCode` says why. MQTT 5.0, section 3.14. */
export class ServerDisconnectedError extends MqttError {
  declare readonly code: 'SERVER_DISCONNECTED'
}

/** The server did not answer PINGREQ in time. */
export class KeepaliveTimeoutError extends MqttError {
  declare readonly code: 'KEEPALIVE_TIMEOUT'
}

/** The server lost the session: to send the QoS 2 message again could deliver it twice. `cause` is the error with which the connection ended. */
export class SessionLostError extends MqttError {
  declare readonly code: 'SESSION_LOST'
}

/** The server broke the protocol. */
export class ProtocolError extends MqttError {
  declare readonly code: 'PROTOCOL_ERROR'
}

/** A Store failed. */
export class StoreError extends MqttError {
  declare readonly code: 'STORE_FAILED'
}

/**
 * A handler, listener or callback of the application threw, or its promise rejected: `cause` is what it threw. Or the responder of a `request()`
 * failed: `cause` is its response.
 */
export class HandlerError extends MqttError {
  declare readonly code: 'HANDLER_FAILED'
  /** The topic of the message that the handler was called with, if it was a message handler, or the topic of the request. */
  declare readonly topic: string | undefined
  /** The filters of the handler's Subscription, separated by commas, if it was a message handler. */
  declare readonly filter: string | undefined
}

/** The WebAssembly instance failed, which is a bug in wasmqtt. Every client of it is closed; the next one gets a fresh instance. */
export class InternalError extends MqttError {
  declare readonly code: 'INTERNAL'
}

/**
 * Every error that a promise, a callback or an event can bring, so that `switch (error.code)` narrows it.
 *
 * @example
 * client.on('close', (error) => {
 *   switch (error?.code) {
 *     case 'CONNECTION_REFUSED':
 *       return console.log(error.url, 'refused the connection')
 *     case 'SERVER_DISCONNECTED':
 *       return console.log(error.reasonString)
 *   }
 * })
 */
export type AnyMqttError =
  | InvalidArgumentError
  | ConnectError
  | ConnectionLostError
  | SessionLostError
  | ServerDisconnectedError
  | KeepaliveTimeoutError
  | ProtocolError
  | AuthenticationError
  | PublishError
  | SubscribeError
  | UnsubscribeError
  | PacketTooLargeError
  | NotSupportedError
  | QueueFullError
  | ExpiredError
  | TimeoutError
  | AbortError
  | ClosedError
  | HandlerError
  | StoreError
  | InternalError

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
} satisfies Record<ErrorCode, unknown>

/** Gives a class its public name, which minifiers would shorten. @internal */
export function keepName(type: object, name: string): void {
  Object.defineProperty(type, 'name', { value: name, configurable: true, writable: true })
}

// The names are kept as keys.
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
Object.defineProperty(MqttError.prototype, BRAND, { value: true })
// Instances of another copy of the package are instances of the same class here.
Object.defineProperty(MqttError, Symbol.hasInstance, {
  value(this: unknown, value: unknown) {
    return (
      Function.prototype[Symbol.hasInstance].call(this as never, value) ||
      (BRAND in Object(value) &&
        (this === MqttError || this === classes[(value as MqttError).code]))
    )
  },
})
for (const [name, type] of Object.entries(named)) {
  keepName(type, name)
  keepName(type.prototype, name)
}

/** @internal */
export function mqttError(fields: ErrorFields): AnyMqttError {
  return new classes[fields.code](fields)
}

/**
 * Adds what the transport said about its end to a connection error of the core. `cause`: what it threw or reported; where that is a TransportError
 * of transports/failure.ts, it explains all of the error. `closeReason`: of its close event.
 * @internal
 */
export function withTransportCause(
  fields: ErrorFields,
  cause: unknown,
  closeReason: string | undefined,
): ErrorFields {
  const explained = (cause as { fields?: Partial<ErrorFields> } | undefined)?.fields
  return {
    ...fields,
    cause,
    closeReason,
    ...(fields.code === 'CONNECTION_FAILED' &&
      // Mixed content, or a Content-Security-Policy in Firefox and Safari.
      ((cause as Error | undefined)?.name === 'SecurityError' ? { retryable: false } : explained)),
  }
}

/** @internal */
export function invalid(argument: string, what: string, cause?: unknown): AnyMqttError {
  return mqttError({ code: 'INVALID_ARGUMENT', argument, what, cause })
}

/** A cause that itself says what is not supported is passed on as it is. @internal */
export function unsupported(what: string, cause?: unknown): AnyMqttError {
  return cause instanceof NotSupportedError
    ? cause
    : mqttError({ code: 'NOT_SUPPORTED', what, cause })
}

/** What the core throws where its caller made a mistake; undefined: it trapped. `given`: paths and values in turn. @internal */
export function mistake(thrown: unknown, given: readonly unknown[] = []): AnyMqttError | undefined {
  const { argument, message } = Object(thrown) as { argument?: string; message: string }
  if (argument === undefined) return undefined
  const at = given.indexOf(argument)
  const value = at < 0 ? undefined : shown(given[at + 1])
  return mqttError({ code: 'INVALID_ARGUMENT', argument, value, what: message })
}
