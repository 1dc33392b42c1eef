// What the core calls, and the one place that calls the core: records in, promises, callbacks and events out.
import type { Core } from '#glue'
import { addresses, type Address } from './address.js'
import { Calls, type Withdraw } from './calls.js'
import * as check from './check.js'
import { mqttError, MqttError, type ErrorFields } from './errors.js'
import { Events, isThenable } from './events.js'
import {
  checkCredential,
  checkHeaders,
  configure,
  quickPublish,
  readCall,
  readEnd,
  readFilters,
  readPublish,
  readSubscribe,
  readUnsubscribe,
  willLeaves,
  type Draft,
  type PublishCall,
  type Settings,
} from './options.js'
import { Pieces } from './pieces.js'
import { platform } from './platform.js'
import { Hold, Message, Route, type Stream } from './subscription.js'
import type {
  AttemptContext,
  BrokerUrl,
  CallOptions,
  Callback,
  ClientState,
  ConnectInfo,
  ConnectOptions,
  EndOptions,
  Filters,
  Grant,
  MessageHandler,
  MessageProperties,
  PacketInfo,
  Payload,
  PublishOptions,
  PublishResult,
  QoS,
  Resolvable,
  ServerInfo,
  Stats,
  SubscribeOptions,
  Subscription,
  TransportContext,
  UnsubscribeResult,
  UserProperties,
  UserPropertiesInput,
  WebSocketLike,
  Will,
} from './types.js'
import { freeLater, leave, makeCore, memoryBytes, memoryWords, mistake, trap } from './wasm.js'

/** Events of the core, by `type`. */
export type CoreEvent =
  | { type: 'state'; state: ClientState }
  | { type: 'connect'; info: ConnectInfo }
  | { type: 'connectFailed'; error: ErrorFields }
  | { type: 'disconnect'; error: ErrorFields; willReconnect: boolean }
  | { type: 'reconnecting'; attempt: number; delay: number; url: string; error: ErrorFields }
  | { type: 'error'; error: ErrorFields }
  | { type: 'close'; error?: ErrorFields }
  | { type: 'published'; token: number; result: PublishResult }
  | { type: 'failed'; token: number; error: ErrorFields }
  | { type: 'subscribed'; token: number; handle: number; grants: Grant[] }
  | { type: 'unsubscribed'; token: number; reasonCodes: UnsubscribeResult['reasonCodes'] }
  | { type: 'inactive'; handle: number; error?: ErrorFields }
  | { type: 'done'; token: number }
  | { type: 'packet'; packet: PacketInfo }

// Records: the low four bits of a record's first word say which it is, the rest depends on that.
const MESSAGE = 1
const SLOT = 2
const DONE = 3
const RETAIN = 1 << 6
const DUP = 1 << 7
const HAS_PROPERTIES = 1 << 8
const IN_MEMORY = 1 << 9

/** Payloads up to this length are copied: it costs less than a view. */
const SMALL = 64
/** A view would keep the whole frame alive: not for a small part of a larger frame than this. */
const BIG_FRAME = 65_536
const TOPICS = 4_096
/** Longer strings are encoded apart, so that the core's scratch need not be three times as long. */
const IN_PLACE = 16_384
/** setTimeout's limit. */
const LONGEST = 0x7fff_ffff

const SUCCESS: PublishResult = Object.freeze({ reasonCode: 0 })
const HANDLER = 'a message handler threw'
const NONE = new Uint8Array()

const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/** A topic, and what is known about its messages before they come. */
interface Slot {
  topic: string
  /** The only one, if its messages need no more than its handler called. */
  direct: Route | undefined
  routes: Route[]
  properties: MessageProperties | undefined
}

interface Resolved {
  urls: string[]
  /** One for each URL. */
  credentials: { username?: string; password?: Uint8Array }[]
  /** Another call may bring better credentials. */
  dynamic: boolean
}

/** QoS 0 publishes of one turn of the event loop: done together when the send buffer has left. */
interface Turn {
  promise?: Promise<PublishResult>
  resolve(result: PublishResult): void
  reject(error: MqttError): void
  callbacks: Callback<PublishResult>[]
}

export class Host {
  readonly events = new Events()
  readonly subscriptions = new Set<Subscription>()
  state: ClientState = 'idle'
  info: ConnectInfo | undefined
  will: Will | undefined
  readonly clientId: string

  /** Gone when the client is closed. */
  #core: Core | undefined
  #evicted = false
  readonly #calls = new Calls(this.events)
  readonly #settings: Settings
  readonly #url: BrokerUrl
  #addresses: Address[] | undefined
  /** Why the client is closed, where it was not by end(). */
  #fatal: MqttError | undefined
  /** For when the core cannot be asked any more. */
  #lastStats: Omit<Stats, 'wasmMemoryBytes'> | undefined

  /** Calls of connect() and end(), which the core knows no tokens of. */
  readonly #connecting: number[] = []
  readonly #ending: number[] = []
  #end: Promise<void> | undefined
  readonly #subscribing = new Map<number, Route>()
  readonly #handles = new Map<number, Route>()
  readonly #freeHandles: number[] = []
  #lastHandle = 0

  readonly #topics = new Map<string, number>()
  readonly #slots: Slot[] = []
  /** The socket message that records point into. */
  #chunk: Uint8Array = NONE
  #pieces: Pieces | undefined
  #rest: Uint8Array = NONE
  #delivering = false
  #waking = false
  #turn: Turn | undefined

  #timer: ReturnType<typeof setTimeout> | undefined
  #socket: WebSocketLike | undefined
  #attempt: AbortController | undefined
  #headers: Record<string, string> | undefined
  /** What the application or the runtime threw at this attempt. */
  #cause: unknown

  constructor(url: BrokerUrl, options: ConnectOptions = {}) {
    this.#url = url
    const { settings, leaves } = configure(options)
    this.#settings = settings
    if (typeof url !== 'function') this.#addresses = addresses(url, this.owns)
    this.#core = makeCore(this, leaves)
    this.stats()
    this.will = options.will
    this.clientId = options.clientId ?? ''
    const { signal } = this.#settings
    signal?.addEventListener('abort', this.#onAbort)
    if (signal?.aborted) this.#onAbort()
  }

  // ---------------------------------------------------------------------------------------------- the core calls

  /** Whether the socket keeps what it is given to send. */
  get owns(): boolean {
    return this.#settings.transport !== undefined
  }

  get protocols(): string[] {
    return this.#settings.protocols
  }

  /** The length of a socket message, which is copied to `at` if it is not longer than `capacity`; -1: not binary. */
  read(event: { data: unknown }, at: number, capacity: number): number {
    const chunk = check.view(event.data)
    return chunk === undefined ? -1 : this.#show(chunk, at, capacity)
  }

  #show(chunk: Uint8Array, at: number, capacity: number): number {
    this.#chunk = chunk
    if (chunk.length <= capacity) memoryBytes().set(chunk, at)
    return chunk.length
  }

  /** What of the chunk begins at `offset` is a packet that goes on for `missing` bytes in the next ones. */
  keep(offset: number, missing: number): void {
    this.#pieces = new Pieces(this.#chunk.subarray(offset), missing)
  }

  /** Adds to the packet. Returns 0 until it is whole, then it is the chunk and this its length; -1: not binary; -2: no memory. */
  gather(event: { data: unknown }, at: number, capacity: number): number {
    const chunk = check.view(event.data)
    if (chunk === undefined) return -1
    const pieces = this.#pieces!
    const rest = pieces.add(chunk)
    if (rest === undefined) return 0
    this.#rest = rest
    this.#pieces = undefined
    try {
      return this.#show(pieces.join(), at, capacity)
    } catch {
      return -2
    }
  }

  /** What is left of the chunk that completed the packet. */
  rest(at: number, capacity: number): number {
    const rest = this.#rest
    this.#rest = NONE
    return this.#show(rest, at, capacity)
  }

  copy(offset: number, at: number, length: number): void {
    const chunk = this.#chunk
    memoryBytes().set(length === chunk.length ? chunk : chunk.subarray(offset, offset + length), at)
  }

  batch(pointer: number, count: number): void {
    const core = this.#core
    // What comes after the end is for nobody.
    if (core === undefined) return
    const slots = this.#slots
    const chunk = this.#chunk
    const buffer = chunk.buffer
    const base = chunk.byteOffset
    const big = chunk.length > BIG_FRAME
    let at = pointer >>> 2
    const end = at + count
    this.#delivering = true
    while (at < end && !this.#evicted) {
      const words = memoryWords()
      const head = words[at]!
      switch (head & 15) {
        case MESSAGE: {
          const slot = slots[head >>> 12]!
          const offset = words[at + 1]!
          const length = words[at + 2]!
          at += 3
          const qos = ((head >>> 4) & 3) as QoS
          const sequence = qos === 0 ? 0 : words[at++]!
          const inMemory = (head & IN_MEMORY) !== 0
          let properties: MessageProperties | Uint8Array | undefined = slot.properties
          if ((head & HAS_PROPERTIES) !== 0) {
            properties = copied(inMemory ? memoryBytes() : chunk, words[at]!, words[at + 1]!)
            at += 2
          }
          const payload = inMemory
            ? copied(memoryBytes(), offset, length)
            : length <= SMALL || (big && length < chunk.length >>> 3)
              ? copied(chunk, offset, length)
              : new Uint8Array(buffer, base + offset, length)
          const message = new Message(
            slot.topic,
            payload,
            qos,
            (head & RETAIN) !== 0,
            (head & DUP) !== 0,
            properties,
          )
          const direct = slot.direct
          if (direct !== undefined) this.#handle(direct, message)
          else this.#deliver(core, slot.routes, message, sequence)
          const listeners = this.events.get('message')
          if (listeners !== undefined) this.events.each(listeners, message)
          break
        }
        case DONE: {
          const reasonCode = (head >>> 8) & 0xff
          this.#calls.resolve(words[at + 1]!, reasonCode === 0 ? SUCCESS : { reasonCode })
          at += 2
          break
        }
        case SLOT:
          at = this.#readSlot(words, at)
          break
        default:
          this.#event(core.event(words[at + 1]!))
          at += 2
      }
    }
    this.#delivering = false
    // A trap inside a handler's call: the instance under this call is dead, leave it.
    if (this.#evicted) throw this.#fatal
  }

  #readSlot(words: Uint32Array, at: number): number {
    const [head, start, length, routeCount, identifierCount] = words.subarray(
      at,
      at + 5,
    ) as unknown as [number, number, number, number, number]
    const routesEnd = at + 5 + routeCount
    const routes: Route[] = []
    for (const handle of words.subarray(at + 5, routesEnd)) {
      const subscription = this.#handles.get(handle)
      if (subscription !== undefined) routes.push(subscription)
    }
    const [only] = routes
    this.#slots[head >>> 12] = {
      topic: decoder.decode(memoryBytes().subarray(start, start + length)),
      direct:
        routes.length === 1 && only!.ack === 'auto' && only!.stream === undefined
          ? only
          : undefined,
      routes,
      properties:
        identifierCount > 0
          ? { subscriptionIdentifiers: [...words.subarray(routesEnd, routesEnd + identifierCount)] }
          : undefined,
    }
    return routesEnd + identifierCount
  }

  /** To several Subscriptions, or to one that has a say in the acknowledgement. */
  #deliver(core: Core, routes: Route[], message: Message, sequence: number): void {
    const unacknowledged = message.qos === 0
    let hold: Hold | undefined
    for (const route of routes) {
      const { stream, ack, handler } = route
      if (unacknowledged || (ack === 'auto' && stream === undefined)) {
        if (stream !== undefined) stream.push(message, undefined)
        else this.#handle(route, message)
        continue
      }
      hold ??= new Hold(this, core, sequence)
      if (stream !== undefined) {
        stream.push(message, hold.share())
      } else if (ack === 'settled') {
        const share = hold.share()
        this.#handle(route, message, () => share.release())
      } else {
        const own = message.arm(hold) || handler === undefined ? message : message.copy()
        own.arm(hold)
        this.#handle(route, own, (failed) => failed && own.ack())
      }
    }
    hold?.release()
  }

  /** Calls the handler, and `done` once what it returned has settled. */
  #handle(route: Route, message: Message, done?: (failed: boolean) => void): void {
    const { handler } = route
    try {
      const returned: unknown = handler === undefined ? undefined : handler(message, route)
      if (returned === undefined || !isThenable(returned)) done?.(false)
      else this.#follow(returned, done)
    } catch (cause) {
      this.events.failed(HANDLER, cause)
      done?.(true)
    }
  }

  #follow(returned: PromiseLike<unknown>, done?: (failed: boolean) => void): void {
    returned.then(
      () => done?.(false),
      (cause) => {
        this.events.failed(HANDLER, cause)
        done?.(true)
      },
    )
  }

  #event(event: CoreEvent): void {
    const { events } = this
    const calls = this.#calls
    switch (event.type) {
      case 'state':
        this.#setState(event.state)
        break
      case 'connect':
        this.info = event.info
        events.emit('connect', event.info)
        for (const token of this.#connecting.splice(0)) calls.resolve(token, event.info)
        break
      case 'connectFailed': {
        const error = this.#error(event.error)
        for (const token of this.#connecting.splice(0)) calls.reject(token, error)
        break
      }
      case 'disconnect':
        events.emit('disconnect', this.#error(event.error), event.willReconnect)
        break
      case 'reconnecting': {
        const { attempt, delay, url, error } = event
        events.emit('reconnecting', { attempt, delay, error: this.#error(error), url })
        break
      }
      case 'error':
        events.emit('error', this.#error(event.error))
        break
      case 'close':
        this.#close(event.error && this.#error(event.error))
        break
      case 'published':
        calls.resolve(event.token, event.result)
        break
      case 'failed': {
        const error = this.#error(event.error)
        this.#dropSubscription(this.#subscribing.get(event.token), error)
        this.#subscribing.delete(event.token)
        calls.reject(event.token, error)
        break
      }
      case 'subscribed': {
        const { token, handle, grants } = event
        const subscription = this.#subscribing.get(token)
        this.#subscribing.delete(token)
        if (subscription === undefined) break
        // It may have ended before the answer came.
        const active = this.#handles.get(handle) === subscription
        subscription.begin(grants, active)
        if (active) this.subscriptions.add(subscription)
        calls.resolve(token, subscription)
        break
      }
      case 'unsubscribed':
        calls.resolve(event.token, { reasonCodes: event.reasonCodes })
        break
      case 'inactive':
        this.#dropSubscription(
          this.#handles.get(event.handle),
          event.error && this.#error(event.error),
        )
        break
      case 'done':
        calls.resolve(event.token, undefined)
        break
      case 'packet':
        events.emit('packet', event.packet)
    }
  }

  /** A function that the core may hang on a socket or a promise. What the core throws there is a trap. */
  guard(call: (value: any) => void): (value: any) => void {
    return (value) => {
      if (this.#core === undefined) return
      // An 'error' event of Node's sockets says what browsers keep to themselves.
      if (value?.error !== undefined) this.#cause = value.error
      try {
        call(value)
      } catch (thrown) {
        this.#trap(thrown)
      }
    }
  }

  /** Arms the one timer, in ms; negative: disarms it. */
  timer(delay: number): void {
    clearTimeout(this.#timer)
    if (delay >= 0) this.#timer = setTimeout(this.#onTimer, Math.min(delay, LONGEST))
  }

  /** `flush` at the end of this turn. */
  wake(): void {
    if (this.#waking) return
    this.#waking = true
    queueMicrotask(this.#onWake)
  }

  /** `resume` in a new task. */
  later(): void {
    setTimeout(() => this.#run((core) => core.resume()))
  }

  /** Tells the core what comes of a promise of `resolve`, `open` or `authenticate`, if it still works then. */
  follow(promise: Promise<unknown>, generation: number, asked: number): void {
    promise.then(
      (value) => this.#run((core) => core.settle(generation, asked, true, value)),
      () => this.#run((core) => core.settle(generation, asked, false, undefined)),
    )
  }

  resolve(attempt: number, error: ErrorFields | undefined): Promise<Resolved> {
    this.#giveUp()
    this.#pieces = undefined
    this.#cause = undefined
    const { signal } = (this.#attempt = new AbortController())
    const context: AttemptContext = { attempt, lastError: error && this.#error(error), signal }
    const { username, password, headers } = this.#settings
    return this.#promised(async () => {
      const [url, user, word, more] = await Promise.all([
        this.#addresses ?? resolved(this.#url, context),
        resolved(username, context),
        resolved(password, context),
        resolved(headers, context),
      ])
      const list = this.#addresses ?? addresses(url, this.owns)
      if (user !== undefined) checkCredential('username', user)
      if (word !== undefined) checkCredential('password', word)
      if (more !== undefined) checkHeaders(more)
      this.#headers = more
      return {
        urls: list.map(({ url }) => url),
        dynamic: typeof username === 'function' || typeof password === 'function',
        credentials: list.map((each) => {
          const own = word ?? each.password
          return {
            username: user ?? each.username,
            password: own === undefined ? own : check.payloadBytes(own, 'password'),
          }
        }),
      }
    })
  }

  open(url: string): Promise<WebSocketLike> {
    // Another socket for the same attempt: the server did not speak the first one's protocol version.
    const attempt = (this.#attempt ??= new AbortController())
    const { transport, protocols, tls } = this.#settings
    const context: TransportContext = {
      protocols,
      headers: this.#headers,
      tls,
      signal: attempt.signal,
    }
    return this.#promised(async () => {
      const socket = await (transport ?? platform.open)(new URL(url), context)
      check.func(socket?.send, 'transport')
      if (this.#attempt !== attempt) {
        close(socket, false)
        throw new Error('The attempt was given up')
      }
      socket.binaryType = transport === undefined ? platform.binaryType : 'arraybuffer'
      this.#socket = socket
      return socket
    })
  }

  /** `force`: the peer is not waited for. */
  shut(force: boolean): void {
    const socket = this.#socket
    this.#socket = undefined
    this.#giveUp()
    if (socket !== undefined) close(socket, force)
  }

  authenticate(
    reauthentication: boolean,
    first: boolean,
    challenge: Uint8Array | undefined,
    {
      reasonString,
      userProperties = [],
    }: { reasonString?: string; userProperties?: UserProperties },
  ): Promise<Uint8Array | undefined> {
    const { authentication } = this.#settings
    return this.#promised(async () => {
      const properties = { reasonString, userProperties }
      const data = await (first
        ? authentication!.start({ reauthentication })
        : authentication!.continue(challenge, properties))
      return data === undefined ? data : check.binary(data, 'authentication data')
    })
  }

  /** The application's verdict on an error, if it gives one. */
  retry(error: ErrorFields, attempt: number): boolean | undefined {
    const { shouldRetry } = this.#settings
    if (shouldRetry === undefined) return undefined
    try {
      return Boolean(shouldRetry(this.#error(error), attempt))
    } catch (cause) {
      queueMicrotask(() => this.events.failed('reconnect.shouldRetry threw', cause))
      return undefined
    }
  }

  // ---------------------------------------------------------------------------------------------- the client calls

  get server(): ServerInfo | undefined {
    return this.info?.server
  }

  connect(
    options: CallOptions | undefined,
    callback?: Callback<ConnectInfo>,
  ): Promise<ConnectInfo> {
    return this.#attemptCall(callback, () => {
      const call = readCall(options)
      const core = this.#open()
      if (this.#ending.length > 0) throw closed()
      if (this.state === 'connected') {
        const token = this.#calls.next
        const promise = this.#calls.take(callback)
        queueMicrotask(() => this.#calls.resolve(token, this.info))
        return promise
      }
      core.connect()
      const token = this.#calls.next
      this.#connecting.push(token)
      const promise = this.#take(callback, call, () => {
        this.#connecting.splice(this.#connecting.indexOf(token), 1)
        // Reconnecting goes on without them.
        if (this.#connecting.length > 0 || this.info !== undefined) return
        this.#run((core) => core.abandon())
        this.wake()
      })
      // The state is 'connecting' when this returns.
      if (!this.#delivering) this.#flush()
      return promise
    })
  }

  publish(
    topic: string,
    payload: Payload | undefined,
    options: PublishOptions | undefined,
    callback: Callback<PublishResult> | undefined,
  ): Promise<PublishResult> | undefined {
    try {
      const core = this.#core ?? this.#open()
      let flags = options === undefined ? 0 : quickPublish(options)
      let call: PublishCall | undefined
      if (flags < 0) {
        call = readPublish(options)
        flags = call.flags
      }
      if (callback !== undefined) check.func(callback, 'callback')
      const id = this.#topics.get(topic) ?? this.#intern(core, topic)
      const length = payload === undefined ? 0 : this.#write(core, payload)
      if (call !== undefined) this.#draft(core, call.draft)
      const token = this.#calls.next
      const answer = core.publish(id, length, flags, token)
      if (answer < 0) throw this.#refusal(core)
      this.wake()
      if (answer === 0) return this.#sent(callback)
      return call === undefined
        ? this.#calls.take(callback)
        : this.#take(callback, call, this.#cancel)
    } catch (error) {
      return this.#calls.refuse(this.#fault(error), callback)
    }
  }

  subscribe(
    filters: Filters,
    options: SubscribeOptions | undefined,
    handler: MessageHandler | undefined,
    callback: Callback<Subscription> | undefined,
    stream?: Stream,
  ): Promise<Subscription> {
    return this.#attemptCall(callback, () => {
      const call = readSubscribe(filters, options)
      if (handler !== undefined) check.func(handler, 'handler')
      const core = this.#open()
      this.#draft(core, call.draft)
      const token = this.#calls.next
      const handle = this.#freeHandles.pop() ?? ++this.#lastHandle
      if (core.subscribe(token, handle, call.filters, call.bits) < 0) throw this.#refusal(core)
      const subscription = new Route(this, handle, call.ack, handler, stream)
      this.#handles.set(handle, subscription)
      this.#subscribing.set(token, subscription)
      return this.#take(callback, call, (token, error) => {
        this.#cancel(token)
        // The answer may be in the batch that is being delivered: what was granted is given back.
        this.#run((core) => core.unsubscribeHandle(0, handle))
        this.#subscribing.delete(token)
        this.#dropSubscription(subscription, error)
      })
    })
  }

  unsubscribe(
    filters: string | readonly string[],
    options: (CallOptions & { userProperties?: UserPropertiesInput }) | undefined,
    callback: Callback<UnsubscribeResult> | undefined,
  ): Promise<UnsubscribeResult> {
    return this.#attemptCall(callback, () => {
      const list = readFilters(filters)
      const call = readUnsubscribe(options)
      const core = this.#open()
      this.#draft(core, call.draft)
      if (core.unsubscribe(this.#calls.next, list) < 0) throw this.#refusal(core)
      return this.#take(callback, call, this.#cancel)
    })
  }

  unsubscribeRoute(route: Route, options: CallOptions | undefined): Promise<void> {
    return this.#attemptCall(undefined, () => {
      const call = readCall(options)
      const core = this.#open()
      if (core.unsubscribeHandle(this.#calls.next, route.handle) < 0) throw this.#refusal(core)
      this.#dropSubscription(route)
      return this.#take(undefined, call, this.#cancel)
    })
  }

  reauthenticate(options: CallOptions | undefined): Promise<void> {
    return this.#attemptCall(undefined, () => {
      const call = readCall(options)
      const core = this.#open()
      if (core.reauthenticate(this.#calls.next) < 0) throw this.#refusal(core)
      return this.#take(undefined, call, this.#cancel)
    })
  }

  drain(options: CallOptions | undefined): Promise<void> {
    return this.#attemptCall(undefined, () => {
      const call = readCall(options)
      const core = this.#open()
      if (core.drain(this.#calls.next) < 0) throw this.#refusal(core)
      return this.#take(undefined, call, this.#cancel)
    })
  }

  reconnect(): void {
    this.#try((core) => core.reconnect())
    this.wake()
  }

  end(options: EndOptions | undefined, callback?: Callback<void>): Promise<void> {
    if (callback === undefined && this.#end !== undefined) return this.#end
    return this.#attemptCall(callback, () => {
      const { signal, timeout, force, reasonCode, draft } = readEnd(options)
      const token = this.#calls.next
      const core = this.#core
      if (core === undefined) {
        queueMicrotask(() => this.#calls.resolve(token, undefined))
      } else {
        if (this.#ending.length === 0) {
          this.#draft(core, draft)
          core.end(timeout, force, reasonCode)
        }
        this.#ending.push(token)
      }
      const promise = this.#take(callback, { signal }, () => {})
      if (callback === undefined) this.#end = promise as Promise<void>
      return promise
    })
  }

  setWill(will: Will | undefined): void {
    const leaves = will && willLeaves(will)
    this.#try((core) => core.setWill(leaves))
    this.will = will
  }

  tap(on: boolean): void {
    this.#run((core) => core.tap(on))
  }

  stats(): Stats {
    this.#run((core) => (this.#lastStats = core.stats()))
    return { ...this.#lastStats!, wasmMemoryBytes: memoryBytes().length }
  }

  acknowledge(sequence: number, reasonCode: number): void {
    this.#run((core) => core.ack(sequence, reasonCode))
    this.wake()
  }

  // ---------------------------------------------------------------------------------------------- how

  #open(): Core {
    if (this.#core !== undefined) return this.#core
    throw this.#evicted ? this.#fatal! : closed(this.#fatal)
  }

  /** A call that returns a promise, or undefined and calls back. */
  #attemptCall<T>(
    callback: Callback<T> | undefined,
    start: () => Promise<T> | undefined,
  ): Promise<T> {
    try {
      if (callback !== undefined) check.func(callback, 'callback')
      return start() as Promise<T>
    } catch (error) {
      return this.#calls.refuse(this.#fault(error), callback) as Promise<never>
    }
  }

  /** Makes the call that `#calls.next` names, and sees that what the core did for it leaves. */
  #take(
    callback: Callback<any> | undefined,
    options: CallOptions | undefined,
    withdraw: Withdraw,
  ): Promise<any> | undefined {
    const token = this.#calls.next
    const promise = this.#calls.take(callback)
    if (options !== undefined) this.#calls.bound(token, options, withdraw)
    this.wake()
    return promise
  }

  readonly #cancel = (token: number): void => {
    this.#run((core) => core.cancel(token))
    this.wake()
  }

  /** Calls the core where nothing but a trap can go wrong; not after the client has closed. */
  #run(call: (core: Core) => void): void {
    if (this.#core === undefined) return
    try {
      call(this.#core)
    } catch (thrown) {
      this.#trap(thrown)
    }
  }

  /** Calls the core for a caller who can have made a mistake. */
  #try<T>(call: (core: Core) => T): T {
    try {
      return call(this.#open())
    } catch (thrown) {
      throw this.#fault(thrown)
    }
  }

  /** What a call threw, as an error for its caller. */
  #fault(thrown: unknown): MqttError {
    return thrown instanceof MqttError ? thrown : (mistake(thrown) ?? this.#trap(thrown))
  }

  #trap(thrown: unknown): MqttError {
    return this.#evicted ? this.#fatal! : trap(thrown)
  }

  /** The core's reason for a negative answer. */
  #refusal(core: Core): MqttError {
    return this.#error(core.refusal())
  }

  #error(fields: ErrorFields): MqttError {
    const thrown =
      fields.code === 'CONNECTION_FAILED' ||
      fields.code === 'CONNECTION_LOST' ||
      fields.code === 'AUTHENTICATION_FAILED'
    return mqttError(
      thrown && this.#cause !== undefined ? { ...fields, cause: this.#cause } : fields,
    )
  }

  #intern(core: Core, topic: string): number {
    check.string(topic, 'topic')
    if (this.#topics.size >= TOPICS) {
      this.#topics.clear()
      core.forgetTopics()
    }
    const id = core.topic(topic)
    this.#topics.set(topic, id)
    return id
  }

  /** Copies a payload to the core's scratch: its length. */
  #write(core: Core, payload: Payload): number {
    if (typeof payload === 'string' && payload.length <= IN_PLACE) {
      const length = payload.length
      const at = this.#reserve(core, length * 3)
      const bytes = memoryBytes()
      if (length <= SMALL) {
        let index = 0
        for (let unit; index < length && (unit = payload.charCodeAt(index)) < 0x80; index++)
          bytes[at + index] = unit
        if (index === length) return length
      }
      return check.encoder.encodeInto(
        check.wellFormed(payload, 'payload'),
        bytes.subarray(at, at + length * 3),
      ).written
    }
    const bytes =
      payload instanceof Uint8Array && payload.length < BIG_FRAME
        ? payload
        : check.payloadBytes(payload, 'payload')
    const at = this.#reserve(core, bytes.length)
    memoryBytes().set(bytes, at)
    return bytes.length
  }

  #reserve(core: Core, length: number): number {
    const at = core.buffer(length)
    if (at === 0 && length > 0)
      throw mqttError({
        code: 'QUEUE_FULL',
        what: `there is no memory for ${length} bytes more`,
        retryable: true,
      })
    return at
  }

  /** Properties of the call that comes next. */
  #draft(core: Core, draft: Draft): void {
    for (const [path, value] of draft) core.property(path, value)
  }

  /** The answer to a QoS 0 publish that leaves with this turn. */
  #sent(callback: Callback<PublishResult> | undefined): Promise<PublishResult> | undefined {
    const turn = (this.#turn ??= { resolve() {}, reject() {}, callbacks: [] })
    if (callback !== undefined) {
      turn.callbacks.push(callback)
      return undefined
    }
    return (turn.promise ??= new Promise((resolve, reject) =>
      Object.assign(turn, { resolve, reject }),
    ))
  }

  readonly #onWake = (): void => this.#flush()

  /** Everything of this turn leaves. */
  #flush(): void {
    this.#waking = false
    const turn = this.#turn
    this.#turn = undefined
    this.#run((core) => core.flush())
    if (turn === undefined) return
    if (this.#evicted) {
      turn.promise?.catch(() => {})
      turn.reject(this.#fatal!)
      for (const callback of turn.callbacks) this.#calls.answer(callback, this.#fatal!)
    } else {
      turn.resolve(SUCCESS)
      for (const callback of turn.callbacks) this.#calls.answer(callback, null, SUCCESS)
    }
  }

  readonly #onTimer = (): void => this.#run((core) => core.timeout())

  readonly #onAbort = (): void => {
    const error = mqttError({ code: 'ABORTED', cause: this.#settings.signal!.reason })
    for (const token of this.#connecting.splice(0)) this.#calls.reject(token, error)
    this.end({ timeout: 0 }).catch(() => {})
  }

  /** What the core awaits, begun when it has returned: the application's functions may call the client. */
  async #promised<T>(work: () => Promise<T>): Promise<T> {
    const attempt = this.#attempt
    try {
      await undefined
      return await work()
    } catch (cause) {
      if (this.#attempt === attempt) this.#cause = cause
      throw cause
    }
  }

  #setState(state: ClientState): void {
    const previous = this.state
    this.state = state
    this.events.emit('state', state, previous)
  }

  #dropSubscription(subscription: Route | undefined, error?: MqttError): void {
    if (subscription === undefined) return
    const { handle } = subscription
    this.#handles.delete(handle)
    // Records of the batch that is being delivered may still name it.
    queueMicrotask(() => this.#freeHandles.push(handle))
    this.subscriptions.delete(subscription)
    subscription.end(error)
  }

  /** The end of the client's life, the core's part of which is over. */
  #close(error: MqttError | undefined): void {
    this.stats()
    this.#fatal = error
    this.#free()
    this.events.emit('close', error)
    for (const subscription of [...this.#handles.values()])
      this.#dropSubscription(subscription, error)
    for (const token of this.#ending.splice(0)) this.#calls.resolve(token, undefined)
    this.#calls.rejectAll(error ?? closed())
  }

  #free(): void {
    const core = this.#core
    this.#leave()
    if (core !== undefined) freeLater(core)
  }

  #leave(): void {
    this.#core = undefined
    leave(this)
    clearTimeout(this.#timer)
    this.#settings.signal?.removeEventListener('abort', this.#onAbort)
  }

  #giveUp(): void {
    const attempt = this.#attempt
    this.#attempt = undefined
    // Its listeners are the application's, and the core is calling.
    queueMicrotask(() => attempt?.abort())
  }

  /** The instance trapped: the core is never touched again. Called under whatever ran into it, so the rest happens later. */
  evict(error: MqttError): void {
    this.#fatal = error
    this.#evicted = true
    this.#leave()
    queueMicrotask(() => {
      const socket = this.#socket
      if (socket !== undefined)
        tolerate(() => (socket.onopen = socket.onmessage = socket.onclose = null))
      this.shut(true)
      this.#setState('closed')
      this.#close(error)
    })
  }
}

function closed(cause?: MqttError): MqttError {
  return mqttError({ code: 'CLOSED', what: 'the client is closed', cause })
}

function close(socket: WebSocketLike & { terminate?(): void }, force: boolean): void {
  // Node's sockets report that they were closed while opening, and end the process where nobody listens.
  tolerate(() => (socket.onerror = () => {}))
  tolerate(() => (force && socket.terminate !== undefined ? socket.terminate() : socket.close()))
}

/** For a socket of the application, which may throw: there is nothing left that could be done about it. */
function tolerate(work: () => void): void {
  try {
    work()
  } catch {}
}

async function resolved<T>(
  value: Resolvable<T> | undefined,
  context: AttemptContext,
): Promise<T | undefined> {
  return typeof value === 'function'
    ? (value as (context: AttemptContext) => T | Promise<T>)(context)
    : value
}

/** A copy of its own: by hand where it is short, which is faster. */
function copied(bytes: Uint8Array, offset: number, length: number): Uint8Array {
  if (length > SMALL)
    return new Uint8Array(
      bytes.buffer.slice(bytes.byteOffset + offset, bytes.byteOffset + offset + length),
    )
  const copy = new Uint8Array(length)
  for (let index = 0; index < length; index++) copy[index] = bytes[offset + index]!
  return copy
}
