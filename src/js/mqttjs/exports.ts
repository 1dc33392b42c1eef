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
export type * from './options.js'
export type * from './packets.js'
export { type IStore, type IStoreOptions, Store, type StoreCallback } from './store.js'
export { validateTopic, validateTopics } from './validations.js'
