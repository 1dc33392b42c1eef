import { type Client, type ConnectInfo, type Message, type MqttError, version } from '../api.js'
import { authenticatorOf } from './auth.js'
import { EventEmitter } from './emitter.js'
import { callError, connectionError, notice, refused, takenOver } from './errors.js'
import { type MqttClientEvents, uncaught } from './events.js'
import { Inbox, type InboxHost } from './inbox.js'
import { Line, type LineHost, type Loss, openLink } from './line.js'
import {
  type DuplexLike,
  DuplexLink,
  type Link,
  LinkSocket,
  type LinkStream,
  type Trace,
} from './links.js'
import { DefaultMessageIdProvider, type IMessageIdProvider } from './message-ids.js'
import {
  type Answer,
  type Operation,
  Operations,
  type OperationsHost,
  type Queued,
} from './operations.js'
import {
  type ClientSubscribeCallback,
  checkOptions,
  type DoneCallback,
  defaults,
  disconnectPacket,
  type IClientOptions,
  type IClientPublishOptions,
  type IClientSubscribeOptions,
  type IClientSubscribeProperties,
  type IClientUnsubscribeProperties,
  type ISubscriptionGrant,
  type ISubscriptionMap,
  type PacketCallback,
  publishOptions,
  publishProperties,
} from './options.js'
import {
  asBuffer,
  type IAuthPacket,
  type IConnackPacket,
  type IDisconnectPacket,
  type IPublishPacket,
  type Packet,
} from './packets.js'
import { type IStore, Store } from './store.js'
import { Subscriptions, type SubscriptionsHost } from './subscriptions.js'
import { validateTopics } from './validations.js'

/** Makes the socket of one attempt: any Node stream, or a Link. */
export type StreamBuilder = (client: MqttClient, options?: IClientOptions) => any

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
  /** What waits for a connection. */
  queue: Queued[] = []
  /** How many of `servers` were tried in this round. */
  _reconnectCount = 0
  /** The option `log`, or nothing. */
  log: (...args: any[]) => void

  readonly #streamBuilder: StreamBuilder
  /** Undefined before `connect()`, and after the core's client has closed. */
  #line: Line | undefined
  #connack: IConnackPacket | undefined
  /** Topics by alias, for publishes that name only the alias. */
  readonly #aliases = new Map<number, string>()
  #isFirstLine = true
  /** Whether 'reconnect' was emitted for the attempt that begins. */
  #announced = false
  #queuedQoS0 = 0
  #deferredReconnect: (() => void) | undefined
  /** For when `end()` is done. */
  #afterEnd: Array<() => void> = []

  readonly #operations: Operations
  readonly #inbox: Inbox
  readonly #subscriptions: Subscriptions

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
    this.#operations = new Operations(this.#operationsHost())
    this.#inbox = new Inbox(this.#inboxHost())
    this.#subscriptions = new Subscriptions(this.#subscriptionsHost())
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

  /** Calls without an answer, by number. */
  get outgoing(): Record<number, Operation> {
    return this.#operations.outgoing
  }

  /** Filters of the subscribes without an answer, by number. */
  get messageIdToTopic(): Record<number, string[]> {
    return this.#subscriptions.unanswered
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
    return (own > 0 && this.connected && this.#line?.core.server?.keepalive) || own
  }

  // ------------------------------------------------------------------------------------------------ connecting

  /** Connects, for `manualConnect`. Throws for options that cannot be used. */
  connect(): this {
    const line = this.#line
    if (line !== undefined && line.core.state !== 'idle') return this
    if (this.disconnected) this.#revive()
    this.log('connect :: making the socket')
    this.#connack = undefined
    const prepared = openLink(this.#host, (connack) => {
      if (this.#line !== undefined) this.#line.connack = connack
    })
    if (line === undefined) this.#begin(prepared)
    else line.dial(prepared)
    return this
  }

  /** A new client of the core, with what waits for one. */
  #begin(prepared: { link: Link; trace: Trace }): void {
    let line: Line
    try {
      line = new Line(this.#host, prepared)
    } catch (error) {
      prepared.link.stream.destroy()
      throw error
    }
    this.#line = line
    this.#subscriptions.begin()
    const isFresh = this.#isFirstLine && !this.options.outgoingStore
    this.#isFirstLine = false
    const start = (): void => {
      if (line !== this.#line) return
      this.#operations.begin(line.core)
      line.dial()
    }
    if (isFresh) start()
    else this.#operations.restore(start)
  }

  /** No more word of the core's client; its calls go to the next one. */
  #leave(): void {
    this.#line?.leave()
    this.#line = undefined
    this.#operations.pause()
    this.connected = false
  }

  readonly #host: LineHost = this.#lineHost()

  #lineHost(): LineHost {
    const client = this
    return {
      get options() {
        return client.options
      },
      get showsReceived() {
        return client.listenerCount('packetreceive') > 0
      },
      get showsSent() {
        return client.listenerCount('packetsend') > 0
      },
      get authenticator() {
        return authenticatorOf(client.options, (packet, answer) =>
          client.handleAuth(packet, answer),
        )
      },
      makeLink: (trace) => {
        this.#tracing = trace
        const made = this.#streamBuilder(this, this.options)
        const isLink = made instanceof LinkSocket
        const link = isLink ? (made as unknown as Link) : new DuplexLink(made as DuplexLike, trace)
        this.stream = link.stream
        return link
      },
      packetReceived: (packet) => this.#tell('packetreceive', packet),
      packetSent: (packet) => this.#tell('packetsend', packet),
      messageReceived: (message, line) => this.#received(message, line),
      accepted: (packet, info) => this.#accepted(packet, info),
      lost: (loss) => this.#lost(loss),
      retrying: () => {
        if (this.#announced) this.#announced = false
        else this.#tell('reconnect')
      },
      closed: (error) => this.#closed(error),
      failed: (error) => {
        // What a listener or callback throws is the application's: as with any EventEmitter, it is an uncaught exception.
        if (error.code === 'HANDLER_FAILED') uncaught(error.cause)
        // The connection ends with it, and that is told.
        else if (error.code !== 'PROTOCOL_ERROR')
          this.#tell('error', connectionError(error) ?? error)
      },
      renewed: (link, trace) => {
        this.log('connect :: the client identifier has changed')
        const { core } = this.#line!
        this.#leave()
        core.end({ force: true }, () => {})
        this.#begin({ link, trace })
      },
    }
  }

  /** The trace of the socket that is being made, for the stream builder of `connect`. @internal */
  get tracing(): Trace {
    return this.#tracing!
  }

  #tracing: Trace | undefined

  // ------------------------------------------------------------------------------------------------ what the core tells

  #accepted(packet: IConnackPacket, { sessionPresent }: ConnectInfo): void {
    this.connected = true
    this.reconnecting = false
    this.#connack = packet
    this.queue = []
    this.#queuedQoS0 = 0
    if (this.options.clean || !sessionPresent) this.#subscriptions.restore(this.#line!.core)
    this.log('connect :: accepted, session present: %s', sessionPresent)
    this.#tell('connect', packet)
  }

  /** A connection, or an attempt at one, is over. */
  #lost({ error, willRetry, hadLink, connack }: Loss): void {
    this.connected = false
    this.#connack = connack
    this.#inbox.drop()
    // In a moment: the core has done what it does then, and the application finds the client at rest.
    queueMicrotask(() => {
      if (this.disconnecting) return
      this.#tellLoss(error, connack)
      if (this.disconnecting) return
      if (error.code !== 'CONNECTION_REFUSED') this.#connack = undefined
      if (!willRetry || this.#line?.retryTimer === undefined) this.#operations.endVolatile()
      else if (!this.reconnecting) {
        this.reconnecting = true
        this.#tell('offline')
      }
      if (hadLink || error.code === 'CONNECTION_FAILED') this.#tell('close')
    })
  }

  #tellLoss(error: MqttError, connack: IConnackPacket | undefined): void {
    if (error.code === 'SERVER_DISCONNECTED') {
      this.#tell('disconnect', disconnectPacket(error))
      const taken = takenOver(error)
      if (taken !== undefined) this.#tell('error', taken)
    } else if (error.code === 'CONNECTION_REFUSED') {
      const code = connack?.reasonCode ?? connack?.returnCode ?? error.reasonCode ?? 0x80
      this.#tell('error', refused(code, error))
    } else {
      const shown = connectionError(error)
      if (shown !== undefined) this.#tell('error', shown)
    }
  }

  /** The core's client is closed for good. */
  #closed(_error: MqttError | undefined): void {
    const hadLink = this.#line?.hasLink
    this.#leave()
    if (!this.disconnecting) return
    this.#inbox.drop()
    this.#connack = undefined
    if (hadLink) this.#tell('close')
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

  #received(message: Message, line: Line): void {
    const { topic, qos, retain, dup, properties } = message
    const packet: IPublishPacket = {
      cmd: 'publish',
      topic,
      payload: asBuffer(message.payload),
      qos,
      dup,
      retain,
    }
    if (qos > 0) packet.messageId = line.takeIdentifier()
    if (properties !== undefined) {
      const shown = publishProperties(properties, (id) => this.#subscriptions.isOwn(id))
      if (shown !== undefined) packet.properties = shown
    }
    if (!this.#decides) {
      this.#tell('message', topic, packet.payload as Buffer, packet)
      return
    }
    this.#inbox.add(packet)
  }

  // ------------------------------------------------------------------------------------------------ calls

  /**
   * Publishes a message. `callback`: QoS 0: when the socket has it; 1 and 2: when the server has acknowledged it, with the packet. An
   * error without a callback is an 'error'.
   */
  publish(topic: string, message: string | Buffer | Uint8Array): this
  /** Publishes a message with the default options. */
  publish(topic: string, message: string | Buffer | Uint8Array, callback?: PacketCallback): this
  /** Publishes a message with options. */
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
    const given = typeof options === 'function' || !options ? {} : options
    if (this.#isEnding(done)) return this
    const named = this.#topicOf(topic, given)
    if (named === undefined) {
      this.#refuse(done, 'Unregistered Topic Alias')
      return this
    }
    const { qos = 0, retain = false, dup = false, properties, cbStorePut } = given
    if (dup)
      notice(
        'publish with dup: true',
        'the flag is set where a message is sent again, and only there.',
      )
    const packet: IPublishPacket = {
      cmd: 'publish',
      topic: named,
      payload: message as Buffer,
      qos,
      retain,
      dup,
    }
    if (this.options.protocolVersion === 5 && properties) packet.properties = properties
    if (qos === 0) this.#publishAtOnce(packet, done)
    else
      this.#operations.number((messageId) => {
        packet.messageId = messageId
        this.#operations.publish(packet, messageId, this.#late(done), cbStorePut)
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
    if (this.connected && this.#operations.isReady) {
      const options =
        properties === undefined ? (retain ? { retain } : undefined) : publishOptions(packet)
      this.#line!.core.publish(topic, payload, options, (error) =>
        error === null && done === undefined
          ? undefined
          : this.#answer(done, error && callError(error)),
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
    this.#operations.work((core) =>
      core.publish(topic, payload, publishOptions(packet), (error) =>
        this.#answer(done, error && callError(error)),
      ),
    )
  }

  /**
   * Subscribes to filters: one, several, or several with options of their own. What is subscribed already, at least at this QoS, is not sent
   * again. `callback`: with what the server granted.
   */
  subscribe(topic: string | string[] | ISubscriptionMap): this
  /** Subscribes with the default options. */
  subscribe(topic: string | string[] | ISubscriptionMap, callback?: ClientSubscribeCallback): this
  /** Subscribes with options. */
  subscribe(
    topic: string | string[] | ISubscriptionMap,
    options?: IClientSubscribeOptions | IClientSubscribeProperties | null,
    callback?: ClientSubscribeCallback,
  ): this
  subscribe(
    topic: string | string[] | ISubscriptionMap,
    options?: IClientSubscribeOptions | IClientSubscribeProperties | ClientSubscribeCallback | null,
    callback?: ClientSubscribeCallback,
  ): this {
    const done = typeof options === 'function' ? options : callback
    const given = typeof options === 'function' || !options ? undefined : options
    const map = typeof topic === 'object' && !Array.isArray(topic) ? topic : undefined
    const names = typeof topic === 'string' ? [topic] : Array.isArray(topic) ? topic : undefined
    const topics = names ?? Object.keys(topic).filter((name) => name !== 'resubscribe')
    const wrong = validateTopics(topics)
    if (wrong !== null) {
      this.#refuse(done as PacketCallback, `Invalid topic ${wrong}`)
      return this
    }
    if (this.#isEnding(done as PacketCallback)) return this
    const requests = this.#subscriptions.requests(topics, map, given)
    if (requests.length > 0) this.#subscriptions.subscribe(requests, given?.properties, done)
    else if (done !== undefined) queueMicrotask(() => done(null, []))
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

  /** Ends subscriptions. `callback`: when the server has answered, with the packet. */
  unsubscribe(topic: string | string[]): this
  /** Ends subscriptions with the default options. */
  unsubscribe(topic: string | string[], callback?: PacketCallback): this
  /** Ends subscriptions with properties of MQTT 5. */
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
    this.#operations.number((messageId) => {
      this.#subscriptions.forget(topics)
      const packet: Packet = { cmd: 'unsubscribe', messageId, unsubscriptions: topics }
      const cb = this.#late(done)
      this.#call('unsubscribe', packet, messageId, cb, (core, answer) => {
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
    this.#operations.remove(messageId)
    return this
  }

  /**
   * Ends the client: waits for what is in flight, at most `connectTimeout`, and says goodbye. `force`: cuts the connection at once, so that
   * the server publishes the will. A client that still connects gets that far first if messages wait.
   */
  end(callback?: DoneCallback): this
  /** Ends the client, with `force` at once. */
  end(force?: boolean): this
  /** Ends the client with a DISCONNECT of MQTT 5. */
  end(options?: Partial<IDisconnectPacket> | null, callback?: DoneCallback): this
  /** Ends the client, with `force` at once, and calls back. */
  end(force?: boolean, callback?: DoneCallback): this
  /** Ends the client, with `force` at once, or with a DISCONNECT of MQTT 5. */
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
    const line = this.#line
    const finished = (): void => queueMicrotask(() => this.#closeStores(done))
    if (line === undefined || !this.#operations.isReady) {
      this.#leave()
      line?.core.end({ force: true }, () => {})
      finished()
      return this
    }
    const { core } = line
    const close = (): void => {
      const { serverReference: _, ...properties } = packet?.properties ?? {}
      if (packet?.properties?.serverReference !== undefined)
        notice(
          'end with serverReference',
          'only servers may send it (MQTT 5, 3.14.2.2.5): it is left out.',
        )
      core.end(
        {
          force: force === true,
          timeout: this.options.connectTimeout,
          ...(packet?.reasonCode !== undefined && { reasonCode: packet.reasonCode }),
          ...(packet?.properties && { properties }),
        },
        (error) => {
          if (error) this.#tell('error', error)
          if (this.#line === line) this.#closed(undefined)
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
  /** Ends the client with a DISCONNECT of MQTT 5. */
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
        for (const tell of this.#afterEnd.splice(0)) tell()
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
      const line = this.#line
      if (line === undefined || stores !== undefined) {
        this.options.incomingStore = stores?.incomingStore ?? null
        this.options.outgoingStore = stores?.outgoingStore ?? null
        this.#revive()
      }
      this.#tell('reconnect')
      const state = line?.core.state
      if (line === undefined || state === 'idle') {
        this.connect()
        return
      }
      this.#announced = state === 'connected' || state === 'waiting'
      if (state === 'connected') line.core.reconnect()
      else if (state === 'waiting') line.dial()
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

  #operationsHost(): OperationsHost {
    const client = this
    return {
      get messageIdProvider() {
        return client.messageIdProvider
      },
      get outgoingStore() {
        return client.outgoingStore
      },
      fail: (error) => this.#tell('error', error),
      survives: ({ code }) => {
        const isOver = ['CLOSED', 'CONNECTION_LOST', 'SERVER_DISCONNECTED'].includes(code)
        return isOver && (!this.disconnecting || Boolean(this.options.outgoingStore))
      },
    }
  }

  #inboxHost(): InboxHost {
    const client = this
    return {
      show: (packet) => this.#tell('message', packet.topic, packet.payload as Buffer, packet),
      fail: (error) => this.#tell('error', error),
      handle: (packet, callback) => this.handleMessage(packet, callback),
      pause: (paused) => this.#line?.pause(paused),
      get decide() {
        return client.options.protocolVersion === 5 ? client.options.customHandleAcks : undefined
      },
      get canRefuse() {
        return client.options.protocolVersion === 5
      },
    }
  }

  #subscriptionsHost(): SubscriptionsHost {
    const client = this
    return {
      options: this.options,
      get hold() {
        return client.#decides ? client.#inbox.hold : undefined
      },
      number: (start) => this.#operations.number(start),
      call: (packet, messageId, cb, run) => this.#call('subscribe', packet, messageId, cb, run),
      fail: (error) => this.#tell('error', error),
    }
  }

  #call(
    cmd: 'subscribe' | 'unsubscribe',
    packet: Packet,
    messageId: number,
    cb: Answer,
    run: (core: Client, answer: Answer) => void,
  ): void {
    if (!this.connected) this.queue.push({ packet, cb })
    this.#operations.call(cmd, packet, messageId, cb, run)
  }

  /** Tells of a call that `end()` cut off only when that is done. */
  #late(done: PacketCallback | undefined): Answer {
    return (error, packet) => {
      if (error !== null && this.disconnecting && !this.disconnected)
        this.#afterEnd.push(() => this.#answer(done, error, packet))
      else this.#answer(done, error, packet)
    }
  }

  /** Tells the outcome of a call: to its callback, an error without one as 'error'. */
  #answer(done: PacketCallback | undefined, error: Error | null, packet?: Packet): void {
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
