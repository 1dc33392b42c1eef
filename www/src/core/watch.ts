// The latest message of every topic that matches, live: what the client's own `watch()` is going to offer, in the same form. A page that
// uses this function changes over by calling `client.watch(filter)` instead.
import type { Client, Message } from 'wasmqtt'

/** A map from topic to its latest message. */
export interface Watch {
  /** Resolves when the server has answered the SUBSCRIBE. */
  readonly ready: Promise<void>
  /** Counts up with every change. */
  readonly version: number
  get(topic: string): Message | undefined
  /** Calls back with the topics that changed; returns what ends it. */
  onChange(listener: (topics: readonly string[]) => void): () => void
  end(): Promise<void>
}

/** Subscribes, and keeps the latest message of each topic. `conflate`: listeners are called at most once in so many ms. */
export function watch(client: Client, filter: string, { conflate = 0 } = {}): Watch {
  const values = new Map<string, Message>()
  const listeners = new Set<(topics: readonly string[]) => void>()
  const changed = new Set<string>()
  let version = 0
  let timer: ReturnType<typeof setTimeout> | undefined
  const tell = () => {
    timer = undefined
    const topics = [...changed]
    changed.clear()
    for (const listener of listeners) listener(topics)
  }
  const subscribed = client.subscribe(filter, { retainAsPublished: true }, (message) => {
    if (message.retain && message.payload.length === 0) values.delete(message.topic)
    else values.set(message.topic, message)
    changed.add(message.topic)
    version++
    timer ??= setTimeout(tell, conflate)
  })
  const ready = subscribed.then(() => {})
  ready.catch(() => {}) // for those who do not ask
  return {
    ready,
    get version() {
      return version
    },
    get: (topic) => values.get(topic),
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    async end() {
      clearTimeout(timer)
      await (await subscribed).unsubscribe()
    },
  }
}
