// What arrived, in bounded memory: the tree of topics, the last messages of each, what the broker retains, and the latest messages of all.
// It takes every message at once and draws nothing.
import type { Message, MessageProperties, QoS } from 'wasmqtt'

/** One message, as it came. */
export interface Entry {
  /** Counts the messages of this page from 1 on. */
  readonly seq: number
  readonly topic: string
  /** When it arrived, ms since the epoch. */
  readonly at: number
  /** All of it, unless `cut`. */
  payload: Uint8Array
  /** Bytes of the whole payload. */
  readonly size: number
  /** The end of the payload is not kept any more: memory was short. */
  cut: boolean
  readonly qos: QoS
  readonly retain: boolean
  readonly dup: boolean
  readonly properties: MessageProperties | undefined
  /** The broker had stored it before the page subscribed. */
  readonly stored: boolean
}

/** What the broker keeps for a topic. `unsure`: the page has not seen it since the last connect. */
export type Retained =
  | { state: 'none' }
  | { state: 'kept'; entry: Entry }
  | { state: 'unsure'; entry: Entry }

const MAX_NODES = 50_000
const MAX_LATEST = 5_000
/** Messages kept of each topic. */
export const HISTORY = 100
/** Bytes of all that is kept, with what an entry costs by itself. */
const BUDGET = 96 * 1024 * 1024
const ENTRY_COST = 320
/** What stays of a payload where memory is short. */
const STUB = 1_024
/** Seconds that the rates of a topic reach back. */
export const RATES = 20

/** The entry leaves its history. Lists may still show it, but it must not keep a large payload alive. */
function release(entry: Entry): void {
  if (entry.payload.length <= STUB) return
  entry.payload = entry.payload.slice(0, STUB)
  entry.cut = true
}

export class Topic {
  readonly name: string
  readonly path: string
  readonly parent: Topic | undefined
  readonly depth: number
  readonly children = new Map<string, Topic>()
  /** Messages of this topic and all below. */
  count = 0
  /** When the last of them arrived. */
  seen = 0
  /** Topics below, this one included, that have had a message. */
  topics = 0
  expanded: boolean
  retained: Retained = { state: 'none' }
  /** Messages in each of the last seconds, the current one last. */
  readonly rates = new Uint32Array(RATES)
  /** The oldest first, except that it starts anew at `next` once it is full. */
  #ring: Entry[] = []
  #next = 0
  /** Bytes that the history costs. */
  cost = 0
  #counted = 0
  #sorted: Topic[] | undefined

  constructor(name: string, parent: Topic | undefined) {
    this.name = name
    this.parent = parent
    this.path = parent?.parent ? `${parent.path}/${name}` : name
    this.depth = parent ? parent.depth + 1 : -1
    // A crowd of siblings is shown by its names first.
    this.expanded = this.depth < 3 && (parent?.children.size ?? 0) < 40
  }

  /** Whether messages came on this very topic. */
  get used(): boolean {
    return this.#ring.length > 0
  }

  get last(): Entry | undefined {
    return this.#ring.at(this.#next - 1)
  }

  get previous(): Entry | undefined {
    return this.#ring.length < 2 ? undefined : this.#ring.at(this.#next - 2)
  }

  /** The last messages, the oldest first. */
  history(): Entry[] {
    return [...this.#ring.slice(this.#next), ...this.#ring.slice(0, this.#next)]
  }

  add(entry: Entry): void {
    this.cost += ENTRY_COST + entry.payload.length
    if (this.#ring.length < HISTORY) {
      this.#ring.push(entry)
      return
    }
    const old = this.#ring[this.#next] as Entry
    this.cost -= ENTRY_COST + old.payload.length
    release(old)
    this.#ring[this.#next] = entry
    this.#next = (this.#next + 1) % HISTORY
  }

  /** Gives up the oldest messages until the history costs at most `share`; the latest stays, without its end if need be. */
  trim(share: number): void {
    if (this.cost <= share) return
    const kept = this.history()
    while (kept.length > 1 && this.cost > share) {
      const old = kept.shift() as Entry
      this.cost -= ENTRY_COST + old.payload.length
      release(old)
    }
    const last = kept[0] as Entry
    if (kept.length === 1 && this.cost > share && last.payload.length > STUB) {
      this.cost -= last.payload.length - STUB
      release(last)
    }
    this.#ring = kept
    this.#next = 0
  }

  clearHistory(): void {
    const { last } = this
    this.#ring = last ? [last] : []
    this.#next = 0
    this.cost = last ? ENTRY_COST + last.payload.length : 0
  }

  /** Messages a second, over the last ten seconds. */
  get rate(): number {
    let sum = 0
    for (let at = RATES - 11; at < RATES - 1; at++) sum += this.rates[at] as number
    return sum / 10
  }

  /** Closes the current second. */
  tick(): void {
    this.rates.copyWithin(0, 1)
    this.rates[RATES - 1] = this.count - this.#counted
    this.#counted = this.count
  }

  /** The topics right below, by name; numbers in names count as numbers. */
  sorted(): Topic[] {
    this.#sorted ??= [...this.children.values()].sort((a, b) => collator.compare(a.name, b.name))
    return this.#sorted
  }

  grow(name: string): Topic {
    const child = new Topic(name, this)
    this.children.set(name, child)
    this.#sorted = undefined
    return child
  }
}

const collator = new Intl.Collator('en', { numeric: true })

export class Model {
  root = new Topic('', undefined)
  /** The topics that had messages. */
  topics = new Map<string, Topic>()
  total = 0
  /** Messages of topics beyond the limit: they are in the list of messages only. */
  unplaced = 0
  /** Counts up when the tree has other topics. */
  shape = 0
  /** Counts up when the broker retains something else. */
  kept = 0
  #nodes = 0
  #seq = 0
  #cost = 0
  #latest: Entry[] = []
  #next = 0
  /** The branch whose messages are followed, and what came of it. */
  #followed: { path: string; topic: Topic | undefined; entries: Entry[] } | undefined
  #listeners = new Set<(entry: Entry, topic: Topic | undefined) => void>()
  #byTopic = new Map<string, Set<(entry: Entry) => void>>()

  constructor() {
    setInterval(() => this.#tick(), 1_000)
  }

  /** Calls `listener` with every message. Returns what ends it. */
  onEntry(listener: (entry: Entry, topic: Topic | undefined) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Calls `listener` with every message of one topic. Returns what ends it. */
  onTopic(topic: string, listener: (entry: Entry) => void): () => void {
    const set = this.#byTopic.get(topic) ?? new Set()
    this.#byTopic.set(topic, set.add(listener))
    return () => {
      if (set.delete(listener) && set.size === 0) this.#byTopic.delete(topic)
    }
  }

  /** Takes one message. `stored`: it was retained before the page subscribed. */
  add({ topic, payload, qos, retain, dup, properties }: Message, stored: boolean): void {
    const entry: Entry = {
      seq: ++this.#seq,
      topic,
      at: Date.now(),
      // A copy: the payload may be a view on a much larger buffer, which it would keep alive.
      payload: payload.slice(),
      size: payload.length,
      cut: false,
      qos,
      retain,
      dup,
      properties,
      stored,
    }
    this.total++
    if (this.#latest.length < MAX_LATEST) this.#latest.push(entry)
    else this.#latest[this.#next] = entry
    this.#next = (this.#next + 1) % MAX_LATEST

    const node = this.topics.get(topic) ?? this.#place(topic)
    if (node) {
      this.#cost -= node.cost
      node.add(entry)
      this.#cost += node.cost
      if (retain) this.#retain(node, payload.length ? { state: 'kept', entry } : { state: 'none' })
      for (let at: Topic | undefined = node; at; at = at.parent) {
        at.count++
        at.seen = entry.at
        if (at === this.#followed?.topic) this.#follow(entry)
      }
      if (this.#cost > BUDGET) this.#save()
    } else this.unplaced++
    for (const listener of this.#listeners) listener(entry, node)
    const some = this.#byTopic.get(topic)
    if (some) for (const listener of some) listener(entry)
    if (!node) release(entry)
  }

  /** The node of a topic or of a branch. */
  find(path: string): Topic | undefined {
    let node: Topic | undefined = this.root
    for (const name of path.split('/')) node = node?.children.get(name)
    return node
  }

  /** A new session has begun: what the broker retains is no longer known until it says it again. */
  doubtRetained(): void {
    for (const node of this.topics.values())
      if (node.retained.state === 'kept') this.#retain(node, { ...node.retained, state: 'unsure' })
  }

  /** The broker has acknowledged that the retained message of `path` is deleted. */
  retainedDeleted(path: string): void {
    const node = this.topics.get(path)
    if (node) this.#retain(node, { state: 'none' })
  }

  #retain(node: Topic, retained: Retained): void {
    node.retained = retained
    this.kept++
  }

  /** The topics of a branch, itself included, for which the broker keeps a message. */
  retainedIn(branch: Topic): Array<{ topic: Topic; entry: Entry; sure: boolean }> {
    const found: Array<{ topic: Topic; entry: Entry; sure: boolean }> = []
    const walk = (topic: Topic) => {
      const { retained } = topic
      if (retained.state !== 'none')
        found.push({ topic, entry: retained.entry, sure: retained.state === 'kept' })
      for (const child of topic.sorted()) walk(child)
    }
    walk(branch)
    return found
  }

  /** From now on `followed()` gives the messages of this branch, also of one that does not exist yet; with '', those of all topics. */
  follow(path: string): void {
    this.#followed = undefined
    if (path === '') return
    const topic = this.find(path)
    const entries: Entry[] = []
    const walk = (node: Topic) => {
      if (node.used) entries.push(...node.history())
      for (const child of node.children.values()) walk(child)
    }
    if (topic) walk(topic)
    entries.sort((a, b) => a.seq - b.seq)
    this.#followed = { path, topic, entries: entries.slice(-MAX_LATEST) }
  }

  /** The latest messages of the branch that is followed, the oldest first. */
  followed(): readonly Entry[] {
    if (this.#followed) return this.#followed.entries
    return this.#latest.length < MAX_LATEST
      ? this.#latest
      : [...this.#latest.slice(this.#next), ...this.#latest.slice(0, this.#next)]
  }

  #follow(entry: Entry): void {
    const { entries } = this.#followed as { entries: Entry[] }
    entries.push(entry)
    // Now and then, because each time costs a copy.
    if (entries.length > MAX_LATEST + 1_000) entries.splice(0, entries.length - MAX_LATEST)
  }

  /** Forgets the messages, but for the last one of each topic. */
  clearMessages(): void {
    this.#latest = []
    this.#next = 0
    if (this.#followed) this.#followed.entries = []
    this.#cost = 0
    for (const node of this.topics.values()) {
      node.clearHistory()
      this.#cost += node.cost
    }
  }

  /** Forgets everything: another broker. */
  reset(): void {
    this.root = new Topic('', undefined)
    this.topics = new Map()
    this.total = this.unplaced = this.#nodes = this.#cost = this.#next = 0
    this.#latest = []
    this.follow(this.#followed?.path ?? '')
    this.shape++
    this.kept++
  }

  /** Bytes of what is kept, about. */
  get cost(): number {
    return this.#cost
  }

  #place(topic: string): Topic | undefined {
    const levels = topic.split('/')
    if (this.#nodes + levels.length > MAX_NODES) return undefined
    let node = this.root
    for (const name of levels) {
      let child = node.children.get(name)
      if (!child) {
        child = node.grow(name)
        this.#nodes++
      }
      node = child
    }
    this.topics.set(topic, node)
    const followed = this.#followed
    if (followed && !followed.topic) followed.topic = this.find(followed.path)
    for (let at: Topic | undefined = node; at; at = at.parent) at.topics++
    this.shape++
    return node
  }

  /** Gives each topic an equal share of the memory; those that need less leave the rest to the others. */
  #save(): void {
    const wanted = BUDGET * 0.9
    const costs = [...this.topics.values()].map(({ cost }) => cost).sort((a, b) => a - b)
    let left = wanted
    let share = 0
    for (const [at, cost] of costs.entries()) {
      share = left / (costs.length - at)
      if (cost > share) break
      left -= cost
    }
    this.#cost = 0
    for (const node of this.topics.values()) {
      node.trim(share)
      this.#cost += node.cost
    }
  }

  #tick(): void {
    const walk = (node: Topic) => {
      node.tick()
      for (const child of node.children.values()) walk(child)
    }
    walk(this.root)
  }
}
