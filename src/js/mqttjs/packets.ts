// Packets as MQTT.js' users see them, and a reader that makes them of the bytes on the wire, for 'packetsend' and 'packetreceive'.

/** 0: at most once, 1: at least once, 2: exactly once. */
export type QoS = 0 | 1 | 2

/** Names and values; a name that is there more than once has a list. */
export type UserProperties = { [name: string]: string | string[] }

/** What all packets have. */
export interface IPacket {
  /** Which packet it is. */
  cmd: string
  /** The packet identifier. */
  messageId?: number | undefined
  /** The remaining length, bytes. */
  length?: number | undefined
}

/** What acknowledgements may carry (MQTT 5). */
export interface AckProperties {
  /** Why, for people. */
  reasonString?: string | undefined
  /** Names and values of the other side. */
  userProperties?: UserProperties | undefined
}

/** What AUTH may carry besides. */
export interface AuthProperties {
  /** The name of the authentication method. */
  authenticationMethod?: string | undefined
  /** What the method exchanges. */
  authenticationData?: Buffer | undefined
}

/** AUTH. */
export interface IAuthPacket extends IPacket {
  /** Always this word. */
  cmd: 'auth'
  /** 0: done, 24: go on, 25: authenticate again. */
  reasonCode: number
  /** Properties of MQTT 5. */
  properties?: (AckProperties & AuthProperties) | undefined
}

/** CONNECT. */
export interface IConnectPacket extends IPacket {
  /** Always this word. */
  cmd: 'connect'
  /** The client identifier. */
  clientId: string
  /** 5, or 4 for MQTT 3.1.1. */
  protocolVersion?: 3 | 4 | 5 | undefined
  /** 'MQTT'. */
  protocolId?: 'MQTT' | 'MQIsdp' | undefined
  /** Whether the session begins anew. */
  clean?: boolean | undefined
  /** Seconds. */
  keepalive?: number | undefined
  /** The user name. */
  username?: string | undefined
  /** The password. */
  password?: Buffer | undefined
  /** What the server publishes when the connection breaks. */
  will?:
    | {
        topic: string
        payload: Buffer | string
        qos?: QoS | undefined
        retain?: boolean | undefined
        properties?:
          | {
              willDelayInterval?: number | undefined
              payloadFormatIndicator?: boolean | undefined
              messageExpiryInterval?: number | undefined
              contentType?: string | undefined
              responseTopic?: string | undefined
              correlationData?: Buffer | undefined
              userProperties?: UserProperties | undefined
            }
          | undefined
      }
    | undefined
  /** Properties of MQTT 5. */
  properties?:
    | {
        sessionExpiryInterval?: number | undefined
        receiveMaximum?: number | undefined
        maximumPacketSize?: number | undefined
        topicAliasMaximum?: number | undefined
        requestResponseInformation?: boolean | undefined
        requestProblemInformation?: boolean | undefined
        userProperties?: UserProperties | undefined
        authenticationMethod?: string | undefined
        authenticationData?: Buffer | undefined
      }
    | undefined
}

/** PUBLISH. */
export interface IPublishPacket extends IPacket {
  /** Always this word. */
  cmd: 'publish'
  /** The quality of service. */
  qos: QoS
  /** Whether it may have been sent before. */
  dup: boolean
  /** Whether the server keeps it; of a message that came: whether it was kept. */
  retain: boolean
  /** The topic name. */
  topic: string
  /** The payload; of a message that came a Buffer. */
  payload: string | Buffer
  /** Properties of MQTT 5. */
  properties?:
    | {
        payloadFormatIndicator?: boolean | undefined
        messageExpiryInterval?: number | undefined
        topicAlias?: number | undefined
        responseTopic?: string | undefined
        correlationData?: Buffer | undefined
        userProperties?: UserProperties | undefined
        subscriptionIdentifier?: number | number[] | undefined
        contentType?: string | undefined
      }
    | undefined
}

/** CONNACK: `reasonCode` on MQTT 5, `returnCode` on 3.1.1. */
export interface IConnackPacket extends IPacket {
  /** Always this word. */
  cmd: 'connack'
  /** Of MQTT 3.1.1: 0, or why the server refuses. */
  returnCode?: number | undefined
  /** Of MQTT 5: 0, or what went wrong. */
  reasonCode?: number | undefined
  /** Whether the server has the session of an earlier connection. */
  sessionPresent: boolean
  /** Properties of MQTT 5. */
  properties?:
    | {
        sessionExpiryInterval?: number | undefined
        receiveMaximum?: number | undefined
        maximumQoS?: number | undefined
        retainAvailable?: boolean | undefined
        maximumPacketSize?: number | undefined
        assignedClientIdentifier?: string | undefined
        topicAliasMaximum?: number | undefined
        reasonString?: string | undefined
        userProperties?: UserProperties | undefined
        wildcardSubscriptionAvailable?: boolean | undefined
        subscriptionIdentifiersAvailable?: boolean | undefined
        sharedSubscriptionAvailable?: boolean | undefined
        serverKeepAlive?: number | undefined
        responseInformation?: string | undefined
        serverReference?: string | undefined
        authenticationMethod?: string | undefined
        authenticationData?: Buffer | undefined
      }
    | undefined
}

/** One filter of a SUBSCRIBE. */
export interface ISubscription {
  /** The topic filter. */
  topic: string
  /** The highest quality of service that is wanted. */
  qos: QoS
  /** No Local: no messages of this client (MQTT 5). */
  nl?: boolean | undefined
  /** Retain As Published: the retain flag stays as it was published (MQTT 5). */
  rap?: boolean | undefined
  /** Retain Handling: 0: send retained messages, 1: only for a new subscription, 2: do not (MQTT 5). */
  rh?: number | undefined
}

/** SUBSCRIBE. */
export interface ISubscribePacket extends IPacket {
  /** Always this word. */
  cmd: 'subscribe'
  /** The filters and their options. */
  subscriptions: ISubscription[]
  /** Properties of MQTT 5. */
  properties?:
    | {
        reasonString?: string | undefined
        subscriptionIdentifier?: number | undefined
        userProperties?: UserProperties | undefined
      }
    | undefined
}

/** SUBACK. */
export interface ISubackPacket extends IPacket {
  /** Always this word. */
  cmd: 'suback'
  /** Of MQTT 5: 0, or what went wrong. */
  reasonCode?: number | undefined
  /** Properties of MQTT 5. */
  properties?: AckProperties | undefined
  /** The answer for each filter: the granted QoS or a reason code from 128 on; of UNSUBACK a reason code. */
  granted: number[]
}

/** UNSUBSCRIBE. */
export interface IUnsubscribePacket extends IPacket {
  /** Always this word. */
  cmd: 'unsubscribe'
  /** Properties of MQTT 5. */
  properties?: AckProperties | undefined
  /** The topic filters. */
  unsubscriptions: string[]
}

/** UNSUBACK. */
export interface IUnsubackPacket extends IPacket {
  /** Always this word. */
  cmd: 'unsuback'
  /** Of MQTT 5: 0, or what went wrong. */
  reasonCode?: number | undefined
  /** Properties of MQTT 5. */
  properties?: AckProperties | undefined
  /** The answer for each filter: the granted QoS or a reason code from 128 on; of UNSUBACK a reason code. */
  granted: number[]
}

/** PUBACK. */
export interface IPubackPacket extends IPacket {
  /** Always this word. */
  cmd: 'puback'
  /** Of MQTT 5: 0, or what went wrong. */
  reasonCode?: number | undefined
  /** Properties of MQTT 5. */
  properties?: AckProperties | undefined
}

/** PUBCOMP. */
export interface IPubcompPacket extends IPacket {
  /** Always this word. */
  cmd: 'pubcomp'
  /** Of MQTT 5: 0, or what went wrong. */
  reasonCode?: number | undefined
  /** Properties of MQTT 5. */
  properties?: AckProperties | undefined
}

/** PUBREL. */
export interface IPubrelPacket extends IPacket {
  /** Always this word. */
  cmd: 'pubrel'
  /** Of MQTT 5: 0, or what went wrong. */
  reasonCode?: number | undefined
  /** Properties of MQTT 5. */
  properties?: AckProperties | undefined
}

/** PUBREC. */
export interface IPubrecPacket extends IPacket {
  /** Always this word. */
  cmd: 'pubrec'
  /** Of MQTT 5: 0, or what went wrong. */
  reasonCode?: number | undefined
  /** Properties of MQTT 5. */
  properties?: AckProperties | undefined
}

/** PINGREQ. */
export interface IPingreqPacket extends IPacket {
  /** Always this word. */
  cmd: 'pingreq'
}

/** PINGRESP. */
export interface IPingrespPacket extends IPacket {
  /** Always this word. */
  cmd: 'pingresp'
}

/** DISCONNECT. */
export interface IDisconnectPacket extends IPacket {
  /** Always this word. */
  cmd: 'disconnect'
  /** Of MQTT 5: 0, or what went wrong. */
  reasonCode?: number | undefined
  /** Properties of MQTT 5. */
  properties?:
    | (AckProperties & { sessionExpiryInterval?: number; serverReference?: string })
    | undefined
}

/** Any packet. */
export type Packet =
  | IConnectPacket
  | IPublishPacket
  | IConnackPacket
  | ISubscribePacket
  | ISubackPacket
  | IUnsubscribePacket
  | IUnsubackPacket
  | IPubackPacket
  | IPubcompPacket
  | IPubrelPacket
  | IPingreqPacket
  | IPingrespPacket
  | IDisconnectPacket
  | IPubrecPacket
  | IAuthPacket

/** By the packet type in the first four bits. */
const COMMANDS = [
  '',
  'connect',
  'connack',
  'publish',
  'puback',
  'pubrec',
  'pubrel',
  'pubcomp',
  'subscribe',
  'suback',
  'unsubscribe',
  'unsuback',
  'pingreq',
  'pingresp',
  'disconnect',
  'auth',
] as const

type Kind = 'byte' | 'flag' | 'two' | 'four' | 'variable' | 'text' | 'binary'

/** Properties by their identifier. MQTT 5, 2.2.2.2. */
const PROPERTIES: Record<number, [name: string, kind: Kind]> = {
  1: ['payloadFormatIndicator', 'flag'],
  2: ['messageExpiryInterval', 'four'],
  3: ['contentType', 'text'],
  8: ['responseTopic', 'text'],
  9: ['correlationData', 'binary'],
  11: ['subscriptionIdentifier', 'variable'],
  17: ['sessionExpiryInterval', 'four'],
  18: ['assignedClientIdentifier', 'text'],
  19: ['serverKeepAlive', 'two'],
  21: ['authenticationMethod', 'text'],
  22: ['authenticationData', 'binary'],
  23: ['requestProblemInformation', 'flag'],
  24: ['willDelayInterval', 'four'],
  25: ['requestResponseInformation', 'flag'],
  26: ['responseInformation', 'text'],
  28: ['serverReference', 'text'],
  31: ['reasonString', 'text'],
  33: ['receiveMaximum', 'two'],
  34: ['topicAliasMaximum', 'two'],
  35: ['topicAlias', 'two'],
  36: ['maximumQoS', 'byte'],
  37: ['retainAvailable', 'flag'],
  39: ['maximumPacketSize', 'four'],
  40: ['wildcardSubscriptionAvailable', 'flag'],
  41: ['subscriptionIdentifiersAvailable', 'flag'],
  42: ['sharedSubscriptionAvailable', 'flag'],
}
const USER_PROPERTY = 38

const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/** Bytes. Arrays up to this length that were not made of an ArrayBuffer have none yet. */
const SHORT = 64

/** Bytes as users of MQTT.js expect them: a Buffer where there is such a class, else a Uint8Array whose toString() decodes UTF-8. */
export function asBuffer(bytes: Uint8Array): Buffer {
  // Engines make the ArrayBuffer of a short array only when it is asked for, which takes twenty times as long as a copy.
  const isShort = bytes.length <= SHORT
  const { byteOffset, byteLength } = bytes
  if (typeof Buffer !== 'function')
    return (isShort
      ? new Bytes(bytes)
      : new Bytes(bytes.buffer as ArrayBuffer, byteOffset, byteLength)) as unknown as Buffer
  if (!isShort) return Buffer.from(bytes.buffer as ArrayBuffer, byteOffset, byteLength)
  const copy = Buffer.allocUnsafe(byteLength)
  copy.set(bytes)
  return copy
}

/** Stands in for Buffer in browsers: `toString()` decodes UTF-8, and knows 'hex' and 'base64'. */
export class Bytes extends Uint8Array {
  /** `slice` and the like make plain arrays. */
  static get [Symbol.species](): Uint8ArrayConstructor {
    return Uint8Array
  }

  /** The bytes as text. `encoding`: 'utf8' (the default), 'hex' or 'base64'. */
  override toString(encoding = 'utf8'): string {
    switch (encoding) {
      case 'hex':
        return Array.from(this, (byte) => byte.toString(16).padStart(2, '0')).join('')
      case 'base64':
        return btoa(Array.from(this, (byte) => String.fromCharCode(byte)).join(''))
      case 'utf8':
      case 'utf-8':
        return decoder.decode(this)
      default:
        throw new TypeError(`Unknown encoding '${encoding}': it is one of utf8, hex and base64`)
    }
  }
}

/** Reads the fields of one packet, one after the other. Past the end it throws a RangeError. */
class Fields {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get left(): number {
    return this.#bytes.length - this.#at
  }

  byte(): number {
    const byte = this.#bytes[this.#at++]
    if (byte === undefined) throw new RangeError('The packet ends too early')
    return byte
  }

  two(): number {
    return (this.byte() << 8) | this.byte()
  }

  four(): number {
    return this.two() * 0x1_0000 + this.two()
  }

  variable(): number {
    let value = 0
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.byte()
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
    throw new RangeError('A variable byte integer is too long')
  }

  take(length: number): Uint8Array {
    if (length > this.left) throw new RangeError('The packet ends too early')
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }

  binary(): Buffer {
    return asBuffer(this.take(this.two()))
  }

  text(): string {
    return decoder.decode(this.take(this.two()))
  }

  /** Properties of MQTT 5. */
  properties(): Record<string, unknown> | undefined {
    const fields = new Fields(this.take(this.variable()))
    if (fields.left === 0) return undefined
    const properties: Record<string, unknown> = {}
    while (fields.left > 0) {
      const id = fields.variable()
      if (id === USER_PROPERTY) {
        const users = (properties.userProperties ??= Object.create(null)) as UserProperties
        addUserProperty(users, fields.text(), fields.text())
        continue
      }
      const known = PROPERTIES[id]
      if (known === undefined) throw new RangeError(`There is no property ${id}`)
      const [name, kind] = known
      const value = kind === 'flag' ? fields.byte() !== 0 : fields[kind]()
      const before = properties[name]
      properties[name] =
        before === undefined ? value : Array.isArray(before) ? [...before, value] : [before, value]
    }
    return properties
  }
}

/** Adds one user property in MQTT.js' form. */
export function addUserProperty(users: UserProperties, name: string, value: string): void {
  const before = users[name]
  users[name] =
    before === undefined ? value : Array.isArray(before) ? [...before, value] : [before, value]
}

/** The packet with this first byte and body; undefined where the bytes are none. `version`: of the connection. */
export function decodePacket(first: number, body: Uint8Array, version: number): Packet | undefined {
  try {
    const cmd = COMMANDS[first >> 4]!
    const fields = new Fields(body)
    return { cmd, length: body.length, ...bodyOf(cmd, first, fields, version) } as Packet
  } catch (error) {
    // The core ends the connection for it, and says why.
    if (error instanceof RangeError) return undefined
    throw error
  }
}

function bodyOf(cmd: string, first: number, fields: Fields, version: number): object {
  const five = version === 5
  const properties = () => (five ? optional({ properties: fields.properties() }) : {})
  switch (cmd) {
    case 'connect':
      return connectBody(fields)
    case 'connack': {
      const sessionPresent = (fields.byte() & 1) === 1
      const code = fields.byte()
      if (!five) return { sessionPresent, returnCode: code }
      return { sessionPresent, reasonCode: code, ...(fields.left > 0 && properties()) }
    }
    case 'publish': {
      const qos = ((first >> 1) & 3) as QoS
      const topic = fields.text()
      return {
        qos,
        dup: (first & 8) !== 0,
        retain: (first & 1) !== 0,
        topic,
        ...(qos > 0 && { messageId: fields.two() }),
        ...properties(),
        payload: asBuffer(fields.take(fields.left)),
      }
    }
    case 'puback':
    case 'pubrec':
    case 'pubrel':
    case 'pubcomp':
      return { messageId: fields.two(), ...(five && reasonOf(fields)) }
    case 'subscribe':
      return { messageId: fields.two(), ...properties(), subscriptions: filtersOf(fields, five) }
    case 'suback':
      return { messageId: fields.two(), ...properties(), granted: [...fields.take(fields.left)] }
    case 'unsubscribe': {
      const head = { messageId: fields.two(), ...properties() }
      const unsubscriptions: string[] = []
      while (fields.left > 0) unsubscriptions.push(fields.text())
      return { ...head, unsubscriptions }
    }
    case 'unsuback':
      return {
        messageId: fields.two(),
        ...properties(),
        granted: [...fields.take(fields.left)],
      }
    case 'disconnect':
    case 'auth':
      return five ? reasonOf(fields) : {}
    default:
      return {}
  }
}

function connectBody(fields: Fields): object {
  const protocolId = fields.text()
  const protocolVersion = fields.byte()
  const five = protocolVersion === 5
  const flags = fields.byte()
  const keepalive = fields.two()
  const properties = five ? fields.properties() : undefined
  const clientId = fields.text()
  const will =
    (flags & 4) === 0
      ? undefined
      : optional({
          properties: five ? fields.properties() : undefined,
          topic: fields.text(),
          payload: fields.binary(),
          qos: (flags >> 3) & 3,
          retain: (flags & 32) !== 0,
        })
  const username = (flags & 128) === 0 ? undefined : fields.text()
  const password = (flags & 64) === 0 ? undefined : fields.binary()
  const clean = (flags & 2) !== 0
  const head = { protocolId, protocolVersion, clean, keepalive, clientId }
  return { ...head, ...optional({ properties, will, username, password }) }
}

function filtersOf(fields: Fields, five: boolean): ISubscription[] {
  const subscriptions: ISubscription[] = []
  while (fields.left > 0) {
    const topic = fields.text()
    const options = fields.byte()
    const qos = (options & 3) as QoS
    subscriptions.push(
      five
        ? { topic, qos, nl: (options & 4) !== 0, rap: (options & 8) !== 0, rh: (options >> 4) & 3 }
        : { topic, qos },
    )
  }
  return subscriptions
}

function reasonOf(fields: Fields): object {
  const reasonCode = fields.left > 0 ? fields.byte() : 0
  return {
    reasonCode,
    ...optional({ properties: fields.left > 0 ? fields.properties() : undefined }),
  }
}

/** Without what is undefined. */
function optional<T extends object>(fields: T): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T
}

/**
 * What `PacketReader` calls for each packet: its first byte, its body or as much of it as was asked for, and the length of the whole body.
 * `body` is valid during the call only.
 */
export type OnPacket = (first: number, body: Uint8Array, length: number) => void

const PUBLISH = 3

/**
 * Cuts what comes in chunks into packets, without a copy where a packet lies in one chunk. With `whole` false, only packets that are wanted are
 * shown, and of a PUBLISH that comes in several chunks only the topic and the packet identifier are gathered, so that a large payload is not
 * kept twice.
 */
export class PacketReader {
  /** Whether all packets are shown, a PUBLISH with its payload. */
  whole = false
  readonly #onPacket: OnPacket
  readonly #wants: (first: number) => boolean
  /** The beginning of a packet whose end has not come yet. */
  #begun: Uint8Array | undefined
  /** Bytes of a packet that was shown already. */
  #skip = 0

  /** Makes a reader that calls `onPacket` for each packet, or for those whose first byte `wants` says yes to. */
  constructor(onPacket: OnPacket, wants: (first: number) => boolean = () => true) {
    this.#onPacket = onPacket
    this.#wants = wants
  }

  /** Takes the next bytes. */
  add(chunk: Uint8Array): void {
    let bytes = chunk
    if (this.#skip > 0) {
      const skipped = Math.min(this.#skip, bytes.length)
      this.#skip -= skipped
      bytes = bytes.subarray(skipped)
    }
    if (this.#begun !== undefined) {
      bytes = joined(this.#begun, bytes)
      this.#begun = undefined
    }
    let at = 0
    while (at < bytes.length) {
      const used = this.#packet(bytes, at)
      if (used === 0) {
        this.#begun = bytes.subarray(at)
        return
      }
      at += used
    }
  }

  /** Shows the packet that begins at `at`; how long it is, 0 if more of it is needed first. */
  #packet(bytes: Uint8Array, at: number): number {
    let head = at + 1
    let length = 0
    for (let shift = 0; ; shift += 7) {
      // Five bytes of length are no packet: the core ends the connection for it.
      if (head >= bytes.length || shift === 28) return 0
      const byte = bytes[head++]!
      length |= (byte & 0x7f) << shift
      if (byte < 0x80) break
    }
    const first = bytes[at]!
    if (!this.whole && !this.#wants(first)) {
      const end = Math.min(head + length, bytes.length)
      this.#skip = head + length - end
      return end - at
    }
    const body = bytes.subarray(head, head + length)
    if (body.length < length) {
      if (this.whole || first >> 4 !== PUBLISH || body.length < 2) return 0
      if (body.length < 4 + ((body[0]! << 8) | body[1]!)) return 0
      this.#skip = length - body.length
    }
    this.#onPacket(first, body, length)
    return head - at + body.length
  }
}

function joined(one: Uint8Array, other: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(one.length + other.length)
  bytes.set(one)
  bytes.set(other, one.length)
  return bytes
}
