// Elements without a framework, for what changes many times a second. Text from the network only ever becomes text.
import { drawNow, drawPaced, type View } from '../core/frame.ts'

export function element(name: string, className: string, text = ''): HTMLElement {
  const made = document.createElement(name)
  made.className = className
  made.textContent = text
  return made
}

// Writing what stands there already would cost a layout all the same.
export function setText(target: Element, text: string): void {
  if (target.textContent !== text) target.textContent = text
}

export function setStyle(target: HTMLElement, name: string, value: string): void {
  if (target.style.getPropertyValue(name) !== value) target.style.setProperty(name, value)
}

/** Points of a polyline, from the oldest to the latest value, in a box of `width` × `height`. */
export function sparkline(
  values: ArrayLike<number>,
  width: number,
  height: number,
  fromZero = false,
): string {
  let low = fromZero ? 0 : Number.POSITIVE_INFINITY
  let high = Number.NEGATIVE_INFINITY
  for (let at = 0; at < values.length; at++) {
    low = Math.min(low, values[at] as number)
    high = Math.max(high, values[at] as number)
  }
  // Halves, because the difference of the largest doubles is infinite.
  const half = high / 2 - low / 2 || 1
  const points: string[] = []
  for (let at = 0; at < values.length; at++) {
    const x = (at / Math.max(1, values.length - 1)) * width
    const y = height - 1 - (((values[at] as number) / 2 - low / 2) / half) * (height - 2)
    points.push(`${x.toFixed(1)},${(high === low ? height / 2 : y).toFixed(1)}`)
  }
  return points.join(' ')
}

export function spark(
  width: number,
  height: number,
): { svg: SVGSVGElement; line: SVGPolylineElement } {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg')
  const line = document.createElementNS('http://www.w3.org/2000/svg', 'polyline')
  svg.setAttribute('class', 'spark')
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`)
  svg.setAttribute('aria-hidden', 'true')
  svg.append(line)
  return { svg, line }
}

/** A list of any length in a bounded document: only the rows in view exist. Rows are all of one height. */
export class VirtualList implements View {
  readonly box: HTMLElement
  #spacer = element('div', 'spacer')
  #rows: HTMLElement[] = []
  #spare: HTMLElement[] = []
  #options: {
    height: number
    count: () => number
    make: () => HTMLElement
    fill: (row: HTMLElement, at: number) => void
  }
  #observer = new ResizeObserver(() => drawNow(this))
  #stop: () => void

  /** `count()` rows; `make()` builds one row, `fill(row, index)` shows item `index` in it. */
  constructor(box: HTMLElement, options: VirtualList['options']) {
    this.box = box
    this.#options = options
    this.#spacer.role = 'presentation'
    box.append(this.#spacer)
    box.addEventListener('scroll', this.#scrolled, { passive: true })
    this.#observer.observe(box)
    this.#stop = drawPaced(this)
  }

  get options() {
    return this.#options
  }

  #scrolled = () => drawNow(this)

  destroy(): void {
    this.#stop()
    this.#observer.disconnect()
    this.box.removeEventListener('scroll', this.#scrolled)
    this.#spacer.remove()
  }

  redraw(): void {
    drawNow(this)
  }

  /** Makes room for so many rows at once, so that one can scroll there before the next frame. */
  grow(count: number): void {
    setStyle(this.#spacer, 'height', `${count * this.#options.height}px`)
  }

  /** Scrolls so that row `index` is in view. */
  reveal(index: number): void {
    const { box } = this
    const top = index * this.#options.height
    if (top < box.scrollTop) box.scrollTop = top
    else if (top + this.#options.height > box.scrollTop + box.clientHeight)
      box.scrollTop = top + this.#options.height - box.clientHeight
    drawNow(this)
  }

  draw(): void {
    const { height, count, make, fill } = this.#options
    const total = count()
    setStyle(this.#spacer, 'height', `${total * height}px`)
    const first = Math.max(0, Math.floor(this.box.scrollTop / height))
    const shown = Math.max(
      0,
      Math.min(total - first, Math.ceil(this.box.clientHeight / height) + 1),
    )
    while (this.#rows.length < shown) {
      const row = this.#spare.pop() ?? make()
      this.#spacer.append(row)
      this.#rows.push(row)
    }
    // What is not in view is not in the document: nothing finds a row there that shows something old.
    while (this.#rows.length > shown) {
      const row = this.#rows.pop() as HTMLElement
      row.remove()
      this.#spare.push(row)
    }
    for (const [at, row] of this.#rows.entries()) {
      setStyle(row, 'transform', `translateY(${(first + at) * height}px)`)
      fill(row, first + at)
    }
  }
}

/** Hands a file to the browser's downloads. */
export function download(name: string, content: Blob | string, type = 'text/plain'): void {
  const blob = typeof content === 'string' ? new Blob([content], { type }) : content
  const url = URL.createObjectURL(blob)
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(url), 10_000)
}
