// One client of the core and its connections, one after the other.
import {
  type Authenticator,
  Client,
  type ConnectInfo,
  type Message,
  type MqttError,
  type WebSocketLike,
} from '../api.js'
import { type Link, Trace } from './links.js'
import { coreOptions, coreWill, type IClientOptions, isIPv6 } from './options.js'
import type { IConnackPacket, Packet } from './packets.js'

/** What a Line tells its client, and needs of it. */
export interface LineHost {
  readonly options: IClientOptions
  /** Whether somebody listens to 'packetreceive'. */
  readonly showsReceived: boolean
  /** Whether somebody listens to 'packetsend'. */
  readonly showsSent: boolean
  readonly authenticator: Authenticator | undefined
  /** Makes the socket of one attempt. */
  makeLink(trace: Trace): Link
  packetReceived(packet: Packet): void
  packetSent(packet: Packet): void
  messageReceived(message: Message, line: Line): void
  /** The server has accepted the connection. */
  accepted(packet: IConnackPacket, info: ConnectInfo): void
  /** A connection, or an attempt at one, is over. `willRetry`: `retryTimer` runs. */
  lost(loss: Loss): void
  /** An attempt after the first begins. */
  retrying(): void
  /** The core's client is closed: this line is over. */
  closed(error: MqttError | undefined): void
  /** Something went wrong that belongs to no call. */
  failed(error: MqttError): void
  /** The options have another client identifier than this line: it is over, and another one begins with this link. */
  renewed(link: Link, trace: Trace): void
}

/** How a connection ended. */
export interface Loss {
  error: MqttError
  willRetry: boolean
  /** Whether there was a socket. */
  hadLink: boolean
  connack: IConnackPacket | undefined
}

/** Milliseconds, the longest that timers can do: the core waits until the line's own timer makes it try again. */
const FOR_EVER = 0x7fff_ffff

/** A client of the core. It takes its sockets from the options, as they are at each attempt. */
export class Line {
  readonly core: Client
  /** As it came, of the current connection or of the one that refused. */
  connack: IConnackPacket | undefined
  /** For the next attempt. The application may change `reconnectPeriod` between two. */
  retryTimer: ReturnType<typeof setTimeout> | undefined
  readonly #host: LineHost
  /** For the attempt that the core makes next. */
  #prepared: { link: Link; trace: Trace } | undefined
  #link: Link | undefined
  #trace: Trace | undefined
  #isOver = false
  /** Whether the end of this connection was told. */
  #isTold = false

  /** `prepared`: the socket of the first attempt. Throws for options that cannot be used. */
  constructor(host: LineHost, prepared: { link: Link; trace: Trace }) {
    this.#host = host
    this.#prepared = prepared
    const options = coreOptions(host.options, FOR_EVER, host.authenticator, () => this.#socket())
    this.core = new Client(shownUrl(host.options), options)
    this.#listen()
  }

  /** Connects, or tries again now. */
  dial(prepared?: { link: Link; trace: Trace }): void {
    this.#prepared ??= prepared
    this.#clearTimer()
    this.core.connect().catch((error: MqttError) => {
      // Without reconnecting, a failed first attempt leads back to 'idle' and is told nowhere else.
      if (!this.#isOver && this.core.state === 'idle') this.#lost(error, false)
    })
  }

  /** No more word of it. */
  leave(): void {
    this.#isOver = true
    this.#clearTimer()
    this.#prepared?.link.stream.destroy()
    this.#prepared = undefined
  }

  /** The packet identifier of the message that is being delivered, of QoS 1 or 2. */
  takeIdentifier(): number | undefined {
    return this.#trace?.takeIdentifier()
  }

  /** Whether there is a socket, or an attempt at one. */
  get hasLink(): boolean {
    return this.#link !== undefined
  }

  /** Stops reading from the socket, or reads on. */
  pause(paused: boolean): void {
    if (paused) this.#link?.pause()
    else this.#link?.resume()
  }

  async #socket(): Promise<WebSocketLike> {
    const { options } = this.#host
    const { clientId, will } = options
    let next = this.#prepared
    this.#prepared = undefined
    if (next === undefined) {
      next = this.makeLink()
      if (options.clientId !== clientId) {
        this.#host.renewed(next.link, next.trace)
        throw new Error('The client identifier has changed')
      }
      if (options.will !== will) this.core.will = coreWill(options.will)
    }
    this.#link = next.link
    this.#trace = next.trace
    return next.link.socket
  }

  /** Makes the socket of one attempt and what reads along. */
  makeLink(): { link: Link; trace: Trace } {
    return openLink(this.#host, (connack) => (this.connack = connack))
  }

  #listen(): void {
    const { core } = this
    const host = this.#host
    const mine =
      <A extends unknown[]>(listener: (...args: A) => void) =>
      (...args: A): void => {
        if (!this.#isOver) listener(...args)
      }
    // Without `mine`, which costs as much as all else that happens to a message here.
    core.on('message', (message) => {
      if (!this.#isOver) host.messageReceived(message, this)
    })
    core.on(
      'connect',
      mine((info) => this.#accepted(info)),
    )
    core.on(
      'disconnect',
      mine((error, willRetry) => {
        this.#isTold = true
        this.#lost(error, willRetry)
      }),
    )
    core.on(
      'reconnecting',
      mine(({ error }) => {
        if (!this.#isTold) this.#lost(error, true)
        this.#isTold = false
      }),
    )
    core.on(
      'state',
      mine((state, previous) => {
        if (state !== 'connecting' || previous === 'idle') return
        this.#isTold = false
        this.connack = undefined
        host.retrying()
      }),
    )
    core.on(
      'close',
      mine((error) => {
        this.#isOver = true
        this.#clearTimer()
        if (!this.#isTold && error !== undefined) this.#lost(error, false)
        host.closed(error)
      }),
    )
    core.on('error', (error) => host.failed(error))
  }

  #accepted(info: ConnectInfo): void {
    this.#isTold = false
    const isFive = this.#host.options.protocolVersion === 5
    const packet: IConnackPacket = this.connack ?? {
      cmd: 'connack',
      sessionPresent: info.sessionPresent,
      ...(isFive ? { reasonCode: 0 } : { returnCode: 0 }),
    }
    this.#host.accepted(packet, info)
  }

  #lost(error: MqttError, willRetry: boolean): void {
    const { connack } = this
    const period = this.#host.options.reconnectPeriod!
    const hadLink = this.hasLink
    this.#link = undefined
    if (willRetry && period > 0) {
      this.#clearTimer()
      this.retryTimer = setTimeout(() => this.dial(), period)
    }
    if (error.code !== 'CONNECTION_REFUSED') this.connack = undefined
    this.#host.lost({ error, willRetry, hadLink, connack })
  }

  #clearTimer(): void {
    clearTimeout(this.retryTimer)
    this.retryTimer = undefined
  }
}

/** Makes the socket of one attempt. `onConnack` gets the CONNACK as it came. */
export function openLink(
  host: LineHost,
  onConnack: (packet: IConnackPacket) => void,
): { link: Link; trace: Trace } {
  const { options } = host
  const trace = new Trace(
    {
      get showsReceived() {
        return host.showsReceived
      },
      get showsSent() {
        return host.showsSent
      },
      get maximumPacketSize() {
        return options.properties?.maximumPacketSize ?? Infinity
      },
      received: (packet) => {
        if (packet.cmd === 'connack') onConnack(packet)
        host.packetReceived(packet)
      },
      sent: (packet) => host.packetSent(packet),
    },
    options.protocolVersion!,
  )
  return { link: host.makeLink(trace), trace }
}

/** For texts only: the socket is made from the options. */
function shownUrl({ protocol = 'mqtt', hostname, host, port }: IClientOptions): string {
  const name = hostname ?? host ?? 'stream'
  return `${protocol}://${isIPv6(name) ? `[${name}]` : name}${port ? `:${port}` : ''}/`
}
