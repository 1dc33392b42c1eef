/** What is to be written, and who waits for it. */
interface Waiting<Item> {
  item: Item
  resolve(): void
  reject(error: unknown): void
}

/**
 * Writes items in the order of their coming. Those that come while a write is under way are written together by the next one: the more there is to do,
 * the less each costs.
 */
export class GroupCommit<Item> {
  readonly #commit: (items: Item[]) => Promise<void>
  readonly #sizeOf: (item: Item) => number
  readonly #limit: number
  #waiting: Waiting<Item>[] = []
  #working: Promise<void> | undefined

  /** `commit` writes all of its items or none. It gets at least one, and no more than `limit` together make of `sizeOf`. */
  constructor(
    commit: (items: Item[]) => Promise<void>,
    sizeOf: (item: Item) => number,
    limit: number,
  ) {
    this.#commit = commit
    this.#sizeOf = sizeOf
    this.#limit = limit
  }

  /** Resolves when the item is written. */
  push(item: Item): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject })
      this.#working ??= this.#work()
    })
  }

  /** Resolves when nothing is being written and nothing waits. */
  async idle(): Promise<void> {
    while (this.#working !== undefined) await this.#working
  }

  async #work(): Promise<void> {
    // What else is written in this turn goes along.
    await undefined
    while (this.#waiting.length > 0) {
      const group = this.#waiting.splice(0, this.#fitting())
      try {
        await this.#commit(group.map(({ item }) => item))
        for (const { resolve } of group) resolve()
      } catch (error) {
        for (const { reject } of group) reject(error)
      }
    }
    this.#working = undefined
  }

  /** How many of those that wait are written next. */
  #fitting(): number {
    let size = 0
    for (const [index, { item }] of this.#waiting.entries()) {
      size += this.#sizeOf(item)
      if (size > this.#limit && index > 0) return index
    }
    return this.#waiting.length
  }
}
