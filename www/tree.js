// Shows the tree of topics as messages arrive: last values, counts, and a flash for each new message.
import { element, setStyle, setText } from './dom.js'
import { count, preview } from './format.js'
import { redraw } from './frame.js'
import { childrenOf } from './model.js'
import { VirtualList } from './virtual.js'

const FLASH = 800 // ms
const calm = matchMedia('(prefers-reduced-motion: reduce)').matches

export class Tree {
  selected
  #model
  #box
  #list
  #rows = []
  #stale = true
  #query = ''
  #total
  #onSelect

  constructor(model, { box, search, total, onSelect }) {
    this.#model = model
    this.#box = box
    this.#total = total
    this.#onSelect = onSelect
    this.#list = new VirtualList(box, {
      height: 26,
      count: () => this.#visible().length,
      make: () => this.#make(),
      fill: (row, at) => this.#fill(row, this.#rows[at], at),
    })
    let topics = 0
    model.onEntry(() => {
      if (topics !== model.topics.size) this.#stale = true
      topics = model.topics.size
      this.#list.redraw()
      redraw(this.#drawTotal)
    })
    search.addEventListener('input', () => {
      this.#query = search.value.trim().toLowerCase()
      this.#refresh()
    })
    box.addEventListener('pointerdown', (event) => {
      const row = event.target.closest('.node')
      if (!row) return
      const { node } = row
      if (event.target.closest('.twist') || this.selected === node) this.#toggle(node)
      this.select(node)
    })
    box.addEventListener('keydown', (event) => this.#key(event))
  }

  select(node) {
    this.selected = node
    this.#list.redraw()
    this.#onSelect(node)
  }

  #drawTotal = () => {
    const { topics, total, notShown } = this.#model
    const hidden = notShown ? `, ${count(notShown)} messages of further topics not shown` : ''
    setText(this.#total, `${count(topics.size)} topics, ${count(total)} messages${hidden}`)
  }

  #refresh() {
    this.#stale = true
    this.#list.redraw()
  }

  #toggle(node, expanded = !node.expanded) {
    node.expanded = expanded
    this.#refresh()
  }

  /** The rows from top to bottom. With a search, only what matches and its parents. */
  #visible() {
    if (!this.#stale) return this.#rows
    this.#stale = false
    this.#rows = []
    const walk = (node) => {
      for (const child of childrenOf(node)) {
        const at = this.#rows.push(child)
        if (this.#query) {
          walk(child)
          const found = this.#rows.length > at || child.path.toLowerCase().includes(this.#query)
          if (!found) this.#rows.pop()
        } else if (child.expanded) walk(child)
      }
    }
    walk(this.#model.root)
    return this.#rows
  }

  #key(event) {
    const rows = this.#visible()
    const at = rows.indexOf(this.selected)
    const node = rows[at]
    const go = (index) => {
      const next = rows[Math.min(rows.length - 1, Math.max(0, index))]
      if (!next) return
      this.select(next)
      this.#list.reveal(rows.indexOf(next))
    }
    const keys = {
      ArrowDown: () => go(at + 1),
      ArrowUp: () => go(at - 1),
      Home: () => go(0),
      End: () => go(rows.length - 1),
      PageDown: () => go(at + 10),
      PageUp: () => go(at - 10),
      ArrowRight: () =>
        node?.children.size && (node.expanded ? go(at + 1) : this.#toggle(node, true)),
      ArrowLeft: () =>
        node &&
        (node.expanded && node.children.size
          ? this.#toggle(node, false)
          : node.depth > 0 && go(rows.indexOf(node.parent))),
      Enter: () => node && this.#toggle(node),
    }
    if (!keys[event.key]) return
    event.preventDefault()
    keys[event.key]()
  }

  #make() {
    const row = element('div', 'node')
    row.role = 'treeitem'
    row.append(
      element('span', 'twist'),
      element('span', 'lamp'),
      element('span', 'name'),
      element('span', 'value'),
      element('span', 'count'),
    )
    return row
  }

  #fill(row, node, at) {
    const [twist, lamp, name, value, total] = row.children
    row.node = node
    row.id = `node-${at}`
    row.ariaLevel = String(node.depth + 1)
    setStyle(row, '--depth', String(node.depth))
    if (node.children.size) row.ariaExpanded = String(this.#query !== '' || node.expanded)
    else row.removeAttribute('aria-expanded')
    const selected = node === this.selected
    row.ariaSelected = String(selected)
    if (selected) this.#box.setAttribute('aria-activedescendant', row.id)
    setText(twist, node.children.size ? '›' : '')
    setText(name, node.name === '' ? '(empty)' : node.name)
    const { entry } = node
    setText(value, entry ? (entry.line ??= preview(entry.payload)) : '')
    row.classList.toggle('retained', Boolean(entry?.retain))
    setText(total, node.children.size ? count(node.count) : '')
    this.#flash(lamp, node)
  }

  #flash(lamp, node) {
    const age = Date.now() - node.seen
    // In eight steps, so that most frames change nothing.
    const glow = age >= FLASH ? 0 : calm ? 1 : Math.ceil((1 - age / FLASH) * 8) / 8
    setStyle(lamp, 'opacity', String(glow))
    if (glow > 0) this.#list.redraw()
  }
}
