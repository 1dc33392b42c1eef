import type { Resolved } from '#glue'
import { type Address, addresses } from '../address.js'
import type { Emitter } from '../emitter.js'
import { type AnyMqttError, type ErrorFields, mqttError, withTransportCause } from '../errors.js'
import { checkCredential, checkHeaders, type Settings } from '../options.js'
import { platform, soon } from '../platform.js'
import type { UserProperties } from '../types/basics.js'
import type {
  AttemptContext,
  BrokerUrl,
  Resolvable,
  TransportContext,
  WebSocketLike,
} from '../types/connecting.js'
import * as validate from '../validate.js'
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
  #controller: AbortController | undefined
  #socket: WebSocketLike | undefined
  #headers: Record<string, string> | undefined
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
    this.#giveUp()
    this.cause = this.closeReason = undefined
    const { signal } = (this.#controller = new AbortController())
    const context: AttemptContext = { attempt, lastError: error && this.error(error), signal }
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
            password: own === undefined ? own : validate.payloadBytes(own, 'password'),
          }
        }),
      }
    })
  }

  open(url: string): Promise<WebSocketLike> {
    // A second socket of the same attempt, where the server did not speak the protocol version of the first.
    const controller = (this.#controller ??= new AbortController())
    const { transport, protocols, tls } = this.#settings
    const { signal } = controller
    const context: TransportContext = { protocols, headers: this.#headers, tls, signal }
    return this.#promised(async () => {
      const socket = await (transport ?? platform.open)(new URL(url), context)
      validate.func(socket?.send, 'transport')
      if (this.#controller !== controller) {
        close(socket, false)
        throw new Error('The attempt was given up')
      }
      if (transport !== undefined) socket.binaryType = 'arraybuffer'
      this.#socket = socket
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

  /** Closes the socket without hearing of it any more: its handlers belong to an instance that trapped. */
  abandon(): void {
    const socket = this.#socket
    if (socket !== undefined)
      tolerate(() => (socket.onopen = socket.onmessage = socket.onclose = null))
    this.shut(true)
  }

  /** An error of the core, with what the application or the runtime threw as its cause where that explains it. */
  error(fields: ErrorFields): AnyMqttError {
    const { code } = fields
    if (code === 'STORE_FAILED') return mqttError(this.keeper!.explain(fields))
    const thrown =
      code === 'CONNECTION_FAILED' || code === 'CONNECTION_LOST' || code === 'AUTHENTICATION_FAILED'
    return mqttError(thrown ? withTransportCause(fields, this.cause, this.closeReason) : fields)
  }

  /** Does what the core waits for, begun when the core has returned: the application's functions may call the client. */
  async #promised<T>(work: () => Promise<T>): Promise<T> {
    const controller = this.#controller
    try {
      await undefined
      return await work()
    } catch (cause) {
      if (this.#controller === controller) this.cause = cause
      throw cause
    }
  }

  #giveUp(): void {
    const controller = this.#controller
    this.#controller = undefined
    // In a microtask: its listeners are the application's, and the core is on the stack.
    soon(() => controller?.abort())
  }
}

function close(socket: WebSocketLike & { terminate?(): void }, force: boolean): void {
  // Node's sockets report that they were closed while opening, and end the process where nobody listens.
  tolerate(() => (socket.onerror = () => {}))
  tolerate(() => (force && socket.terminate !== undefined ? socket.terminate() : socket.close()))
}

/** Does something to a socket of the application, which may throw: there is nothing left that could be done about it. */
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
