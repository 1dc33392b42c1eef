// The export list of every entry.
export { Client } from './client.js'
export { connect } from './connect.js'
export {
  AbortError,
  type AnyMqttError,
  AuthenticationError,
  ClosedError,
  ConnectError,
  ConnectionLostError,
  ExpiredError,
  HandlerError,
  InternalError,
  InvalidArgumentError,
  KeepaliveTimeoutError,
  MqttError,
  NotSupportedError,
  PacketTooLargeError,
  ProtocolError,
  PublishError,
  QueueFullError,
  ServerDisconnectedError,
  SessionLostError,
  StoreError,
  SubscribeError,
  TimeoutError,
  UnsubscribeError,
} from './errors.js'
export { matches } from './matches.js'
export { Message } from './message.js'
export { ReasonCode } from './reason-code.js'
export { fromMessagePort, type MessagePortLike } from './transports/port.js'
export type * from './types/basics.js'
export type * from './types/calls.js'
export type * from './types/connecting.js'
export type * from './types/events.js'
export type { ErrorCode } from './wording.js'

declare const __VERSION__: string

/** The version of this package, as '1.2.3'. */
export const version: string = __VERSION__
