// 'wasmqtt/testing' for browsers and other runtimes with a global WebSocket: connections in memory only.
export { TestBroker } from './testing/broker.js'
export type {
  BrokerClient,
  BrokerListener,
  BrokerPacket,
  PacketMatch,
  TestBrokerOptions,
} from './testing/types.js'
