/// <reference lib="esnext.disposable" preserve="true" />
// The broker of src/broker on the clock of the test, and the connections to it.
import * as glue from '#broker-glue'
import wasm from '#broker-wasm'
import {
  type CallOptions,
  type ConnectOptions,
  Message,
  type MessageProperties,
  type MqttError,
  type Payload,
  type PublishOptions,
} from '../index.js'
import {
  aborted,
  boolean,
  brokerOptions,
  bytes,
  checked,
  closed,
  invalid,
  messageProperties,
  mistake,
  optional,
  pick,
  string,
  timedOut,
  whole,
} from './arguments.js'
import { MemorySocket } from './memory-socket.js'
import { testingPlatform } from './platform.js'
import type {
  BrokerClient,
  BrokerListener,
  BrokerPacket,
  FarEnd,
  NearEnd,
  PacketMatch,
  TestBrokerOptions,
} from './types.js'

const asyncDispose: typeof Symbol.asyncDispose =
  Symbol.asyncDispose ?? (Symbol.for('Symbol.asyncDispose') as never)

// setTimeout's limit, about 25 days: longer ones would fire at once.
const LONGEST = 0x7fff_ffff

let isLoaded = false

function load(): void {
  if (isLoaded) return
  glue.initSync({ module: wasm() })
  isLoaded = true
}

/**
 * A broker for tests and demos, in the same page or process: MQTT 5.0 and 3.1.1 with sessions, QoS 0 to 2, retained messages, wills, shared
 * subscriptions, and faults on demand. It is no server for production: nothing is stored, and nothing is protected.
 *
 * Its clock is that of the test: fake timers move its keep-alive, delays and expiry, and no message waits for a timer.
 *
 * @example
 * const broker = new TestBroker()
 * const client = await connect('ws://broker', { transport: broker.transport })
 * broker.publish('a', 'hello')
 * broker.drop()
 */
export class TestBroker implements AsyncDisposable {
  /** For `transport` of connect(): connections that need no network, in every runtime. The URL is not looked at. */
  readonly transport: NonNullable<ConnectOptions['transport']>
  readonly #core: glue.Broker
  readonly #ends = new Map<number, FarEnd>()
  readonly #listeners = new Set<BrokerListener>()
  readonly #tickets = new Set<number>()
  #lastTicket = 0
  #timer: ReturnType<typeof setTimeout> | undefined
  /** When the timer fires. */
  #armed: number | undefined
  /** Milliseconds by which fake timers are ahead of the clock. */
  #ahead = 0
  /** Milliseconds. */
  #delay = 0
  #packets: readonly BrokerPacket[] = []
  #nextPacket = 0
  #isClosed = false

  /** Makes a broker without clients. @throws InvalidArgumentError that names the option. */
  constructor(options: TestBrokerOptions = {}) {
    load()
    const given = brokerOptions(options)
    this.#core = checked(() => new glue.Broker(given, performance.now(), Math.random()))
    this.transport = (_url, context) => new MemorySocket((end) => this.#accept(end), context)
  }

  /**
   * Also takes connections on loopback, for other programs and pages. In Node, Deno and Bun.
   *
   * @param options `port`: for WebSockets, default 0: any that is free. `tcp`: for plain MQTT; left out: none.
   * @throws NotSupportedError in browsers; whatever the runtime says of a port that is taken.
   */
  async listen(options: { port?: number; tcp?: number } = {}): Promise<BrokerListener> {
    const { port = 0, tcp } = pick(options, 'options', ['port', 'tcp'])
    const listener = await testingPlatform.listen((end) => this.#accept(end), { port, tcp })
    this.#listeners.add(listener)
    return {
      url: listener.url,
      tcpUrl: listener.tcpUrl,
      close: () => {
        this.#listeners.delete(listener)
        return listener.close()
      },
    }
  }

  /** The clients that are connected or have a session, in the order in which their sessions began. */
  get clients(): ReadonlyArray<BrokerClient> {
    return this.#core.clients()
  }

  /** The retained messages by topic. */
  get retained(): ReadonlyMap<string, Message> {
    const messages = this.#core.retained(this.#now())
    return new Map(
      messages.map(({ topic, payload, qos, retain, properties }) => [
        topic,
        new Message(topic, payload, qos, retain, false, properties as MessageProperties),
      ]),
    )
  }

  /** What clients sent and got, oldest first: the last 10,000 packets, 16 MiB at most. */
  get packets(): ReadonlyArray<BrokerPacket> {
    const [first = 0, next = 0] = this.#core.packetNumbers()
    if (next !== this.#nextPacket) {
      const kept = this.#packets.filter(({ number }) => number >= first)
      this.#packets = [...kept, ...this.#core.packets(this.#nextPacket)]
      this.#nextPacket = next
    }
    return this.#packets
  }

  /** Publishes a message as if a client had. @throws InvalidArgumentError that names the argument. */
  publish(topic: string, payload?: Payload | null, options: PublishOptions = {}): void {
    const {
      qos = 0,
      retain = false,
      properties,
    } = pick(options, 'options', ['qos', 'retain', 'properties', 'signal', 'timeout'])
    const message = {
      ...{ topic: string(topic, 'topic'), payload: bytes(payload), qos: whole(qos, 'qos', 1) },
      retain: boolean(retain, 'retain'),
      properties: messageProperties(properties ?? {}),
    }
    this.#do((now) => this.#core.publish(now, message))
  }

  /**
   * Resolves with the first packet that fits, past or future: what is still in `packets` counts.
   *
   * @throws TimeoutError, AbortError; ClosedError when the broker is disposed of first.
   */
  async expect(match: PacketMatch, options: CallOptions = {}): Promise<BrokerPacket> {
    const { signal, timeout } = pick(options, 'options', ['signal', 'timeout'])
    const { type, clientId, topic } = pick(match, 'match', ['type', 'clientId', 'topic'])
    const wanted = {
      type: string(type, 'match'),
      clientId: optional(clientId, 'clientId'),
      topic: optional(topic, 'topic'),
    }
    if (signal?.aborted) throw aborted(signal)
    if (this.#isClosed) throw closed()
    const ticket = ++this.#lastTicket
    this.#tickets.add(ticket)
    let reason: MqttError | undefined
    const withdraw = (error: MqttError) => {
      reason = error
      this.#core.withdraw(ticket)
    }
    const onAbort = () => withdraw(aborted(signal!))
    signal?.addEventListener('abort', onAbort)
    const timer =
      timeout === undefined
        ? undefined
        : setTimeout(() => withdraw(timedOut(timeout, wanted.type)), Math.min(timeout, LONGEST))
    try {
      const found = await this.#core.expect(wanted, ticket)
      if (found === undefined) throw reason ?? closed()
      return found
    } catch (thrown) {
      throw mistake(thrown) ?? thrown
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
      this.#tickets.delete(ticket)
    }
  }

  // ------------------------------------------------------------------------------------------------ faults

  /** Ends the connection of a client, or all, without a word, as when the network fails. Wills are published. */
  drop(clientId?: string): void {
    this.#do((now) => this.#core.drop(now, optional(clientId, 'clientId')))
  }

  /**
   * Makes the connection of a client, or all that there are, half open: nothing passes in either direction, and neither side is told. Keep-alive goes on.
   *
   * @returns what lets them go on; what was sent meanwhile arrives then.
   */
  freeze(clientId?: string): () => void {
    const connections = this.#core.freeze(optional(clientId, 'clientId'))
    return () => this.#do((now) => this.#core.thaw(now, connections))
  }

  /** Ends the connection of a client, or all, with a DISCONNECT; on MQTT 3.1.1 without one. @throws InvalidArgumentError for a code that a server does not send. */
  disconnect(reasonCode: number, clientId?: string): void {
    const [code, client] = [whole(reasonCode, 'reasonCode', 1), optional(clientId, 'clientId')]
    this.#do((now) => this.#core.disconnect(now, code, client))
  }

  /** Refuses every CONNECT from now on; undefined: no more. @throws InvalidArgumentError for a code that does not refuse. */
  refuse(reasonCode: number | undefined): void {
    const code = reasonCode === undefined ? undefined : whole(reasonCode, 'reasonCode', 1)
    this.#do(() => this.#core.refuse(code))
  }

  /** Loses the session of a client, or all: subscriptions and messages are gone. A client that is connected is not told; its next CONNECT finds no session. */
  loseSession(clientId?: string): void {
    this.#do(() => this.#core.loseSession(optional(clientId, 'clientId')))
  }

  /**
   * Does not authorize topics, in addition to what is denied already: messages that the filter `publish` matches are refused (on MQTT 3.1.1 and at QoS 0 they
   * are dropped), and so are subscriptions to all of what is below the filter `subscribe`. An empty rule takes all rules back.
   *
   * @throws InvalidArgumentError for what is no topic filter.
   */
  deny(rule: { publish?: string; subscribe?: string }): void {
    const { publish, subscribe } = pick(rule, 'rule', ['publish', 'subscribe'])
    const given = {
      publish: optional(publish, 'publish'),
      subscribe: optional(subscribe, 'subscribe'),
    }
    this.#do(() => this.#core.deny(given))
  }

  /**
   * Cuts the connection of a client, or all, when so many more bytes have passed, in both directions together: in the middle of a packet, where that is so.
   * Without such a connection the next one is meant, and counted from its beginning.
   */
  cutAfter(bytes: number, clientId?: string): void {
    if (!(bytes >= 0)) throw invalid('bytes', 'must be a number of at least 0')
    this.#do((now) => this.#core.cutAfter(now, bytes, optional(clientId, 'clientId')))
  }

  /** Delays everything that the broker sends from now on; 0: no more. */
  delay(ms: number): void {
    if (!(ms >= 0)) throw invalid('ms', 'must be a number of at least 0')
    this.#delay = ms
    this.#do(() => this.#core.delay(ms))
  }

  /** Drops all connections, closes the ports, and rejects what waits. */
  async [asyncDispose](): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    clearTimeout(this.#timer)
    for (const end of this.#ends.values()) end.end('drop')
    this.#ends.clear()
    for (const ticket of this.#tickets) this.#core.withdraw(ticket)
    await Promise.all([...this.#listeners].map((listener) => listener.close()))
  }

  // ------------------------------------------------------------------------------------------------ connections and time

  #accept(end: FarEnd): NearEnd {
    if (this.#isClosed) {
      end.end('drop')
      return { input: () => {}, text: () => {}, closed: () => {} }
    }
    const id = this.#core.open(this.#now())
    this.#ends.set(id, end)
    this.#flush()
    return {
      input: (data) => this.#do((now) => this.#core.input(now, id, data)),
      text: () => this.#do((now) => this.#core.text(now, id)),
      closed: () => {
        this.#ends.delete(id)
        this.#do((now) => this.#core.closed(now, id))
      },
    }
  }

  #now(): number {
    return performance.now() + this.#ahead
  }

  #do(work: (now: number) => void): void {
    if (this.#isClosed) return
    checked(() => work(this.#now()))
    this.#flush()
  }

  #flush(): void {
    for (;;) {
      const transmit = this.#core.transmit(this.#now())
      if (transmit === undefined) break
      const { connection, bytes: data, end = 'drop' } = transmit
      const far = this.#ends.get(connection)
      if (data !== undefined) {
        far?.receive(data)
      } else {
        this.#ends.delete(connection)
        far?.end(end)
      }
    }
    this.#arm()
  }

  #arm(): void {
    const next = this.#core.nextTimeout()
    if (next !== this.#armed) this.#set(next)
    // What is on its way keeps a process alive, and nothing else here does.
    const timer = this.#timer as { ref?(): void; unref?(): void } | undefined
    if (this.#delay > 0 && this.#ends.size > 0) timer?.ref?.()
    else timer?.unref?.()
  }

  #set(next: number | undefined): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#armed = next
    if (next === undefined) return
    const wait = Math.max(0, next - this.#now())
    const time = wait > LONGEST ? 0 : next
    this.#timer = setTimeout(() => this.#fire(time), Math.min(wait, LONGEST))
  }

  #fire(time: number): void {
    this.#armed = undefined
    // Fake timers move without the clock.
    this.#ahead = Math.max(this.#ahead, time - performance.now())
    this.#core.timeout(this.#now())
    this.#flush()
  }
}
