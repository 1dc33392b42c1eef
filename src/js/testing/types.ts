import type { QoS } from '../index.js'

/** How a TestBroker behaves. MQTT 5.0, section 3.2.2.3. */
export interface TestBrokerOptions {
  /** The protocol versions that clients may speak; 4 is MQTT 3.1.1. @default [4, 5] */
  versions?: ReadonlyArray<4 | 5> | undefined
  /** Passwords by user name. With users, nobody else may connect. @default everybody may */
  users?: Record<string, string> | undefined
  /** QoS 2 messages that a client may leave unreleased, 1 to 65,535. @default 65_535 */
  receiveMaximum?: number | undefined
  /** Bytes of the largest packet that the broker takes. @default 64 MiB */
  maximumPacketSize?: number | undefined
  /** The highest QoS that the broker takes and grants. @default 2 */
  maximumQoS?: QoS | undefined
  /** Topic aliases that a client may use; 0: none. @default 64 */
  topicAliasMaximum?: number | undefined
  /** Whether messages may be retained. @default true */
  retainAvailable?: boolean | undefined
}

/** A packet that a client has sent or got. The fields beyond these are those of its type: `packetId`, `payload`, `qos`, `retain`, `dup`, `reasonCode`,
 * `reasonCodes`, `subscriptions`, `filters`, `clean`, `keepalive`, `username`, `password`, `will`, `sessionPresent`, `properties`. */
export interface BrokerPacket {
  /** Counts the packets of the broker, from 0. */
  number: number
  /** The id of the client. */
  clientId: string
  /** 'in': the client sent it to the broker. */
  direction: 'in' | 'out'
  /** Lower case, as 'publish'. */
  type: string
  /** Of its connection. */
  protocolVersion: 4 | 5
  /** Of a PUBLISH, also where it only has a topic alias. */
  topic?: string | undefined
  [field: string]: unknown
}

/** What `expect` waits for. */
export interface PacketMatch {
  /** Lower case, as 'publish'. */
  type: string
  /** The id of the client; any client if it is left out. */
  clientId?: string | undefined
  /** A topic, or a filter that the topic of a PUBLISH matches. */
  topic?: string | undefined
}

/** A client that is connected, or whose session the broker keeps. */
export interface BrokerClient {
  /** The id under which the broker knows it. */
  clientId: string
  /** Whether it is connected now. */
  connected: boolean
  /** Its topic filters, in the order of the alphabet. */
  subscriptions: ReadonlyArray<string>
}

/** Ports on loopback. */
export interface BrokerListener {
  /** For WebSocket connections, as ws://127.0.0.1:49152/mqtt. */
  readonly url: string
  /** For TCP connections, as mqtt://127.0.0.1:49153, where they were asked for. */
  readonly tcpUrl: string | undefined
  /** Closes the ports, and ends the connections that came through them. */
  close(): Promise<void>
}

/** The client's end of a connection. @internal */
export interface FarEnd {
  receive(bytes: Uint8Array<ArrayBuffer>): void
  end(how: 'close' | 'drop'): void
}

/** The broker's end of a connection. @internal */
export interface NearEnd {
  input(bytes: Uint8Array): void
  text(): void
  closed(): void
}
