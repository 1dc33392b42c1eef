import type { Emitter } from '../emitter.js'
import { type MqttError, mqttError } from '../errors.js'
import { atLatest, soon } from '../platform.js'
import type { Store } from '../types/connecting.js'
import { binary } from '../validate.js'
import type { ErrorFields } from '../wording.js'

/** Keys sort as the messages do: 'o' and a place in the order, 'r' and the identifier of a QoS 2 message that was received. */
function keyOf(key: number): string {
  return (key < 0 ? 'r' : 'o') + String(Math.abs(key)).padStart(16, '0')
}

/** Asks the application's store for one client, one thing after the other. */
export class Keeper {
  readonly #store: Store
  readonly #clientId: string
  /** Why the store failed last. */
  #cause: unknown
  /** Settles when the store has done everything that it was asked for. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(store: Store, clientId: string) {
    this.#store = store
    this.#clientId = clientId
  }

  /** The values of all records, in the order of their keys. */
  load(): Promise<Uint8Array[]> {
    return this.#ask(async (store, clientId) => {
      const entries = [...(await store.load(clientId))]
      entries.sort(([one], [other]) => (one < other ? -1 : 1))
      return entries.map(([, value]) => binary(value, 'store'))
    })
  }

  /** `changes`: key, value, key, value and so on, as the core has them. */
  write(changes: (number | Uint8Array | null)[]): Promise<void> {
    const pairs: [string, Uint8Array | null][] = []
    for (let at = 0; at < changes.length; at += 2)
      pairs.push([keyOf(changes[at] as number), changes[at + 1] as Uint8Array | null])
    return this.#ask((store, clientId) => store.write(clientId, pairs))
  }

  /** Closes the store behind everything else, and calls back when that is done, or after `patience` ms at the latest. */
  close(emitter: Emitter, patience: number, done: () => void): void {
    const finish = atLatest(patience, done)
    const close = () => this.#ask(async (store) => store.close?.())
    // The core is on the stack, and gives its last write when it has told of its end.
    soon(() =>
      close()
        .catch(() => {
          const fields = { code: 'STORE_FAILED', what: 'the store could not be closed' } as const
          emitter.emit('error', mqttError(this.explain(fields)))
        })
        .then(finish),
    )
  }

  /** An error of the core, with what the store said. */
  explain(fields: ErrorFields): ErrorFields {
    const cause = this.#cause
    return { ...fields, cause, retryable: Boolean((cause as MqttError | undefined)?.retryable) }
  }

  /** Begun when the core has returned: the application's store may call the client. */
  #ask<T>(work: (store: Store, clientId: string) => Promise<T>): Promise<T> {
    const asked = this.#last.then(() => work(this.#store, this.#clientId))
    this.#last = asked.catch((cause) => (this.#cause = cause))
    return asked
  }
}
