// Lists the latest messages, newest first. The list stands still while it is scrolled, paused, or a message is selected.
import { element, setText } from './dom.js'
import { byteCount, count, preview, time } from './format.js'
import { redraw } from './frame.js'
import { VirtualList } from './virtual.js'

export class Messages {
  #model
  #list
  #held // the messages that are shown while the list stands still
  #heldAt = 0
  #shown = []
  #branch
  #selected
  #paused = false
  #parts
  #onSelect

  constructor(model, parts) {
    this.#model = model
    this.#parts = parts
    this.#onSelect = parts.onSelect
    this.#list = new VirtualList(parts.box, {
      height: 28,
      count: () => this.#current().length,
      make,
      fill: (row, at) => this.#fill(row, this.#shown[at]),
    })
    model.onEntry(() => this.redraw())
    parts.pause.addEventListener('click', () => this.pause(!this.#paused))
    parts.clear.addEventListener('click', () => {
      model.clear()
      this.#restart()
    })
    parts.branch.addEventListener('click', () => this.showBranch(undefined))
    parts.box.addEventListener('pointerdown', (event) => {
      const row = event.target.closest('.message')
      if (row) this.#select(row.entry)
    })
    parts.box.addEventListener('keydown', (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key]
      if (step === undefined) return
      event.preventDefault()
      const at = this.#shown.indexOf(this.#selected)
      const next = Math.min(this.#shown.length - 1, Math.max(0, at === -1 ? 0 : at + step))
      if (this.#shown[next]) this.#select(this.#shown[next])
      this.#list.reveal(next)
    })
  }

  showBranch(path) {
    this.#branch = path
    this.#parts.branch.hidden = path === undefined
    this.#parts.branch.textContent = `${path} ✕`
    this.#restart()
  }

  #restart() {
    this.#held = undefined
    this.#shown = this.#model.latest(this.#branch)
    this.redraw()
  }

  pause(paused) {
    this.#paused = paused
    this.#parts.pause.ariaPressed = String(paused)
    this.#parts.pause.textContent = paused ? 'Resume' : 'Pause'
    this.redraw()
  }

  redraw() {
    this.#list.redraw()
    redraw(this.#drawCount)
  }

  #drawCount = () => {
    setText(
      this.#parts.total,
      this.#held ? `held, ${count(this.#model.total - this.#heldAt)} more arrived` : '',
    )
  }

  #current() {
    if (!this.#paused && this.#list.top === 0) this.#held = undefined
    else if (!this.#held) this.#hold()
    return (this.#shown = this.#held ?? this.#model.latest(this.#branch))
  }

  #hold() {
    this.#held = this.#shown
    this.#heldAt = this.#model.total
  }

  #select(entry) {
    if (!this.#paused) this.pause(true)
    this.#selected = entry
    this.#list.redraw()
    this.#onSelect(entry)
  }

  #fill(row, entry) {
    const [at, topic, payload, flags, size] = row.children
    row.entry = entry
    row.ariaSelected = String(entry === this.#selected)
    setText(at, time(entry.at))
    setText(topic, entry.topic)
    topic.title = entry.topic
    setText(payload, (entry.line ??= preview(entry.payload)))
    setText(
      flags,
      [`Q${entry.qos}`, entry.retain && 'R', entry.dup && 'D'].filter(Boolean).join(' '),
    )
    setText(size, byteCount(entry.size))
  }
}

function make() {
  const row = element('div', 'message')
  row.role = 'option'
  for (const name of ['at', 'topic', 'payload', 'flags', 'size']) row.append(element('span', name))
  return row
}
