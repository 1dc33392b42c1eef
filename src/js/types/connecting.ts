import type { AnyMqttError } from '../errors.js'
import type { Payload, QoS, UserProperties, UserPropertiesInput } from './basics.js'

/**
 * A value, or a function that yields it. The function is called, and its promise awaited, before every attempt to connect.
 *
 * @example
 * await connect('wss://example.org/mqtt', { password: async ({ attempt }) => fetchToken(attempt) })
 */
export type Resolvable<T> = T | ((context: AttemptContext) => T | Promise<T>)

/** What a function for a URL or for credentials is told about the attempt it is called for. */
export interface AttemptContext {
  /** Counts the attempts in a row; the first one is 1. */
  attempt: number
  /** Why the attempt before this one failed, or why the connection ended. */
  lastError?: AnyMqttError | undefined
  /** Aborted when this attempt is given up, or when its connection is over. */
  signal: AbortSignal
}

/**
 * Where the server is: an absolute `ws:` or `wss:` URL, or several. The attempts go through a list in order, and stay with a server while it
 * works. The path is kept as it is written; it is `/mqtt` where a string has none, and where a URL object has only `/`. `user:password@`
 * becomes username and password where those options are absent, and appears in no error, event or log.
 *
 * @example
 * await connect('wss://example.org/mqtt')
 * await connect(['wss://one.example.org', 'wss://two.example.org'])
 * await connect(async () => (await fetch('/broker')).text())
 */
export type BrokerUrl = Resolvable<string | URL | ReadonlyArray<string | URL>>

/**
 * How a client connects, and how it goes on when the connection breaks. Every field is optional. The object is never changed.
 *
 * @example
 * const options: ConnectOptions = {
 *   clientId: 'dashboard',
 *   username: 'dashboard',
 *   password: () => fetchToken(),
 *   will: { topic: 'dashboard/status', payload: 'offline', retain: true },
 * }
 */
export interface ConnectOptions {
  /**
   * The version of MQTT to speak: 5, 4 (which is 3.1.1), or 'auto'. 'auto' tries 5, and falls back to 3.1.1 if the server refuses the version.
   * It does so too if the server has not accepted version 5 before, and closes the connection or is silent for 5 seconds instead of answering.
   *
   * @default 'auto'
   */
  protocolVersion?: 5 | 4 | 'auto' | undefined
  /**
   * The name under which the server keeps the session. The default is empty on MQTT 5, where the id that the server assigns is kept for
   * reconnects, and 'wasmqtt' with 16 random hexadecimal digits on 3.1.1. MQTT 5.0, section 3.1.3.1.
   */
  clientId?: string | undefined
  /** The user name. It is that of the URL by default. MQTT 5.0, section 3.1.3.5. */
  username?: Resolvable<string | undefined> | undefined
  /** The password, of which a string is sent as UTF-8. It is that of the URL by default. MQTT 5.0, section 3.1.3.6. */
  password?: Resolvable<string | Uint8Array | undefined> | undefined
  /**
   * Whether to begin without the session that the server may have kept: Clean Start, on 3.1.1 Clean Session. On MQTT 5 it holds for the first
   * connect only: reconnects ask to resume what `sessionExpiryInterval` lets the server keep. On 3.1.1 every reconnect repeats it, and `false`
   * needs a clientId. MQTT 5.0, section 3.1.2.4.
   *
   * @default true
   */
  clean?: boolean | undefined
  /**
   * Seconds without a packet after which the client sends PINGREQ; 0 turns it off. The value of the server, if it sends one, wins.
   * MQTT 5.0, section 3.1.2.10.
   *
   * @default 60
   */
  keepalive?: number | undefined
  /**
   * Milliseconds that an attempt may take, from the opening of the transport to CONNACK.
   *
   * @default 30_000
   */
  connectTimeout?: number | undefined
  /** The message that the server publishes when the connection breaks. `client.will` changes it for the next CONNECT. MQTT 5.0, section 3.1.2.5. */
  will?: Will | undefined
  /**
   * Tells others whether the client is there, instead of `will`: `online` is published after every connect, and `offline` is the will and is
   * published before `end()`, unless that is by force or with reason code 0x04. Together with `will` it is an InvalidArgumentError.
   */
  presence?: PresenceOptions | undefined
  /** MQTT 5 properties of CONNECT. They are ignored on 3.1.1. */
  properties?: ConnectProperties | undefined
  /** Enhanced authentication, which `client.reauthenticate()` uses, too. MQTT 5.0, section 4.12. */
  authentication?: Authenticator | undefined
  /**
   * Whether to connect again after a loss, and how. `false`: never.
   *
   * @default true
   */
  reconnect?: boolean | ReconnectOptions | undefined
  /**
   * Whether to subscribe again when the server has lost the session.
   *
   * @default true
   */
  resubscribe?: boolean | undefined
  /** What happens to messages that cannot be sent yet. */
  queue?: QueueOptions | undefined
  /**
   * Keeps QoS 1 and 2 state beyond the page or process. By default it is in memory and ends with the client. It needs a clientId, and `clean: false`
   * together with a `sessionExpiryInterval` for the server to keep its part. See Store.
   *
   * @example
   * import { FileStore } from 'wasmqtt/stores'
   *
   * const properties = { sessionExpiryInterval: 86_400 }
   * const client = await connect('mqtts://example.org', { clientId: 'meter-7', clean: false, properties, store: new FileStore('./state') })
   */
  store?: Store | undefined
  /**
   * Whether to replace topics by topic aliases, within the limit of the server. MQTT 5.0, section 3.3.2.3.4.
   *
   * @default true
   */
  topicAliases?: boolean | undefined
  /**
   * Makes the socket of an attempt. By default it is chosen by the scheme of the URL and the runtime.
   *
   * @example
   * const { port1, port2 } = new MessageChannel()
   * const client = new Client('port://worker', { transport: () => fromMessagePort(port1) })
   */
  transport?:
    | ((url: URL, context: TransportContext) => WebSocketLike | Promise<WebSocketLike>)
    | undefined
  /** Options of the WebSocket. */
  websocket?: WebSocketOptions | undefined
  /** Options of TLS for wss: and mqtts: URLs, where the runtime can set them. Browsers cannot: NotSupportedError. */
  tls?: TlsOptions | undefined
  /** Ends the client for good when it is aborted, as `end({ timeout: 0 })` does: with DISCONNECT, so no will is published. */
  signal?: AbortSignal | undefined
}

/** Options of the WebSocket. */
export interface WebSocketOptions {
  /**
   * The subprotocols to offer, of which the server has to choose one. MQTT 5.0, section 6.
   *
   * @default ['mqtt']
   */
  protocols?: string[] | undefined
  /** Headers of the HTTP request, where the runtime can send them. Browsers cannot: NotSupportedError. */
  headers?: Resolvable<Record<string, string>> | undefined
}

/** Options of TLS. Keys and certificates are PEM, or DER as bytes. */
export interface TlsOptions {
  /** The certificates to trust instead of the runtime's own. PEM may hold several. */
  ca?: string | Uint8Array | undefined
  /** The certificate to show to the server. */
  cert?: string | Uint8Array | undefined
  /** The private key of `cert`. */
  key?: string | Uint8Array | undefined
  /** What `key` is encrypted with. */
  passphrase?: string | undefined
  /** The host name to ask for and to check. It is that of the URL by default. */
  servername?: string | undefined
  /**
   * Whether to refuse a server whose certificate cannot be trusted.
   *
   * @default true
   */
  rejectUnauthorized?: boolean | undefined
  /**
   * The application protocols to offer by ALPN. None by default, as servers on a port of their own expect. On port 443 AWS IoT wants
   * ['x-amzn-mqtt-ca'] for a client certificate, and ['mqtt'] for its custom authentication.
   */
  alpnProtocols?: string[] | undefined
}

/** MQTT 5 properties of CONNECT. MQTT 5.0, section 3.1.2.11. */
export interface ConnectProperties {
  /**
   * Seconds that the server keeps the session after the connection is gone; 0xFFFFFFFF or Infinity: for ever. It is 300 by default where
   * `reconnect` is on, so that a short cut loses nothing; `end()` then tells the server to drop the session. Otherwise it is absent.
   * MQTT 5.0, section 3.1.2.11.2.
   */
  sessionExpiryInterval?: number | undefined
  /**
   * How many QoS 1 and 2 messages the server may send without an acknowledgement, 1 to 65535. A server that sends more is disconnected. After the
   * second time in a row the limit is left out, and an 'error' event says so. MQTT 5.0, section 3.1.2.11.3.
   *
   * @default 65_535
   */
  receiveMaximum?: number | undefined
  /**
   * Bytes of the largest packet to accept; Infinity: the limit of the protocol. MQTT 5.0, section 3.1.2.11.4.
   * No server of 3.1.1 knows it: there a larger message is skipped, acknowledged, and reported by an 'error' event with its topic.
   *
   * @default 16_777_216
   */
  maximumPacketSize?: number | undefined
  /**
   * How many topic aliases the server may use, 0 to 65535. MQTT 5.0, section 3.1.2.11.5.
   *
   * @default 64
   */
  topicAliasMaximum?: number | undefined
  /**
   * Whether to ask the server for response information. MQTT 5.0, section 3.1.2.11.6.
   *
   * @default false
   */
  requestResponseInformation?: boolean | undefined
  /**
   * Whether the server may explain failures by reason strings and user properties. MQTT 5.0, section 3.1.2.11.7.
   *
   * @default true
   */
  requestProblemInformation?: boolean | undefined
  /** User properties of CONNECT. MQTT 5.0, section 3.1.2.11.8. */
  userProperties?: UserPropertiesInput | undefined
}

/**
 * The message that the server publishes when the connection breaks without DISCONNECT. MQTT 5.0, section 3.1.2.5.
 *
 * @example
 * client.will = { topic: 'devices/pump/status', payload: 'offline', qos: 1, retain: true }
 */
export interface Will {
  /** The topic that it is published to. */
  topic: string
  /** The payload, 65535 bytes at most. It is empty by default. */
  payload?: Payload | undefined
  /**
   * The QoS that it is published at.
   *
   * @default 0
   */
  qos?: QoS | undefined
  /**
   * Whether the server keeps it for later subscribers.
   *
   * @default false
   */
  retain?: boolean | undefined
  /** MQTT 5 properties of the will. They are left out on 3.1.1. */
  properties?: WillProperties | undefined
}

/**
 * What a client says about itself.
 *
 * @example
 * const pump = await connect('wss://example.org/mqtt', { presence: { topic: 'devices/pump/status' } })
 */
export interface PresenceOptions {
  /** The topic that it is published to. */
  topic: string
  /**
   * The payload while the client is connected.
   *
   * @default 'online'
   */
  online?: Payload | null | undefined
  /**
   * The payload when it is not, 65535 bytes at most.
   *
   * @default 'offline'
   */
  offline?: Payload | null | undefined
  /**
   * The QoS that both are published at.
   *
   * @default 1
   */
  qos?: QoS | undefined
  /**
   * Whether the server keeps them for later subscribers.
   *
   * @default true
   */
  retain?: boolean | undefined
}

/** MQTT 5 properties of a will. MQTT 5.0, section 3.1.3.2. */
export interface WillProperties {
  /** Seconds that the server waits before it publishes the will: a client that is back by then prevents it. MQTT 5.0, section 3.1.3.2.2. */
  willDelayInterval?: number | undefined
  /** 1 says that the payload is UTF-8 text, 0 that it is bytes. It is never set by default. MQTT 5.0, section 3.1.3.2.3. */
  payloadFormatIndicator?: 0 | 1 | undefined
  /** Seconds that the message is of use. MQTT 5.0, section 3.1.3.2.4. */
  messageExpiryInterval?: number | undefined
  /** What the payload is, as a MIME type for instance. MQTT 5.0, section 3.1.3.2.5. */
  contentType?: string | undefined
  /** The topic that a response is to be published to. MQTT 5.0, section 3.1.3.2.6. */
  responseTopic?: string | undefined
  /** Bytes by which the requester recognises the response. MQTT 5.0, section 3.1.3.2.7. */
  correlationData?: Uint8Array | undefined
  /** User properties of the will. MQTT 5.0, section 3.1.3.2.8. */
  userProperties?: UserPropertiesInput | undefined
}

/** How the client connects again. The delay grows from `minDelay` to `maxDelay` with each attempt that fails. */
export interface ReconnectOptions {
  /**
   * Milliseconds before the first attempt.
   *
   * @default 1_000
   */
  minDelay?: number | undefined
  /**
   * Milliseconds that the delay does not exceed.
   *
   * @default 30_000
   */
  maxDelay?: number | undefined
  /**
   * What the delay is multiplied by after each attempt.
   *
   * @default 2
   */
  factor?: number | undefined
  /**
   * The share of the delay that is random, from 0 to 1. By default all of the first delay after a loss is random, so that the clients of a
   * server that was away do not come back at once.
   *
   * @default 1 for the first attempt in a row, then 0.5
   */
  jitter?: number | undefined
  /**
   * How many attempts in a row may fail before the client gives up.
   *
   * @default Infinity
   */
  maxAttempts?: number | undefined
  /**
   * Whether to retry the first attempt, too, instead of rejecting `connect()`.
   *
   * @default false
   */
  initial?: boolean | undefined
  /**
   * Decides whether to retry after this error, instead of the client. `false` ends the client with the error.
   *
   * @example
   * await connect(url, { reconnect: { shouldRetry: (error, attempt) => attempt < 10 && error.code !== 'CONNECTION_REFUSED' } })
   */
  shouldRetry?: ((error: AnyMqttError, attempt: number) => boolean) | undefined
}

/** Bounds of the queue of messages that cannot be sent yet. */
export interface QueueOptions {
  /**
   * How many messages may wait.
   *
   * @default 10_000
   */
  maxMessages?: number | undefined
  /**
   * Bytes that the messages that wait may have, topics and properties included.
   *
   * @default 67_108_864
   */
  maxBytes?: number | undefined
  /**
   * What gives way when the queue is full: the new message ('reject', 'drop-newest'), the messages that wait longest ('drop-oldest'), or those
   * of the same topic, and where that is not enough the new message ('latest-per-topic'). The promise of a message that gives way rejects with
   * QueueFullError. With 'wait' nothing gives way: `publish()` waits for room before the queue takes the message, in the order of the calls, as
   * long as its `timeout` and `signal` allow. Only a message that is larger than the whole queue is refused then.
   *
   * @default 'reject'
   * @example
   * // Reads no faster than the server acknowledges.
   * const client = await connect(url, { queue: { overflow: 'wait' } })
   * for await (const line of lines) await client.publish('log', line, { qos: 1 })
   */
  overflow?: 'reject' | 'wait' | 'drop-oldest' | 'drop-newest' | 'latest-per-topic' | undefined
  /**
   * Whether QoS 0 messages wait, too, while the client is offline.
   *
   * @default true
   */
  qos0?: boolean | undefined
}

/**
 * Enhanced authentication by AUTH packets, SCRAM for one. MQTT 5.0, section 4.12.
 *
 * @example
 * const authentication: Authenticator = {
 *   method: 'SCRAM-SHA-256',
 *   start: () => scram.first(),
 *   continue: (challenge) => scram.answer(challenge),
 * }
 */
export interface Authenticator {
  /** The name of the method. MQTT 5.0, section 3.1.2.11.9. */
  method: string
  /** Yields the initial data, if the method has any. It is called for each CONNECT, and for re-authentication. */
  start(context: {
    reauthentication: boolean
  }): Uint8Array | undefined | Promise<Uint8Array | undefined>
  /** Answers a challenge of the server. If it throws or rejects, the attempt ends with AuthenticationError. */
  continue(
    challenge: Uint8Array | undefined,
    properties: { reasonString?: string | undefined; userProperties: UserProperties },
  ): Uint8Array | undefined | Promise<Uint8Array | undefined>
}

/**
 * The part of the WebSocket interface that the client needs. Browsers' WebSocket and Node's `ws` have it, and `fromMessagePort()` makes one.
 */
export interface WebSocketLike {
  /** How `onmessage` gets bytes. The client sets it. */
  binaryType: string
  /** 0 connecting, 1 open, 2 closing, 3 closed. */
  readonly readyState: number
  /** Bytes that were given to `send` and have not left yet. The client waits while they are more than 1 MiB. */
  readonly bufferedAmount: number
  /** The subprotocol that the server chose. Where it is there, it has to be one of those offered. */
  readonly protocol?: string | undefined
  /** Sends bytes. Those given to a transport of your own are yours to keep: no view of wasm memory, and not touched again. */
  send(data: Uint8Array & { readonly buffer: ArrayBuffer }): void
  /** Closes the connection. */
  close(code?: number, reason?: string): void
  /** Called when the connection is open. The client sets it. */
  onopen: ((event: any) => void) | null
  /** Called with `data`, which has to be bytes. The client sets it. */
  onmessage: ((event: any) => void) | null
  /** Called when the connection is closed, with `code`, `reason` and `wasClean` as far as they are known. The client sets it. */
  onclose: ((event: any) => void) | null
  /** Called when something went wrong; `onclose` has to follow. The client sets it. */
  onerror: ((event: any) => void) | null
}

/** What a transport of your own is told besides the URL. */
export interface TransportContext {
  /** The subprotocols to offer. */
  protocols: string[]
  /** The headers of the option `websocket.headers`. */
  headers?: Record<string, string> | undefined
  /** The option `tls`. */
  tls?: TlsOptions | undefined
  /** Aborted when the attempt is given up, or when its connection is over. */
  signal: AbortSignal
}

/**
 * Keeps QoS 1 and 2 state beyond the page or process. `wasmqtt/stores` has a FileStore and an IndexedDBStore.
 *
 * The store holds each message from `publish()` until it is acknowledged, and the identifiers of QoS 2 messages that were received. PUBLISH, PUBREC,
 * PUBREL and PUBCOMP leave only after the write that records them has resolved. Messages that were published before `connect()` are recorded when
 * the store has been read. With `queue.overflow: 'wait'`, a message is recorded when the queue has room for it: its promise is pending until then.
 * QoS 0 is not kept. A message that is withdrawn or given up loses its record.
 *
 * The next client with the same clientId and store goes on where the last one ended, however that was. What it sends again has no promise any more: if it
 * fails, 'error' says why. If the server has lost the session, QoS 1 is published anew, and QoS 2 that was in flight fails with
 * SessionLostError, as without a store. Messages for subscriptions of the kept session come by the event 'message' until the application
 * subscribes.
 *
 * To the server, QoS 2 is exactly once whatever happens. A received QoS 2 message is recorded when it is acknowledged, which by default is when its
 * handler has returned: if the process is killed between the two, the handler gets the message again in the next life. It is never lost.
 *
 * When a write fails, 'error' carries a StoreError, and `publish()` rejects with one for messages of that write: they are not sent. All else is kept in
 * memory and written again a second later, and what depends on it waits.
 */
export interface Store {
  /** Yields all that was written for this client, in any order. It is called before the first CONNECT. `connect()` rejects with a StoreError where it fails. */
  load(clientId: string): Promise<ReadonlyArray<readonly [key: string, value: Uint8Array]>>
  /**
   * Applies the changes in order, all or nothing. A null value deletes. One write is under way at a time; what comes meanwhile goes into the
   * next one.
   */
  write(
    clientId: string,
    changes: ReadonlyArray<readonly [key: string, value: Uint8Array | null]>,
  ): Promise<void>
  /** Frees what the store holds. It is called when the client has closed, after the last write. `end()` waits for it, within its timeout. */
  close?(): Promise<void>
}
