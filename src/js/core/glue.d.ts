// The boundary to the core: what wasm-bindgen makes of src/web, typed by hand. The build resolves `#glue`, `#wasm`, `#core` and `#module`.

declare module '#wasm' {
  /** The module's bytes. */
  export default function wasm(): Uint8Array<ArrayBuffer>
}

declare module '#core' {
  /** The core as JavaScript, which scripts/asmjs.mjs makes: takes the imports of the module, and returns its exports. */
  export default function instantiate(imports: object): object
}

declare module '#module' {
  /** The module, compiled by the runtime or its bundler. */
  const module: WebAssembly.Module
  export default module
}

declare module '#glue' {
  type ErrorFields = import('../wording.js').ErrorFields
  type Grant = import('../types/basics.js').Grant
  type PublishResult = import('../types/basics.js').PublishResult
  type UnsubscribeResult = import('../types/basics.js').UnsubscribeResult
  type UserProperties = import('../types/basics.js').UserProperties
  type WebSocketLike = import('../types/connecting.js').WebSocketLike
  type ClientState = import('../types/events.js').ClientState
  type ConnectInfo = import('../types/events.js').ConnectInfo
  type PacketInfo = import('../types/events.js').PacketInfo
  type Stats = import('../types/events.js').Stats

  /** Makes the instance, unless there is one. */
  export function initSync(options: { module: BufferSource | WebAssembly.Module }): unknown
  /** The memory of the instance. */
  export function memory(): WebAssembly.Memory
  /** Throws the instance away and makes a new one of the same module. */
  export function __wbg_reset_state(): void
  /** Whether a topic matches a filter. Throws `{ argument, message }` where one of them is not valid. */
  export function matches(filter: string, topic: string): boolean
  /** The properties of a message, from the bytes that came with it. */
  export function decodeProperties(block: Uint8Array): Record<string, unknown>

  /** Leaves of options: path, value, path, value and so on. */
  export type Leaves = unknown[]

  /**
   * One client's protocol core. Verbs only change state: nothing leaves before `flush()`, and the host is called only out of `flush`, `timeout`,
   * `resume`, `settle`, `opened`, `message` and `closed`. What the core throws is `{ argument, message }` for a mistake of the caller, or a trap.
   */
  export class Core {
    /** `seed` is random, 0 to 1. Throws `{ argument, message }`. */
    constructor(host: CoreHost, seed: number, options: Leaves)
    free(): void

    /** Leaves as in the options, or none. Throws `{ argument, message }`. */
    setWill(will: Leaves | undefined): void

    connect(): void
    /** Gives up the first attempt to connect. */
    abandon(): void
    reconnect(): void
    /** Asks whether the connection lives, or makes the next attempt at once. */
    check(): void
    /** `timeout` in ms. Throws `{ argument, message }`. */
    end(timeout: number, force: boolean, reasonCode: number): void
    /** Everything that the session has to say leaves. */
    flush(): void
    /** The timer has fired. */
    timeout(): void
    /** Goes on with input that waited for the application. */
    resume(): void
    /** The socket is open. */
    opened(): void
    /** A chunk came from the socket. */
    message(event: { data: unknown }): void
    /** The socket is closed. */
    closed(code: number | undefined): void
    /** What came of a promise of the host. */
    settle(attempt: number, asked: number, fulfilled: boolean, value: unknown): void

    /** A property of the next publish, subscribe, unsubscribe or end. */
    property(path: string, value: unknown): void
    /** Gives a topic its number. Throws `{ argument, message }`. */
    topic(topic: string): number
    forgetTopics(): void
    /** The address of scratch for the payload of the next publish; 0: there is no memory. May grow the memory. */
    buffer(length: number): number
    /** 0: in the send buffer, done when `flush` returns; 1: completes by a record; negative: see `refusal`. */
    publish(topic: number, length: number, flags: number, token: number): number
    /** `options`: a byte for each filter, as in SUBSCRIBE. */
    subscribe(token: number, handle: number, filters: string[], options: Uint8Array): number
    unsubscribe(token: number, filters: string[]): number
    unsubscribeHandle(token: number, handle: number): number
    reauthenticate(token: number): number
    drain(token: number): number
    /** Nobody waits for this call any more. */
    cancel(token: number): void
    /** Why the last call returned a negative number. */
    refusal(): ErrorFields

    /** The acknowledgement of this message waits for `ack`. */
    hold(sequence: number): void
    ack(sequence: number, reasonCode: number): number
    /** An event of the batch that is being delivered; each can be taken once. */
    event(index: number): CoreEvent

    /** Remembers the topics of at least so many incoming messages: a topic that is remembered comes with its slot once. */
    reserveTopics(count: number): void
    /** Whether every packet is an event. */
    tap(on: boolean): void
    stats(): Omit<Stats, 'wasmMemoryBytes'>
  }

  /** Events that the core hands over as objects. */
  export type CoreEvent =
    | { type: 'state'; state: ClientState }
    | { type: 'connect'; info: ConnectInfo }
    | { type: 'connectFailed'; error: ErrorFields }
    | { type: 'disconnect'; error: ErrorFields; willReconnect: boolean }
    | { type: 'reconnecting'; attempt: number; delay: number; url: string; error: ErrorFields }
    | { type: 'error'; error: ErrorFields }
    | { type: 'close'; error?: ErrorFields }
    | { type: 'packet'; packet: PacketInfo }
    | CoreAnswer

  /** Events that answer one call, or that end a Subscription. */
  export type CoreAnswer =
    | { type: 'published'; token: number; result: PublishResult }
    | { type: 'failed'; token: number; error: ErrorFields }
    | { type: 'subscribed'; token: number; handle: number; grants: Grant[] }
    | { type: 'unsubscribed'; token: number; reasonCodes: UnsubscribeResult['reasonCodes'] }
    | { type: 'inactive'; handle: number; error?: ErrorFields }
    | { type: 'done'; token: number }

  /** What `resolve` brings: whether another call may bring better credentials; then of each server to try its URL, user name and password. */
  export type Resolved = (boolean | string | Uint8Array | undefined)[]

  /** What the core calls: the methods of `Host` in src/web, by the same names and in the same order. */
  export interface CoreHost {
    /** Makes the event's data the current chunk, and copies it to `at` if it has at most `room` bytes. Returns its length; -1: it is not binary. */
    read(event: { data: unknown }, at: number, room: number): number
    /** From `offset` on the current chunk is the beginning of a packet, of which the next chunks bring `missing` bytes. */
    keep(offset: number, missing: number): void
    /** Adds the event's data to that packet. Returns 0 until the packet is whole; then it is the current chunk, as by `read`. -2: no memory. */
    gather(event: { data: unknown }, at: number, room: number): number
    /** As `read`, for what is left of the chunk that completed the packet. */
    rest(at: number, room: number): number
    /** Copies a piece of the current chunk to `at`. */
    copy(offset: number, at: number, length: number): void
    /** Takes records: `words` words of 32 bits from `at` on. */
    batch(at: number, words: number): void
    /** The milliseconds of `performance.now()`. */
    now(): number
    /** Arms the one timer, in ms; negative: disarms it. */
    timer(delay: number): void
    /** Calls `resume` in a new task. */
    later(): void
    /** Calls `flush` at the end of this turn. */
    wake(): void
    // These call `settle` with what comes of a promise. `id` is the number of the attempt.
    /** Asks for URLs and credentials. `error`: why the attempt before failed. */
    resolve(id: number, attempt: number, error: ErrorFields | undefined): void
    /** Asks for a socket. */
    open(id: number, url: string): void
    /** Takes the socket, hears of it from here on, and calls `opened`, `message` and `closed`. Returns whether it is open already. */
    listen(socket: WebSocketLike): boolean
    /** Hears of the socket no more, and lets go of it. */
    ignore(): void
    /** Whether the server chose a subprotocol that was offered. */
    agreed(): boolean
    /** Sends a frame, or keeps a copy for a socket of the application, which may call the client. False: it could not be sent. */
    write(at: number, length: number): boolean
    /** Sends a frame that was kept. False: it could not be sent. */
    flush(): boolean
    /** The bytes in the socket's buffer; -1: there is no socket. */
    buffered(): number
    /** Closes the socket. `force`: the peer is not waited for. */
    shut(force: boolean): void
    /** Asks the Authenticator: for its first data, or to answer a challenge. */
    authenticate(
      id: number,
      reauthentication: boolean,
      first: boolean,
      challenge: Uint8Array | undefined,
      properties: { reasonString?: string; userProperties?: UserProperties },
    ): void
    /** Asks for the values of all records of the store, in the order of the keys. */
    load(id: number): void
    /**
     * Writes to the store: key, value, key, value and so on, where null deletes. Keys are numbers: of messages in their order, from 0 on, and of
     * QoS 2 messages that were received, below 0.
     */
    store(changes: (number | Uint8Array | null)[]): void
    /** Asks the application whether to retry; undefined: it leaves that to the core. */
    retry(error: ErrorFields, attempt: number): boolean | undefined
  }
}
