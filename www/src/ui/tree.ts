// The live tree of topics: last values, counts, rates, a spark of change, what the broker retains. Outside the framework, because it is
// drawn eight times a second.

import type { View } from '../core/frame.ts'
import { numberAt } from '../core/json.ts'
import type { Entry, Model, Topic } from '../core/model.ts'
import { count, preview, rate, visible } from '../core/text.ts'
import { element, setStyle, setText, spark, sparkline, VirtualList } from './dom.ts'

const FLASH = 700 // ms
const TYPE_AHEAD = 900 // ms
const calm = matchMedia('(prefers-reduced-motion: reduce)')

interface Row extends HTMLElement {
  node: Topic
  /** What the spark and the counts were last drawn for. */
  drawnFor: string
  line: SVGPolylineElement
}

export interface TreeOptions {
  model: Model
  box: HTMLElement
  onSelect: (path: string) => void
  onChart: (topic: string) => void
  onDrawn: (topics: number) => void
  failed: View['failed']
}

const lines = new WeakMap<Entry, string>()
/** The payload in one line, worked out once. */
export function lineOf(entry: Entry): string {
  let line = lines.get(entry)
  if (line === undefined) lines.set(entry, (line = preview(entry.payload)))
  return line
}

export class Tree {
  query = ''
  sys = false
  #options: TreeOptions
  #list: VirtualList
  #rows: Topic[] = []
  #drawnFor = ''
  #anchoredFor = ''
  #selected: string
  #typed = ''
  #typedAt = 0

  constructor(options: TreeOptions, selected: string) {
    this.#options = options
    this.#selected = selected
    const { box } = options
    this.#list = new VirtualList(box, {
      height: 26,
      count: () => this.#visible().length,
      make: () => this.#make(),
      fill: (row, at) => this.#fill(row as Row, this.#rows[at] as Topic, at),
    })
    const list = this.#list as View
    list.failed = options.failed
    box.addEventListener('pointerdown', (event) => {
      const row = (event.target as Element).closest('.node') as Row | null
      if (!row || event.button !== 0) return
      const { node } = row
      if ((event.target as Element).closest('.twist')) this.#toggle(node)
      else if (this.#selected === node.path) this.#toggle(node)
      this.select(node.path)
    })
    box.addEventListener('dragstart', (event) => {
      const { node } = (event.target as Element).closest('.node') as Row
      if (node.used)
        event.dataTransfer?.setData('application/x-mqtt-series', JSON.stringify([node.path, '']))
      event.dataTransfer?.setData('text/plain', node.path)
    })
    box.addEventListener('keydown', (event) => this.#key(event))
  }

  destroy(): void {
    this.#list.destroy()
  }

  get selected(): string {
    return this.#selected
  }

  select(path: string): void {
    this.#selected = path
    this.#list.redraw()
    this.#options.onSelect(path)
  }

  /** Shows where `path` is: opens what is above it and scrolls to it. */
  reveal(path: string): void {
    this.#selected = path
    const node = this.#options.model.find(path)
    for (let at = node?.parent; at; at = at.parent) at.expanded = true
    this.#refresh()
    const at = this.#visible().findIndex((row) => row.path === path)
    if (at !== -1) this.#list.reveal(at)
  }

  search(query: string): void {
    this.query = query.trim().toLowerCase()
    this.#refresh()
    const at = this.#visible().findIndex((row) => row.path === this.#selected)
    if (at !== -1) this.#list.reveal(at)
    else this.#list.box.scrollTop = 0
  }

  showSys(shown: boolean): void {
    this.sys = shown
    this.#refresh()
  }

  /** Goes to the first row. */
  enter(): void {
    this.#list.box.focus()
    const rows = this.#visible()
    const at = rows.findIndex((row) => row.path === this.#selected)
    if (at === -1 && rows[0]) this.#go(this.query ? rows.findIndex((row) => this.#fits(row)) : 0)
  }

  expandAll(expanded: boolean): void {
    const walk = (node: Topic) => {
      node.expanded = expanded
      for (const child of node.children.values()) walk(child)
    }
    walk(this.#options.model.root)
    this.#options.model.root.expanded = true
    this.#refresh()
  }

  #refresh(): void {
    this.#drawnFor = ''
    this.#list.redraw()
  }

  #toggle(node: Topic, expanded = !node.expanded): void {
    node.expanded = expanded
    this.#refresh()
  }

  #fits(node: Topic): boolean {
    return node.path.toLowerCase().includes(this.query)
  }

  /** The rows from top to bottom. With a search: what matches, and the way to it. */
  #visible(): Topic[] {
    const { model } = this.#options
    const state = `${model.shape} ${this.sys} ${this.query}`
    if (state === this.#drawnFor) return this.#rows
    this.#drawnFor = state
    const rows: Topic[] = []
    const walk = (node: Topic) => {
      for (const child of node.sorted()) {
        if (child.depth === 0 && !this.sys && child.name.startsWith('$SYS')) continue
        const at = rows.push(child)
        if (this.query) {
          walk(child)
          if (rows.length === at && !this.#fits(child)) rows.pop()
        } else if (child.expanded) walk(child)
      }
    }
    walk(model.root)
    this.#anchor(rows)
    this.#rows = rows
    this.#options.onDrawn(rows.length)
    return rows
  }

  /** Rows that come in above what is in view leave it where it is. */
  #anchor(rows: Topic[]): void {
    const { box } = this.#list
    const first = this.#rows[Math.floor(box.scrollTop / 26)]
    if (box.scrollTop === 0 || !first || this.query !== this.#anchoredFor) {
      this.#anchoredFor = this.query
      return
    }
    const at = rows.indexOf(first)
    if (at === -1 || rows[Math.floor(box.scrollTop / 26)] === first) return
    this.#list.grow(rows.length)
    box.scrollTop = at * 26 + (box.scrollTop % 26)
  }

  #go(index: number): void {
    const rows = this.#visible()
    const at = Math.min(rows.length - 1, Math.max(0, index))
    const next = rows[at]
    if (!next) return
    this.select(next.path)
    this.#list.reveal(at)
  }

  #key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return
    const rows = this.#visible()
    const at = rows.findIndex((row) => row.path === this.#selected)
    const node = rows[at]
    const page = Math.max(1, Math.floor(this.#list.box.clientHeight / 26) - 1)
    const keys: Record<string, () => void> = {
      ArrowDown: () => this.#go(at + 1),
      ArrowUp: () => this.#go(at - 1),
      Home: () => this.#go(0),
      End: () => this.#go(rows.length - 1),
      PageDown: () => this.#go(at + page),
      PageUp: () => this.#go(at - page),
      ArrowRight: () => {
        if (!node?.children.size) return
        if (node.expanded) this.#go(at + 1)
        else this.#toggle(node, true)
      },
      ArrowLeft: () => {
        if (!node) return
        if (node.expanded && node.children.size && !this.query) this.#toggle(node, false)
        else if (node.depth > 0) this.#go(rows.indexOf(node.parent as Topic))
      },
      Enter: () => node && this.#toggle(node),
      '*': () => {
        for (const sibling of node?.parent?.children.values() ?? []) sibling.expanded = true
        this.#refresh()
      },
    }
    const work = keys[event.key]
    if (work) {
      event.preventDefault()
      work()
    } else if (event.key.length === 1 && event.key !== ' ' && event.key !== '/')
      this.#typeAhead(event.key, at)
  }

  /** Goes to the next row whose name begins with what was typed. */
  #typeAhead(key: string, from: number): void {
    const now = performance.now()
    this.#typed =
      now - this.#typedAt < TYPE_AHEAD ? this.#typed + key.toLowerCase() : key.toLowerCase()
    this.#typedAt = now
    const rows = this.#visible()
    const start = this.#typed.length === 1 ? from + 1 : Math.max(0, from)
    for (let step = 0; step < rows.length; step++) {
      const at = (start + step) % rows.length
      if (!rows[at]?.name.toLowerCase().startsWith(this.#typed)) continue
      this.#go(at)
      return
    }
  }

  #make(): HTMLElement {
    const row = element('div', 'node') as Row
    row.role = 'treeitem'
    row.draggable = true
    const { svg, line } = spark(44, 16)
    row.line = line
    row.drawnFor = ''
    row.append(
      element('span', 'twist'),
      element('span', 'lamp'),
      element('bdi', 'name'),
      element('span', 'badge'),
      element('bdi', 'value'),
      svg,
      element('span', 'rate'),
      element('span', 'count'),
    )
    return row
  }

  #fill(row: Row, node: Topic, at: number): void {
    const [twist, lamp, name, badge, value, , speed, total] =
      row.children as unknown as HTMLElement[]
    const isNew = row.node !== node
    row.node = node
    row.id = `node-${at}`
    const selected = node.path === this.#selected
    if (selected) this.#options.box.setAttribute('aria-activedescendant', row.id)
    setAttribute(row, 'aria-level', String(node.depth + 1))
    setAttribute(row, 'aria-selected', String(selected))
    setAttribute(
      row,
      'aria-expanded',
      node.children.size ? String(this.query !== '' || node.expanded) : undefined,
    )
    if (isNew) {
      setStyle(row, '--depth', String(Math.min(node.depth, 16)))
      setText(name as Element, node.name === '' ? '(empty)' : visible(node.name))
      row.title = visible(node.path)
    }
    setText(twist as Element, node.children.size ? '›' : '')
    const kept = node.retained.state
    setText(badge as Element, kept === 'none' ? '' : kept === 'kept' ? 'R' : 'R?')
    const age = Date.now() - node.seen
    // In a few steps, so that most frames change nothing.
    const glow = age >= FLASH ? 0 : calm.matches ? 1 : Math.ceil((1 - age / FLASH) * 5) / 5
    setStyle(lamp as HTMLElement, 'opacity', String(glow))
    setText(speed as Element, node.rate ? rate(node.rate) : '')
    // A rate goes down by itself.
    const state = `${node.count} ${isNumeric(node) ? '' : node.rates.join()}`
    if (!isNew && row.drawnFor === state) return
    row.drawnFor = state
    const { last } = node
    setText(value as Element, last ? lineOf(last) : '')
    setText(total as Element, count(node.count))
    const points = sparkOf(node)
    row.line.setAttribute('points', points)
    // Its room is for the name and the value then.
    row.line.ownerSVGElement?.toggleAttribute('hidden', points === '')
  }
}

/** Whether the last two messages of a topic were short numbers. */
function isNumeric({ last, previous }: Topic): boolean {
  return [last, previous].every(
    (entry) => entry && entry.size < 32 && numberAt(entry.payload, '') !== undefined,
  )
}

/** The last values where they are numbers, else the messages of the last seconds; nothing where there were none. */
function sparkOf(node: Topic): string {
  if (isNumeric(node)) {
    const values: number[] = []
    for (const entry of node.history().slice(-24)) {
      const value = numberAt(entry.payload, '')
      if (value !== undefined) values.push(value)
    }
    return sparkline(values, 44, 16)
  }
  return node.rates.some(Boolean) ? sparkline(node.rates, 44, 16, true) : ''
}

function setAttribute(target: Element, name: string, value: string | undefined): void {
  if (value === undefined) target.removeAttribute(name)
  else if (target.getAttribute(name) !== value) target.setAttribute(name, value)
}
