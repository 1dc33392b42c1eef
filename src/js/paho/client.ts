import { type ClientEvents, Client as Core, type MqttError, version } from '../api.js'
import { fail, report, reportOf } from './errors.js'
import { Message } from './message.js'
import {
  type ConnectionLost,
  type ConnectionOptions,
  checkCall,
  checkConnect,
  parseUri,
  type SubscribeOptions,
  type UnsubscribeOptions,
  uriOf,
} from './options.js'
import { type Kept, MessageStorage } from './storage.js'

/** Milliseconds, the longest that timers can do: the core waits until this client makes it try again. */
const FOR_EVER = 0x7fff_ffff
/** Seconds between two attempts, at most. */
const LONGEST_INTERVAL = 128
const LARGEST_ID = 0xffff
const TRACES = 100

/** What `trace` gets. */
export interface TraceMessage {
  /** Always this word. */
  severity: 'Debug'
  /** What the client did. */
  message: string
}

/** Paho's client, on top of wasmqtt's. */
export class Client {
  readonly #host: string
  readonly #port: number
  readonly #path: string
  readonly #uri: string
  readonly #clientId: string
  readonly #storage: MessageStorage

  #core: Core | undefined
  #options: ConnectionOptions = {}
  #uris: string[] = []
  /** Of the attempt under way, or the connection. */
  #uriAt = 0
  #isConnected = false
  /** Whether there was a connection since `connect`: failures lead to another attempt then. */
  #isReconnecting = false
  #retryTimer: ReturnType<typeof setTimeout> | undefined
  /** Seconds. */
  #interval = 1
  /** QoS 1 and 2 messages without an acknowledgement, by number. */
  readonly #sent = new Map<number, Kept>()
  #lastId = 0
  #sequence = 0
  #buffered = 0
  #log: unknown[] | undefined

  #onConnected: ((reconnect: boolean, uri: string) => void) | undefined
  #onConnectionLost: ((lost: ConnectionLost) => void) | undefined
  #onMessageDelivered: ((message: Message) => void) | undefined
  #onMessageArrived: ((message: Message) => void) | undefined
  #trace: ((message: TraceMessage) => void) | undefined

  /** Whether `send` takes messages while the client connects again. Default false. */
  disconnectedPublishing = false
  /** How many messages wait then, at most. Default 5000. */
  disconnectedBufferSize = 5000

  /** `path` is '/mqtt' where it is left out. Throws for arguments that cannot be used. */
  constructor(host: string, port: number, path: string, clientId: string)
  /** Makes a client with the path '/mqtt'. */
  constructor(host: string, port: number, clientId: string)
  /** Makes a client with the URI of a WebSocket. */
  constructor(uri: string, clientId: string)
  constructor(...given: [string, ...(string | number)[]]) {
    const [host] = given
    if (typeof host !== 'string') fail('invalidType', typeof host, 'host')
    const parsed = given.length === 2 ? parseUri(host) : undefined
    if (given.length === 2 && parsed === undefined) fail('invalidArgument', host, 'host')
    const port = parsed?.port ?? given[1]
    const path = parsed?.path ?? (given.length > 3 ? given[2] : '/mqtt')
    const clientId = given.at(-1)
    if (typeof port !== 'number' || port < 0) fail('invalidType', typeof port, 'port')
    if (typeof path !== 'string') fail('invalidType', typeof path, 'path')
    if (typeof clientId !== 'string' || [...clientId].length > 65_535)
      fail('invalidArgument', clientId, 'clientId')
    this.#host = parsed?.host ?? host
    this.#port = port
    this.#path = path
    this.#uri = parsed === undefined ? uriOf(host, port, path) : host
    this.#clientId = clientId
    this.#storage = new MessageStorage(this.#host, port, path, clientId)
  }

  /** As given. */
  get host(): string {
    return this.#host
  }

  set host(_: string) {
    fail('unsupportedOperation')
  }

  /** As given. */
  get port(): number {
    return this.#port
  }

  set port(_: number) {
    fail('unsupportedOperation')
  }

  /** As given, or '/mqtt'. */
  get path(): string {
    return this.#path
  }

  set path(_: string) {
    fail('unsupportedOperation')
  }

  /** As given, or made of host, port and path. */
  get uri(): string {
    return this.#uri
  }

  set uri(_: string) {
    fail('unsupportedOperation')
  }

  /** As given. */
  get clientId(): string {
    return this.#clientId
  }

  set clientId(_: string) {
    fail('unsupportedOperation')
  }

  /** Called after every connect: whether it was made again by itself, and where to. */
  get onConnected() {
    return this.#onConnected
  }

  set onConnected(callback) {
    this.#onConnected = checked(callback, 'onConnected')
  }

  /** Called when a connection is gone, also after `disconnect()`. */
  get onConnectionLost() {
    return this.#onConnectionLost
  }

  set onConnectionLost(callback) {
    this.#onConnectionLost = checked(callback, 'onConnectionLost')
  }

  /** Called when a message is with the server: QoS 0 when it was sent, else when it is acknowledged. */
  get onMessageDelivered() {
    return this.#onMessageDelivered
  }

  set onMessageDelivered(callback) {
    this.#onMessageDelivered = checked(callback, 'onMessageDelivered')
  }

  /** Called for every message that comes. */
  get onMessageArrived() {
    return this.#onMessageArrived
  }

  set onMessageArrived(callback) {
    this.#onMessageArrived = checked(callback, 'onMessageArrived')
  }

  /** Called with every step. */
  get trace() {
    return this.#trace
  }

  set trace(callback) {
    this.#trace = checked(callback, 'onTrace')
  }

  /** Connects. Throws for options that cannot be used, and if the client is connected or connecting. */
  connect(options: ConnectionOptions = {}): void {
    this.#uris = checkConnect(options, this.#uri, this.#path)
    this.#note('Client.connect', { ...options, ...(options.password && { password: '******' }) })
    if (this.#core !== undefined && !this.#isReconnecting) fail('invalidState', 'already connected')
    this.#abandon()
    this.#options = options
    this.#uriAt = 0
    this.#interval = 1
    // MQTT 3.1.1 leaves a server no choice [MQTT-3.1.3-8], so that it need not be asked.
    if (this.#clientId === '' && options.cleanSession === false) {
      const why = report('connackReturnCode', 2, 'Connection Refused: identifier rejected')
      const { onFailure, invocationContext } = options
      queueMicrotask(() => onFailure?.({ invocationContext, ...why }))
      return
    }
    const core = this.#makeCore(options)
    this.#core = core
    this.#listen(core)
    this.#restore(core, options.cleanSession ?? true)
    core.connect().catch(() => {})
  }

  /** Subscribes to a filter, or several. Throws if the client is not connected. */
  subscribe(filter: string | string[], options: SubscribeOptions = {}): void {
    checkCall('subscribeOptions', filter, options, { qos: 'number' })
    const { qos = 0, timeout, invocationContext } = options
    if (qos !== 0 && qos !== 1 && qos !== 2) fail('invalidArgument', qos, 'subscribeOptions.qos')
    this.#note('Client.subscribe', filter, options)
    const call = { qos, ...(timeout && { timeout: timeout * 1000 }) }
    this.#connectedCore().subscribe(filter, call, undefined, (error, subscription) => {
      if (error === null) {
        const codes = subscription!.grants.map(({ reasonCode }) => reasonCode)
        options.onSuccess?.({ invocationContext, grantedQos: Uint8Array.from(codes) })
      } else if (error.code !== 'CLOSED') {
        const why =
          error.code === 'TIMEOUT'
            ? report('subscribeTimeout')
            : { errorCode: error.reasonCode ?? 0x80, errorMessage: error.message }
        options.onFailure?.({ invocationContext, ...why })
      }
    })
  }

  /** Ends the subscription to a filter, or several. Throws if the client is not connected. */
  unsubscribe(filter: string | string[], options: UnsubscribeOptions = {}): void {
    checkCall('unsubscribeOptions', filter, options, {})
    this.#note('Client.unsubscribe', filter, options)
    const { timeout, invocationContext } = options
    const call = timeout ? { timeout: timeout * 1000 } : {}
    this.#connectedCore().unsubscribe(filter, call, (error) => {
      if (error === null) options.onSuccess?.({ invocationContext })
      else if (error.code !== 'CLOSED') {
        const why = error.code === 'TIMEOUT' ? report('unsubscribeTimeout') : reportOf(error)
        options.onFailure?.({ invocationContext, ...why })
      }
    })
  }

  /** Sends a message, or one of these parts. Throws if the client is not connected, unless `disconnectedPublishing` lets it wait. */
  send(topic: string | Message, payload?: any, qos?: 0 | 1 | 2, retained?: boolean): void {
    if (topic === undefined) throw new Error('Invalid argument.length')
    this.#send(topic instanceof Message ? topic : messageOf(topic, payload, qos, retained))
  }

  /** The same as `send`. */
  publish(topic: string | Message, payload?: any, qos?: 0 | 1 | 2, retained?: boolean): void {
    this.send(topic, payload, qos, retained)
  }

  /** Disconnects. Throws if the client is neither connected nor connecting. */
  disconnect(): void {
    this.#note('Client.disconnect')
    const core = this.#core
    if (core === undefined) fail('invalidState', 'not connecting or connected')
    const wasConnected = this.#isConnected
    this.#forget()
    // What is in flight gets its acknowledgements, for three seconds at most.
    core.end(undefined, () => wasConnected && this.#tellLost(report('ok')))
  }

  /** What was traced since `startTrace`. */
  getTraceLog(): unknown[] | undefined {
    if (this.#log === undefined) return undefined
    this.#note('Client.getTraceLog', new Date())
    return this.#log
  }

  /** Keeps the last hundred steps. */
  startTrace(): void {
    this.#log ??= []
    this.#note('Client.startTrace', new Date(), version)
  }

  /** Keeps no steps any more. */
  stopTrace(): void {
    this.#log = undefined
  }

  /** Whether there is a connection that the server has accepted. */
  isConnected(): boolean {
    return this.#isConnected
  }

  // ------------------------------------------------------------------------------------------------ connections

  #makeCore(options: ConnectionOptions): Core {
    const { timeout, userName, password, willMessage, keepAliveInterval, cleanSession } = options
    return new Core(() => this.#uris[this.#uriAt]!, {
      protocolVersion: 4,
      clientId: this.#clientId,
      username: userName,
      password,
      clean: cleanSession ?? true,
      keepalive: keepAliveInterval ?? 60,
      connectTimeout: (timeout || 30) * 1000,
      will: willMessage && {
        topic: willMessage.destinationName,
        payload: willMessage.payloadBytes,
        qos: willMessage.qos,
        retain: willMessage.retained,
      },
      // As in Paho, the application subscribes again in onConnected or onSuccess.
      resubscribe: false,
      reconnect: {
        initial: true,
        minDelay: FOR_EVER,
        maxDelay: FOR_EVER,
        jitter: 0,
        shouldRetry: () => true,
      },
      queue: { maxMessages: Infinity, maxBytes: Infinity },
    })
  }

  #listen(core: Core): void {
    const on = <E extends keyof ClientEvents>(
      event: E,
      listener: (...args: ClientEvents[E]) => void,
    ): void => {
      core.on(event, (...args) => {
        if (core === this.#core) listener(...args)
      })
    }
    on('connect', () => this.#connected())
    on('disconnect', (error) => this.#lost(core, error))
    on('reconnecting', ({ error }) => this.#failed(core, error))
    on('close', (error) => error !== undefined && this.#over(error))
    core.on('error', (error) => {
      // What a callback throws is the application's: an uncaught exception.
      if (error.code !== 'HANDLER_FAILED') this.#note('error', error.message)
      else
        queueMicrotask(() => {
          throw error.cause
        })
    })
    core.on('message', ({ topic, payload, qos, retain, dup }) => {
      // Also after disconnect(): what came until then is acknowledged.
      const message = new Message(payload)
      message.destinationName = topic
      message.qos = qos
      message.retained = retain
      message.duplicate = dup
      this.#onMessageArrived?.(message)
    })
  }

  #connected(): void {
    const reconnect = this.#isReconnecting
    const { onSuccess, invocationContext } = this.#options
    this.#isConnected = true
    this.#isReconnecting = false
    this.#interval = 1
    this.#buffered = 0
    this.#note('connected', this.#uris[this.#uriAt])
    // What an earlier Paho had received and not shown: the server does not send it again.
    if (!(this.#options.cleanSession ?? true))
      for (const { message } of this.#storage.takeReceived()) this.#onMessageArrived?.(message)
    onSuccess?.({ invocationContext })
    this.#onConnected?.(reconnect, this.#uris[this.#uriAt]!)
  }

  /** The connection is gone. */
  #lost(core: Core, error: MqttError): void {
    this.#note('lost', error.message)
    const reconnect = this.#options.reconnect === true
    this.#isConnected = false
    this.#isReconnecting = reconnect
    this.#uriAt = 0
    if (!reconnect) {
      this.#forget()
      core.end({ force: true }, () => {})
    }
    // In a moment: the core is at rest then.
    queueMicrotask(() => {
      this.#tellLost(reportOf(error))
      // The first attempt is made at once.
      if (core === this.#core && reconnect) this.#retry(core)
    })
  }

  /** An attempt has failed. The core also says so after a connection is lost. */
  #failed(core: Core, error: MqttError): void {
    if (error.code !== 'CONNECTION_FAILED' && error.code !== 'CONNECTION_REFUSED') return
    this.#note('failed', error.message)
    if (this.#uriAt < this.#uris.length - 1) {
      this.#uriAt++
      queueMicrotask(() => core === this.#core && this.#retry(core))
    } else if (this.#isReconnecting) {
      this.#uriAt = 0
      this.#interval = Math.min(this.#interval * 2, LONGEST_INTERVAL)
      this.#retryTimer = setTimeout(() => this.#retry(core), this.#interval * 1000)
    } else {
      this.#forget()
      core.end({ force: true }, () => {})
      const { onFailure, invocationContext } = this.#options
      queueMicrotask(() => onFailure?.({ invocationContext, ...reportOf(error) }))
    }
  }

  #retry(core: Core): void {
    clearTimeout(this.#retryTimer)
    core.connect().catch(() => {})
  }

  /** The core has given up, which it does by itself only where it cannot go on. */
  #over(error: MqttError): void {
    const wasConnected = this.#isConnected
    this.#forget()
    const { onFailure, invocationContext } = this.#options
    if (wasConnected) this.#tellLost(reportOf(error))
    else onFailure?.({ invocationContext, ...reportOf(error) })
  }

  #tellLost(why: ReturnType<typeof report>): void {
    const { reconnect } = this.#options
    this.#onConnectionLost?.({ ...why, reconnect, uri: this.#uris[this.#uriAt]! })
  }

  /** Another connect() while the client connects again by itself. */
  #abandon(): void {
    const core = this.#core
    this.#forget()
    core?.end({ force: true }, () => {})
  }

  #forget(): void {
    clearTimeout(this.#retryTimer)
    this.#core = undefined
    this.#isConnected = false
    this.#isReconnecting = false
  }

  #connectedCore(): Core {
    if (!this.#isConnected) fail('invalidState', 'not connected')
    return this.#core!
  }

  // ------------------------------------------------------------------------------------------------ messages

  #send(message: Message): void {
    this.#note('Client.send', message.destinationName, message.qos)
    if (message.destinationName === undefined)
      fail('invalidArgument', undefined, 'Message.destinationName')
    const waits = this.#isReconnecting && this.disconnectedPublishing
    if (!this.#isConnected && !waits) fail('invalidState', 'not connected')
    if (!this.#isConnected && this.#sent.size + this.#buffered > this.disconnectedBufferSize)
      fail('bufferFull', this.disconnectedBufferSize)
    const core = this.#core!
    if (message.qos > 0) {
      const kept = { id: this.#freeId(), sequence: ++this.#sequence, message }
      this.#storage.put(kept)
      this.#publish(core, kept)
      return
    }
    if (!this.#isConnected) this.#buffered++
    const { destinationName, payloadBytes, retained } = message
    core.publish(destinationName, payloadBytes, { retain: retained }, (error) => {
      if (error === null) this.#onMessageDelivered?.(message)
      else this.#note('not sent', destinationName, error.message)
    })
  }

  #publish(core: Core, kept: Kept): void {
    const { id, message } = kept
    const { destinationName, payloadBytes, qos, retained } = message
    this.#sent.set(id, kept)
    core.publish(destinationName, payloadBytes, { qos, retain: retained }, (error) => {
      // Without its connection the message waits for the next connect().
      if (error?.code === 'CLOSED' || this.#sent.get(id) !== kept) return
      this.#sent.delete(id)
      this.#storage.delete(id)
      if (error === null) this.#onMessageDelivered?.(message)
      else console.warn(`wasmqtt/paho: a message to '${destinationName}' is lost:`, error.message)
    })
  }

  #freeId(): number {
    if (this.#sent.size >= LARGEST_ID) throw new Error(`Too many messages:${this.#sent.size}`)
    do this.#lastId = (this.#lastId % LARGEST_ID) + 1
    while (this.#sent.has(this.#lastId))
    return this.#lastId
  }

  /** What was not acknowledged on earlier connections, also of earlier pages, goes again; with a clean session it is forgotten. */
  #restore(core: Core, isClean: boolean): void {
    this.#sent.clear()
    if (isClean) this.#storage.clear()
    for (const kept of this.#storage.sent()) {
      this.#sequence = Math.max(this.#sequence, kept.sequence)
      this.#publish(core, kept)
    }
  }

  #note(...values: unknown[]): void {
    this.#trace?.({ severity: 'Debug', message: values.map(shown).join('') })
    if (this.#log === undefined) return
    for (const value of values) {
      if (this.#log.length === TRACES) this.#log.shift()
      this.#log.push(value === values[0] ? value : `  ${shown(value)}`)
    }
  }
}

function shown(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function checked<F>(callback: F, name: string): F {
  if (typeof callback !== 'function') fail('invalidType', typeof callback, name)
  return callback
}

function messageOf(
  topic: string,
  payload: any,
  qos: 0 | 1 | 2 | undefined,
  retained: boolean | undefined,
): Message {
  if (payload === undefined) throw new Error(`Invalid argument:${typeof topic}`)
  const message = new Message(payload)
  message.destinationName = topic
  if (qos !== undefined) message.qos = qos
  if (retained !== undefined) message.retained = retained
  return message
}
