/// <reference lib="esnext.disposable" preserve="true" />
import type { AnyMqttError } from '../errors.js'
import type { Message } from '../message.js'
import type {
  CallOptions,
  Grant,
  PublishProperties,
  QoS,
  TextOrBytesOrUseJSONStringify,
  UserPropertiesInput,
} from './basics.js'

/**
 * How a method answers where it is given a callback instead of returning a promise: it is called exactly once, never before the method has
 * returned. `error` is null where the call succeeded, and `result` is there only then.
 *
 * @example
 * client.publish('house/lamp', 'on', { qos: 1 }, (error, result) => {
 *   console.log(error ?? `acknowledged, reason code ${result.reasonCode}`)
 * })
 */
export type Callback<T> = (error: AnyMqttError | null, result: T) => void

/** Options of `publish()`. */
export interface PublishOptions extends CallOptions {
  /**
   * How often the message may arrive: 0 at most once, 1 at least once, 2 exactly once.
   *
   * @default 0
   */
  qos?: QoS | undefined
  /**
   * Whether the server keeps the message for later subscribers, in place of the one it has. MQTT 5.0, section 3.3.1.3.
   *
   * @default false
   */
  retain?: boolean | undefined
  /** MQTT 5 properties. They are left out on 3.1.1. */
  properties?: PublishProperties | undefined
}

/**
 * What to subscribe to: one filter, several, or a record that gives each filter options of its own, which go before those of the call.
 * MQTT 5.0, section 4.7.
 *
 * @example
 * await client.subscribe('house/+/temperature')
 * await client.subscribe(['house/#', '$share/group/jobs'])
 * await client.subscribe({ 'house/+/humidity': { qos: 0 }, 'house/alarm': { qos: 2 } })
 */
export type Filters = string | readonly string[] | Readonly<Record<string, FilterOptions>>

/** The options that MQTT has for each filter of a SUBSCRIBE. MQTT 5.0, section 3.8.3.1. */
export type FilterOptions = Pick<
  SubscribeOptions,
  'qos' | 'noLocal' | 'retainAsPublished' | 'retainHandling'
>

/** Options of `subscribe()`. */
export interface SubscribeOptions extends CallOptions {
  /**
   * The highest QoS at which messages are to come.
   *
   * @default 0
   */
  qos?: QoS | undefined
  /**
   * Whether to leave out what this client itself publishes. MQTT 5 only. MQTT 5.0, section 3.8.3.1.
   *
   * @default false
   */
  noLocal?: boolean | undefined
  /**
   * Whether messages keep the retain flag that they were published with. MQTT 5 only. MQTT 5.0, section 3.8.3.1.
   *
   * @default false
   */
  retainAsPublished?: boolean | undefined
  /**
   * When the server sends retained messages: 0 at every subscribe, 1 where the subscription is new, 2 never. MQTT 5 only. MQTT 5.0, section
   * 3.8.3.1.
   *
   * @default 0
   */
  retainHandling?: 0 | 1 | 2 | undefined
  /** User properties of SUBSCRIBE. MQTT 5 only. MQTT 5.0, section 3.8.2.1.3. */
  userProperties?: UserPropertiesInput | undefined
  /**
   * A subscription identifier of your own, 1 to 268435455. Without it the client assigns its own where the server supports them, for exact
   * routing. MQTT 5 only. MQTT 5.0, section 3.8.2.1.2.
   */
  subscriptionIdentifier?: number | undefined
  /**
   * When a QoS 1 or 2 message is acknowledged. 'auto': when the handler has returned. 'settled': when the promise that it returned has settled.
   * 'manual': by `message.ack()`. Acknowledgements leave in the order of arrival, so a late one holds back those after it. A message whose
   * handler throws is acknowledged all the same. A message of several Subscriptions is acknowledged when all of them have done so. After the
   * connection is gone `ack()` does nothing: the server sends the message again. A message that waits because of `concurrency` is not
   * acknowledged before its handler was called.
   *
   * @default 'auto'
   */
  ack?: 'auto' | 'settled' | 'manual' | undefined
  /**
   * How many promises of the handler may be pending. Beyond that, messages wait: QoS 1 and 2 without an acknowledgement, up to Receive Maximum;
   * of QoS 0 at most 10,000, then the oldest gives way and counts in `stats().droppedMessages`. A handler that returns no promise is never busy.
   *
   * @default 1_000
   * @example
   * await client.subscribe('jobs/#', { qos: 1, ack: 'settled', concurrency: 4 }, async (message) => {
   *   await work(message.json())
   * })
   */
  concurrency?: number | undefined
  /**
   * Ends the Subscription whenever it is aborted, as with `addEventListener()`; the same holds for a stream and a watch. What is pending then rejects
   * with AbortError.
   *
   * @example
   * await client.subscribe('house/#', { signal: controller.signal }, (message) => show(message))
   */
  signal?: AbortSignal | undefined
  /**
   * Milliseconds in which the handler gets at most one message of a topic, for user interfaces: the first at once, and the latest of those that
   * came meanwhile when the time is over. 0: every message. With `ack: 'auto'` a QoS 1 or 2 message is acknowledged as it comes; otherwise those
   * that another one replaces are acknowledged then. It does not concern the event 'message'.
   *
   * @default 0
   * @example
   * await client.subscribe('meters/#', { conflate: 250 }, (message) => draw(message.topic, message.json()))
   */
  conflate?: number | undefined
}

/** Options of `watch()`. */
export interface WatchOptions
  extends Pick<SubscribeOptions, 'qos' | 'subscriptionIdentifier' | 'signal'> {
  /**
   * Milliseconds in which the listeners are called at most once. 0: they are called at the end of each turn of the event loop in which something
   * changed. The values are always the latest.
   *
   * @default 0
   */
  conflate?: number | undefined
  /**
   * How many topics the map holds. Beyond that, the one that has not changed for longest gives way. Watches that share a subscription hold as
   * many as the largest of their limits allows.
   *
   * @default 10_000
   */
  limit?: number | undefined
}

/**
 * The latest message of every topic that matches: a read-only map that changes. Its topics are in the order in which they came. `await using`
 * ends it at the end of the block. After the end it keeps what it has.
 *
 * @example
 * // React
 * const house = client.watch('house/#', { conflate: 100 })
 * const version = useSyncExternalStore(house.onChange, () => house.version)
 */
export interface Watch extends ReadonlyMap<string, Message>, AsyncDisposable {
  /**
   * Resolves when the server has answered the SUBSCRIBE. It rejects as `subscribe()` does, and with AbortError where the watch ends before.
   *
   * @throws InvalidArgumentError, SubscribeError, NotSupportedError, AbortError, ClosedError
   */
  readonly ready: Promise<void>
  /** Counts up with every change of the map. */
  readonly version: number
  /**
   * Calls the listener with the topics that changed, which are not in the map any more where they were deleted or gave way. Returns what ends
   * that. What the listener throws is an 'error' event.
   *
   * @throws InvalidArgumentError if the listener is not a function
   */
  onChange(listener: (topics: readonly string[]) => void): () => void
  /** Ends the watch, and with the last one of its filters the subscription. Resolves when the server has answered, while connected. */
  end(): Promise<void>
}

/**
 * A message handler. If it throws, or if its promise rejects, that surfaces as an 'error' event with a HandlerError, and nothing else is
 * disturbed.
 *
 * @example
 * const handler: MessageHandler = (message) => console.log(message.topic, message.text())
 */
export type MessageHandler = (message: Message, subscription: Subscription) => void | Promise<void>

/**
 * Answers a request: what it returns, or what its promise brings, is the payload of the response; nothing at all is the empty one.
 *
 * @example
 * const handler: RequestHandler = (request) => JSON.stringify({ sum: request.json<number[]>().reduce((a, b) => a + b, 0) })
 */
export type RequestHandler = (
  message: Message,
) => TextOrBytesOrUseJSONStringify | void | Promise<TextOrBytesOrUseJSONStringify | void>

/**
 * One `subscribe()` call that is in force. `await using` ends it at the end of the block.
 *
 * @example
 * const subscription = await client.subscribe('house/#', (message) => console.log(message.topic))
 * await subscription.unsubscribe()
 */
export interface Subscription extends AsyncDisposable {
  /** What the server answered, filter by filter. */
  readonly grants: ReadonlyArray<Grant>
  /** Whether it is in force: until it is unsubscribed, refused when it is restored, or the client closes. */
  readonly active: boolean
  /**
   * Ends the Subscription, with UNSUBSCRIBE for the filters that no other Subscription has. Resolves when the server has answered, or at once
   * where there is nothing left to end. MQTT 5.0, section 3.10.
   *
   * @throws UnsubscribeError if the server refused, AbortError, TimeoutError, ClosedError
   */
  unsubscribe(options?: CallOptions): Promise<void>
}

/** Options of `messages()`. */
export interface IterateOptions extends Omit<SubscribeOptions, 'ack' | 'conflate' | 'concurrency'> {
  /**
   * How many messages may wait for the reader.
   *
   * @default 1_000
   */
  buffer?: number | undefined
  /**
   * What gives way beyond that. 'pause': acknowledgements are withheld, so that the server's own flow control slows QoS 1 and 2 down (up to
   * receiveMaximum more may arrive), and of QoS 0 the oldest message is dropped. 'drop-oldest', 'drop-newest': the oldest or the new message is
   * dropped. 'error': the stream ends with QueueFullError.
   *
   * @default 'pause'
   */
  overflow?: 'pause' | 'drop-oldest' | 'drop-newest' | 'error' | undefined
}

/**
 * The messages of a subscription of its own, one by one. `next()` subscribes at its first call, and acknowledges the message before. It rejects
 * with what went wrong, and is done when the client has ended. `return()`, which leaving a `for await` loop calls, unsubscribes, waits for the
 * server's answer while connected, and drops what was not read.
 *
 * @example
 * for await (const message of client.messages('house/door', { qos: 1 })) {
 *   if (message.text() === 'open') break
 * }
 */
export interface MessageStream extends AsyncIterableIterator<Message>, AsyncDisposable {
  /** How many messages gave way because the reader was slow. */
  readonly dropped: number
}

/** Options of `unsubscribe()`. */
export interface UnsubscribeOptions extends CallOptions {
  /** User properties of UNSUBSCRIBE. MQTT 5 only. MQTT 5.0, section 3.10.2.1.2. */
  userProperties?: UserPropertiesInput | undefined
}

/** Options of `end()`. */
export interface EndOptions extends CallOptions {
  /**
   * Milliseconds for all of it: what is in flight then is given up.
   *
   * @default 3_000
   */
  timeout?: number | undefined
  /**
   * Whether to close at once and without DISCONNECT, so that the server publishes the will.
   *
   * @default false
   */
  force?: boolean | undefined
  /**
   * The reason code of DISCONNECT. 0x04 makes the server publish the will. MQTT 5 only. MQTT 5.0, section 3.14.2.1.
   *
   * @default 0
   */
  reasonCode?: number | undefined
  /** MQTT 5 properties of DISCONNECT. */
  properties?: DisconnectProperties | undefined
}

/** MQTT 5 properties of DISCONNECT. MQTT 5.0, section 3.14.2.2. */
export interface DisconnectProperties {
  /** Seconds that the server keeps the session from now on. MQTT 5.0, section 3.14.2.2.2. */
  sessionExpiryInterval?: number | undefined
  /** An explanation for people. MQTT 5.0, section 3.14.2.2.3. */
  reasonString?: string | undefined
  /** User properties of DISCONNECT. MQTT 5.0, section 3.14.2.2.4. */
  userProperties?: UserPropertiesInput | undefined
}
