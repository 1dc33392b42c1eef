import type { AnyMqttError } from '../errors.js'
import type { Message } from '../message.js'
import type { QoS, UserProperties } from './basics.js'

/**
 * Where in its life a client is: idle -> connecting -> connected -> (waiting -> connecting)* -> closing -> closed. 'waiting' is for the next
 * attempt. 'closed' is for good.
 */
export type ClientState = 'idle' | 'connecting' | 'connected' | 'waiting' | 'closing' | 'closed'

/**
 * The events of a client, with the arguments of their listeners. The state is set first, then 'state' is emitted, then the event itself, then
 * promises settle.
 *
 * @example
 * client.on('disconnect', (error, willReconnect) => console.log('lost:', error.message, willReconnect))
 */
export interface ClientEvents {
  /** After every successful CONNACK. */
  connect: [info: ConnectInfo]
  /** A connection that was up is gone. It does not come after `end()`. */
  disconnect: [cause: AnyMqttError, willReconnect: boolean]
  /** The client waits `delay` ms before attempt number `attempt`. */
  reconnecting: [info: { attempt: number; delay: number; error: AnyMqttError; url: string }]
  /** Every message, whichever Subscription it belongs to. */
  message: [message: Message]
  /** What belongs to no call: a handler that throws, a server that breaks the protocol. Without a listener it goes to the console. */
  error: [error: AnyMqttError]
  /** The client is closed for good. `error` says why; it is undefined after `end()`. */
  close: [error: AnyMqttError | undefined]
  /** The state has changed. */
  state: [state: ClientState, previous: ClientState]
  /** Every control packet, for tracing. It costs nothing while nobody listens. */
  packet: [packet: PacketInfo]
}

/** One control packet, for tracing. */
export interface PacketInfo {
  /** 'in': from the server, 'out': to the server. */
  direction: 'in' | 'out'
  /** The packet's name in lower case, as 'publish'. */
  type: string
  /** Bytes of the whole packet. */
  bytes: number
  /** The packet identifier, where the packet has one. */
  packetId?: number | undefined
  /** The topic of a PUBLISH. */
  topic?: string | undefined
  /** The reason code, where the packet has one. */
  reasonCode?: number | undefined
}

/** What came of a successful attempt to connect. */
export interface ConnectInfo {
  /** Whether the server has resumed the session. */
  sessionPresent: boolean
  /** The id in use: the one that was asked for, or the one that the server assigned. */
  clientId: string
  /** The server's URL, without credentials. */
  url: string
  /** Whether the client was connected before. */
  reconnect: boolean
  /** Limits and features of the server, defaults filled in. */
  server: ServerInfo
  /** The CONNACK properties exactly as they were received: only those that were there, and none on 3.1.1. */
  properties: Partial<ConnackProperties>
}

/** MQTT 5 properties of CONNACK. MQTT 5.0, section 3.2.2.3. */
export interface ConnackProperties {
  /** Seconds that the server keeps the session, where it is not what was asked for. */
  sessionExpiryInterval: number
  /** How many QoS 1 and 2 messages the server takes without an acknowledgement. */
  receiveMaximum: number
  /** The highest QoS that the server takes. */
  maximumQoS: number
  /** Whether the server keeps retained messages. */
  retainAvailable: boolean
  /** Bytes of the largest packet that the server takes. */
  maximumPacketSize: number
  /** The client id that the server chose. */
  assignedClientIdentifier: string
  /** How many topic aliases the server takes. */
  topicAliasMaximum: number
  /** The server's own words. */
  reasonString: string
  /** The server's user properties. */
  userProperties: UserProperties
  /** Whether filters may hold wildcards. */
  wildcardSubscriptionAvailable: boolean
  /** Whether the server supports subscription identifiers. */
  subscriptionIdentifiersAvailable: boolean
  /** Whether the server supports shared subscriptions. */
  sharedSubscriptionAvailable: boolean
  /** Seconds of the keep-alive that the server wants. */
  serverKeepAlive: number
  /** The basis of response topics. */
  responseInformation: string
  /** Another server that the server names. */
  serverReference: string
  /** The authentication method in use. */
  authenticationMethod: string
  /** The last data of the authentication. */
  authenticationData: Uint8Array
}

/** Limits and features of the server on one connection, with the defaults of the specification filled in. MQTT 5.0, section 3.2.2.3. */
export interface ServerInfo {
  /** The version that is spoken: 5, or 4, which is 3.1.1. */
  protocolVersion: 5 | 4
  /** Seconds of the keep-alive in force. */
  keepalive: number
  /** Seconds that the server keeps the session after the connection is gone. */
  sessionExpiryInterval: number
  /** How many QoS 1 and 2 messages the server takes without an acknowledgement. */
  receiveMaximum: number
  /** Bytes of the largest packet that the server takes. */
  maximumPacketSize: number
  /** The highest QoS that the server takes. */
  maximumQoS: QoS
  /** How many topic aliases the server takes. */
  topicAliasMaximum: number
  /** Whether the server keeps retained messages. */
  retainAvailable: boolean
  /** Whether filters may hold wildcards. */
  wildcardSubscriptionAvailable: boolean
  /** Whether the server supports subscription identifiers. */
  subscriptionIdentifiersAvailable: boolean
  /** Whether the server supports shared subscriptions. */
  sharedSubscriptionAvailable: boolean
  /** The basis of response topics, if the server gave one. */
  responseInformation?: string | undefined
  /** Another server that the server names. */
  serverReference?: string | undefined
  /** The server's own words, if it sent some. */
  reasonString?: string | undefined
  /** The server's user properties. */
  userProperties: UserProperties
}

/** Counters since the client was made, and gauges of now. */
export interface Stats {
  /** Bytes of packets that were handed to the transport. */
  bytesSent: number
  /** Bytes that were received. */
  bytesReceived: number
  /** Packets that were handed to the transport. */
  packetsSent: number
  /** Packets that were received. */
  packetsReceived: number
  /** Messages that were sent. */
  messagesSent: number
  /** Messages that were received. */
  messagesReceived: number
  /** Messages of QoS 1 and 2, SUBSCRIBE and UNSUBSCRIBE packets that the server has not completed yet. */
  inFlightOut: number
  /** QoS 1 and 2 messages of the server that are not completed yet. */
  inFlightIn: number
  /** Messages that wait to be sent. */
  queuedMessages: number
  /** Bytes of the messages that wait to be sent. */
  queuedBytes: number
  /** Messages that gave way because the queue was full. */
  droppedMessages: number
  /** Subscriptions in force or under way. */
  subscriptions: number
  /** Connections that the server has accepted. */
  connections: number
  /** When the connection was made, in milliseconds since the epoch; undefined while there is none. */
  connectedSince: number | undefined
  /** Milliseconds from the last PINGREQ to its PINGRESP. */
  roundTrip: number | undefined
  /** Bytes of the memory of the WebAssembly instance, which all clients share. */
  wasmMemoryBytes: number
}
