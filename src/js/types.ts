/// <reference lib="esnext.disposable" preserve="true" />
import type { MqttError } from './errors.js'
import type { Message } from './subscription.js'

/** 0: at most once, 1: at least once, 2: exactly once. MQTT 5, 4.3. */
export type QoS = 0 | 1 | 2

/** What can be sent as a payload. A string is sent as UTF-8. The bytes are copied before the call returns. */
export type Payload = string | ArrayBuffer | ArrayBufferView

/** A value, or a function that yields it; the function is called (and awaited) before every connection attempt. */
export type Resolvable<T> = T | ((context: AttemptContext) => T | Promise<T>)

export interface AttemptContext {
  /** 1 for the first attempt in a row. */
  attempt: number
  /** Why the attempt before this one failed, or the connection ended. */
  lastError?: MqttError
  /** Aborted when this attempt is given up or its connection is over. */
  signal: AbortSignal
}

/** User properties keep order and duplicates. MQTT 5, 2.2.2.2. */
export type UserProperties = ReadonlyArray<readonly [name: string, value: string]>
/** Pairs, or a record of a value or values by name. */
export type UserPropertiesInput = UserProperties | Record<string, string | readonly string[]>

/**
 * `ws:` or `wss:`. A list means failover: the attempts go through it in order, and stay with a server while it works. The path is kept as
 * written; `/mqtt` where a string has none, and where a URL object has only `/`. `user:password@` becomes username and password where
 * those options are absent, and appears in no error, event or log.
 */
export type BrokerUrl = Resolvable<string | URL | ReadonlyArray<string | URL>>

/** Calls back exactly once, never before the call that it was given to has returned. */
export type Callback<T> = (error: MqttError | null, result?: T) => void

/** One filter, several, or several with options of their own. */
export type Filters = string | readonly string[] | Readonly<Record<string, SubscribeOptions>>

/** Bounds one call. */
export interface CallOptions {
  /** Withdraws the call: it rejects with AbortError. What was not sent yet is dropped. */
  signal?: AbortSignal
  /** Milliseconds until the call rejects with TimeoutError, as if it had been withdrawn. Default: none. */
  timeout?: number
}

export interface ConnectOptions {
  /** 5, 4 (= 3.1.1) or 'auto': try 5 and fall back to 3.1.1 if the server refuses the version. Default 'auto'. */
  protocolVersion?: 5 | 4 | 'auto'
  /** Default: MQTT 5: empty, the id that the server assigns is kept for reconnects; 3.1.1: 'wasmqtt-' + 16 random hex digits. */
  clientId?: string
  /** Default: that of the URL. MQTT 5, 3.1.3.5. */
  username?: Resolvable<string | undefined>
  /** Default: that of the URL. A string is sent as UTF-8. MQTT 5, 3.1.3.6. */
  password?: Resolvable<string | Uint8Array | undefined>
  /**
   * Clean Start / Clean Session. Default true. On MQTT 5 it holds for the first connect only: reconnects ask to resume what
   * `sessionExpiryInterval` lets the server keep. On 3.1.1 every reconnect repeats it; false needs a clientId there. MQTT 5, 3.1.2.4.
   */
  clean?: boolean
  /** Seconds; 0 turns it off; a Server Keep Alive wins. Default 60. MQTT 5, 3.1.2.10. */
  keepalive?: number
  /** Milliseconds from opening the transport to CONNACK. Default 30_000. */
  connectTimeout?: number
  /** Last will, sent in every CONNECT. `client.will = …` changes it for the next one. MQTT 5, 3.1.2.5. */
  will?: Will
  /** MQTT 5 CONNECT properties; ignored on 3.1.1. */
  properties?: ConnectProperties
  /** Enhanced authentication (MQTT 5, 4.12), also used by `client.reauthenticate()`. */
  authentication?: Authenticator
  /** false: never reconnect. Default: on, with the defaults of ReconnectOptions. */
  reconnect?: boolean | ReconnectOptions
  /** Restore subscriptions when the server has lost the session. Default true. */
  resubscribe?: boolean
  /** What happens to publishes that cannot be sent yet. */
  queue?: QueueOptions
  /** Where QoS 1 and 2 state lives. Only memory, the default, so far: anything given is refused with NotSupportedError. */
  store?: Store
  /** Assign topic aliases automatically within the server's limit (MQTT 5, 3.3.2.3.4). Default true. */
  topicAliases?: boolean
  /** Makes the socket. Default: by URL scheme and runtime. */
  transport?: (url: URL, context: TransportContext) => WebSocketLike | Promise<WebSocketLike>
  /** Subprotocols, default ['mqtt']; headers where the runtime can send them (not in browsers: NotSupportedError). */
  websocket?: { protocols?: string[]; headers?: Resolvable<Record<string, string>> }
  /** For wss: where the runtime can set them (not in browsers: NotSupportedError). PEM, or DER bytes. */
  tls?: TlsOptions
  /** Aborting ends the client for good, as `end({ timeout: 0 })` does: with DISCONNECT, so no will is published. */
  signal?: AbortSignal
}

export interface TlsOptions {
  ca?: string | Uint8Array
  cert?: string | Uint8Array
  key?: string | Uint8Array
  passphrase?: string
  servername?: string
  /** Default true. */
  rejectUnauthorized?: boolean
  alpnProtocols?: string[]
}

/** MQTT 5, 3.1.2.11. */
export interface ConnectProperties {
  /**
   * Seconds; 0xFFFFFFFF or Infinity: never expires. Default 300 with reconnect on, so that a short cut loses nothing (`end()` then
   * tells the server to drop the session); absent with reconnect off.
   */
  sessionExpiryInterval?: number
  /** QoS 1 and 2 messages that the server may send unacknowledged, 1..65535. Default 65535 (not sent). */
  receiveMaximum?: number
  /** Bytes; sent and enforced on what comes in, on 3.1.1 enforced. Default 16 MiB; Infinity: the protocol's limit, not sent. */
  maximumPacketSize?: number
  /** Aliases that the server may use. Default 64; 0: none, not sent. */
  topicAliasMaximum?: number
  requestResponseInformation?: boolean
  requestProblemInformation?: boolean
  userProperties?: UserPropertiesInput
}

export interface Will {
  topic: string
  payload?: Payload
  /** Default 0. */
  qos?: QoS
  /** Default false. */
  retain?: boolean
  /** MQTT 5, 3.1.3.2; left out on 3.1.1. */
  properties?: {
    /** Seconds after the connection is gone. */
    willDelayInterval?: number
    /** 1: the payload is UTF-8 text. Never set by default. */
    payloadFormatIndicator?: 0 | 1
    /** Seconds. */
    messageExpiryInterval?: number
    contentType?: string
    responseTopic?: string
    correlationData?: Uint8Array
    userProperties?: UserPropertiesInput
  }
}

export interface ReconnectOptions {
  /** Milliseconds. Default 1_000. */
  minDelay?: number
  /** Milliseconds. Default 30_000. */
  maxDelay?: number
  /** Default 2. */
  factor?: number
  /** 0..1, share of the delay that is random. Default 0.5. */
  jitter?: number
  /** In a row. Default Infinity. */
  maxAttempts?: number
  /** Also retry the first attempt instead of rejecting `connect()`. Default false. */
  initial?: boolean
  /** Overrides the built-in verdict on an error; false ends the client. */
  shouldRetry?: (error: MqttError, attempt: number) => boolean
}

export interface QueueOptions {
  /** Default 10_000. */
  maxMessages?: number
  /** Default 64 MiB. */
  maxBytes?: number
  /** What gives way when full. 'reject': the new publish rejects with QueueFullError. Default 'reject'. */
  overflow?: 'reject' | 'drop-oldest' | 'drop-newest' | 'latest-per-topic'
  /** Keep QoS 0 messages while offline. Default true. */
  qos0?: boolean
}

/** Enhanced authentication, MQTT 5, 4.12. */
export interface Authenticator {
  method: string
  /** Initial data, also for re-authentication. */
  start(context: {
    reauthentication: boolean
  }): Uint8Array | undefined | Promise<Uint8Array | undefined>
  /** Answer to a server challenge. Throwing or rejecting ends the attempt with AuthenticationError. */
  continue(
    challenge: Uint8Array | undefined,
    properties: { reasonString?: string; userProperties: UserProperties },
  ): Uint8Array | undefined | Promise<Uint8Array | undefined>
}

/** The part of the WebSocket interface that the client needs. Browsers' WebSocket and Node's `ws` satisfy it. */
export interface WebSocketLike {
  binaryType: string
  readonly readyState: number
  readonly bufferedAmount: number
  /** The subprotocol that the server chose; checked to be one of those offered where it is there. */
  readonly protocol?: string
  /** A transport of the user's own gets `data` to keep: it is no view of wasm memory and the client does not touch it again. */
  send(data: Uint8Array & { readonly buffer: ArrayBuffer }): void
  close(code?: number, reason?: string): void
  onopen: ((event: any) => void) | null
  /** `event.data`: bytes. */
  onmessage: ((event: any) => void) | null
  /** `event`: `code`, `reason` and `wasClean`, as far as they are known. */
  onclose: ((event: any) => void) | null
  onerror: ((event: any) => void) | null
}

export interface TransportContext {
  /** Subprotocols to offer. */
  protocols: string[]
  /** Those of `websocket.headers`. */
  headers?: Record<string, string>
  /** The option `tls`. */
  tls?: TlsOptions
  /** Aborted when the attempt is given up or its connection is over. */
  signal: AbortSignal
}

/** idle -> connecting -> connected -> (waiting for the next attempt -> connecting)* -> closing -> closed, which is for good. */
export type ClientState = 'idle' | 'connecting' | 'connected' | 'waiting' | 'closing' | 'closed'

export interface ClientEvents {
  /** After every successful CONNACK. */
  connect: [info: ConnectInfo]
  /** A connection that was up is gone. */
  disconnect: [cause: MqttError, willReconnect: boolean]
  /** Waiting `delay` ms before attempt number `attempt`. */
  reconnecting: [info: { attempt: number; delay: number; error: MqttError; url: string }]
  /** Every message, whichever subscription it came from. */
  message: [message: Message]
  /** What belongs to no call: a throwing handler, a peer's protocol error. No listener: reported to the console, never thrown. */
  error: [error: MqttError]
  /** For good: ended, aborted, given up or refused for good. `error` undefined after `end()`. */
  close: [error: MqttError | undefined]
  state: [state: ClientState, previous: ClientState]
  /** Every control packet, for tracing. Costs nothing while nobody listens. */
  packet: [packet: PacketInfo]
}

export interface PacketInfo {
  direction: 'in' | 'out'
  /** Lower case, as 'publish'. */
  type: string
  bytes: number
  packetId?: number
  topic?: string
  reasonCode?: number
}

export interface ConnectInfo {
  sessionPresent: boolean
  clientId: string
  /** Without credentials. */
  url: string
  /** false on the first connect. */
  reconnect: boolean
  server: ServerInfo
  /** The CONNACK properties exactly as received (MQTT 5), only those that were there. */
  properties: Partial<ConnackProperties>
}

/** MQTT 5, 3.2.2.3. */
export interface ConnackProperties {
  sessionExpiryInterval: number
  receiveMaximum: number
  maximumQoS: number
  retainAvailable: boolean
  maximumPacketSize: number
  assignedClientIdentifier: string
  topicAliasMaximum: number
  reasonString: string
  userProperties: UserProperties
  wildcardSubscriptionAvailable: boolean
  subscriptionIdentifiersAvailable: boolean
  sharedSubscriptionAvailable: boolean
  serverKeepAlive: number
  responseInformation: string
  serverReference: string
  authenticationMethod: string
  authenticationData: Uint8Array
}

/** What the server said, defaults filled in. */
export interface ServerInfo {
  protocolVersion: 5 | 4
  /** Seconds. */
  keepalive: number
  /** Seconds. */
  sessionExpiryInterval: number
  receiveMaximum: number
  /** Bytes. */
  maximumPacketSize: number
  maximumQoS: QoS
  topicAliasMaximum: number
  retainAvailable: boolean
  wildcardSubscriptionAvailable: boolean
  subscriptionIdentifiersAvailable: boolean
  sharedSubscriptionAvailable: boolean
  responseInformation?: string
  serverReference?: string
  reasonString?: string
  userProperties: UserProperties
}

export interface PublishOptions extends CallOptions {
  /** Default 0. */
  qos?: QoS
  /** Default false. */
  retain?: boolean
  properties?: PublishProperties
}

/** MQTT 5, 3.3.2.3; left out on 3.1.1. */
export interface PublishProperties {
  /** 1: the payload is UTF-8 text. Never set by default. */
  payloadFormatIndicator?: 0 | 1
  /** Seconds; time spent in the queue is subtracted, and an expired message is dropped (ExpiredError). */
  messageExpiryInterval?: number
  /** By hand; usually left to `topicAliases`. */
  topicAlias?: number
  responseTopic?: string
  correlationData?: Uint8Array
  contentType?: string
  userProperties?: UserPropertiesInput
}

export interface PublishResult {
  /** Of PUBACK or PUBREC; 0 or 0x10 (no matching subscribers). */
  reasonCode: number
  reasonString?: string
  userProperties?: UserProperties
}

/** MQTT 5, 3.8.3.1. */
export interface SubscribeOptions extends CallOptions {
  /** Default 0. */
  qos?: QoS
  /** MQTT 5. */
  noLocal?: boolean
  /** MQTT 5. */
  retainAsPublished?: boolean
  /** MQTT 5. 0: retained messages at every subscribe, 1: at a new subscription, 2: never. */
  retainHandling?: 0 | 1 | 2
  userProperties?: UserPropertiesInput
  /** MQTT 5, 1..268435455. By hand; without it the client assigns its own where the server supports them, for exact routing. */
  subscriptionIdentifier?: number
  /**
   * When a QoS 1 or 2 message is acknowledged: 'auto': when the handler has returned; 'settled': when the promise it returned has
   * settled; 'manual': by `message.ack()`. Default 'auto'. Acknowledgements leave in the order of arrival, so a late one holds back
   * those after it. A handler that throws is reported and acknowledged all the same. A message of several Subscriptions is
   * acknowledged when all have. After the connection is gone `ack()` does nothing: the server sends the message again.
   */
  ack?: 'auto' | 'settled' | 'manual'
  /** At most one message per topic every so many ms. Only 0, the default: every message, so far (else NotSupportedError). */
  conflate?: number
}

export interface IterateOptions extends Omit<SubscribeOptions, 'ack' | 'conflate'> {
  /** Messages held for a slow reader. Default 1_000. */
  buffer?: number
  /**
   * What gives way beyond. 'pause' withholds acknowledgements, so that the server's own flow control slows QoS 1 and 2 down (up to
   * receiveMaximum more may arrive); QoS 0 then drops the oldest. 'error' ends the stream with QueueFullError. Default 'pause'.
   */
  overflow?: 'pause' | 'drop-oldest' | 'drop-newest' | 'error'
}

export type MessageHandler = (message: Message, subscription: Subscription) => void | Promise<void>

/** The server's answer for one filter. */
export interface Grant {
  filter: string
  granted: boolean
  /** The QoS granted, which may be lower than the one asked for. */
  qos?: QoS
  reasonCode: number
}

/** One `subscribe()` call that is in force. */
export interface Subscription extends AsyncDisposable {
  /** What the server answered, filter by filter. */
  readonly grants: readonly Grant[]
  /** Until it is unsubscribed, refused when restored, or the client closes. */
  readonly active: boolean
  /**
   * Ends it: UNSUBSCRIBE for the filters that no other Subscription has. Resolves when the server has answered, at once where there is
   * nothing (left) to end.
   */
  unsubscribe(options?: CallOptions): Promise<void>
}

/**
 * The messages of a subscription of its own, one by one. `next()` subscribes at its first call, and acknowledges the message before; it
 * rejects with what went wrong, and is done when the client has ended. `return()` unsubscribes, waits for the server's answer while
 * connected, and drops what was not read.
 */
export interface MessageStream extends AsyncIterableIterator<Message>, AsyncDisposable {
  /** How many messages gave way because the reader was slow. */
  readonly dropped: number
}

/** The server's answer, filter by filter; 3.1.1 only says that it is done. */
export interface UnsubscribeResult {
  reasonCodes: ReadonlyArray<{ filter: string; reasonCode: number }>
}

export interface MessageProperties
  extends Omit<PublishProperties, 'userProperties' | 'topicAlias'> {
  subscriptionIdentifiers?: readonly number[]
  userProperties?: UserProperties
}

export interface EndOptions extends CallOptions {
  /** Milliseconds for all of it. Default 3_000. */
  timeout?: number
  /** Close at once, without DISCONNECT: the server publishes the will. */
  force?: boolean
  /** MQTT 5. 0x04 makes the server publish the will. Default 0. */
  reasonCode?: number
  /** MQTT 5, 3.14.2.2. */
  properties?: {
    sessionExpiryInterval?: number
    reasonString?: string
    userProperties?: UserPropertiesInput
  }
}

export interface Stats {
  bytesSent: number
  bytesReceived: number
  packetsSent: number
  packetsReceived: number
  messagesSent: number
  messagesReceived: number
  inFlightOut: number
  inFlightIn: number
  queuedMessages: number
  queuedBytes: number
  droppedMessages: number
  subscriptions: number
  connections: number
  /** Milliseconds since the epoch. */
  connectedSince: number | undefined
  /** Last PINGREQ round trip, ms. */
  roundTrip: number | undefined
  /** Of the instance, which all clients share. */
  wasmMemoryBytes: number
}

/** Keeps QoS 1 and 2 state beyond the page or process. */
export interface Store {
  load(clientId: string): Promise<ReadonlyArray<readonly [key: string, value: Uint8Array]>>
  /** Applied in order, all or nothing. A null value deletes. */
  write(
    clientId: string,
    changes: ReadonlyArray<readonly [key: string, value: Uint8Array | null]>,
  ): Promise<void>
  close?(): Promise<void>
}
