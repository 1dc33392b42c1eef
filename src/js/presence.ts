import type { Emitter } from './emitter.js'
import type { AnyMqttError } from './errors.js'
import type { PresenceSettings } from './options.js'
import type { Payload, PublishResult } from './types/basics.js'
import type { PublishOptions } from './types/calls.js'

/** What presence needs of a client. */
interface Present {
  readonly connected: boolean
  publish(topic: string, payload: Payload, options: PublishOptions): Promise<PublishResult>
  on(event: 'connect' | 'disconnect', listener: () => void): unknown
}

/** Publishes whether the client is there; that it is gone without a word, the server says by the will. */
export class Presence {
  readonly #client: Present
  readonly #emitter: Emitter
  readonly #settings: PresenceSettings
  #last = new AbortController()

  constructor(client: Present, emitter: Emitter, settings: PresenceSettings) {
    this.#client = client
    this.#emitter = emitter
    this.#settings = settings
    client.on('connect', () => this.enter())
    // What was said on this connection must not come again on the next one.
    client.on('disconnect', () => this.#last.abort())
  }

  /** The client is there. */
  enter(): void {
    this.#say(this.#settings.online)
  }

  /** The client is about to end. */
  leave(): void {
    if (this.#client.connected) this.#say(this.#settings.offline)
  }

  #say(payload: Uint8Array): void {
    this.#last = new AbortController()
    const { topic, options } = this.#settings
    this.#client
      .publish(topic, payload, { ...options, signal: this.#last.signal })
      .catch((error: AnyMqttError) => {
        if (error.code !== 'ABORTED' && error.code !== 'CLOSED') this.#emitter.report(error)
      })
  }
}
