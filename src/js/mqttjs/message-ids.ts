/**
 * Gives publishes, subscribes and unsubscribes the numbers by which `removeOutgoingMessage` and stores know them. They are not the packet
 * identifiers on the wire: those are the core's.
 */
export interface IMessageIdProvider {
  /** A number from 1 to 65535; null if all are in use. */
  allocate(): number | null
  /** The number that `allocate` gave last; null before the first. */
  getLastAllocated(): number | null
  /** Marks a number as in use; false if it was already. */
  register(messageId: number): boolean
  /** Frees a number. */
  deallocate(messageId: number): void
  /** Frees all numbers. */
  clear(): void
}

const LARGEST = 65_535

/** Counts up, begins again after 65535, and never asks whether a number is in use. */
export class DefaultMessageIdProvider implements IMessageIdProvider {
  private nextId = Math.max(1, Math.floor(Math.random() * LARGEST))

  /** A number from 1 to 65535; null if all are in use. */
  allocate(): number {
    const id = this.nextId
    this.nextId = id === LARGEST ? 1 : id + 1
    return id
  }

  /** The number that `allocate` gave last. */
  getLastAllocated(): number {
    return this.nextId === 1 ? LARGEST : this.nextId - 1
  }

  /** Marks a number as in use; false if it was already. */
  register(_messageId: number): boolean {
    return true
  }

  /** Frees a number. */
  deallocate(_messageId: number): void {}

  /** Frees all numbers. */
  clear(): void {}
}

/** Gives the smallest number that is not in use. */
export class UniqueMessageIdProvider implements IMessageIdProvider {
  readonly #used = new Set<number>()
  #last: number | null = null
  /** No smaller number is free. */
  #lowest = 1

  /** A number from 1 to 65535; null if all are in use. */
  allocate(): number | null {
    let id = this.#lowest
    while (this.#used.has(id)) id++
    if (id > LARGEST) return null
    this.#used.add(id)
    this.#lowest = id + 1
    this.#last = id
    return id
  }

  /** The number that `allocate` gave last. */
  getLastAllocated(): number | null {
    return this.#last
  }

  /** Marks a number as in use; false if it was already. */
  register(messageId: number): boolean {
    if (this.#used.has(messageId)) return false
    this.#used.add(messageId)
    return true
  }

  /** Frees a number. */
  deallocate(messageId: number): void {
    if (this.#used.delete(messageId)) this.#lowest = Math.min(this.#lowest, messageId)
  }

  /** Frees all numbers. */
  clear(): void {
    this.#used.clear()
    this.#lowest = 1
  }
}
