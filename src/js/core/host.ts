import type { CoreHost } from '#glue'
import { LONGEST_TIMEOUT, task } from '../platform.js'
import type { UserProperties } from '../types/basics.js'
import type { WebSocketLike } from '../types/connecting.js'
import { view } from '../validate.js'
import type { ErrorFields } from '../wording.js'
import { type Attempt, tolerate } from './attempt.js'
import type { Delivery } from './delivery.js'
import type { CoreHandle } from './handle.js'
import { memoryBytes } from './instance.js'
import { Reassembly } from './reassembly.js'
import type { Records } from './records.js'
import type { Turn } from './turn.js'

const NONE = new Uint8Array()
/** Milliseconds after which the client looks at the clocks, where no page tells that the machine has slept. */
const LOOK = 15_000
/** Milliseconds that the calendar gets ahead of the client's time when the machine has slept: timers and their clock stand still meanwhile. */
const SLEPT = 5_000

// #region what the core asks for, numbers of src/web/link.rs, written by scripts/records.mjs
/** URLs and credentials. */
const RESOLVE = 0
/** A socket. */
const OPEN = 1
/** The records of the store. */
const LOAD = 2
/** That the store keeps changes. */
const STORE = 3
/** An answer of the Authenticator. */
const AUTHENTICATE = 4
// #endregion

/** The `readyState` of a socket that is open. */
const IS_OPEN = 1

/** What Rust calls, by the same names as there. */
export class Host implements CoreHost {
  readonly #handle: CoreHandle
  readonly #turn: Turn
  readonly #attempt: Attempt
  readonly #records: Records
  readonly #delivery: Delivery
  /** What `performance` said last, and how far the client's time is ahead of it: both in ms. */
  #clock = 0
  #ahead = 0
  /** When the timer is due, in the client's time. */
  #due = 0
  /** The socket message that records point into, while it is read: it may be part of a large buffer. */
  #chunk: Uint8Array = NONE
  #reassembly: Reassembly | undefined
  #rest: Uint8Array = NONE
  #socket: WebSocketLike | undefined
  /** A frame for a socket of the application. */
  #frame: Uint8Array | undefined
  #timer: ReturnType<typeof setTimeout> | undefined
  /** Whether the timer keeps the process alive. */
  #awake = true
  /** How far the calendar is ahead of the client's time, in ms. */
  #calendar = Date.now() - performance.now()

  constructor(
    handle: CoreHandle,
    turn: Turn,
    attempt: Attempt,
    records: Records,
    delivery: Delivery,
  ) {
    this.#handle = handle
    this.#turn = turn
    this.#attempt = attempt
    this.#records = records
    this.#delivery = delivery
  }

  read(event: { data: unknown }, at: number, room: number): number {
    const chunk = this.#view(event)
    return chunk === undefined ? -1 : this.#show(chunk, at, room)
  }

  keep(offset: number, missing: number): void {
    this.#reassembly = new Reassembly(this.#chunk.subarray(offset), missing)
  }

  gather(event: { data: unknown }, at: number, room: number): number {
    const chunk = this.#view(event)
    if (chunk === undefined) return -1
    const reassembly = this.#reassembly!
    const rest = reassembly.add(chunk)
    if (rest === undefined) return 0
    this.#rest = rest
    this.#reassembly = undefined
    try {
      return this.#show(reassembly.join(), at, room)
    } catch {
      return -2
    }
  }

  rest(at: number, room: number): number {
    const rest = this.#rest
    this.#rest = NONE
    return this.#show(rest, at, room)
  }

  copy(offset: number, at: number, length: number): void {
    const chunk = this.#chunk
    memoryBytes().set(length === chunk.length ? chunk : chunk.subarray(offset, offset + length), at)
  }

  batch(at: number, words: number): void {
    const { core } = this.#handle
    // Closed: late records are dropped.
    if (core === undefined) return
    this.#turn.delivering = true
    this.#records.read(core, at, words, this.#chunk, this.#delivery)
    this.#turn.delivering = false
    // A handler's call trapped. The instance under this call is dead: leave it.
    if (this.#handle.evicted) throw this.#handle.ended()
  }

  now(): number {
    // Mocks replace the global, and start over from 0: the client's time does not go back.
    const clock = performance.now()
    if (clock < this.#clock) this.#ahead += this.#clock - clock
    this.#clock = clock
    return clock + this.#ahead
  }

  timer(delay: number): void {
    clearTimeout(this.#timer)
    if (delay < 0) return
    const wait = Math.min(delay, isPage() ? LONGEST_TIMEOUT : LOOK)
    this.#due = this.now() + wait
    this.#timer = setTimeout(this.#onTimer, wait)
    this.keepAwake(this.#awake)
  }

  /** Sets whether the timer keeps a Node process alive: where there is a connection, its socket does that. */
  keepAwake(awake: boolean): void {
    this.#awake = awake
    this.#timer?.[awake ? 'ref' : 'unref']?.()
  }

  later(): void {
    // What is left of it is read then.
    const chunk = this.#chunk
    task(() => {
      this.#chunk = chunk
      this.#handle.run((core) => core.resume())
      this.#chunk = NONE
    })
  }

  wake(): void {
    this.#turn.wake()
  }

  /** Calls `settle` with these numbers, and with what comes of the promise. */
  #follow(promise: Promise<unknown>, id: number, asked: number): void {
    const settle = (fulfilled: boolean, value?: unknown) =>
      this.#handle.run((core) => core.settle(id, asked, fulfilled, value))
    promise.then(
      (value) => settle(true, value),
      () => settle(false),
    )
  }

  resolve(id: number, attempt: number, error: ErrorFields | undefined): void {
    this.#reassembly = undefined
    this.#follow(this.#attempt.resolve(attempt, error), id, RESOLVE)
  }

  open(id: number, url: string): void {
    this.#follow(this.#attempt.open(url), id, OPEN)
  }

  listen(socket: WebSocketLike): boolean {
    this.#socket = socket
    hang(socket, this.#onOpen, this.#onMessage, this.#onClose, this.#onError)
    return touch(() => socket.readyState) === IS_OPEN
  }

  ignore(): void {
    const socket = this.#socket
    this.#socket = undefined
    // A socket that is closed before it was open reports an error, and Node ends over one that nobody hears.
    if (socket !== undefined) hang(socket, null, null, null, this.#onError)
  }

  agreed(): boolean {
    // A transport without subprotocols has none to choose.
    const protocol = touch(() => this.#socket?.protocol)
    return !protocol || typeof protocol !== 'string' || this.#attempt.protocols.includes(protocol)
  }

  write(at: number, length: number): boolean {
    const frame = memoryBytes().subarray(at, at + length)
    // The platform's socket copies it before it returns, and calls nobody.
    if (!this.#attempt.owns) return this.#send(frame)
    // A copy by the constructor costs less than slice(), which asks for the species.
    this.#frame = new Uint8Array(frame)
    return true
  }

  flush(): boolean {
    const frame = this.#frame
    this.#frame = undefined
    return frame === undefined || this.#send(frame)
  }

  buffered(): number {
    const socket = this.#socket
    if (socket === undefined) return -1
    const amount: unknown = touch(() => socket.bufferedAmount)
    return typeof amount === 'number' ? Math.max(0, amount) : 0
  }

  shut(force: boolean): void {
    this.#attempt.shut(force)
  }

  authenticate(
    id: number,
    reauthentication: boolean,
    first: boolean,
    challenge: Uint8Array | undefined,
    properties: { reasonString?: string; userProperties?: UserProperties },
  ): void {
    const answer = this.#attempt.authenticate(reauthentication, first, challenge, properties)
    this.#follow(answer, id, AUTHENTICATE)
  }

  load(id: number): void {
    this.#follow(this.#attempt.keeper!.load(), id, LOAD)
  }

  store(changes: (number | Uint8Array | null)[]): void {
    this.#follow(this.#attempt.keeper!.write(changes), 0, STORE)
  }

  retry(error: ErrorFields, attempt: number): boolean | undefined {
    return this.#attempt.retry(error, attempt)
  }

  #send(frame: Uint8Array): boolean {
    try {
      this.#socket?.send(frame as Uint8Array<ArrayBuffer>)
      return true
    } catch {
      return false
    }
  }

  #view({ data }: { data: unknown }): Uint8Array | undefined {
    const bytes = view(data)
    if (bytes === undefined) this.#attempt.delivered(data)
    return bytes
  }

  /** Makes a chunk the current one, and copies it if there is room for it. */
  #show(chunk: Uint8Array, at: number, room: number): number {
    this.#chunk = chunk
    if (chunk.length <= room) memoryBytes().set(chunk, at)
    return chunk.length
  }

  readonly #onOpen = (): void => this.#handle.run((core) => core.opened())

  // Without a closure, which `run` would need for each message.
  readonly #onMessage = (event: MessageEvent): void => {
    const { core } = this.#handle
    if (core === undefined) return
    // What the application does while the core reads may bring another message.
    const before = this.#chunk
    try {
      core.message(event)
    } catch (thrown) {
      this.#handle.trap(thrown)
    }
    this.#chunk = before
  }

  readonly #onClose = (event?: { code?: unknown; reason?: string }): void => {
    if (event?.reason) this.#attempt.closeReason = event.reason
    const code = event?.code
    this.#handle.run((core) => core.closed(typeof code === 'number' ? code : undefined))
  }

  /** The close event that follows says all there is to say, but for what Node's sockets say and browsers keep to themselves. */
  readonly #onError = (event?: { error?: unknown }): void => {
    if (event?.error !== undefined) this.#attempt.cause = event.error
  }

  // A timer that is set while one fires counts as nested, and Chromium delays the fifth of those in a row to once a minute where the page is hidden:
  // too late for keep-alive. In a new task the count starts over.
  readonly #onTimer = (): void => (isPage() ? task(() => this.#fire()) : this.#fire())

  #fire(): void {
    // Where timers are mocked and `performance` is not, the client goes by the timers. Real ones are never early by more.
    const early = this.#due - this.now()
    if (early > 5) this.#ahead += early
    const calendar = Date.now() - this.now()
    const slept = calendar - this.#calendar > SLEPT
    this.#calendar = calendar
    this.#handle.run((core) => {
      if (slept) core.check()
      core.timeout()
    })
  }
}

/** What a socket says. One of the application may throw wherever it is touched. */
function touch<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}

/** Sets the handlers of a socket. One of the application may throw wherever it is touched. */
function hang(
  socket: WebSocketLike,
  onopen: WebSocketLike['onopen'],
  onmessage: WebSocketLike['onmessage'],
  onclose: WebSocketLike['onclose'],
  onerror: WebSocketLike['onerror'],
): void {
  tolerate(() => (socket.onopen = onopen))
  tolerate(() => (socket.onmessage = onmessage))
  tolerate(() => (socket.onclose = onclose))
  tolerate(() => (socket.onerror = onerror))
}

function isPage(): boolean {
  return typeof document !== 'undefined'
}
