/** Bytes. Shorter pieces are copied together: each alone would keep more memory alive than it fills. */
const SHORT = 4 * 1024

/** A large packet that comes in pieces, put together outside of wasm memory. It takes memory for what has come, never for what was announced. */
export class Reassembly {
  readonly #whole: Uint8Array[] = []
  /** Short pieces, copied together. */
  #short = new Uint8Array(0)
  #used = 0
  #length = 0
  #missing: number

  constructor(first: Uint8Array, missing: number) {
    this.#missing = missing
    this.#push(first)
  }

  /** Takes what belongs to the packet. Returns what is left of the chunk if that completes it. */
  add(chunk: Uint8Array): Uint8Array | undefined {
    const missing = this.#missing
    this.#push(chunk.length <= missing ? chunk : chunk.subarray(0, missing))
    this.#missing = Math.max(0, missing - chunk.length)
    return this.#missing > 0 ? undefined : chunk.subarray(missing)
  }

  /** The packet. Throws RangeError where there is no memory for it. */
  join(): Uint8Array {
    this.#flush()
    const packet = new Uint8Array(this.#length)
    let at = 0
    for (const piece of this.#whole) {
      packet.set(piece, at)
      at += piece.length
    }
    return packet
  }

  #push(piece: Uint8Array): void {
    this.#length += piece.length
    if (piece.length >= SHORT) {
      this.#flush()
      this.#whole.push(piece)
      return
    }
    if (this.#used + piece.length > this.#short.length) {
      this.#flush()
      this.#short = new Uint8Array(2 * SHORT)
    }
    this.#short.set(piece, this.#used)
    this.#used += piece.length
  }

  #flush(): void {
    if (this.#used > 0) this.#whole.push(this.#short.subarray(0, this.#used))
    this.#short = this.#short.subarray(this.#used)
    this.#used = 0
  }
}
