// MQTT.js' options: what each means here.
import type {
  Authenticator,
  ConnectOptions,
  MessageProperties,
  MqttError,
  PublishOptions,
  PublishProperties,
  SubscribeOptions,
  UserProperties as UserPropertyPairs,
  Will,
} from '../api.js'
import { notice } from './errors.js'
import type { IMessageIdProvider } from './message-ids.js'
import {
  addUserProperty,
  asBuffer,
  type IAuthPacket,
  type IConnectPacket,
  type IDisconnectPacket,
  type IPublishPacket,
  type ISubackPacket,
  type Packet,
  type QoS,
  type UserProperties,
} from './packets.js'
import type { IStore } from './store.js'

/** Protocols of URLs. `wx`, `wxs`, `ali` and `alis` are refused: those runtimes have no WebAssembly. */
export type MqttProtocol = BaseMqttProtocol | `${BaseMqttProtocol}+unix`

/** Protocols without the suffix for Unix sockets. */
export type BaseMqttProtocol =
  | 'wss'
  | 'ws'
  | 'mqtt'
  | 'mqtts'
  | 'tcp'
  | 'ssl'
  | 'tls'
  | 'wx'
  | 'wxs'
  | 'ali'
  | 'alis'

/** Called for every QoS 1 and 2 message on MQTT 5: `done(error, code)` decides what the server is told. */
export type AckHandler = (
  topic: string,
  message: Buffer,
  packet: IPublishPacket,
  done: (error: Error | number | null | undefined, code?: number) => void,
) => void

/** Options of TLS, as Node's `tls.connect` takes them. Not in browsers. */
export interface ISecureClientOptions {
  /** The private key of the client, PEM. */
  key?: any
  /** The certificate of the client, PEM. */
  cert?: any
  /** The authorities that are trusted, PEM. Default: those of the runtime. */
  ca?: any
  /** Key and certificate in one file, PKCS #12. */
  pfx?: any
  /** Of `key` or `pfx`. */
  passphrase?: string | undefined
  /** Default true. */
  rejectUnauthorized?: boolean | undefined
  /** The name for Server Name Indication. Default: the host. */
  servername?: string | undefined
  /** Protocols to offer. Default: none. */
  ALPNProtocols?: any
}

/** Options of `connect` and MqttClient. Those that have no effect here say why on the console when they are used. */
export interface IClientOptions extends ISecureClientOptions {
  /** Default: by the URL. */
  protocol?: MqttProtocol | undefined
  /** Default 'localhost', in browsers the page's. */
  host?: string | undefined
  /** As `host`. */
  hostname?: string | undefined
  /** Default: the protocol's: 1883, 8883, 80, 443. */
  port?: number | undefined
  /** Of a WebSocket, default '/'; of a Unix socket. */
  path?: string | undefined
  /** `user:password`, as in a URL. */
  auth?: string | undefined
  /** The query of the URL: a `clientId` in it is the client identifier. */
  query?: Record<string, unknown> | undefined
  /** Used by `servers` where one has no protocol of its own; set by `connect`. */
  defaultProtocol?: MqttProtocol | undefined
  /** Tried in turn, one at every attempt. */
  servers?: Array<{ host: string; port: number; protocol?: MqttProtocol }> | undefined
  /** Connect to the Unix socket at `path`. Node only. */
  unixSocket?: boolean | undefined
  /** Options of `ws`. Node only. Default: perMessageDeflate off. */
  wsOptions?: object | undefined
  /** Changes the URL of a WebSocket before every attempt; may change `client.options`, also the credentials and the client identifier. */
  transformWsUrl?: ((url: string, options: IClientOptions, client: any) => string) | undefined
  /** Makes the WebSocket. */
  createWebsocket?:
    | ((url: string, subprotocols: string[], options: IClientOptions) => any)
    | undefined
  /** Use the runtime's own WebSocket on Node, too. */
  forceNativeWebSocket?: boolean | undefined
  /** Do not connect before `client.connect()` is called. Default false. */
  manualConnect?: boolean | undefined
  /** Default 'mqttjs_' and eight random hex digits. */
  clientId?: string | undefined
  /** 4 (3.1.1, the default) or 5. 3 is refused. */
  protocolVersion?: 3 | 4 | 5 | undefined
  /** 'MQTT'. 'MQIsdp', of MQTT 3.1, is refused. */
  protocolId?: 'MQTT' | 'MQIsdp' | undefined
  /** Default true. On MQTT 5 it holds for the first connection: later ones resume the session. */
  clean?: boolean | undefined
  /** Seconds, 0 turns it off. Default 60. */
  keepalive?: number | undefined
  /** The user name. Default: none. */
  username?: string | undefined
  /** The password. Default: none. */
  password?: Buffer | Uint8Array | string | undefined
  /** What the server publishes when the connection breaks. Default: nothing. */
  will?: IConnectPacket['will'] | undefined
  /** Properties of CONNECT (MQTT 5). */
  properties?: IConnectPacket['properties'] | undefined
  /** The answer to the server's first AUTH, where `handleAuth` is not overridden (MQTT 5). */
  authPacket?: Partial<IAuthPacket> | undefined
  /** Milliseconds between two attempts; 0: none. Default 1000. */
  reconnectPeriod?: number | undefined
  /** Whether to try again after the server refused. Default false. */
  reconnectOnConnackError?: boolean | undefined
  /** Milliseconds until CONNACK. Default 30000. */
  connectTimeout?: number | undefined
  /** Keep QoS 0 messages while there is no connection. Default true. */
  queueQoSZero?: boolean | undefined
  /** Subscribe again where the server has lost the session. Default true. */
  resubscribe?: boolean | undefined
  /** Filters per SUBSCRIBE, at most. */
  subscribeBatchSize?: number | null | undefined
  /** Kept for stores' users: closed by `end()`. The core keeps the state of messages that come. */
  incomingStore?: IStore | null | undefined
  /** Where QoS 1 and 2 messages are kept until they are acknowledged. Default: memory. */
  outgoingStore?: IStore | null | undefined
  /** Decides how QoS 1 and 2 messages are acknowledged (MQTT 5). */
  customHandleAcks?: AckHandler | undefined
  /** Use topic aliases (MQTT 5). */
  autoUseTopicAlias?: boolean | undefined
  /** Use topic aliases (MQTT 5). */
  autoAssignTopicAlias?: boolean | undefined
  /** Called with a format and values for every step. */
  log?: ((...args: any[]) => void) | undefined
  /** Gives calls the numbers by which `removeOutgoingMessage` and stores know them. */
  messageIdProvider?: IMessageIdProvider | undefined
  /** No effect: a ping is due when nothing was sent or nothing came for `keepalive`, so that a dead connection is always found. */
  reschedulePings?: boolean | undefined
  /** No effect: there is one timer, and a late one is allowed for. */
  timerVariant?: unknown
  /** Refused: there is no SOCKS client here. Use `createWebsocket`, or MqttClient with a stream. */
  socksProxy?: string | undefined
  /** Only with `socksProxy`. */
  socksTimeout?: number | undefined
  /** No effect: packets are made in WebAssembly, without that cache. */
  writeCache?: boolean | undefined
  /** No effect: payloads are bytes. */
  encoding?: string | undefined
  /** No effect: bytes are sent as bytes. */
  binary?: boolean | undefined
  /** No effect: bytes are sent as bytes. */
  objectMode?: boolean | undefined
  /** No effect: what waits for the socket is bounded by the core, at 1 MiB. */
  browserBufferSize?: number | undefined
  /** No effect: what waits for the socket leaves as soon as there is room. */
  browserBufferTimeout?: number | undefined
  /** Of mini programs, whose protocols are refused. */
  my?: unknown
  [option: string]: any
}

/** Defaults that are written into the options, as MQTT.js does. */
export const defaults = {
  /** Seconds. */
  keepalive: 60,
  /** No effect. */
  reschedulePings: true,
  /** That of MQTT 3.1.1 and 5. */
  protocolId: 'MQTT',
  /** MQTT 3.1.1. */
  protocolVersion: 4,
  /** Milliseconds. */
  reconnectPeriod: 1000,
  /** Milliseconds. */
  connectTimeout: 30_000,
  /** The session begins anew. */
  clean: true,
  /** Subscribe again where the session is lost. */
  resubscribe: true,
  /** No limit. */
  subscribeBatchSize: null,
  /** No effect. */
  writeCache: true,
  /** No effect. */
  timerVariant: 'auto',
} as const

/** Options that have no effect here, and why. The value that MQTT.js has by default says nothing. */
const WITHOUT_EFFECT: Record<string, [harmless: unknown, why: string]> = {
  /** No effect. */
  reschedulePings: [
    true,
    'has no effect. A ping is sent when nothing was sent or nothing came for keepalive seconds, so that a dead connection is found while publishing, too.',
  ],
  /** No effect. */
  timerVariant: ['auto', 'has no effect. The client has one timer and allows for late ones.'],
  /** No effect. */
  writeCache: [true, 'has no effect. Packets are made in WebAssembly, without that cache.'],
  encoding: [undefined, 'has no effect. Payloads are bytes: use toString(encoding).'],
  binary: [true, 'has no effect. Bytes are sent as bytes.'],
  objectMode: [false, 'has no effect. Bytes are sent as bytes.'],
  browserBufferSize: [undefined, 'has no effect. At most 1 MiB waits in the socket.'],
  browserBufferTimeout: [undefined, 'has no effect. What waits leaves as soon as there is room.'],
  my: [undefined, 'has no effect. It belongs to ali: and alis:, which are not supported.'],
  socksTimeout: [undefined, 'has no effect without socksProxy, which is not supported.'],
}

/** Says what has no effect, and throws for what would change what the client does. */
export function checkOptions(options: IClientOptions): void {
  for (const [name, [harmless, why]] of Object.entries(WITHOUT_EFFECT)) {
    const value = options[name]
    if (value !== undefined && value !== harmless) notice(`the option ${name}`, why)
  }
  if (options.socksProxy)
    throw new Error(
      'wasmqtt/mqttjs: socksProxy is not supported. Make the stream yourself and give it to new MqttClient(() => stream, options).',
    )
  if (options.protocolVersion === 3 || options.protocolId === 'MQIsdp')
    throw new Error(
      'wasmqtt/mqttjs: MQTT 3.1 is not supported. Use protocolVersion 4 (3.1.1) or 5.',
    )
  const { protocol } = options
  if (protocol !== undefined && /^(wx|ali)s?$/.test(protocol))
    throw new Error(
      `wasmqtt/mqttjs: ${protocol}: is not supported. The runtimes of mini programs have no WebAssembly.`,
    )
}

/** What of the options is the core's, translated. `delay`: milliseconds that the core waits before it tries again by itself. */
export function coreOptions(
  options: IClientOptions,
  delay: number,
  authentication: Authenticator | undefined,
  transport: ConnectOptions['transport'],
): ConnectOptions {
  const period = options.reconnectPeriod!
  const properties = options.properties
  return {
    protocolVersion: options.protocolVersion as 4 | 5,
    clientId: options.clientId,
    // Read at every attempt: applications change them between two.
    username: () => options.username ?? undefined,
    password: () => options.password ?? undefined,
    clean: options.clean,
    keepalive: options.keepalive,
    connectTimeout: Math.max(1, options.connectTimeout!),
    will: coreWill(options.will),
    properties: {
      sessionExpiryInterval: properties?.sessionExpiryInterval,
      receiveMaximum: validReceiveMaximum(properties?.receiveMaximum),
      maximumPacketSize: properties?.maximumPacketSize ?? Infinity,
      topicAliasMaximum: properties?.topicAliasMaximum,
      requestResponseInformation: properties?.requestResponseInformation,
      requestProblemInformation: properties?.requestProblemInformation,
      userProperties: properties?.userProperties,
    },
    authentication,
    reconnect: period > 0 && {
      minDelay: delay,
      maxDelay: delay,
      factor: 1,
      jitter: 0,
      initial: true,
      shouldRetry: (error) => {
        if (error.code === 'CONNECTION_REFUSED') return options.reconnectOnConnackError === true
        // Two clients with one identifier would take the session from each other for ever.
        return error.reasonCode !== SESSION_TAKEN_OVER
      },
    },
    resubscribe: options.resubscribe,
    queue: { maxMessages: Infinity, maxBytes: Infinity },
    topicAliases: Boolean(options.autoAssignTopicAlias || options.autoUseTopicAlias),
    transport,
  }
}

const SESSION_TAKEN_OVER = 0x8e

/** As MQTT.js: what is out of range is not sent. */
function validReceiveMaximum(value: number | undefined): number | undefined {
  if (value === undefined || (Number.isInteger(value) && value >= 1 && value <= 0xffff))
    return value
  notice(
    'the option properties.receiveMaximum',
    `${value} is not a whole number from 1 to 65535: it is not sent.`,
  )
  return undefined
}

/** The will, translated. */
export function coreWill(will: IClientOptions['will']): Will | undefined {
  if (will === undefined || will === null) return undefined
  const { topic, payload, qos, retain, properties } = will
  return {
    topic,
    payload: payload ?? '',
    qos: qos ?? 0,
    retain: Boolean(retain),
    properties: properties && {
      willDelayInterval: properties.willDelayInterval,
      ...coreMessageProperties(properties),
    },
  }
}

/** Properties of a PUBLISH or a will, translated. */
export function coreMessageProperties(
  properties: NonNullable<IPublishPacket['properties']>,
): PublishProperties {
  const { payloadFormatIndicator } = properties
  return {
    payloadFormatIndicator:
      payloadFormatIndicator === undefined ? undefined : payloadFormatIndicator ? 1 : 0,
    messageExpiryInterval: properties.messageExpiryInterval,
    responseTopic: properties.responseTopic,
    correlationData: bytes(properties.correlationData),
    contentType: properties.contentType,
    userProperties: properties.userProperties,
  }
}

function bytes(value: Buffer | string | undefined): Uint8Array | undefined {
  return typeof value === 'string' ? new TextEncoder().encode(value) : value
}

/** User properties in MQTT.js' form. */
export function recordOf(pairs: UserPropertyPairs | undefined): UserProperties | undefined {
  if (pairs === undefined || pairs.length === 0) return undefined
  const record: UserProperties = Object.create(null)
  for (const [name, value] of pairs) addUserProperty(record, name, value)
  return record
}

/** Properties of a message that came, in MQTT.js' form. `isOwn`: whether the application gave that subscription identifier. */
export function publishProperties(
  properties: MessageProperties,
  isOwn: (identifier: number) => boolean,
): IPublishPacket['properties'] {
  const { payloadFormatIndicator, correlationData, userProperties, subscriptionIdentifiers } =
    properties
  const shown: NonNullable<IPublishPacket['properties']> = {}
  if (payloadFormatIndicator !== undefined)
    shown.payloadFormatIndicator = payloadFormatIndicator === 1
  for (const name of ['messageExpiryInterval', 'responseTopic', 'contentType'] as const)
    if (properties[name] !== undefined) shown[name] = properties[name] as never
  if (correlationData !== undefined) shown.correlationData = asBuffer(correlationData)
  const users = recordOf(userProperties)
  if (users !== undefined) shown.userProperties = users
  const identifiers = subscriptionIdentifiers?.filter(isOwn) ?? []
  if (identifiers.length > 0)
    shown.subscriptionIdentifier = identifiers.length === 1 ? identifiers[0]! : identifiers
  return Object.keys(shown).length > 0 ? shown : undefined
}

/** Options of a publish, translated. */
export function publishOptions({ qos, retain, properties }: IPublishPacket): PublishOptions {
  if (properties === undefined) return { qos, retain }
  if (properties.subscriptionIdentifier !== undefined)
    notice(
      'publish with subscriptionIdentifier',
      'only servers may send it (MQTT 5, 3.3.4): it is left out.',
    )
  return {
    qos,
    retain,
    properties: { ...coreMessageProperties(properties), topicAlias: properties.topicAlias },
  }
}

/** Options of one filter, translated. */
export function filterOptions({ qos, nl, rap, rh }: IClientSubscribeOptions): SubscribeOptions {
  return {
    qos,
    ...(nl && { noLocal: true }),
    ...(rap && { retainAsPublished: true }),
    ...(rh !== undefined && rh > 0 && { retainHandling: rh as 1 | 2 }),
  }
}

/** Called when something is done, with the error if there was one. */
export type DoneCallback = (error?: Error | null) => void
/** Called with the outcome of a publish or an unsubscribe. */
export type PacketCallback = (error?: Error | null, packet?: Packet) => any
/** Called with the outcome of a subscribe. */
export type ClientSubscribeCallback = (
  error: Error | null,
  granted?: ISubscriptionGrant[],
  packet?: ISubackPacket,
) => void

/** Options of `publish`. */
export interface IClientPublishOptions {
  /** Default 0. */
  qos?: QoS | undefined
  /** Default false. */
  retain?: boolean | undefined
  /** No effect: the flag is set where a message is sent again, and only there. */
  dup?: boolean | undefined
  /** MQTT 5. */
  properties?: IPublishPacket['properties'] | undefined
  /** Called when the message is in the outgoing store, for QoS 1 and 2. */
  cbStorePut?: (() => void) | undefined
}

/** Properties of `subscribe` (MQTT 5). */
export interface IClientSubscribeProperties {
  /** An identifier that comes back with the messages, and user properties. */
  properties?: { subscriptionIdentifier?: number; userProperties?: UserProperties } | undefined
}

/** Options of `subscribe`. */
export interface IClientSubscribeOptions extends IClientSubscribeProperties {
  /** Default 0. */
  qos: QoS
  /** No Local (MQTT 5). */
  nl?: boolean | undefined
  /** Retain As Published (MQTT 5). */
  rap?: boolean | undefined
  /** Retain Handling (MQTT 5). */
  rh?: number | undefined
}

/** One filter and its options. */
export interface ISubscriptionRequest extends IClientSubscribeOptions {
  /** The topic filter. */
  topic: string
}

/** The server's answer for one filter: the granted QoS, or a reason code from 128 on. */
export interface ISubscriptionGrant extends Omit<ISubscriptionRequest, 'qos' | 'properties'> {
  /** The granted QoS; from 128 on: refused. */
  qos: QoS | 128
}

/** Filters with options of their own. `resubscribe: true` sends what was subscribed already once more. */
export type ISubscriptionMap = { [topic: string]: IClientSubscribeOptions } & {
  /** Whether to ask again for what is there. Default false. */
  resubscribe?: boolean | undefined
}

/** Properties of `unsubscribe` (MQTT 5). */
export interface IClientUnsubscribeProperties {
  /** User properties. */
  properties?: { userProperties?: UserProperties } | undefined
}

/** The DISCONNECT that an error tells of. */
export function disconnectPacket(error: MqttError): IDisconnectPacket {
  const { reasonCode, reasonString, serverReference, userProperties } = error
  const users = recordOf(userProperties)
  const properties = {
    ...(reasonString !== undefined && { reasonString }),
    ...(serverReference !== undefined && { serverReference }),
    ...(users !== undefined && { userProperties: users }),
  }
  return {
    cmd: 'disconnect',
    reasonCode: reasonCode ?? 0,
    ...(Object.keys(properties).length > 0 && { properties }),
  }
}

/** Whether a host is an IPv6 address, which URLs put in brackets. */
export function isIPv6(host: string): boolean {
  return /^[0-9a-f]*:[0-9a-f:.]*$/i.test(host)
}
