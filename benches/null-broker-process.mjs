/** The null broker in a process of its own, and what is sent to it and heard from it: see null-broker.mjs. */
import { fork } from 'node:child_process'
import { join } from 'node:path'

export class NullBroker {
  /** @type {any} */
  #process = fork(join(import.meta.dirname, 'null-broker.mjs'))
  #bursts = new Map()
  port

  static async start() {
    const broker = new NullBroker()
    broker.port = await new Promise((resolve) =>
      broker.#process.once('message', ({ port }) => resolve(port)),
    )
    broker.#process.on('message', ({ finished, failed, error }) => {
      const burst = broker.#bursts.get(finished ?? failed)
      if (finished) burst?.resolve()
      else burst?.reject(new Error(`broker: ${error}`))
    })
    return broker
  }

  /** Lets the connection with that id play a scenario. Returns the URL to connect to. */
  open(id, scenario) {
    this.#process.send({ open: id, scenario })
    return `ws://127.0.0.1:${this.port}/${id}`
  }

  /** Sends or expects `count` messages. Resolves when all have come. */
  burst(id, { count, sending }) {
    return new Promise((resolve, reject) => {
      this.#bursts.set(id, { resolve, reject })
      this.#process.send({ burst: id, count, sending })
    })
  }

  /** Forgets a connection. */
  close(id) {
    this.#process.send({ close: id })
    this.#bursts.delete(id)
  }

  stop() {
    this.#process.disconnect()
  }
}
