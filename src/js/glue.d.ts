// The boundary to the core: what wasm-bindgen makes of src/web/bindings.rs, typed by hand. `#glue` and `#wasm` are resolved by the build.

declare module '#wasm' {
  /** The module's bytes. */
  export default function wasm(): Uint8Array<ArrayBuffer>
}

declare module '#glue' {
  export function initSync(options: { module: BufferSource | WebAssembly.Module }): {
    readonly memory: WebAssembly.Memory
  }
  /** Throws the instance away and makes a new one of the same module. */
  export function __wbg_reset_state(): void
  export function matches(filter: string, topic: string): boolean
  export function decodeProperties(block: Uint8Array): Record<string, unknown>

  /**
   * One client's protocol core. Verbs only change state: nothing leaves before `flush()`, and nothing is called back but out of
   * `flush`, `timeout`, `resume`, `settle` and the socket's handlers. What they throw is `{ argument, message }` for a caller's mistake, or a trap.
   */
  export class Core {
    /** `seed` is random, 0 to 1. `options` holds leaves: path, value, path, value and so on. Throws `{ argument, message }`. */
    constructor(host: object, seed: number, options: unknown[])
    free(): void

    /** Leaves as in the options, or none. Throws `{ argument, message }`. */
    setWill(will: unknown[] | undefined): void
    connect(): void
    abandon(): void
    reconnect(): void
    end(timeout: number, force: boolean, reasonCode: number): void
    flush(): void
    timeout(): void
    resume(): void
    settle(generation: number, asked: number, fulfilled: boolean, value: unknown): void

    /** A property of the next publish, subscribe, unsubscribe or end. */
    property(path: string, value: unknown): void
    topic(topic: string): number
    forgetTopics(): void
    /** Scratch for the payload of the next publish. May grow the memory. */
    buffer(length: number): number
    /** 0: in the send buffer, done when `flush` returns; 1: completes by a record; negative: see `refusal`. */
    publish(topic: number, length: number, flags: number, token: number): number
    subscribe(token: number, handle: number, filters: string[], options: Uint8Array): number
    unsubscribe(token: number, filters: string[]): number
    unsubscribeHandle(token: number, handle: number): number
    reauthenticate(token: number): number
    drain(token: number): number
    cancel(token: number): void
    refusal(): import('./errors.js').ErrorFields

    hold(sequence: number): void
    ack(sequence: number, reasonCode: number): number
    event(index: number): import('./host.js').CoreEvent

    tap(on: boolean): void
    stats(): Omit<import('./types.js').Stats, 'wasmMemoryBytes'>
    trap(): void
  }
}
