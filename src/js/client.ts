import { matches as coreMatches } from '#glue'
import { Calls } from './calls.js'
import { func, string } from './check.js'
import { mqttError, unsupported, type MqttError } from './errors.js'
import { Events } from './events.js'
import { Host } from './host.js'
import { asyncDispose } from './platform.js'
import { Stream, type Message } from './subscription.js'
import type {
  BrokerUrl,
  CallOptions,
  Callback,
  ClientEvents,
  ClientState,
  ConnectInfo,
  ConnectOptions,
  EndOptions,
  Filters,
  IterateOptions,
  MessageHandler,
  MessageStream,
  Payload,
  PublishOptions,
  PublishResult,
  ServerInfo,
  Stats,
  SubscribeOptions,
  Subscription,
  UnsubscribeResult,
  UserPropertiesInput,
  Will,
} from './types.js'
import { call } from './wasm.js'

let hostOf: (client: Client) => Host

/**
 * An MQTT client. Publishes and subscribes before `connect()` are queued. A failed first `connect()` (without reconnect.initial) leads back
 * to 'idle', and it may be called again; 'closed' is for good. Promises reject with an MqttError, at the latest when the client closes.
 */
export class Client implements AsyncDisposable {
  readonly #host: Host

  static {
    hostOf = (client) => client.#host
  }

  /** Checks everything, opens nothing. Throws InvalidArgumentError, NotSupportedError. */
  constructor(url: BrokerUrl, options?: ConnectOptions) {
    this.#host = new Host(url, options)
  }

  /** Where in its life the client is. */
  get state(): ClientState {
    return this.#host.state
  }

  /** Whether `state` is 'connected'. */
  get connected(): boolean {
    return this.#host.state === 'connected'
  }

  /** The id in use; the server's, where it assigned one. */
  get clientId(): string {
    return this.#host.info?.clientId ?? this.#host.clientId
  }

  /** What the server said on the current or last connection: limits and features, defaults filled in. */
  get server(): ServerInfo | undefined {
    return this.#host.server
  }

  /** Sent in the next CONNECT. The setter throws InvalidArgumentError. */
  get will(): Will | undefined {
    return this.#host.will
  }

  set will(will: Will | undefined) {
    this.#host.setWill(will)
  }

  /** The Subscriptions in force. */
  get subscriptions(): ReadonlySet<Subscription> {
    return this.#host.subscriptions
  }

  /**
   * While connecting: the pending result; when connected: the current info; while waiting: tries now. Rejects with ConnectError,
   * AuthenticationError. Messages of a resumed session are delivered from a new task after 'connect', so that code after `await connect()`
   * can add its handlers first. Withdrawn before the first connection, it leads back to 'idle'.
   */
  connect(options?: CallOptions): Promise<ConnectInfo> {
    return this.#host.connect(options)
  }

  /**
   * QoS 0: resolves when handed to the transport (which waits while its buffer is over 1 MiB); 1: on PUBACK; 2: on PUBCOMP. A received
   * message's `properties` may be passed on as they are: its subscription identifiers and alias are dropped. Rejects with PublishError,
   * QueueFullError, PacketTooLargeError, ExpiredError, SessionLostError, NotSupportedError. MQTT 5, 3.3.
   */
  publish(topic: string, payload?: Payload, options?: PublishOptions): Promise<PublishResult>
  publish(topic: string, payload: Payload | undefined, callback: Callback<PublishResult>): void
  publish(
    topic: string,
    payload: Payload | undefined,
    options: PublishOptions | undefined,
    callback: Callback<PublishResult>,
  ): void
  publish(
    topic: string,
    payload?: Payload,
    options?: PublishOptions | Callback<PublishResult>,
    callback?: Callback<PublishResult>,
  ): Promise<PublishResult> | void {
    return typeof options === 'function'
      ? this.#host.publish(topic, payload, undefined, options)
      : this.#host.publish(topic, payload, options, callback)
  }

  /**
   * Resolves when the server has answered, if it granted at least one filter; rejects with SubscribeError if none. The handler is in force from
   * the call on. It gets every message that matches this subscription, once, in order of arrival, also where filters of other
   * Subscriptions overlap or are the same. Without a handler: 'message', or use `messages()`. A function in second or third place is the
   * handler; a callback is only the fourth. A filter of several Subscriptions is one subscription on the server, at the highest QoS
   * asked, gone with the last of them. A filter that is refused when restored: the Subscription is no longer active, and 'error' carries a
   * SubscribeError. MQTT 5, 3.8.
   */
  subscribe(
    filter: Filters,
    options?: SubscribeOptions,
    handler?: MessageHandler,
  ): Promise<Subscription>
  subscribe(filter: Filters, handler: MessageHandler): Promise<Subscription>
  subscribe(
    filter: Filters,
    options: SubscribeOptions | undefined,
    handler: MessageHandler | undefined,
    callback: Callback<Subscription>,
  ): void
  subscribe(
    filter: Filters,
    options?: SubscribeOptions | MessageHandler,
    handler?: MessageHandler,
    callback?: Callback<Subscription>,
  ): Promise<Subscription> | void {
    return typeof options === 'function'
      ? this.#host.subscribe(filter, undefined, options, callback)
      : this.#host.subscribe(filter, options, handler, callback)
  }

  /**
   * Subscribes and iterates: `for await (const message of client.messages('a/#')) …`. Subscribes at the first next(); leaving the loop
   * unsubscribes. A message is acknowledged when the next one is asked for. Ends when the client ends; throws what went wrong otherwise.
   */
  messages(filter: Filters, options?: IterateOptions): MessageStream {
    return new Stream(this.#host, filter, options)
  }

  /**
   * Ends every Subscription to these filters and always sends UNSUBSCRIBE, known filter or not. Rejects with UnsubscribeError if the server
   * refused all. MQTT 5, 3.10.
   */
  unsubscribe(
    filter: string | readonly string[],
    options?: CallOptions & { userProperties?: UserPropertiesInput },
  ): Promise<UnsubscribeResult>
  unsubscribe(
    filter: string | readonly string[],
    options: (CallOptions & { userProperties?: UserPropertiesInput }) | undefined,
    callback: Callback<UnsubscribeResult>,
  ): void
  unsubscribe(
    filter: string | readonly string[],
    options?: CallOptions & { userProperties?: UserPropertiesInput },
    callback?: Callback<UnsubscribeResult>,
  ): Promise<UnsubscribeResult> | void {
    return this.#host.unsubscribe(filter, options, callback)
  }

  /** Publishes and awaits the response. Not there yet: rejects with NotSupportedError. */
  request(topic: string, payload?: Payload, options?: PublishOptions): Promise<Message>
  request(): Promise<Message> {
    return Promise.reject(unsupported('request()'))
  }

  /** Answers requests on a filter. Not there yet: rejects with NotSupportedError. */
  respond(
    filter: string,
    handler: (message: Message) => Payload | Promise<Payload>,
    options?: SubscribeOptions,
  ): Promise<Subscription>
  respond(): Promise<Subscription> {
    return Promise.reject(unsupported('respond()'))
  }

  /** Re-authentication (MQTT 5, 4.12.1) with the Authenticator of the options. Rejects with AuthenticationError, NotSupportedError. */
  reauthenticate(options?: CallOptions): Promise<void> {
    return this.#host.reauthenticate(options)
  }

  /** Drops the connection, if any, and connects again at once; in-flight messages and subscriptions stay. Throws ClosedError. */
  reconnect(): void {
    this.#host.reconnect()
  }

  /** Resolves when nothing is queued or in flight. */
  drain(options?: CallOptions): Promise<void> {
    return this.#host.drain(options)
  }

  /**
   * Waits for what is in flight, sends DISCONNECT, closes; `timeout` bounds all of it. What is still pending then rejects with ClosedError.
   * Offline it closes at once; with CONNECT unanswered it sends DISCONNECT first, so that no will is published. Idempotent: a second call
   * gets the first one's promise. MQTT 5, 3.14.
   */
  end(options?: EndOptions): Promise<void>
  end(options: EndOptions | undefined, callback: Callback<void>): void
  end(options?: EndOptions, callback?: Callback<void>): Promise<void> | void {
    return this.#host.end(options, callback)
  }

  /** `end()`, for `await using`. */
  [asyncDispose](): Promise<void> {
    return this.end()
  }

  /** Counters since the client was made, and gauges of now. */
  stats(): Stats {
    return this.#host.stats()
  }

  /** Calls the listener at every such event. What it throws, or its promise rejects with, is an 'error' event. */
  on<E extends keyof ClientEvents>(event: E, listener: (...args: ClientEvents[E]) => void): this {
    this.#host.events.add(event, func(listener, 'listener'))
    return this.#tap(event)
  }

  /** As `on`, for the next one only. */
  once<E extends keyof ClientEvents>(event: E, listener: (...args: ClientEvents[E]) => void): this {
    this.#host.events.once(event, func(listener, 'listener'))
    return this.#tap(event)
  }

  /** Takes back one `on` or `once` of this listener. */
  off<E extends keyof ClientEvents>(event: E, listener: (...args: ClientEvents[E]) => void): this {
    this.#host.events.remove(event, listener)
    return this.#tap(event)
  }

  #tap(event: keyof ClientEvents): this {
    if (event === 'packet') this.#host.tap(this.#host.events.get(event) !== undefined)
    return this
  }
}

/** Creates a client and connects it. Resolves on the first successful CONNACK; a client that could not connect is ended. */
export function connect(url: BrokerUrl, options?: ConnectOptions): Promise<Client>
export function connect(
  url: BrokerUrl,
  options: ConnectOptions | undefined,
  callback: Callback<Client>,
): void
export function connect(
  url: BrokerUrl,
  options?: ConnectOptions,
  callback?: Callback<Client>,
): Promise<Client> | void {
  try {
    if (callback !== undefined) func(callback, 'callback')
    const { signal } = options ?? {}
    if (signal?.aborted) throw mqttError({ code: 'ABORTED', cause: signal.reason })
    const client = new Client(url, options)
    const host = hostOf(client)
    const calls = new Calls(host.events)
    const token = calls.next
    host.connect(undefined, (error) => {
      if (error === null) return calls.resolve(token, client)
      host.end({ force: true }, () => {})
      calls.reject(token, error)
    })
    return calls.take(callback)
  } catch (error) {
    return new Calls(new Events()).refuse(error as MqttError, callback)
  }
}

/** Whether a topic matches a filter (MQTT 5, 4.7): $-topics and shared subscriptions included. Throws InvalidArgumentError. */
export function matches(filter: string, topic: string): boolean {
  string(filter, 'filter')
  string(topic, 'topic')
  return call(() => coreMatches(filter, topic))
}
