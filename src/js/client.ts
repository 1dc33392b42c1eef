import { type Emitter, eventName } from './emitter.js'
import { invalid, keepName } from './errors.js'
import { Life } from './life.js'
import type { Message } from './message.js'
import {
  type PublishCall,
  quickPublish,
  readCall,
  readFilters,
  readPublish,
  readSubscribe,
  readUnsubscribe,
  readWill,
} from './options.js'
import { asyncDispose } from './platform.js'
import { Presence } from './presence.js'
import { Requests } from './requests.js'
import { leave, MessageStream, type Source } from './stream.js'
import { Route, type Sink } from './subscription.js'
import type {
  CallOptions,
  Payload,
  PublishResult,
  TextOrBytesOrUseJSONStringify,
  UnsubscribeResult,
} from './types/basics.js'
import type * as api from './types/calls.js'
import type {
  Callback,
  EndOptions,
  Filters,
  IterateOptions,
  MessageHandler,
  PublishOptions,
  RequestHandler,
  SubscribeOptions,
  Subscription,
  UnsubscribeOptions,
  WatchOptions,
} from './types/calls.js'
import type { BrokerUrl, ConnectOptions, Will } from './types/connecting.js'
import type { ClientEvents, ClientState, ConnectInfo, ServerInfo, Stats } from './types/events.js'
import * as validate from './validate.js'
import { Watches } from './watch.js'

/** Where the errors of a client's callbacks go. @internal */
export let emitterOf: (client: Client) => Emitter

// Callback overloads have a type parameter: without one, a mistake in the options makes the result a mixture of the results of all overloads.

/**
 * An MQTT client. Publishes and subscribes before `connect()` are queued. A failed first `connect()` (without `reconnect.initial`) leads back
 * to 'idle', and it may be called again; 'closed' is for good. Promises reject with an MqttError, at the latest when the client closes.
 *
 * @example
 * const client = new Client('wss://example.org/mqtt', { clientId: 'dashboard' })
 * client.on('close', (error) => console.log(error ?? 'closed'))
 * await client.connect()
 */
export class Client implements AsyncDisposable {
  readonly #life: Life
  readonly #clientId: string
  #will: Will | undefined
  // Made at first use: a process may have thousands of clients.
  #requests: Requests | undefined
  #watches: Watches | undefined

  static {
    keepName(Client, 'Client')
    emitterOf = (client) => client.#life.emitter
  }

  /**
   * Checks everything, opens nothing.
   *
   * @throws InvalidArgumentError, NotSupportedError
   */
  constructor(url: BrokerUrl, options: ConnectOptions = {}) {
    const life = (this.#life = new Life(url, options))
    const { presenceSettings: presence, emitter } = life
    if (presence !== undefined) life.presence = new Presence(this, emitter, presence)
    this.#clientId = options.clientId ?? ''
    this.#will = options.will
  }

  /** Where in its life the client is. */
  get state(): ClientState {
    return this.#life.state
  }

  /** Whether `state` is 'connected'. */
  get connected(): boolean {
    return this.state === 'connected'
  }

  /** The client id in use: the one of the options, or the one that the server assigned. MQTT 5.0, section 3.1.3.1. */
  get clientId(): string {
    return this.#life.info?.clientId ?? this.#clientId
  }

  /** What the server said on the current or last connection: limits and features, defaults filled in. Undefined before the first one. */
  get server(): ServerInfo | undefined {
    return this.#life.info?.server
  }

  /**
   * The message that the server publishes when the connection breaks, sent in the next CONNECT; undefined with `presence`. MQTT 5.0, section 3.1.2.5.
   *
   * @throws InvalidArgumentError, ClosedError when it is set
   */
  get will(): Will | undefined {
    return this.#will
  }

  set will(will: Will | undefined) {
    if (this.#life.presence) throw invalid('will', 'cannot be set beside the option presence')
    const leaves = will === undefined ? undefined : readWill(will)
    this.#life.handle.try((core) => core.setWill(leaves))
    this.#will = will
  }

  /** The Subscriptions in force: a copy, which does not follow what happens later. */
  get subscriptions(): ReadonlySet<Subscription> {
    return this.#life.routes.inForce
  }

  /**
   * Connects, and resolves with what the server answered. If a connection is up or under way, it resolves with that one; while the client waits
   * to retry, it retries now. Aborting the first connect returns the client to 'idle'. Messages of a resumed session are delivered from a new
   * task after 'connect', so that code after `await connect()` can add its handlers first. MQTT 5.0, sections 3.1 and 3.2.
   *
   * @throws ConnectError, AuthenticationError, StoreError, ClosedError
   * @example
   * const { sessionPresent } = await client.connect({ timeout: 5_000 })
   */
  connect(options?: CallOptions): Promise<ConnectInfo> {
    return this.#life.connect(options)
  }

  /**
   * Publishes a message. QoS 0 resolves when the message is handed to the transport, which waits while its buffer holds more than 1 MiB; QoS 1
   * resolves on PUBACK, QoS 2 on PUBCOMP. A message that cannot be sent yet waits in the queue. The `properties` of a received message may be
   * passed on as they are. MQTT 5.0, section 3.3.
   *
   * @throws InvalidArgumentError, PublishError, QueueFullError, PacketTooLargeError, ExpiredError, SessionLostError, NotSupportedError,
   *   StoreError, ClosedError
   * @example
   * await client.publish('house/lamp', 'on', { qos: 1, retain: true })
   */
  publish(topic: string, payload?: Payload, options?: PublishOptions): Promise<PublishResult>
  /** Publishes a message, and calls back instead of returning a promise. */
  publish(topic: string, payload: Payload | undefined, callback: Callback<PublishResult>): void
  /** Publishes a message, and calls back instead of returning a promise. */
  publish<C extends Callback<PublishResult>>(
    topic: string,
    payload: Payload | undefined,
    options: PublishOptions | undefined,
    callback: C,
  ): void
  /** The first form again: where a call fits none, TypeScript says what is wrong with it for the last one. */
  publish(
    topic: string,
    payload?: TextOrBytesOrUseJSONStringify,
    options?: PublishOptions,
  ): Promise<PublishResult>
  publish(
    topic: string,
    payload?: Payload,
    options?: PublishOptions | Callback<PublishResult>,
    callback?: Callback<PublishResult>,
  ): Promise<PublishResult> | void {
    return typeof options === 'function'
      ? this.#publish(topic, payload, undefined, options)
      : this.#publish(topic, payload, options, callback)
  }

  #publish(
    topic: string,
    payload: Payload | undefined,
    options: PublishOptions | undefined,
    callback: Callback<PublishResult> | undefined,
  ): Promise<PublishResult> | undefined {
    const life = this.#life
    const { pending, outgoing, turn } = life
    try {
      const core = life.handle.open()
      let flags = options === undefined ? 0 : quickPublish(options)
      let call: PublishCall | undefined
      if (flags < 0) {
        call = readPublish(options)
        flags = call.flags
      }
      if (callback !== undefined) validate.func(callback, 'callback')
      const id = outgoing.topic(core, topic)
      const length = payload == null ? 0 : outgoing.payload(core, payload)
      if (call !== undefined) outgoing.properties(core, call.draft)
      const answer = core.publish(id, length, flags, pending.next)
      if (answer < 0) throw life.refusal(core)
      turn.wake()
      if (answer === 0) return turn.written(callback)
      return call === undefined ? pending.take(callback) : life.take(callback, call)
    } catch (error) {
      return pending.refuse(life.handle.fault(error), callback)
    }
  }

  /**
   * Subscribes, and resolves when the server has answered, if it granted at least one filter. The handler is in force from the call on. It gets
   * every message that matches this subscription, once, in order of arrival, also where filters of other Subscriptions overlap or are the same.
   * Without a handler messages come by the event 'message'; `messages()` iterates over them. A filter of several Subscriptions is one
   * subscription on the server, at the highest QoS asked for, which is gone with the last of them. Stored messages that come for a later
   * `subscribe()` to a filter go to that Subscription only, unless a Subscription of the filter asked for `retainAsPublished`. If a filter is
   * refused when it is restored, the Subscription is no longer active, and 'error' carries a SubscribeError. `signal` ends the Subscription
   * whenever it is aborted, also when it has been granted. A function in second or third place is the handler; a callback is only the fourth.
   * MQTT 5.0, section 3.8.
   *
   * @throws InvalidArgumentError, SubscribeError if no filter was granted, NotSupportedError, ClosedError
   * @example
   * const subscription = await client.subscribe('house/#', { qos: 1 }, (message) => console.log(message.topic, message.text()))
   */
  subscribe(
    filter: Filters,
    options?: SubscribeOptions,
    handler?: MessageHandler,
  ): Promise<Subscription>
  /** Subscribes with the default options. */
  subscribe(filter: Filters, handler: MessageHandler): Promise<Subscription>
  /** Subscribes, and calls back instead of returning a promise. */
  subscribe<C extends Callback<Subscription>>(
    filter: Filters,
    options: SubscribeOptions | undefined,
    handler: MessageHandler | undefined,
    callback: C,
  ): void
  /** The first form again: where a call fits none, TypeScript says what is wrong with it for the last one. */
  subscribe(
    filter: Filters,
    options?: SubscribeOptions,
    handler?: MessageHandler,
  ): Promise<Subscription>
  subscribe(
    filter: Filters,
    options?: SubscribeOptions | MessageHandler,
    handler?: MessageHandler,
    callback?: Callback<Subscription>,
  ): Promise<Subscription> | void {
    return typeof options === 'function'
      ? this.#subscribe(filter, undefined, options, callback)
      : this.#subscribe(filter, options, handler, callback)
  }

  #subscribe(
    filters: Filters,
    options: SubscribeOptions | undefined,
    handler: MessageHandler | undefined,
    callback: Callback<Subscription> | undefined,
    sink?: Sink,
  ): Promise<Subscription> {
    const life = this.#life
    const { routes } = life
    return life.call(callback, () => {
      const call = readSubscribe(filters, options)
      if (handler !== undefined) validate.func(handler, 'handler')
      const core = life.handle.open()
      life.outgoing.properties(core, call.draft)
      const token = life.pending.next
      const handle = routes.takeHandle()
      if (core.subscribe(token, handle, call.filters, call.bits) < 0) throw life.refusal(core)
      const route = new Route(handle, call, handler, sink, life)
      routes.add(token, route)
      // Streams and watches see to their signals themselves.
      if (call.signal !== undefined && sink === undefined)
        route.watch(call.signal, () => void leave(this.#source, route.subscription))
      return life.take(callback, call, (token, error) => {
        life.cancel(token)
        // The answer may be in the batch that is being delivered: what was granted is given back.
        life.handle.run((core) => core.unsubscribeHandle(0, handle))
        routes.answered(token)
        routes.end(route, error)
      })
    })
  }

  /**
   * Subscribes and iterates. It subscribes at the first `next()`; leaving the loop unsubscribes. A message is acknowledged when the next one is
   * asked for. The stream ends when the client ends, and throws what went wrong otherwise. MQTT 5.0, section 3.8.
   *
   * @throws InvalidArgumentError, SubscribeError, QueueFullError, NotSupportedError: not here, but by `next()`
   * @example
   * for await (const message of client.messages('house/#', { qos: 1 })) console.log(message.topic, message.text())
   */
  messages(filter: Filters, options?: IterateOptions): api.MessageStream {
    return new MessageStream(this.#source, filter, options)
  }

  /**
   * Watches the latest message of every topic that matches, live: a map that a user interface reads and is told of. All watches of a filter, with
   * the same QoS, share one subscription: a late one has the known values at once, without another SUBSCRIBE. A message with an empty payload
   * takes its topic out of the map: that is how a retained message is deleted. What is wrong with the arguments rejects `ready`. MQTT 5.0, section
   * 3.8.
   *
   * @throws InvalidArgumentError, SubscribeError, NotSupportedError, ClosedError: not here, but by `ready`
   * @example
   * const house = client.watch('house/#', { conflate: 100 })
   * house.onChange((topics) => {
   *   for (const topic of topics) console.log(topic, house.get(topic)?.text())
   * })
   * await house.ready
   */
  watch(filter: Filters, options?: WatchOptions): api.Watch {
    return (this.#watches ??= new Watches(this.#source)).watch(filter, options)
  }

  /**
   * Ends every Subscription to these filters, and always sends UNSUBSCRIBE, whether the filter is known or not. MQTT 5.0, section 3.10.
   *
   * @throws InvalidArgumentError, UnsubscribeError if the server refused all filters, ClosedError
   * @example
   * await client.unsubscribe(['house/#', 'garden/#'])
   */
  unsubscribe(
    filter: string | readonly string[],
    options?: UnsubscribeOptions,
  ): Promise<UnsubscribeResult>
  /** Ends every Subscription to these filters, and calls back instead of returning a promise. */
  unsubscribe<C extends Callback<UnsubscribeResult>>(
    filter: string | readonly string[],
    options: UnsubscribeOptions | undefined,
    callback: C,
  ): void
  unsubscribe(
    filter: string | readonly string[],
    options?: UnsubscribeOptions,
    callback?: Callback<UnsubscribeResult>,
  ): Promise<UnsubscribeResult> | void {
    const life = this.#life
    return life.call(callback, () => {
      const filters = readFilters(filter)
      const call = readUnsubscribe(options)
      return life.ask(callback, call, (core, token) => core.unsubscribe(token, filters), call.draft)
    })
  }

  /**
   * Publishes a request with a response topic and correlation data of its own, and resolves with the first response; later ones are dropped. All
   * requests share one subscription, to `response/` and the client id, percent-encoded. Response Information of the server, which
   * `properties.requestResponseInformation` asks for, takes the place of `response`. A response with the user property `error` rejects with a
   * HandlerError: its text is in `message`, and the response is `cause`. A request waits on when the connection is lost, and a response that comes
   * while the server has lost the session is lost, too. `timeout` is 30_000 by default. MQTT 5 only. MQTT 5.0, section 4.10.
   *
   * @throws HandlerError if the responder failed, TimeoutError, SubscribeError, NotSupportedError on MQTT 3.1.1, and what publish() throws
   * @example
   * console.log((await client.request('house/thermostat/get', 'celsius', { timeout: 5_000 })).text())
   */
  request(topic: string, payload?: Payload, options?: PublishOptions): Promise<Message> {
    return this.#requester.request(topic, payload, options)
  }

  /**
   * Answers requests. What the handler returns is published to the response topic, at the QoS of the request and with its correlation data;
   * `undefined` and `null` are an empty response. If the handler throws, the requester gets an empty response with the message of what was thrown
   * as the user property `error`, and 'error' carries a HandlerError. A message without a response topic is handled, and nothing is published.
   * With `ack: 'settled'` a request is acknowledged when its response was. MQTT 5 only. MQTT 5.0, section 4.10.
   *
   * @throws InvalidArgumentError, SubscribeError if the filter was not granted, NotSupportedError on MQTT 3.1.1, ClosedError
   * @example
   * await client.respond('house/thermostat/get', (request) => `${temperature(request.text())}`)
   */
  respond(
    filter: string,
    handler: RequestHandler,
    options?: SubscribeOptions,
  ): Promise<Subscription> {
    return this.#requester.respond(filter, handler, options)
  }

  /**
   * Authenticates again on the connection that is up, by the Authenticator of the options. MQTT 5.0, section 4.12.1.
   *
   * @throws AuthenticationError, NotSupportedError, ClosedError
   */
  reauthenticate(options?: CallOptions): Promise<void> {
    const life = this.#life
    return life.call(undefined, () =>
      life.ask<void>(undefined, readCall(options), (core, token) => core.reauthenticate(token)),
    )
  }

  /**
   * Drops the connection, if there is one, and connects again at once. Messages in flight and Subscriptions stay.
   *
   * @throws ClosedError
   */
  reconnect(): void {
    this.#life.handle.try((core) => core.reconnect())
    this.#life.turn.wake()
  }

  /**
   * Resolves when nothing is queued or in flight, in either direction: handlers at work have settled, and the transport has written everything.
   *
   * @throws ClosedError, TimeoutError, AbortError
   */
  drain(options?: CallOptions): Promise<void> {
    return this.#life.drain(options)
  }

  /**
   * Ends the client for good: waits for handlers at work and for what is in flight, sends DISCONNECT, closes, and resolves when the transport has
   * written all of it. Messages that still come are left to the server. `timeout` bounds all of it: a handler that itself awaits `end()` is waited
   * for that long. What is still pending then rejects with ClosedError. Offline it closes at once; with CONNECT unanswered it sends DISCONNECT
   * first, so that no will is published. A second call gets the first one's promise. MQTT 5.0, section 3.14.
   *
   * @throws InvalidArgumentError, AbortError: the client goes on ending
   * @example
   * await client.end({ timeout: 1_000 })
   */
  end(options?: EndOptions): Promise<void>
  /** Ends the client for good, and calls back instead of returning a promise. */
  end<C extends Callback<void>>(options: EndOptions | undefined, callback: C): void
  end(options?: EndOptions, callback?: Callback<void>): Promise<void> | void {
    return this.#life.end(options, callback)
  }

  /** Ends the client, for `await using`. */
  [asyncDispose](): Promise<void> {
    return this.end()
  }

  /** Counters since the client was made, and gauges of now. They can be read after the end, too. */
  stats(): Stats {
    return this.#life.stats()
  }

  /**
   * Calls the listener at every such event. What it throws, or what its promise rejects with, is an 'error' event.
   *
   * @throws InvalidArgumentError if there is no such event, or the listener is not a function
   * @example
   * client.on('message', (message) => console.log(message.topic))
   */
  // `& string` makes the compiler list the names where it refuses one.
  on<E extends keyof ClientEvents & string>(
    event: E,
    listener: (...args: ClientEvents[E]) => void,
  ): this {
    this.#life.emitter.add(eventName(event), validate.func(listener, 'listener'))
    return this.#tap(event)
  }

  /**
   * Calls the listener at the next such event only.
   *
   * @throws InvalidArgumentError if there is no such event
   */
  once<E extends keyof ClientEvents & string>(
    event: E,
    listener: (...args: ClientEvents[E]) => void,
  ): this
  /**
   * Resolves with the arguments of the next such event.
   *
   * @throws InvalidArgumentError, TimeoutError, AbortError, ClosedError where it cannot come any more
   * @example
   * const [message] = await client.once('message', { timeout: 1_000 })
   */
  once<E extends keyof ClientEvents & string>(
    event: E,
    options?: CallOptions,
  ): Promise<ClientEvents[E]>
  once<E extends keyof ClientEvents & string>(
    event: E,
    wanted?: CallOptions | ((...args: ClientEvents[E]) => void),
  ): this | Promise<ClientEvents[E]> {
    const life = this.#life
    const { emitter, pending } = life
    if (typeof wanted === 'function') {
      emitter.once(eventName(event), wanted)
      return this.#tap(event)
    }
    return life.call(undefined, () => {
      eventName(event)
      const call = readCall(wanted)
      if (this.state === 'closed') life.handle.open()
      const token = pending.next
      const listener = (...args: unknown[]) => pending.resolve(token, args)
      emitter.once(event, listener)
      this.#tap(event)
      return life.take(undefined, call, () => emitter.remove(event, listener))
    })
  }

  /** Takes back one `on` or `once` of this listener. */
  off<E extends keyof ClientEvents & string>(
    event: E,
    listener: (...args: ClientEvents[E]) => void,
  ): this {
    this.#life.emitter.remove(eventName(event), listener)
    return this.#tap(event)
  }

  /** What subscriptions without a handler need of the client. */
  get #source(): Source {
    return {
      subscribe: (filters, options, sink, callback) =>
        void this.#subscribe(filters, options, undefined, callback, sink),
      reserveTopics: (count) =>
        this.#life.handle.run((core) => core.reserveTopics(Math.min(count, 0xffff_ffff))),
      isConnected: () => this.connected,
      emitter: this.#life.emitter,
    }
  }

  get #requester(): Requests {
    return (this.#requests ??= new Requests(this, this.#life))
  }

  /** Packets are events of the core only while somebody listens. */
  #tap(event: keyof ClientEvents): this {
    const { emitter, handle } = this.#life
    if (event === 'packet') handle.run((core) => core.tap(emitter.get(event) !== undefined))
    return this
  }
}
