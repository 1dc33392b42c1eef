// What the application has subscribed to.
import type { Client, Message, Subscription } from '../api.js'
import { callError, ErrorWithSubackPacket, ReasonCodes } from './errors.js'
import type { Answer } from './operations.js'
import {
  type ClientSubscribeCallback,
  filterOptions,
  type IClientOptions,
  type IClientSubscribeOptions,
  type IClientSubscribeProperties,
  type ISubscriptionGrant,
  type ISubscriptionMap,
  type ISubscriptionRequest,
} from './options.js'
import type { ISubackPacket, Packet, QoS } from './packets.js'

/** What the subscriptions need of their client. */
export interface SubscriptionsHost {
  readonly options: IClientOptions
  /** Takes the messages of every subscription, where the application has a say in their acknowledgement. */
  readonly hold: ((message: Message) => void) | undefined
  /** Gives a call its number, when there is a free one. */
  number(start: (messageId: number) => void): void
  /** Makes a call that has its number. */
  call(
    packet: Packet,
    messageId: number,
    cb: Answer,
    run: (core: Client, answer: Answer) => void,
  ): void
  /** Emits 'error'. */
  fail(error: Error): void
}

type Properties = IClientSubscribeProperties['properties']

/** Subscribes in batches, and remembers for the next client of the core what there is. */
export class Subscriptions {
  /** Filters of the subscribes without an answer, by number. */
  readonly unanswered: Record<number, string[]> = {}
  readonly #host: SubscriptionsHost
  readonly #topics = new Map<string, IClientSubscribeOptions>()
  /** Filters that the core's client takes care of. */
  readonly #inCore = new Set<string>()
  /** Subscription identifiers of the application. */
  readonly #identifiers = new Set<number>()

  constructor(host: SubscriptionsHost) {
    this.#host = host
  }

  /** Whether the application gave this subscription identifier; the core gives others. */
  isOwn(identifier: number): boolean {
    return this.#identifiers.has(identifier)
  }

  /** What of these filters is to be sent: what is subscribed already, at least at this QoS, is not. */
  requests(
    topics: readonly string[],
    map: ISubscriptionMap | undefined,
    given: IClientSubscribeOptions | IClientSubscribeProperties | undefined,
  ): ISubscriptionRequest[] {
    const requests: ISubscriptionRequest[] = []
    for (const topic of topics) {
      const own = { qos: 0 as QoS, ...given, ...map?.[topic] }
      const before = this.#topics.get(topic)
      if (before !== undefined && before.qos >= own.qos && !map?.resubscribe) continue
      const { qos, nl = false, rap = false, rh = 0 } = own
      const { properties } = given ?? {}
      const isFive = this.#host.options.protocolVersion === 5
      requests.push(isFive ? { topic, qos, nl, rap, rh, properties } : { topic, qos })
    }
    return requests
  }

  /** Sends these, `subscribeBatchSize` at a time. The granted QoS is written into them, as MQTT.js does. */
  subscribe(
    requests: ISubscriptionRequest[],
    properties: Properties,
    done: ClientSubscribeCallback | undefined,
  ): void {
    const size = this.#host.options.subscribeBatchSize ?? requests.length
    let left = Math.ceil(requests.length / size)
    let failure: Error | undefined
    const answered: Answer = (error, packet) => {
      failure ??= error ?? undefined
      if (--left > 0) return
      const refusal = failure instanceof ErrorWithSubackPacket ? failure.packet : undefined
      if (done !== undefined)
        done(
          failure ?? null,
          requests as ISubscriptionGrant[],
          refusal ?? (packet as ISubackPacket | undefined),
        )
      else if (failure !== undefined) this.#host.fail(failure)
    }
    for (let at = 0; at < requests.length; at += size) {
      const batch = requests.slice(at, at + size)
      this.#host.number((messageId) => this.#subscribe(batch, properties, messageId, answered))
    }
  }

  /** After a connection without a session: what an earlier client of the core had. */
  restore(core: Client): void {
    const { options, hold } = this.#host
    if (!options.resubscribe) this.#topics.clear()
    for (const [topic, { properties, ...own }] of this.#topics) {
      if (this.#inCore.has(topic)) continue
      this.#inCore.add(topic)
      core.subscribe(
        { [topic]: filterOptions(own) },
        callOptions(properties, hold),
        hold,
        (error) => {
          if (error) this.#host.fail(error)
        },
      )
    }
  }

  /** There is a new client of the core, which has no subscriptions. */
  begin(): void {
    this.#inCore.clear()
  }

  /** These are not wanted any more. */
  forget(topics: readonly string[]): void {
    for (const topic of topics) {
      this.#topics.delete(topic)
      this.#inCore.delete(topic)
    }
  }

  #subscribe(
    batch: ISubscriptionRequest[],
    properties: Properties,
    messageId: number,
    cb: Answer,
  ): void {
    const { options } = this.#host
    const topics = batch.map(({ topic }) => topic)
    const filters = Object.fromEntries(
      batch.map(({ topic, ...own }) => [topic, filterOptions(own)]),
    )
    const identifier = properties?.subscriptionIdentifier
    if (identifier !== undefined) this.#identifiers.add(identifier)
    if (options.resubscribe && options.reconnectPeriod! > 0) {
      for (const { topic, ...own } of batch) this.#topics.set(topic, own)
      this.unanswered[messageId] = topics
    }
    const packet: Packet = { cmd: 'subscribe', messageId, subscriptions: batch }
    if (properties !== undefined) packet.properties = properties
    const answered: Answer = (error, result) => {
      delete this.unanswered[messageId]
      cb(error, result)
    }
    this.#host.call(packet, messageId, answered, (core, answer) => {
      for (const topic of topics) this.#inCore.add(topic)
      const { hold } = this.#host
      const own = options.protocolVersion === 5 ? properties : undefined
      core.subscribe(filters, callOptions(own, hold), hold, (error, subscription) => {
        const grants = grantsOf(error, subscription)
        if (grants !== undefined) return this.#granted(batch, grants, messageId, error, answer)
        this.forget(topics)
        answer(callError(error!))
      })
    })
  }

  #granted(
    batch: ISubscriptionRequest[],
    grants: Subscription['grants'],
    messageId: number,
    cause: unknown,
    answer: Answer,
  ): void {
    const granted = grants.map(({ reasonCode }) => reasonCode)
    const suback: ISubackPacket = { cmd: 'suback', messageId, granted }
    for (const [at, request] of batch.entries()) {
      request.qos = granted[at] as QoS
      if (granted[at]! >= 0x80) this.forget([request.topic])
    }
    const code = granted.find((each) => each >= 0x80)
    if (code === undefined) {
      answer(null, suback)
      return
    }
    const text = `Subscribe error: ${ReasonCodes[code]}`
    const failure = new ErrorWithSubackPacket(text, suback, { cause: cause ?? undefined })
    answer(Object.assign(failure, { code }), suback)
  }
}

function callOptions(properties: Properties, hold: unknown) {
  return { ...properties, ...(hold !== undefined && { ack: 'manual' as const }) }
}

function grantsOf(
  error: unknown,
  subscription: Subscription | undefined,
): Subscription['grants'] | undefined {
  if (error === null) return subscription!.grants
  return (error as { grants?: Subscription['grants'] }).grants
}
