import { type Authenticator, Client, type ConnectInfo, type Message, type MqttError, version } from '../api.js'
import { EventEmitter } from './emitter.js'
import {
  ErrorWithReasonCode,
  ErrorWithSubackPacket,
  ReasonCodes,
  callError,
  connectionError,
  notice,
  refused,
} from './errors.js'
import { DuplexLink, type DuplexLike, type Link, type LinkStream, Trace, type TraceHost } from './links.js'
import { DefaultMessageIdProvider, type IMessageIdProvider } from './message-ids.js'
import {
  type IClientOptions,
  type IClientPublishOptions,
  type IClientSubscribeOptions,
  type IClientSubscribeProperties,
  type IClientUnsubscribeProperties,
  type ISubscriptionGrant,
  type ISubscriptionMap,
  type ISubscriptionRequest,
  checkOptions,
  coreMessageProperties,
  coreOptions,
  coreWill,
  defaults,
  publishProperties,
  recordOf,
} from './options.js'
import {
  type IAuthPacket,
  type IConnackPacket,
  type IDisconnectPacket,
  type IPublishPacket,
  type ISubackPacket,
  type Packet,
  type QoS,
  asBuffer,
} from './packets.js'
import { type IStore, Store } from './store.js'
import { validateTopics } from './validations.js'

/** Makes the socket of one attempt: any Node stream, or a Link. */
export type StreamBuilder = (client: MqttClient, options?: IClientOptions) => any

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

/** Events of MqttClient and their arguments. */
export type MqttClientEvents = {
  /** The server has accepted the connection. */
  connect: [packet: IConnackPacket]
  /** A message came. */
  message: [topic: string, payload: Buffer, packet: IPublishPacket]
  /** A packet leaves. */
  packetsend: [packet: Packet]
  /** A packet came. */
  packetreceive: [packet: Packet]
  /** The server sent DISCONNECT (MQTT 5). */
  disconnect: [packet: IDisconnectPacket]
  /** The connection could not be made, or what belongs to no call went wrong. */
  error: [error: Error | ErrorWithReasonCode]
  /** A connection, or the attempt at one, is over. */
  close: []
  /** `end()` is done. */
  end: []
  /** An attempt after the first begins. */
  reconnect: []
  /** The connection is gone and will be tried again. */
  offline: []
}

/** A publish of QoS 1 or 2, a subscribe or an unsubscribe, from the call until it is answered. */
interface Operation {
  cmd: 'publish' | 'subscribe' | 'unsubscribe'
  messageId: number
  /** Whether it is gone with its client: publishes are not. */
  volatile: boolean
  packet: Packet
  cb: (error: Error | null, packet?: Packet) => void
  /** Hands it to a client of the core. */
  run(core: Client): void
  /** Withdraws a publish. */
  controller?: AbortController
}

/** What waits for a connection, as `client.queue` shows it. */
interface Queued {
  packet: Packet
  cb: (error: Error | null, packet?: Packet) => any
}

/** A message that waits for `handleMessage`. */
interface Arrived {
  packet: IPublishPacket
  /** The message once for each subscription that acknowledges by hand. */
  holds: Message[]
}

/** Messages that wait for `handleMessage`: above `MANY` the socket is not read, until there are `FEW`. */
const MANY = 1_000
const FEW = 100
/** What a message can be acknowledged with. MQTT 5, 3.4.2.1. */
const ACKNOWLEDGEMENTS = [0, 16, 128, 131, 135, 144, 145, 151, 153]

/** MQTT.js' client, on top of wasmqtt's. */
export class MqttClient extends EventEmitter<MqttClientEvents> {
  /** The version of wasmqtt. */
  static readonly VERSION: string = version

  /** A client identifier, as clients without one get it. */
  static defaultId(): string {
    return `mqttjs_${Math.random().toString(16).slice(2, 10).padEnd(8, '0')}`
  }

  /** Whether there is a connection that the server has accepted. */
  connected = false
  /** Whether `end()` was called. */
  disconnecting = false
  /** Whether `end()` is done. */
  disconnected = false
  /** Whether the connection is gone and being tried again. */
  reconnecting = false
  /** What `new MqttClient` was given, defaults filled in. Credentials, the will and the servers are read before every attempt. */
  readonly options: IClientOptions
  /** The option of that name. */
  queueQoSZero: boolean
  /** The option of that name, or a Store in memory. */
  incomingStore: IStore
  /** Where QoS 1 and 2 messages are until they are acknowledged. */
  outgoingStore: IStore
  /** Gives the numbers of `outgoing`. */
  messageIdProvider: IMessageIdProvider
  /** The socket of the current or last attempt. */
  stream!: LinkStream
  /** Calls without an answer, by number. */
  outgoing: Record<number, Operation> = {}
  /** Filters of the subscribes without an answer, by number. */
  messageIdToTopic: Record<number, string[]> = {}
  /** What waits for a connection. */
  queue: Queued[] = []
  /** How many of `servers` were tried in this round. */
  _reconnectCount = 0
  /** The option `log`, or nothing. */
  log: (...args: any[]) => void

  readonly #streamBuilder: StreamBuilder
  /** Undefined before `connect()`, and after the core's client has closed. */
  #core: Client | undefined
  /** For the attempt that the core makes next. */
  #prepared: Link | undefined
  #link: Link | undefined
  #trace: Trace | undefined
  /** Whether calls go to the core: it is there, and the store is read. */
  #ready = false
  /** Calls for the next client of the core, in order. */
  #waiting: Array<(core: Client) => void> = []
  /** Calls that wait for a free number. */
  #blocked: Array<() => boolean> = []
  /** What is subscribed, for the next client of the core. */
  readonly #topics = new Map<string, IClientSubscribeOptions>()
  /** Filters that the core's client takes care of. */
  readonly #inCore = new Set<string>()
  /** Subscription identifiers of the application. */
  readonly #identifiers = new Set<number>()
  /** Topics by alias, for publishes that name only the alias. */
  readonly #aliases = new Map<number, string>()
  #firstLife = true
  #connack: IConnackPacket | undefined
  /** Whether the loss of this connection was told. */
  #told = false
  /** Whether 'reconnect' was emitted for the attempt that begins. */
  #announced = false
  #queuedQoS0 = 0
  #deferredReconnect: (() => void) | undefined

  // Messages, where the application has a say in their acknowledgement.
  #holds: Message[] = []
  #arrived: Arrived[] = []
  #handling = false
  #paused = false

  /** `streamBuilder` makes the socket of each attempt. Connects at once, unless the option `manualConnect` is set. */
  constructor(streamBuilder: StreamBuilder, options: IClientOptions = {}) {
    super()
    this.options = options
    for (const [name, value] of Object.entries(defaults)) options[name] ??= value
    checkOptions(options)
    if (typeof options.clientId !== 'string') options.clientId = MqttClient.defaultId()
    this.log = options.log ?? (() => {})
    this.queueQoSZero = options.queueQoSZero ?? true
    this.messageIdProvider = options.messageIdProvider ?? new DefaultMessageIdProvider()
    this.outgoingStore = options.outgoingStore ?? new Store()
    this.incomingStore = options.incomingStore ?? new Store()
    this.#streamBuilder = streamBuilder
    if (!options.manualConnect) this.connect()
  }

  /**
   * Called for every message after 'message' was emitted, one at a time: override it to slow the server down. `callback` must be called; with
   * an error, a QoS 1 or 2 message is refused with reason code 0x80 on MQTT 5.
   */
  handleMessage(_packet: IPublishPacket, callback: DoneCallback): void {
    callback()
  }

  /** Called for every AUTH of the server: override it to answer (MQTT 5). `callback` takes the AUTH packet that is the answer. */
  handleAuth(_packet: IAuthPacket, callback: PacketCallback): void {
    callback(undefined, this.options.authPacket as Packet | undefined)
  }

  /** The number that the last call got. */
  getLastMessageId(): number | null {
    return this.messageIdProvider.getLastAllocated()
  }

  /** The properties of the current connection's CONNACK (MQTT 5), also of one that refused. */
  get serverProperties(): IConnackPacket['properties'] {
    return this.#connack?.properties
  }

  /** Seconds: the server's keep alive where there is one, else the option. */
  get keepalive(): number {
    const own = this.options.keepalive!
    return (own > 0 && this.connected && this.#core?.server?.keepalive) || own
  }

  // ------------------------------------------------------------------------------------------------ connecting

  /** Connects, for `manualConnect`. Throws for options that cannot be used. */
  connect(): this {
    if (this.#core !== undefined && this.#core.state !== 'idle') return this
    if (this.disconnected) this.#revive()
    this.log('connect :: making the socket')
    this.#prepared = this.#open()
    if (this.#core === undefined) this.#begin()
    else this.#dial(this.#core)
    return this
  }

  #open(): Link {
    this.#connack = undefined
    const trace = new Trace(this.#traceHost, this.options.protocolVersion!)
    this.#tracing = trace
    const made = this.#streamBuilder(this, this.options)
    const link: Link = 'socket' in made && 'stream' in made ? made : new DuplexLink(made as DuplexLike, trace)
    this.stream = link.stream
    return link
  }

  /** The trace of the link that is being made, for stream builders of `connect`. */
  #tracing: Trace | undefined

  /** What a stream builder of this library needs. @internal */
  get tracing(): Trace {
    return this.#tracing!
  }

  readonly #traceHost: TraceHost = ((client: MqttClient): TraceHost => ({
    get showsReceived() {
      return client.listenerCount('packetreceive') > 0
    },
    get showsSent() {
      return client.listenerCount('packetsend') > 0
    },
    get maximumPacketSize() {
      return client.options.properties?.maximumPacketSize ?? Infinity
    },
    received: (packet) => {
      if (packet.cmd === 'connack') client.#connack = packet
      client.#tell('packetreceive', packet)
    },
    sent: (packet) => client.#tell('packetsend', packet),
  }))(this)

  /** A new client of the core, with what waits for one. */
  #begin(): void {
    const { options } = this
    let core: Client
    try {
      core = new Client(
        this.#shownUrl(),
        coreOptions(options, this.#authenticator(), () => this.#socket(core)),
      )
    } catch (error) {
      this.#prepared?.stream.destroy()
      this.#prepared = undefined
      throw error
    }
    const first = this.#firstLife
    this.#core = core
    this.#firstLife = false
    this.#inCore.clear()
    this.#listen(core)
    const isFresh = first && !options.outgoingStore
    if (isFresh) this.#start(core)
    else this.#load(core)
  }

  #start(core: Client): void {
    this.#ready = true
    for (const work of this.#waiting.splice(0)) work(core)
    this.#dial(core)
  }

  #dial(core: Client): void {
    core.connect().catch((error: MqttError) => {
      // Without reconnecting, a failed first attempt leads back to 'idle' and is told nowhere else.
      if (core === this.#core && core.state === 'idle') this.#lost(error, false)
    })
  }

  /** Hands what an earlier run or client left in the store to the core, before what was called since. */
  #load(core: Client): void {
    const stored: Packet[] = []
    const done = (): void => {
      if (core !== this.#core) return
      const again = stored.flatMap((packet) => this.#restored(packet) ?? [])
      this.#waiting.unshift(...again)
      this.#start(core)
    }
    let stream: any
    try {
      stream = this.outgoingStore.createStream()
    } catch (error) {
      this.#tell('error', error as Error)
      return done()
    }
    stream.on('data', (packet: Packet) => stored.push(packet))
    stream.on('error', (error: Error) => {
      this.#tell('error', error)
      done()
    })
    stream.on('end', done)
  }

  #restored(packet: Packet): ((core: Client) => void) | undefined {
    const messageId = packet.messageId!
    const known = this.outgoing[messageId]
    if (known !== undefined) {
      // It waits already, in another order perhaps.
      this.#waiting = this.#waiting.filter((work) => work !== known.run)
      return known.run
    }
    if (packet.cmd !== 'publish') {
      this.#tell(
        'error',
        new Error(
          `The store holds the ${packet.cmd} of message ${messageId}, which only the client that began it could complete`,
        ),
      )
      return undefined
    }
    this.messageIdProvider.register(messageId)
    return this.#publishOperation(packet, messageId, () => {}).run
  }

  /** For texts only: the socket is made from the options. */
  #shownUrl(): string {
    const { protocol = 'mqtt', hostname, host, port } = this.options
    const name = hostname ?? host ?? 'stream'
    return `${protocol}://${name.includes(':') ? `[${name}]` : name}${port ? `:${port}` : ''}/`
  }

  async #socket(core: Client): Promise<import('../api.js').WebSocketLike> {
    const { clientId, will } = this.options
    let link = this.#prepared
    this.#prepared = undefined
    if (link === undefined) {
      link = this.#open()
      if (this.options.clientId !== clientId) return this.#renew(core, link)
      if (this.options.will !== will) core.will = coreWill(this.options.will)
    }
    this.#link = link
    this.#trace = this.#tracing
    return link.socket
  }

  /** `transformWsUrl` has chosen another client identifier: that needs another client of the core. */
  #renew(core: Client, link: Link): never {
    this.log('connect :: the client identifier has changed')
    this.#leave()
    core.end({ force: true }, () => {})
    this.#prepared = link
    this.#begin()
    throw new Error('The client identifier has changed')
  }

  /** No more word of the core's client; its calls go to the next one. */
  #leave(): void {
    this.#core = undefined
    this.#ready = false
    this.connected = false
  }

  #authenticator(): Authenticator | undefined {
    const properties = this.options.properties
    const method = properties?.authenticationMethod
    if (method === undefined) {
      if (properties?.authenticationData !== undefined)
        throw new Error('Packet has no Authentication Method')
      return undefined
    }
    return {
      method,
      start: () => this.options.properties?.authenticationData,
      continue: (challenge, { reasonString, userProperties }) =>
        new Promise((resolve, reject) => {
          const packet: IAuthPacket = {
            cmd: 'auth',
            reasonCode: 0x18,
            properties: {
              authenticationMethod: method,
              authenticationData: challenge && asBuffer(challenge),
              reasonString,
              userProperties: recordOf(userProperties),
            },
          }
          this.handleAuth(packet, (error, answer) => {
            if (error) reject(error)
            else if (answer === undefined)
              reject(new Error('Protocol error: No auth packet to continue the authentication exchange'))
            else resolve((answer as IAuthPacket).properties?.authenticationData)
          })
        }),
    }
  }

  // ------------------------------------------------------------------------------------------------ what the core tells

  #listen(core: Client): void {
    const mine = <A extends unknown[]>(listener: (...args: A) => void) =>
      (...args: A) => {
        if (core === this.#core) listener(...args)
      }
    core.on('message', mine((message) => this.#received(message)))
    core.on('connect', mine((info) => this.#accepted(info)))
    core.on('disconnect', mine((error, willReconnect) => {
      this.#told = true
      this.#lost(error, willReconnect)
    }))
    core.on('reconnecting', mine(({ error }) => {
      if (!this.#told) this.#lost(error, true)
      this.#told = false
    }))
    core.on('state', mine((state, previous) => {
      this.log('state :: %s', state)
      if (state === 'connecting' && previous !== 'idle') this.#retrying()
    }))
    core.on('close', mine((error) => this.#closed(error)))
    core.on('error', mine((error) => {
      // What a listener or callback throws is the application's: as with any EventEmitter, it is an uncaught exception.
      if (error.code === 'HANDLER_FAILED') uncaught(error.cause)
      else this.#tell('error', connectionError(error) ?? error)
    }))
  }

  #accepted({ sessionPresent, properties }: ConnectInfo): void {
    this.connected = true
    this.reconnecting = false
    this.#told = false
    this.queue = []
    this.#queuedQoS0 = 0
    const five = this.options.protocolVersion === 5
    const packet: IConnackPacket = this.#connack ?? {
      cmd: 'connack',
      sessionPresent,
      ...(five ? { reasonCode: 0, properties: properties as IConnackPacket['properties'] } : { returnCode: 0 }),
    }
    if (this.options.clean || !sessionPresent) this.#resubscribe()
    this.log('connect :: accepted, session present: %s', sessionPresent)
    this.#tell('connect', packet)
  }

  /** What an earlier client of the core had subscribed to. */
  #resubscribe(): void {
    const core = this.#core!
    if (!this.options.resubscribe) return this.#topics.clear()
    for (const [topic, { properties, ...options }] of this.#topics) {
      if (this.#inCore.has(topic)) continue
      this.#inCore.add(topic)
      core.subscribe(
        { [topic]: filterOptions(options) },
        { ...properties, ...this.#acknowledging() },
        this.#handler,
        (error) => error && this.#tell('error', error),
      )
    }
  }

  #retrying(): void {
    this.#told = false
    if (this.#announced) this.#announced = false
    else this.#tell('reconnect')
  }

  /** The connection, or an attempt at one, is over. */
  #lost(error: MqttError, willReconnect: boolean): void {
    const hadLink = this.#link !== undefined
    const connack = this.#connack
    this.connected = false
    this.#link = undefined
    this.#dropArrived()
    // In a moment: the core has armed its timer then, and the application finds the client at rest.
    queueMicrotask(() => {
      if (this.disconnecting) return
      if (error.code === 'SERVER_DISCONNECTED') this.#tell('disconnect', disconnectPacket(error))
      if (error.code === 'CONNECTION_REFUSED')
        this.#tell('error', refused(connack?.reasonCode ?? connack?.returnCode ?? error.reasonCode ?? 0x80, error))
      else {
        const shown = connectionError(error)
        if (shown !== undefined) this.#tell('error', shown)
      }
      if (this.disconnecting) return
      if (willReconnect && !this.reconnecting) {
        this.reconnecting = true
        this.#tell('offline')
      }
      if (error.code !== 'CONNECTION_REFUSED') this.#connack = undefined
      if (hadLink || error.code === 'CONNECTION_FAILED') this.#tell('close')
    })
  }

  /** The core's client is closed for good. */
  #closed(error: MqttError | undefined): void {
    const hadLink = this.#link !== undefined
    if (this.disconnecting) {
      this.connected = false
      this.#link = undefined
      this.#dropArrived()
      this.#connack = undefined
      this.#leave()
      if (hadLink) this.#tell('close')
      return
    }
    const told = this.#told
    this.#leave()
    if (!told && error !== undefined) this.#lost(error, false)
    else if (error?.reasonCode === 0x8e)
      queueMicrotask(() =>
        this.#tell('error', new ErrorWithReasonCode(error.message, 0x8e, { cause: error })),
      )
  }

  /** Emits. What a listener throws becomes an uncaught exception, and disturbs nothing here. */
  #tell<E extends keyof MqttClientEvents>(event: E, ...args: MqttClientEvents[E]): void {
    try {
      this.emit(event, ...args)
    } catch (error) {
      uncaught(error)
    }
  }

  // ------------------------------------------------------------------------------------------------ messages

  /** Whether the application has a say in how messages are acknowledged. */
  get #decides(): boolean {
    return (
      this.handleMessage !== MqttClient.prototype.handleMessage ||
      (this.options.customHandleAcks !== undefined && this.options.protocolVersion === 5)
    )
  }

  #acknowledging(): { ack?: 'manual' } {
    return this.#decides ? { ack: 'manual' } : {}
  }

  get #handler(): ((message: Message) => void) | undefined {
    return this.#decides ? (message) => void this.#holds.push(message) : undefined
  }

  #received(message: Message): void {
    const { topic, qos, retain, dup, properties } = message
    const packet: IPublishPacket = {
      cmd: 'publish',
      topic,
      payload: asBuffer(message.payload),
      qos,
      dup,
      retain,
    }
    if (qos > 0) packet.messageId = this.#trace?.takeIdentifier()
    if (properties !== undefined) {
      const shown = publishProperties(properties, (id) => this.#identifiers.has(id))
      if (shown !== undefined) packet.properties = shown
    }
    if (!this.#decides) {
      this.#tell('message', topic, packet.payload as Buffer, packet)
      return
    }
    // The subscriptions' handlers come before the event.
    this.#arrived.push({ packet, holds: this.#holds.splice(0) })
    if (!this.#paused && this.#arrived.length > MANY) {
      this.#paused = true
      this.#link?.pause()
    }
    if (!this.#handling) this.#next()
  }

  #next(): void {
    // Without recursion where callbacks come at once.
    let going = true
    while (going) {
      const arrived = this.#arrived.shift()
      this.#handling = arrived !== undefined
      if (this.#paused && this.#arrived.length <= FEW) {
        this.#paused = false
        this.#link?.resume()
      }
      if (arrived === undefined) return
      let isSync = true
      going = false
      this.#handle(arrived, () => {
        if (isSync) going = true
        else this.#next()
      })
      isSync = false
    }
  }

  #handle({ packet, holds }: Arrived, done: () => void): void {
    let answered = false
    const acknowledge = (code: number): void => {
      if (answered) return
      answered = true
      for (const hold of holds) hold.ack(code)
      done()
    }
    const handle = (code: number): void => {
      if (code === 0) this.#tell('message', packet.topic, packet.payload as Buffer, packet)
      try {
        this.handleMessage(packet, (error) => {
          if (!error) return acknowledge(code)
          this.#tell('error', error)
          acknowledge(this.options.protocolVersion === 5 ? 0x80 : 0)
        })
      } catch (error) {
        uncaught(error)
        acknowledge(code)
      }
    }
    const { customHandleAcks, protocolVersion } = this.options
    if (customHandleAcks === undefined || protocolVersion !== 5 || packet.qos === 0) return handle(0)
    customHandleAcks(packet.topic, packet.payload as Buffer, packet, (error, code) => {
      const chosen = typeof error === 'number' ? error : (code ?? 0)
      if (error && typeof error !== 'number') {
        this.#tell('error', error)
        return acknowledge(0x80)
      }
      if (ACKNOWLEDGEMENTS.includes(chosen)) return handle(chosen)
      this.#tell(
        'error',
        new Error(`Wrong reason code for ${packet.qos === 1 ? 'puback' : 'pubrec'}`),
      )
      acknowledge(0x80)
    })
  }

  /** The connection is gone: the server sends again what was not acknowledged. */
  #dropArrived(): void {
    this.#holds = []
    this.#paused = false
    this.#arrived = this.#arrived.filter(({ packet }) => packet.qos === 0)
  }

  // ------------------------------------------------------------------------------------------------ calls

  /**
   * Publishes a message. `callback`: QoS 0: when the socket has it; 1 and 2: when the server has acknowledged it, with the packet. An
   * error without a callback is an 'error'.
   */
  publish(topic: string, message: string | Buffer | Uint8Array): this
  publish(topic: string, message: string | Buffer | Uint8Array, callback?: PacketCallback): this
  publish(
    topic: string,
    message: string | Buffer | Uint8Array,
    options?: IClientPublishOptions | null,
    callback?: PacketCallback,
  ): this
  publish(
    topic: string,
    message: string | Buffer | Uint8Array,
    options?: IClientPublishOptions | PacketCallback | null,
    callback?: PacketCallback,
  ): this {
    const done = typeof options === 'function' ? options : callback
    const given = typeof options === 'function' || !options ? NO_OPTIONS : options
    if (this.#isEnding(done)) return this
    const named = this.#topicOf(topic, given)
    if (named === undefined) {
      this.#refuse(done, 'Unregistered Topic Alias')
      return this
    }
    const { qos = 0, retain = false, dup = false, properties, cbStorePut } = given
    if (dup)
      notice('publish with dup: true', 'the flag is set where a message is sent again, and only there.')
    const packet: IPublishPacket = { cmd: 'publish', topic: named, payload: message as Buffer, qos, retain, dup }
    if (this.options.protocolVersion === 5 && properties) packet.properties = properties
    if (qos === 0) this.#publishAtOnce(packet, done)
    else
      this.#number((messageId) => {
        packet.messageId = messageId
        const operation = this.#publishOperation(packet, messageId, (error, result) =>
          this.#answer(done, error, result),
        )
        this.#keep(operation, cbStorePut)
      })
    return this
  }

  /** As `publish`. Resolves with the packet, QoS 0: with undefined. */
  publishAsync(
    topic: string,
    message: string | Buffer | Uint8Array,
    options?: IClientPublishOptions | null,
  ): Promise<Packet | undefined> {
    return new Promise((resolve, reject) => {
      this.publish(topic, message, options, (error, packet) =>
        error ? reject(error) : resolve(packet),
      )
    })
  }

  /** The topic of a publish, also of one that names only an alias; undefined if nothing is known of the alias. */
  #topicOf(topic: string, { properties }: IClientPublishOptions): string | undefined {
    const alias = properties?.topicAlias
    if (alias === undefined) return topic === '' ? undefined : topic
    if (topic === '') return this.#aliases.get(alias)
    this.#aliases.set(alias, topic)
    return topic
  }

  #publishAtOnce(packet: IPublishPacket, done: PacketCallback | undefined): void {
    const { topic, payload, retain, properties } = packet
    if (this.connected && this.#ready) {
      const options =
        properties === undefined ? (retain ? RETAINED : undefined) : publishOptions(packet)
      this.#core!.publish(topic, payload, options, (error) =>
        error === null && done === undefined ? undefined : this.#answer(done, error && callError(error)),
      )
      return
    }
    if (!this.queueQoSZero) {
      // As MQTT.js: this option says that such messages are of no interest.
      if (done !== undefined) this.#refuse(done, 'No connection to broker')
      return
    }
    this.#queuedQoS0++
    this.queue.push({ packet, cb: done ?? (() => {}) })
    this.#work((core) =>
      core.publish(topic, payload, publishOptions(packet), (error) =>
        this.#answer(done, error && callError(error)),
      ),
    )
  }

  #publishOperation(
    packet: IPublishPacket,
    messageId: number,
    cb: (error: Error | null, packet?: Packet) => void,
  ): Operation {
    const controller = new AbortController()
    const operation: Operation = {
      cmd: 'publish',
      messageId,
      volatile: false,
      packet,
      controller,
      cb,
      run: (core) => {
        const options = { ...publishOptions(packet), signal: controller.signal }
        core.publish(packet.topic, packet.payload, options, (error, result) => {
          if (this.outgoing[messageId] !== operation) return
          if (error !== null && this.#survives(error)) {
            this.#waiting.push(operation.run)
            return
          }
          delete this.outgoing[messageId]
          this.outgoingStore.del({ messageId }, (failed, stored) => {
            this.#free(messageId)
            if (error === null) cb(failed ?? null, stored ?? packet)
            else
              cb(callError(error), {
                cmd: packet.qos === 1 ? 'puback' : 'pubrec',
                messageId,
                reasonCode: error.reasonCode ?? result?.reasonCode,
              } as Packet)
          })
        })
      },
    }
    this.outgoing[messageId] = operation
    return operation
  }

  /** Whether a publish waits for the next client of the core: not after `end()`, unless a store keeps it. */
  #survives({ code }: MqttError): boolean {
    const isOver = code === 'CLOSED' || code === 'CONNECTION_LOST' || code === 'SERVER_DISCONNECTED'
    return isOver && (!this.disconnecting || Boolean(this.options.outgoingStore))
  }

  /** Stores a publish, and hands it to the core. */
  #keep(operation: Operation, cbStorePut: (() => void) | undefined): void {
    const { messageId, packet, cb } = operation
    this.outgoingStore.put(packet, (error) => {
      if (error) {
        delete this.outgoing[messageId]
        this.#free(messageId)
        cb(error)
        return
      }
      cbStorePut?.()
      if (this.outgoing[messageId] === operation) this.#work(operation.run)
    })
  }

  /**
   * Subscribes to filters: one, several, or several with options of their own. What is subscribed already, at least at this QoS, is not sent
   * again. `callback`: with what the server granted.
   */
  subscribe(topic: string | string[] | ISubscriptionMap): this
  subscribe(topic: string | string[] | ISubscriptionMap, callback?: ClientSubscribeCallback): this
  subscribe(
    topic: string | string[] | ISubscriptionMap,
    options?: IClientSubscribeOptions | IClientSubscribeProperties | null,
    callback?: ClientSubscribeCallback,
  ): this
  subscribe(
    topic: string | string[] | ISubscriptionMap,
    options?:
      | IClientSubscribeOptions
      | IClientSubscribeProperties
      | ClientSubscribeCallback
      | null,
    callback?: ClientSubscribeCallback,
  ): this {
    const done = typeof options === 'function' ? options : callback
    const given = typeof options === 'function' || !options ? undefined : options
    const isMap = typeof topic === 'object' && !Array.isArray(topic)
    const again = isMap && topic.resubscribe === true
    const names = typeof topic === 'string' ? [topic] : isMap ? Object.keys(topic) : topic
    const topics = isMap ? names.filter((name) => name !== 'resubscribe') : names
    const wrong = validateTopics(topics)
    if (wrong !== null) {
      this.#refuse(done as PacketCallback, `Invalid topic ${wrong}`)
      return this
    }
    if (this.#isEnding(done as PacketCallback)) return this
    const { properties } = given ?? {}
    const five = this.options.protocolVersion === 5
    const requests: ISubscriptionRequest[] = []
    for (const name of topics) {
      const own = { qos: 0 as QoS, ...given, ...(isMap ? topic[name] : undefined) }
      const before = this.#topics.get(name)
      if (before !== undefined && before.qos >= own.qos && !again) continue
      const { qos, nl = false, rap = false, rh = 0 } = own
      requests.push(five ? { topic: name, qos, nl, rap, rh, properties } : { topic: name, qos })
    }
    if (requests.length === 0) {
      if (done !== undefined) queueMicrotask(() => done(null, []))
      return this
    }
    this.#subscribeInBatches(requests, properties, done)
    return this
  }

  /** As `subscribe`. Resolves with what the server granted. */
  subscribeAsync(
    topic: string | string[] | ISubscriptionMap,
    options?: IClientSubscribeOptions | IClientSubscribeProperties | null,
  ): Promise<ISubscriptionGrant[]> {
    return new Promise((resolve, reject) => {
      this.subscribe(topic, options, (error, granted) =>
        error ? reject(error) : resolve(granted ?? []),
      )
    })
  }

  #subscribeInBatches(
    requests: ISubscriptionRequest[],
    properties: IClientSubscribeProperties['properties'],
    done: ClientSubscribeCallback | undefined,
  ): void {
    const size = this.options.subscribeBatchSize ?? requests.length
    let left = Math.ceil(requests.length / size)
    let failure: Error | undefined
    for (let at = 0; at < requests.length; at += size) {
      const batch = requests.slice(at, at + size)
      this.#number((messageId) => {
        this.#subscribeBatch(batch, properties, messageId, (error, packet) => {
          failure ??= error ?? undefined
          if (--left > 0) return
          const suback =
            packet?.cmd === 'suback'
              ? packet
              : failure instanceof ErrorWithSubackPacket
                ? failure.packet
                : undefined
          if (done === undefined) failure !== undefined && this.#tell('error', failure)
          else done(failure ?? null, requests as ISubscriptionGrant[], suback)
        })
      })
    }
  }

  #subscribeBatch(
    batch: ISubscriptionRequest[],
    properties: IClientSubscribeProperties['properties'],
    messageId: number,
    cb: (error: Error | null, packet?: Packet) => void,
  ): void {
    const filters = Object.fromEntries(batch.map(({ topic, ...own }) => [topic, filterOptions(own)]))
    const five = this.options.protocolVersion === 5
    if (properties?.subscriptionIdentifier !== undefined)
      this.#identifiers.add(properties.subscriptionIdentifier)
    if (this.options.resubscribe && this.options.reconnectPeriod! > 0) {
      for (const { topic, ...own } of batch) this.#topics.set(topic, own)
      this.messageIdToTopic[messageId] = batch.map(({ topic }) => topic)
    }
    const packet: Packet = { cmd: 'subscribe', messageId, subscriptions: batch, ...(properties && { properties }) }
    this.#call('subscribe', packet, messageId, cb, (core, answer) => {
      for (const topic of Object.keys(filters)) this.#inCore.add(topic)
      const options = { ...(five ? properties : undefined), ...this.#acknowledging() }
      core.subscribe(filters, options, this.#handler, (error, subscription) => {
        const grants = error === null ? subscription!.grants : 'grants' in error ? error.grants : undefined
        if (grants === undefined) {
          for (const { topic } of batch) this.#topics.delete(topic)
          return answer(callError(error!))
        }
        const granted = (grants as { reasonCode: number }[]).map(({ reasonCode }) => reasonCode)
        const suback: ISubackPacket = { cmd: 'suback', messageId, granted }
        for (const [at, request] of batch.entries()) {
          request.qos = granted[at] as QoS
          if (granted[at]! >= 0x80) this.#topics.delete(request.topic)
        }
        const code = granted.find((each) => each >= 0x80)
        if (code === undefined) return answer(null, suback)
        const failure = new ErrorWithSubackPacket(`Subscribe error: ${ReasonCodes[code]}`, suback, {
          cause: error ?? undefined,
        })
        answer(Object.assign(failure, { code }), suback)
      })
    })
  }

  /** Ends subscriptions. `callback`: when the server has answered, with the packet. */
  unsubscribe(topic: string | string[]): this
  unsubscribe(topic: string | string[], callback?: PacketCallback): this
  unsubscribe(
    topic: string | string[],
    options?: IClientUnsubscribeProperties | null,
    callback?: PacketCallback,
  ): this
  unsubscribe(
    topic: string | string[],
    options?: IClientUnsubscribeProperties | PacketCallback | null,
    callback?: PacketCallback,
  ): this {
    const done = typeof options === 'function' ? options : callback
    const userProperties =
      typeof options === 'function' ? undefined : options?.properties?.userProperties
    const topics = typeof topic === 'string' ? [topic] : topic
    const wrong = validateTopics(topics)
    if (wrong !== null) {
      this.#refuse(done, `Invalid topic ${wrong}`)
      return this
    }
    if (this.#isEnding(done)) return this
    this.#number((messageId) => {
      for (const name of topics) this.#topics.delete(name)
      const packet: Packet = { cmd: 'unsubscribe', messageId, unsubscriptions: topics }
      const cb: Operation['cb'] = (error, result) => this.#answer(done, error, result)
      this.#call('unsubscribe', packet, messageId, cb, (core, answer) => {
        for (const name of topics) this.#inCore.delete(name)
        core.unsubscribe(topics, { userProperties }, (error, result) => {
          if (error !== null) return answer(callError(error))
          const granted = result!.reasonCodes.map(({ reasonCode }) => reasonCode)
          answer(null, { cmd: 'unsuback', messageId, granted })
        })
      })
    })
    return this
  }

  /** As `unsubscribe`. Resolves with the packet. */
  unsubscribeAsync(
    topic: string | string[],
    options?: IClientUnsubscribeProperties | null,
  ): Promise<Packet | undefined> {
    return new Promise((resolve, reject) => {
      this.unsubscribe(topic, options, (error, packet) => (error ? reject(error) : resolve(packet)))
    })
  }

  /** Withdraws a publish by its number: its callback gets an error. What was sent is not sent again. */
  removeOutgoingMessage(messageId: number): this {
    const operation = this.outgoing[messageId]
    if (operation === undefined) return this
    delete this.outgoing[messageId]
    this.#waiting = this.#waiting.filter((work) => work !== operation.run)
    const removed = (): void => {
      this.#free(messageId)
      operation.controller?.abort()
      operation.cb(new Error('Message removed'))
    }
    if (operation.cmd === 'publish') this.outgoingStore.del({ messageId }, removed)
    else removed()
    return this
  }

  /**
   * Ends the client: waits for what is in flight, at most `connectTimeout`, and says goodbye. `force`: cuts the connection at once, so that
   * the server publishes the will. A client that still connects gets that far first if messages wait.
   */
  end(callback?: DoneCallback): this
  end(force?: boolean): this
  end(options?: Partial<IDisconnectPacket> | null, callback?: DoneCallback): this
  end(force?: boolean, callback?: DoneCallback): this
  end(force?: boolean, options?: Partial<IDisconnectPacket> | null, callback?: DoneCallback): this
  end(
    force?: boolean | Partial<IDisconnectPacket> | DoneCallback | null,
    options?: Partial<IDisconnectPacket> | DoneCallback | null,
    callback?: DoneCallback,
  ): this {
    const args = [force, options, callback]
    const done = args.find((arg) => typeof arg === 'function') as DoneCallback | undefined
    const packet = args.find((arg) => typeof arg === 'object' && arg !== null) as
      | Partial<IDisconnectPacket>
      | undefined
    if (this.disconnecting) {
      if (done !== undefined) queueMicrotask(() => done())
      return this
    }
    this.log('end :: force: %s', force === true)
    this.disconnecting = true
    const core = this.#core
    const finished = (): void => queueMicrotask(() => this.#closeStores(done))
    if (core === undefined || !this.#ready) {
      this.#leave()
      this.#prepared?.stream.destroy()
      core?.end({ force: true }, () => {})
      finished()
      return this
    }
    const close = (): void => {
      const { serverReference: _, ...properties } = packet?.properties ?? {}
      if (packet?.properties?.serverReference !== undefined)
        notice('end with serverReference', 'only servers may send it (MQTT 5, 3.14.2.2.5): it is left out.')
      core.end(
        {
          force: force === true,
          timeout: this.options.connectTimeout,
          ...(packet?.reasonCode !== undefined && { reasonCode: packet.reasonCode }),
          ...(packet?.properties && { properties }),
        },
        (error) => {
          if (error) this.#tell('error', error)
          this.#closed(undefined)
          finished()
        },
      )
    }
    const hasWork = this.#queuedQoS0 > 0 || Object.keys(this.outgoing).length > 0
    if (force !== true && core.state === 'connecting' && hasWork) this.#afterAttempt(core, close)
    else close()
    return this
  }

  /** As `end`. */
  endAsync(force?: boolean, options?: Partial<IDisconnectPacket>): Promise<void>
  endAsync(options?: Partial<IDisconnectPacket>): Promise<void>
  endAsync(
    force?: boolean | Partial<IDisconnectPacket>,
    options?: Partial<IDisconnectPacket>,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      this.end(force as boolean, options as Partial<IDisconnectPacket>, (error) =>
        error ? reject(error) : resolve(),
      )
    })
  }

  /** Once the attempt under way has succeeded or failed. */
  #afterAttempt(core: Client, work: () => void): void {
    core.connect({ timeout: this.options.connectTimeout }).then(work, work)
    core.once('reconnecting', () => {
      if (core.state !== 'closing' && core.state !== 'closed') work()
    })
  }

  #closeStores(done: DoneCallback | undefined): void {
    this.disconnected = true
    this.reconnecting = false
    this.incomingStore.close((one) => {
      this.outgoingStore.close((other) => {
        this.#tell('end')
        const error = one ?? other
        if (done !== undefined) error ? done(error) : done()
      })
    })
    const again = this.#deferredReconnect
    this.#deferredReconnect = undefined
    if (again !== undefined) again()
    else if (this.options.reconnectPeriod === 0 || this.options.manualConnect)
      this.disconnecting = false
  }

  /** Connects again: at once where the client waits or is connected, anew where it has ended; then with these stores, or new ones. */
  reconnect(stores?: Pick<IClientOptions, 'incomingStore' | 'outgoingStore'>): this {
    this.log('reconnect')
    const again = (): void => {
      const core = this.#core
      if (core === undefined || stores !== undefined) {
        this.options.incomingStore = stores?.incomingStore ?? null
        this.options.outgoingStore = stores?.outgoingStore ?? null
        this.#revive()
      }
      this.#tell('reconnect')
      if (core === undefined || core.state === 'idle') this.connect()
      else if (core.state === 'connected') {
        this.#announced = true
        core.reconnect()
      } else if (core.state === 'waiting') {
        this.#announced = true
        this.#dial(core)
      }
    }
    if (this.disconnecting && !this.disconnected) this.#deferredReconnect = again
    else again()
    return this
  }

  #revive(): void {
    this.incomingStore = this.options.incomingStore ?? new Store()
    this.outgoingStore = this.options.outgoingStore ?? new Store()
    this.disconnecting = false
    this.disconnected = false
  }

  // ------------------------------------------------------------------------------------------------ how calls reach the core

  /** Gives a call its number, when there is a free one. */
  #number(start: (messageId: number) => void): void {
    const attempt = (): boolean => {
      let id = this.messageIdProvider.allocate()
      for (let tries = 0; id !== null && this.outgoing[id] !== undefined; tries++) {
        if (tries > 0xffff) return false
        id = this.messageIdProvider.allocate()
      }
      if (id === null) return false
      start(id)
      return true
    }
    if (this.#blocked.length > 0 || !attempt()) this.#blocked.push(attempt)
  }

  #free(messageId: number): void {
    this.messageIdProvider.deallocate(messageId)
    while (this.#blocked.length > 0 && this.#blocked[0]!()) this.#blocked.shift()
  }

  #work(work: (core: Client) => void): void {
    if (this.#ready) work(this.#core!)
    else this.#waiting.push(work)
  }

  /** A subscribe or unsubscribe, from here to its answer. */
  #call(
    cmd: 'subscribe' | 'unsubscribe',
    packet: Packet,
    messageId: number,
    cb: Operation['cb'],
    run: (core: Client, answer: Operation['cb']) => void,
  ): void {
    const operation: Operation = {
      cmd,
      messageId,
      volatile: true,
      packet,
      cb,
      run: (core) =>
        run(core, (error, result) => {
          if (this.outgoing[messageId] !== operation) return
          delete this.outgoing[messageId]
          delete this.messageIdToTopic[messageId]
          this.#free(messageId)
          cb(error, result)
        }),
    }
    this.outgoing[messageId] = operation
    if (!this.connected) this.queue.push({ packet, cb })
    this.#work(operation.run)
  }

  /** Tells the outcome of a call: to its callback, an error without one as 'error'. */
  #answer(
    done: PacketCallback | undefined,
    error: Error | null,
    packet?: Packet,
  ): void {
    if (done !== undefined) done(error, packet)
    else if (error !== null) this.#tell('error', error)
  }

  /** Tells of a call that cannot be made, when it has returned. */
  #refuse(done: PacketCallback | undefined, message: string): void {
    queueMicrotask(() => this.#answer(done, new Error(message)))
  }

  #isEnding(done: PacketCallback | undefined): boolean {
    if (this.disconnecting) this.#refuse(done, 'client disconnecting')
    return this.disconnecting
  }
}

const NO_OPTIONS: IClientPublishOptions = {}
const RETAINED = { retain: true }

function publishOptions({ qos, retain, properties }: IPublishPacket): import('../api.js').PublishOptions {
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

function filterOptions({ qos, nl, rap, rh }: IClientSubscribeOptions): {
  qos: QoS
  noLocal?: boolean
  retainAsPublished?: boolean
  retainHandling?: 0 | 1 | 2
} {
  return {
    qos,
    ...(nl && { noLocal: true }),
    ...(rap && { retainAsPublished: true }),
    ...(rh !== undefined && rh > 0 && { retainHandling: rh as 1 | 2 }),
  }
}

function disconnectPacket(error: MqttError): IDisconnectPacket {
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

/** Throws where nothing of this library can be on the stack. */
function uncaught(error: unknown): void {
  queueMicrotask(() => {
    throw error
  })
}
