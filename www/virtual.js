// Shows a list of any length in a bounded DOM: only the rows in view exist. All rows have the same height.
import { setStyle } from './dom.js'
import { redraw } from './frame.js'

export class VirtualList {
  #box
  #spacer = document.createElement('div')
  #rows = []
  #height
  #count
  #make
  #fill

  /** `count()` returns the number of rows, `make()` builds a row, and `fill(row, index)` shows item `index` in it. */
  constructor(box, { height, count, make, fill }) {
    this.#box = box
    this.#height = height
    this.#count = count
    this.#make = make
    this.#fill = fill
    this.#spacer.className = 'spacer'
    this.#spacer.role = 'presentation'
    box.append(this.#spacer)
    box.addEventListener('scroll', this.redraw, { passive: true })
    new ResizeObserver(this.redraw).observe(box)
  }

  get top() {
    return this.#box.scrollTop
  }

  redraw = () => redraw(this.#draw)

  /** Scrolls so that row `index` is in view. */
  reveal(index) {
    const top = index * this.#height
    if (top < this.#box.scrollTop) this.#box.scrollTop = top
    else if (top + this.#height > this.#box.scrollTop + this.#box.clientHeight)
      this.#box.scrollTop = top + this.#height - this.#box.clientHeight
    this.redraw()
  }

  #draw = () => {
    const count = this.#count()
    setStyle(this.#spacer, 'height', `${count * this.#height}px`)
    const first = Math.max(0, Math.floor(this.#box.scrollTop / this.#height))
    const shown = Math.min(count - first, Math.ceil(this.#box.clientHeight / this.#height) + 1)
    while (this.#rows.length < shown) {
      const row = this.#make()
      this.#spacer.append(row)
      this.#rows.push(row)
    }
    this.#rows.forEach((row, at) => {
      row.hidden = at >= shown
      if (row.hidden) return
      setStyle(row, 'transform', `translateY(${(first + at) * this.#height}px)`)
      this.#fill(row, first + at)
    })
  }
}
