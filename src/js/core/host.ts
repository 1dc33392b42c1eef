import type { CoreHost, Resolved } from '#glue'
import type { ErrorFields } from '../errors.js'
import { LONGEST_TIMEOUT, task } from '../platform.js'
import type { UserProperties } from '../types/basics.js'
import type { WebSocketLike } from '../types/connecting.js'
import { view } from '../validate.js'
import type { Attempt } from './attempt.js'
import type { Delivery } from './delivery.js'
import type { CoreHandle } from './handle.js'
import { memoryBytes } from './instance.js'
import { Reassembly } from './reassembly.js'
import type { Records } from './records.js'
import type { Turn } from './turn.js'

const NONE = new Uint8Array()

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
  /** The socket message that records point into. */
  #chunk: Uint8Array = NONE
  #reassembly: Reassembly | undefined
  #rest: Uint8Array = NONE
  #timer: ReturnType<typeof setTimeout> | undefined

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
    const chunk = view(event.data)
    return chunk === undefined ? -1 : this.#show(chunk, at, room)
  }

  keep(offset: number, missing: number): void {
    this.#reassembly = new Reassembly(this.#chunk.subarray(offset), missing)
  }

  gather(event: { data: unknown }, at: number, room: number): number {
    const chunk = view(event.data)
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

  guard(call: (value: any) => void): (value: any) => void {
    return (value) => {
      if (this.#handle.core === undefined) return
      // An 'error' event of Node's sockets says what browsers keep to themselves.
      if (value?.error !== undefined) this.#attempt.cause = value.error
      if (value?.reason) this.#attempt.closeReason = value.reason
      try {
        call(value)
      } catch (thrown) {
        this.#handle.trap(thrown)
      }
    }
  }

  timer(delay: number): void {
    clearTimeout(this.#timer)
    if (delay < 0) return
    const wait = Math.min(delay, LONGEST_TIMEOUT)
    this.#due = this.now() + wait
    this.#timer = setTimeout(this.#onTimer, wait)
  }

  later(): void {
    task(() => this.#handle.run((core) => core.resume()))
  }

  wake(): void {
    this.#turn.wake()
  }

  follow(promise: Promise<unknown>, attempt: number, asked: number): void {
    promise.then(
      (value) => this.#handle.run((core) => core.settle(attempt, asked, true, value)),
      () => this.#handle.run((core) => core.settle(attempt, asked, false, undefined)),
    )
  }

  resolve(attempt: number, error: ErrorFields | undefined): Promise<Resolved> {
    this.#reassembly = undefined
    return this.#attempt.resolve(attempt, error)
  }

  open(url: string): Promise<WebSocketLike> {
    return this.#attempt.open(url)
  }

  get protocols(): string[] {
    return this.#attempt.protocols
  }

  get owns(): boolean {
    return this.#attempt.owns
  }

  shut(force: boolean): void {
    this.#attempt.shut(force)
  }

  authenticate(
    reauthentication: boolean,
    first: boolean,
    challenge: Uint8Array | undefined,
    properties: { reasonString?: string; userProperties?: UserProperties },
  ): Promise<Uint8Array | undefined> {
    return this.#attempt.authenticate(reauthentication, first, challenge, properties)
  }

  load(): Promise<Uint8Array[]> {
    return this.#attempt.keeper!.load()
  }

  store(changes: (number | Uint8Array | null)[]): Promise<void> {
    return this.#attempt.keeper!.write(changes)
  }

  retry(error: ErrorFields, attempt: number): boolean | undefined {
    return this.#attempt.retry(error, attempt)
  }

  /** Makes a chunk the current one, and copies it if there is room for it. */
  #show(chunk: Uint8Array, at: number, room: number): number {
    this.#chunk = chunk
    if (chunk.length <= room) memoryBytes().set(chunk, at)
    return chunk.length
  }

  readonly #onTimer = (): void => {
    // Where timers are mocked and `performance` is not, the client goes by the timers. Real ones are never early by more.
    const early = this.#due - this.now()
    if (early > 5) this.#ahead += early
    this.#handle.run((core) => core.timeout())
  }
}
