/**
 * Paho's API on top of wasmqtt: `import Paho from 'wasmqtt/paho'` in place of `import Paho from 'paho-mqtt'`. What differs on purpose is in
 * docs/migrating-from-paho.md.
 */
import { Client } from './client.js'
import { Message } from './message.js'

export { Client, type TraceMessage } from './client.js'
export type { MQTTError } from './errors.js'
export { Message, type TypedArray } from './message.js'
export type {
  ConnectionLost,
  ConnectionOptions,
  OnFailure,
  OnSubscribeSuccess,
  OnSuccess,
  SubscribeOptions,
  UnsubscribeOptions,
} from './options.js'

/** The name of versions before 1.1: `new Paho.MQTT.Client(…)`. */
export const MQTT: {
  /** The class Client. */
  readonly Client: typeof Client
  /** The class Message. */
  readonly Message: typeof Message
} = {
  Client,
  Message,
}

/** What `Paho` is where it is imported whole. */
const Paho = {
  /** The class Client. */
  Client,
  /** The class Message. */
  Message,
  /** Both classes, as before 1.1. */
  MQTT,
}
export default Paho
