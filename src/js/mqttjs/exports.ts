export { version as MQTTJS_VERSION } from '../api.js'
export {
  MqttClient,
  MqttClient as Client,
  type StreamBuilder,
} from './client.js'
export { connect, connectAsync } from './connect.js'
export { ErrorWithReasonCode, ErrorWithSubackPacket, ReasonCodes } from './errors.js'
export type { MqttClientEvents } from './events.js'
export {
  DefaultMessageIdProvider,
  type IMessageIdProvider,
  UniqueMessageIdProvider,
} from './message-ids.js'
export type {
  AckHandler,
  BaseMqttProtocol,
  ClientSubscribeCallback,
  DoneCallback,
  IClientOptions,
  IClientPublishOptions,
  IClientSubscribeOptions,
  IClientSubscribeProperties,
  IClientUnsubscribeProperties,
  ISecureClientOptions,
  ISubscriptionGrant,
  ISubscriptionMap,
  ISubscriptionRequest,
  MqttProtocol,
  PacketCallback,
} from './options.js'
export type {
  AckProperties,
  AuthProperties,
  IAuthPacket,
  IConnackPacket,
  IConnectPacket,
  IDisconnectPacket,
  IPacket,
  IPingreqPacket,
  IPingrespPacket,
  IPubackPacket,
  IPubcompPacket,
  IPublishPacket,
  IPubrecPacket,
  IPubrelPacket,
  ISubackPacket,
  ISubscribePacket,
  ISubscription,
  IUnsubackPacket,
  IUnsubscribePacket,
  OnPacket,
  Packet,
  QoS,
  UserProperties,
} from './packets.js'
export { type IStore, type IStoreOptions, Store, type StoreCallback } from './store.js'
export { validateTopic, validateTopics } from './validations.js'
