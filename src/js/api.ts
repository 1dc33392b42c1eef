// The export list of every entry.
export { Client, connect, matches } from './client.js'
export {
  AbortError,
  AuthenticationError,
  ClosedError,
  ConnectError,
  ConnectionLostError,
  type ErrorCode,
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
  ReasonCode,
  ServerDisconnectedError,
  SessionLostError,
  StoreError,
  SubscribeError,
  TimeoutError,
  UnsubscribeError,
} from './errors.js'
export { Message } from './subscription.js'
export { fromMessagePort } from './transports/port.js'
export type * from './types.js'

declare const __VERSION__: string

/** Of this package. */
export const version: string = __VERSION__
