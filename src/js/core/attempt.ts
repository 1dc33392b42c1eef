import type { Resolved } from '#glue'
import { type Address, addresses } from '../address.js'
import type { Emitter } from '../emitter.js'
import { type AnyMqttError, mqttError, withTransportCause } from '../errors.js'
import { checkCredential, checkHeaders, type Settings } from '../options.js'
import { atLatest, platform, soon, task, timer } from '../platform.js'
import type { UserProperties } from '../types/basics.js'
import type {
  AttemptContext,
  BrokerUrl,
  Resolvable,
  TransportContext,
  WebSocketLike,
} from '../types/connecting.js'
import * as validate from '../validate.js'
import { type ErrorFields, kind } from '../wording.js'
import { Keeper } from './keeper.js'

/** What the application and the runtime add to one attempt to connect: servers, credentials, the socket, answers to challenges, a verdict. */
export class Attempt {
  readonly #url: BrokerUrl
  readonly #settings: Settings
  readonly #emitter: Emitter
  /** Of a client with a store. */
  readonly keeper: Keeper | undefined
  /** Of a URL that is not a function. */
  readonly #addresses: Address[] | undefined
  #course: Course | undefined
  #socket: Transport | undefined
  /** The socket that was there last. */
  #last: Transport | undefined
  #headers: Record<string, string> | undefined
  /** What a socket delivered instead of bytes. */
  #delivered: string | undefined
  /** What the application or the runtime threw at this attempt. */
  cause: unknown
  /** Why the socket was closed, as its close event said. */
  closeReason: string | undefined

  /** Throws what is wrong with the URL. */
  constructor(url: BrokerUrl, settings: Settings, emitter: Emitter) {
    this.#url = url
    this.#settings = settings
    this.#emitter = emitter
    const { store, clientId } = settings
    this.keeper = store && new Keeper(store, clientId!)
    if (typeof url !== 'function') this.#addresses = addresses(url, this.owns)
  }

  get protocols(): string[] {
    return this.#settings.protocols
  }

  /** A socket of the application may keep what it is given to send. */
  get owns(): boolean {
    return this.#settings.transport !== undefined
  }

  /** Begins an attempt. */
  resolve(attempt: number, error: ErrorFields | undefined): Promise<Resolved> {
    // It has the cause of the attempt before this one.
    const lastError = error && this.error(error)
    this.#giveUp()
    this.cause = this.closeReason = this.#delivered = undefined
    const course = (this.#course = new Course())
    let made: AttemptContext | undefined
    const context = () => (made ??= { attempt, lastError, signal: course.signal })
    const { username, password, headers } = this.#settings
    return this.#promised(async () => {
      const asked = [
        resolved(this.#url, context),
        resolved(username, context),
        resolved(password, context),
        resolved(headers, context),
      ] as const
      // As a rule there is nothing to wait for.
      const [url, user, word, more] = asked.some(validate.isThenable)
        ? await Promise.all(asked)
        : (asked as { [I in keyof typeof asked]: Awaited<(typeof asked)[I]> })
      const list = this.#addresses ?? addresses(url, this.owns)
      if (user !== undefined) checkCredential('username', user)
      if (word !== undefined) checkCredential('password', word)
      if (more !== undefined) checkHeaders(more)
      this.#headers = more
      const found: Resolved = [typeof username === 'function' || typeof password === 'function']
      for (const each of list) {
        const own = word ?? each.password
        found.push(
          each.url,
          user ?? each.username,
          own === undefined ? own : validate.payloadBytes(own, 'password'),
        )
      }
      return found
    })
  }

  open(url: string): Promise<WebSocketLike> {
    // A second socket of the same attempt, where the server did not speak the protocol version of the first.
    const course = (this.#course ??= new Course())
    const { transport, protocols, tls } = this.#settings
    const context: TransportContext = {
      protocols,
      headers: this.#headers,
      tls,
      get signal() {
        return course.signal
      },
    }
    return this.#promised(async () => {
      const socket: Transport = await (transport ?? platform.open)(new URL(url), context)
      validate.func(socket?.send, 'transport')
      if (this.#course !== course) {
        close(socket, false)
        throw new Error('The attempt was given up')
      }
      if (transport !== undefined) socket.binaryType = 'arraybuffer'
      this.#socket = this.#last = socket
      // What a Content-Security-Policy forbids fires no 'close' in Chromium.
      if (!platform.native)
        socket.addEventListener?.('error', () => {
          if (socket.readyState !== CLOSED) return
          task(() => {
            if (this.#socket === socket) this.cause = forbidden()
            socket.onclose?.({ code: 1006 })
          })
        })
      return socket
    })
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
      return data === undefined ? data : validate.binary(data, 'authentication data')
    })
  }

  retry(error: ErrorFields, attempt: number): boolean | undefined {
    const { shouldRetry } = this.#settings
    if (shouldRetry === undefined) return undefined
    try {
      return Boolean(shouldRetry(this.error(error), attempt))
    } catch (cause) {
      soon(() => this.#emitter.failed('reconnect.shouldRetry threw', cause))
      return undefined
    }
  }

  /** Closes the socket, and ends the attempt. */
  shut(force: boolean): void {
    const socket = this.#socket
    this.#socket = undefined
    this.#giveUp()
    if (socket !== undefined) close(socket, force)
  }

  /** Calls `done` when the transport has written everything or is gone, after `patience` ms at the latest, or when nobody waits any more. */
  whenWritten(done: () => void, patience: number, isAwaited: () => boolean): void {
    const socket = this.#last
    if (socket === undefined || patience === 0) {
      done()
      return
    }
    const finish = atLatest(patience, done)
    if (socket.whenWritten !== undefined) {
      socket.whenWritten(finish)
      return
    }
    // Browsers tell nobody when the buffer is empty.
    const look = () => {
      let full = false
      tolerate(() => (full = socket.bufferedAmount > 0 && socket.readyState < CLOSED))
      if (full && isAwaited()) timer(look, POLL)
      else finish()
    }
    look()
  }

  /** Closes the socket without hearing of it any more: its handlers belong to an instance that trapped. */
  abandon(): void {
    const socket = this.#socket
    if (socket !== undefined)
      tolerate(() => (socket.onopen = socket.onmessage = socket.onclose = null))
    this.shut(true)
  }

  /** Remembers that a socket delivered what are no bytes. */
  delivered(data: unknown): void {
    if (typeof data !== 'string') this.#delivered = kind(data)
  }

  /** An error of the core, with what the application or the runtime threw as its cause where that explains it. */
  error(fields: ErrorFields): AnyMqttError {
    const { code, cause } = fields
    if (code === 'STORE_FAILED') return mqttError(this.keeper!.explain(fields))
    if (code === 'PROTOCOL_ERROR' && this.#delivered !== undefined) {
      const sentence = `The transport delivered a ${this.#delivered}: it must heed its binaryType, 'arraybuffer'`
      return mqttError({ ...fields, sentence })
    }
    const thrown =
      code === 'CONNECTION_FAILED' || code === 'CONNECTION_LOST' || code === 'AUTHENTICATION_FAILED'
    if (thrown) return mqttError(withTransportCause(fields, this.cause, this.closeReason))
    return mqttError(cause ? { ...fields, cause: mqttError(cause as ErrorFields) } : fields)
  }

  /** Does what the core waits for, begun when the core has returned: the application's functions may call the client. */
  async #promised<T>(work: () => Promise<T>): Promise<T> {
    const course = this.#course
    try {
      await undefined
      return await work()
    } catch (cause) {
      if (this.#course === course) this.cause = cause
      throw cause
    }
  }

  #giveUp(): void {
    this.#course?.end()
    this.#course = undefined
  }
}

/** How long an attempt and its connection last. The signal of their end is made when somebody asks for it: it takes more memory than the rest. */
class Course {
  #controller: AbortController | undefined
  #isOver = false

  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#isOver) this.#controller.abort()
    return this.#controller.signal
  }

  end(): void {
    // In a microtask: its listeners are the application's, and the core is on the stack.
    if (this.#controller !== undefined) soon(() => this.#controller!.abort())
    this.#isOver = true
  }
}

/** Milliseconds between two looks at the buffer of a transport. */
const POLL = 4
/** The `readyState` of a socket that is closed. */
const CLOSED = 3

/** Explains the ConnectError, as a TransportError of transports/failure.ts does. */
const forbidden = () =>
  Object.assign(
    new Error('the page may not connect to it: a Content-Security-Policy lacks it in connect-src'),
    { fields: { what: undefined, retryable: false } },
  )

/** A socket, with what Node's have on top. */
type Transport = WebSocketLike & {
  addEventListener?(type: string, listener: () => void): void
  terminate?(): void
  whenWritten?(done: () => void): void
}

function close(socket: Transport, force: boolean): void {
  // Node's sockets report that they were closed while opening, and end the process where nobody listens.
  tolerate(() => (socket.onerror = () => {}))
  tolerate(() => (force && socket.terminate !== undefined ? socket.terminate() : socket.close()))
}

/** Does something to a socket of the application, which may throw: there is nothing left that could be done about it. */
export function tolerate(work: () => void): void {
  try {
    work()
  } catch {}
}

function resolved<T>(
  value: Resolvable<T> | undefined,
  context: () => AttemptContext,
): T | undefined | Promise<T> {
  return typeof value === 'function'
    ? (async () => (value as (context: AttemptContext) => T | Promise<T>)(context()))()
    : value
}
