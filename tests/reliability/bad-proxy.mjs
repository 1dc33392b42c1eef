// A TCP proxy that treats connections badly, as a seed decides: it delays, splits and merges what passes, throttles, freezes, cuts after any byte,
// resets, refuses, and loses one direction.

import { once } from 'node:events'
import net from 'node:net'
import { portOf } from '../../scripts/tools.mjs'

const FAULTS = /** @type {const} */ (['reset', 'close', 'freeze', 'lose', 'throttle', 'drop half'])

export class BadProxy {
  /** Faults that happened, by name. @type {Record<string, number>} */
  faults = {}
  #server
  #links = new Set()
  #random
  #left

  /**
   * @param {number} port The broker's.
   * @param {() => number} random
   * @param {number} faults How many faults there are at most. After them, connections are only delayed and split.
   */
  constructor(port, random, faults) {
    this.broker = port
    this.#random = random
    this.#left = faults
  }

  async listen() {
    this.#server = net.createServer((client) => this.#link(client))
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return portOf(this.#server)
  }

  /** Allows further faults: the connections that there are get theirs now. */
  allow(count) {
    this.#left += count
    for (const link of this.#links) link.doom()
  }

  close() {
    this.#server.close()
    for (const link of this.#links) link.end('reset')
  }

  /** How many clients are connected. The broker may not have heard of the end of others, if their direction is lost. */
  get connections() {
    return [...this.#links].filter(({ client }) => !client.destroyed).length
  }

  count(fault) {
    this.faults[fault] = (this.faults[fault] ?? 0) + 1
  }

  #link(client) {
    if (this.#left > 0 && this.#random() < 0.1) {
      this.#left--
      this.count('refuse')
      return client.resetAndDestroy()
    }
    const link = new Link(this, client, this.#random)
    this.#links.add(link)
    link.broker.once('close', () => this.#links.delete(link))
  }

  /** The next fault of a connection: what happens after how many further bytes in which direction. */
  fate() {
    if (this.#left <= 0) return undefined
    this.#left--
    // Small numbers are as frequent as large ones, so that handshakes are cut as often as traffic.
    const after = Math.floor(2 ** (this.#random() * 11))
    return { fault: this.#pick(FAULTS), after, direction: this.#random() < 0.5 ? 0 : 1 }
  }

  /** A fault that was meant for a connection that ended before is there again. */
  giveBack() {
    this.#left++
  }

  /** @template T @param {readonly T[]} list @returns {T} */
  #pick(list) {
    return list[Math.floor(this.#random() * list.length)]
  }
}

/** One connection through the proxy. Direction 0 is from the client to the broker. */
class Link {
  #waiting = [[], []]
  #busy = [false, false]
  #frozen = false
  #lost = [false, false]
  #pace = 0
  /** @type {{ fault: string, after: number, direction: number } | undefined} */
  #fate

  constructor(proxy, client, random) {
    this.proxy = proxy
    this.client = client
    this.#fate = proxy.fate()
    this.random = random
    this.broker = net.connect(proxy.broker, '127.0.0.1')
    const ends = [client, this.broker]
    client.once('close', () => {
      if (this.#fate) proxy.giveBack()
      this.#fate = undefined
    })
    for (const direction of [0, 1]) {
      const from = ends[direction]
      from.setNoDelay()
      from.on('error', () => {})
      from.on('data', (bytes) => {
        this.#waiting[direction].push(bytes)
        this.#pass(direction)
      })
      from.once('close', () => {
        // What was read before the end still arrives, as on a real network.
        const other = ends[1 - direction]
        if (this.#lost[direction]) return
        setTimeout(() => other.destroy(), 3)
      })
    }
  }

  end(how) {
    for (const socket of [this.client, this.broker])
      if (how === 'reset') socket.resetAndDestroy()
      else socket.end(() => socket.destroy())
  }

  /** Plans the next fault, if there is one. */
  doom() {
    this.#fate ??= this.proxy.fate()
  }

  /** Passes on what waits, piece by piece, until nothing waits. */
  async #pass(direction) {
    if (this.#busy[direction]) return
    this.#busy[direction] = true
    const to = direction === 0 ? this.broker : this.client
    while (this.#waiting[direction].length > 0 && !to.destroyed) {
      if (this.random() < 0.2) await pause(this.random() * 4)
      if (this.#frozen) {
        await pause(5)
        continue
      }
      // All that waits is merged, and then split at any byte.
      const all = Buffer.concat(this.#waiting[direction])
      let size = all.length
      if (this.random() < 0.3) size = 1 + Math.floor(this.random() * all.length)
      if (this.#pace > 0) size = Math.min(size, this.#pace)
      const fate = this.#fate?.direction === direction ? this.#fate : undefined
      if (fate) size = Math.min(size, Math.max(1, fate.after))
      this.#waiting[direction] = size < all.length ? [all.subarray(size)] : []
      if (!this.#lost[direction]) to.write(all.subarray(0, size))
      if (fate && (fate.after -= size) <= 0) this.#strike(fate)
      if (this.#pace > 0) await pause(2)
    }
    this.#busy[direction] = false
  }

  #strike({ fault, direction }) {
    this.proxy.count(fault)
    this.#fate = undefined
    // What ends the connection is its last fault.
    if (fault === 'freeze' || fault === 'throttle') this.#fate = this.proxy.fate()
    if (fault === 'reset' || fault === 'close') this.end(fault)
    if (fault === 'throttle') this.#pace = 100 + Math.floor(this.random() * 400)
    if (fault === 'lose') this.#lost[direction] = true
    if (fault === 'drop half') {
      // One end hears of it at once, the other one only later.
      const [first, second] =
        direction === 0 ? [this.client, this.broker] : [this.broker, this.client]
      first.resetAndDestroy()
      setTimeout(() => second.resetAndDestroy(), 50)
    }
    if (fault === 'freeze') {
      this.#frozen = true
      setTimeout(
        () => {
          this.#frozen = false
        },
        20 + this.random() * 300,
      )
    }
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
