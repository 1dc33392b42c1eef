import { mqttError, unsupported } from './errors.js'
import type { Life } from './life.js'
import { decoder, type Message } from './message.js'
import { readRequest } from './options.js'
import type { Payload } from './types/basics.js'
import type {
  MessageHandler,
  PublishOptions,
  RequestHandler,
  SubscribeOptions,
  Subscription,
} from './types/calls.js'
import * as validate from './validate.js'

/** Milliseconds that a request waits for its response by default. */
const PATIENCE = 30_000
/** The user property by which a responder says that it failed. */
const ERROR = 'error'
/** How much of an error a responder tells. */
const LONGEST_ERROR = 1_000

/** What requests need of a client. */
interface Messenger {
  publish(topic: string, payload: Payload, options: PublishOptions): Promise<unknown>
  subscribe(
    filter: string,
    options: SubscribeOptions | undefined,
    handler: MessageHandler,
  ): Promise<Subscription>
}

/** A call that waits for a response. */
interface Waiting {
  token: number
  /** The topic of the request. */
  topic: string
}

/** The requests of a client, and its answers to those of others. MQTT 5.0, section 4.10. */
export class Requests {
  readonly #client: Messenger
  readonly #life: Life
  /** By correlation data. */
  readonly #waiting = new Map<string, Waiting>()
  /** Tells the correlation data of this client from that of one that had the same client id before. */
  readonly #salt = Math.random().toString(36).slice(2)
  #count = 0
  #topic = ''
  #subscription: Subscription | undefined
  #subscribing: Promise<void> | undefined

  constructor(client: Messenger, life: Life) {
    this.#client = client
    this.#life = life
  }

  request(
    topic: string,
    payload: Payload | undefined,
    given: PublishOptions | undefined,
  ): Promise<Message> {
    const life = this.#life
    const { pending } = life
    return life.call(undefined, () => {
      const { signal, timeout = PATIENCE, ...options } = readRequest(given)
      this.#check()
      life.outgoing.topic(life.handle.open(), topic)
      // A copy: the request may have to wait.
      const bytes = new Uint8Array(validate.payloadBytes(payload ?? '', 'payload'))
      const withdrawn = new AbortController()
      const correlation = this.#salt + ++this.#count
      const token = pending.next
      const promise = life.take(undefined, { signal, timeout }, () => {
        this.#waiting.delete(correlation)
        withdrawn.abort()
      })
      this.#waiting.set(correlation, { token, topic })
      this.#subscribed()
        .then(() => {
          const properties = {
            ...options.properties,
            responseTopic: this.#topic,
            correlationData: validate.encoder.encode(correlation),
          }
          return this.#client.publish(topic, bytes, {
            ...options,
            properties,
            signal: withdrawn.signal,
          })
        })
        .catch((error) => {
          this.#waiting.delete(correlation)
          pending.reject(token, error)
        })
      return promise
    })
  }

  respond(
    filter: string,
    handler: RequestHandler,
    options: SubscribeOptions | undefined,
  ): Promise<Subscription> {
    return this.#life.call(undefined, () => {
      validate.string(filter, 'filter')
      validate.func(handler, 'handler')
      this.#check()
      const answer = (message: Message) => this.#answer(message, handler)
      return this.#client.subscribe(filter, options, answer).then((subscription) => {
        try {
          this.#check()
        } catch (error) {
          subscription.unsubscribe().catch(() => {})
          throw error
        }
        return subscription
      })
    })
  }

  /** Refuses MQTT 3.1.1, as far as the version is known. */
  #check(): void {
    if ((this.#life.info?.server.protocolVersion ?? this.#life.protocolVersion) === 4)
      throw unsupported('request() and respond() need MQTT 5')
  }

  /** Resolves when the subscription to the response topic is there. */
  #subscribed(): Promise<void> {
    if (this.#subscription?.active) return Promise.resolve()
    this.#subscribing ??= this.#subscribe().finally(() => (this.#subscribing = undefined))
    return this.#subscribing
  }

  /** The topic depends on what the server says, so the first request waits for a connection. */
  async #subscribe(): Promise<void> {
    const { emitter } = this.#life
    if (this.#life.info === undefined)
      await new Promise<void>((resolve) => emitter.once('connect', () => resolve()))
    this.#check()
    const { server, clientId } = this.#life.info!
    const { responseInformation = '' } = server
    // What the server says may be no part of a topic.
    const prefix = /^[^#+]+$/.test(responseInformation) ? responseInformation : 'response'
    this.#topic = `${prefix}/${encodeURIComponent(clientId)}`
    const options = { qos: 1, retainHandling: 2 } as const
    this.#subscription = await this.#client.subscribe(this.#topic, options, this.#onResponse)
  }

  readonly #onResponse = (message: Message): void => {
    const { correlationData, userProperties = [] } = message.properties ?? {}
    const correlation = decoder.decode(correlationData)
    const waiting = this.#waiting.get(correlation)
    // Another responder was faster, or the request was withdrawn.
    if (waiting === undefined) return
    this.#waiting.delete(correlation)
    const { token, topic } = waiting
    const { pending } = this.#life
    const failure = userProperties.find(([name]) => name === ERROR)
    if (failure === undefined) {
      pending.resolve(token, message)
    } else {
      const what = `the responder failed: ${failure[1]}`
      const error = { what, topic, userProperties, cause: message }
      pending.reject(token, mqttError({ code: 'HANDLER_FAILED', ...error }))
    }
  }

  async #answer(message: Message, handler: RequestHandler): Promise<void> {
    const { responseTopic, correlationData } = message.properties ?? {}
    let failure: { cause: unknown } | undefined
    let payload: Payload = ''
    let userProperties: [string, string][] | undefined
    try {
      payload = validate.payloadBytes((await handler(message)) ?? '', 'response')
    } catch (cause) {
      failure = { cause }
      const text = String((cause as Error | undefined)?.message ?? cause)
      // U+0000 and lone surrogates cannot be sent.
      const encoded = validate.encoder.encode(text.slice(0, LONGEST_ERROR).replaceAll('\0', ''))
      userProperties = [[ERROR, decoder.decode(encoded)]]
    }
    if (responseTopic !== undefined) {
      const { qos } = message
      const properties = { correlationData, userProperties }
      await this.#client
        .publish(responseTopic, payload, { qos, properties })
        .catch((error) => this.#life.emitter.report(error))
    }
    if (failure !== undefined) throw failure.cause
  }
}
