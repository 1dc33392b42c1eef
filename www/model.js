// Keeps what arrived in bounded memory: the tree of topics with their last values, and the latest messages.
const MAX_NODES = 20_000
const MAX_MESSAGES = 2_000
/** How many bytes of a payload are kept. The rest is not shown. */
export const KEPT = 16_384

class Node {
  children = new Map()
  sorted = undefined
  expanded = false
  count = 0
  seen = 0
  entry = undefined
  constructor(name, path, parent) {
    this.name = name
    this.path = path
    this.parent = parent
    this.depth = parent ? parent.depth + 1 : -1
  }
}

export class Model {
  root = new Node('', '', undefined)
  /** Maps topics to nodes. Branches without messages are only in the tree. */
  topics = new Map()
  total = 0
  notShown = 0
  #nodes = 0
  #ring = []
  #next = 0
  #changed = []

  /** Calls `listener(entry, node)` for every message. */
  onEntry(listener) {
    this.#changed.push(listener)
  }

  add({ topic, payload, qos, retain, dup, properties }) {
    // Copies the payload, because it may be a view of a much larger buffer, which would stay in memory.
    const entry = {
      topic,
      payload: payload.slice(0, KEPT),
      size: payload.length,
      qos,
      retain,
      dup,
      properties,
      at: Date.now(),
      number: ++this.total,
      line: undefined,
    }
    if (this.#ring.length < MAX_MESSAGES) this.#ring.push(entry)
    else this.#ring[this.#next] = entry
    this.#next = (this.#next + 1) % MAX_MESSAGES

    const node = this.topics.get(topic) ?? this.#grow(topic)
    if (node) {
      node.entry = entry
      for (let at = node; at; at = at.parent) {
        at.count++
        at.seen = entry.at
      }
    }
    for (const listener of this.#changed) listener(entry, node)
  }

  #grow(topic) {
    const levels = topic.split('/')
    if (this.#nodes + levels.length > MAX_NODES) {
      this.notShown++
      return undefined
    }
    let node = this.root
    for (const name of levels) {
      let child = node.children.get(name)
      if (!child) {
        child = new Node(name, node === this.root ? name : `${node.path}/${name}`, node)
        child.expanded = child.depth < 3
        node.children.set(name, child)
        node.sorted = undefined
        this.#nodes++
      }
      node = child
    }
    this.topics.set(topic, node)
    return node
  }

  /** The latest messages, newest first. With `branch`, only those of that branch. */
  latest(branch) {
    const all = [...this.#ring.slice(this.#next), ...this.#ring.slice(0, this.#next)].reverse()
    return branch === undefined
      ? all
      : all.filter(({ topic }) => topic === branch || topic.startsWith(`${branch}/`))
  }

  clear() {
    this.#ring = []
    this.#next = 0
  }
}

const collator = new Intl.Collator(undefined, { numeric: true })

export function childrenOf(node) {
  return (node.sorted ??= [...node.children.values()].sort((a, b) =>
    collator.compare(a.name, b.name),
  ))
}
