// The boundary to the test broker: what wasm-bindgen makes of src/broker/bindings, typed by hand. `#broker-glue` and `#broker-wasm` are resolved by the
// build. Times are milliseconds on a clock that never goes back.

declare module '#broker-wasm' {
  /** The module's bytes. */
  export default function wasm(): Uint8Array<ArrayBuffer>
}

declare module '#broker-glue' {
  type Direction = 'in' | 'out'

  export function initSync(options: { module: BufferSource }): unknown

  /** What a caller did wrong is thrown as `{ argument, message }`; anything else that is thrown is a trap. */
  export class Broker {
    /** `seed`: random, 0 to 1. */
    constructor(options: object, now: number, seed: number)

    open(now: number): number
    input(now: number, connection: number, bytes: Uint8Array): void
    text(now: number, connection: number): void
    closed(now: number, connection: number): void
    timeout(now: number): void

    /** What to send or to close now. To be asked until it is undefined. */
    transmit(
      now: number,
    ): { connection: number; bytes?: Uint8Array<ArrayBuffer>; end?: 'close' | 'drop' } | undefined
    nextTimeout(): number | undefined

    publish(now: number, message: object): void
    /** undefined: it was withdrawn. */
    expect(match: object, ticket: number): Promise<import('./types.js').BrokerPacket | undefined>
    withdraw(ticket: number): void

    drop(now: number, clientId?: string): void
    freeze(clientId?: string): Uint32Array
    thaw(now: number, connections: Uint32Array): void
    disconnect(now: number, reasonCode: number, clientId?: string): void
    refuse(reasonCode?: number): void
    loseSession(clientId?: string): void
    deny(rule: object): void
    cutAfter(now: number, bytes: number, clientId?: string): void
    delay(ms: number): void

    clients(): { clientId: string; connected: boolean; subscriptions: string[] }[]
    retained(now: number): {
      topic: string
      payload: Uint8Array<ArrayBuffer>
      qos: 0 | 1 | 2
      retain: boolean
      properties: object
    }[]
    packets(from: number): import('./types.js').BrokerPacket[]
    /** The number of the oldest packet that is kept, and that of the next one. */
    packetNumbers(): Float64Array
  }
}
