// Draws one line as messages arrive: a topic whose payload is a number, or a number in a JSON payload.
import { setText } from './dom.js'
import { number } from './format.js'
import { redraw } from './frame.js'

const MAX_SAMPLES = 20_000
const MAX_SERIES = 200
const text = new TextDecoder()

export class Chart {
  #parts
  #model
  #series = new Map() // key -> { topic, field }
  #looked = new Set() // topics whose first message was examined
  #newTopics = []
  #current
  #at = []
  #values = []
  #pointer
  /** The series to show first, as soon as it exists. */
  preferred

  constructor(model, parts) {
    this.#model = model
    this.#parts = parts
    model.onEntry((entry) => this.#take(entry))
    parts.series.addEventListener('change', () => this.show(parts.series.value))
    parts.window.addEventListener('change', () => redraw(this.#draw))
    parts.canvas.addEventListener('pointermove', ({ offsetX }) => this.#hover(offsetX))
    parts.canvas.addEventListener('pointerleave', () => this.#hover(undefined))
    new ResizeObserver(() => redraw(this.#draw)).observe(parts.canvas)
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => redraw(this.#draw))
    setInterval(() => this.#current && redraw(this.#draw), 200)
  }

  /** Starts over with another series. */
  show(key) {
    this.#current = this.#series.get(key)
    this.#at = []
    this.#values = []
    this.#parts.series.value = key
    if (!this.#current) return
    for (const entry of this.#model.latest().reverse()) this.#sample(entry)
    redraw(this.#draw)
  }

  /** Shows the first series of a topic, if it has one. */
  showTopic(topic) {
    for (const [key, series] of this.#series) if (series.topic === topic) return this.show(key)
  }

  #take(entry) {
    if (!this.#looked.has(entry.topic) && this.#series.size < MAX_SERIES) {
      this.#looked.add(entry.topic)
      this.#newTopics.push(entry)
      redraw(this.#offer)
    }
    if (this.#sample(entry)) redraw(this.#draw)
  }

  #offer = () => {
    for (const { topic, payload } of this.#newTopics.splice(0)) {
      for (const field of numericFields(payload)) {
        if (this.#series.size === MAX_SERIES) return
        this.#series.set(field === '' ? topic : `${topic} › ${field}`, { topic, field })
      }
    }
    if (this.#series.size === 0) return
    const keys = [...this.#series.keys()].sort()
    const { series } = this.#parts
    const chosen = series.value
    series.replaceChildren(...keys.map((key) => new Option(key, key)))
    const preferred = this.#series.has(this.preferred)
    if (this.#series.has(chosen) && !preferred) series.value = chosen
    else this.show(preferred ? this.preferred : keys[0])
    if (preferred) this.preferred = undefined
  }

  #sample(entry) {
    if (entry.topic !== this.#current?.topic) return false
    const value = fieldOf(entry.payload, this.#current.field)
    if (!Number.isFinite(value)) return false
    this.#at.push(entry.at)
    this.#values.push(value)
    if (this.#at.length > MAX_SAMPLES) {
      this.#at.splice(0, MAX_SAMPLES / 4)
      this.#values.splice(0, MAX_SAMPLES / 4)
    }
    return true
  }

  #hover(x) {
    this.#pointer = x
    redraw(this.#draw)
  }

  #draw = () => {
    const { canvas, readout, tip } = this.#parts
    const { clientWidth: width, clientHeight: height } = canvas
    if (width === 0) return
    const scale = devicePixelRatio
    if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale)
    if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale)
    const pen = canvas.getContext('2d')
    pen.setTransform(scale, 0, 0, scale, 0, 0)
    pen.clearRect(0, 0, width, height)

    const style = getComputedStyle(canvas)
    const colour = (name) => style.getPropertyValue(name)
    const now = Date.now()
    const span = Number(this.#parts.window.value) * 1_000
    const first = this.#at.findIndex((at) => at >= now - span)
    // One sample before the window, so that the line starts at the left edge.
    const from = first === -1 ? this.#at.length : Math.max(0, first - 1)
    const inside = first === -1 ? [] : this.#values.slice(first)
    if (inside.length === 0) {
      tip.hidden = true
      setText(readout, this.#current ? 'no value in this time' : '')
      return
    }
    let [low, high, sum] = [Infinity, -Infinity, 0]
    for (const value of inside) {
      low = Math.min(low, value)
      high = Math.max(high, value)
      sum += value
    }
    const last = inside[inside.length - 1]
    setText(
      readout,
      `${number(last)}    min ${number(low)}   mean ${number(Number((sum / inside.length).toPrecision(4)))}   max ${number(high)}`,
    )
    canvas.ariaLabel = `${this.#parts.series.value}: ${readout.textContent}`

    const ticks = niceTicks(low, high, Math.max(2, Math.floor(height / 45)))
    const [bottom, top] = [Math.min(low, ticks[0]), Math.max(high, ticks[ticks.length - 1])]
    const [left, right, above, below] = [52, 10, 10, 22]
    const x = (at) => left + (1 - (now - at) / span) * (width - left - right)
    const y = (value) =>
      above + (1 - (value - bottom) / (top - bottom || 1)) * (height - above - below)

    pen.font = `11px ${style.fontFamily}`
    pen.textBaseline = 'middle'
    pen.textAlign = 'right'
    pen.lineWidth = 1
    for (const tick of ticks) {
      const level = Math.round(y(tick)) + 0.5
      pen.strokeStyle = colour('--line')
      pen.beginPath()
      pen.moveTo(left, level)
      pen.lineTo(width - right, level)
      pen.stroke()
      pen.fillStyle = colour('--muted')
      pen.fillText(number(tick), left - 8, level)
    }
    pen.textBaseline = 'bottom'
    for (let part = 0; part <= 4; part++) {
      const at = now - span * (1 - part / 4)
      pen.textAlign = part === 0 ? 'left' : part === 4 ? 'right' : 'center'
      pen.fillText(part === 4 ? 'now' : `−${label((now - at) / 1_000)}`, x(at), height - 2)
    }

    pen.save()
    pen.beginPath()
    pen.rect(left, 0, width - left - right, height)
    pen.clip()
    const line = new Path2D()
    for (const [at, value] of this.#points(from, x, y)) line.lineTo(at, value)
    pen.strokeStyle = colour('--accent')
    pen.lineWidth = 2
    pen.lineJoin = 'round'
    pen.stroke(line)
    const area = new Path2D(line)
    area.lineTo(x(this.#at[this.#at.length - 1]), height - below)
    area.lineTo(x(this.#at[from]), height - below)
    const fade = pen.createLinearGradient(0, above, 0, height - below)
    fade.addColorStop(0, colour('--accent-glow'))
    fade.addColorStop(1, colour('--accent-gone'))
    pen.fillStyle = fade
    pen.fill(area)
    pen.restore()
    const dot = (at, value) => {
      pen.fillStyle = colour('--accent')
      pen.beginPath()
      pen.arc(x(at), y(value), 3.5, 0, 2 * Math.PI)
      pen.fill()
    }
    dot(this.#at[this.#at.length - 1], last)

    tip.hidden = this.#pointer === undefined
    if (tip.hidden) return
    let nearest = from
    for (let at = from; at < this.#at.length; at++)
      if (
        Math.abs(x(this.#at[at]) - this.#pointer) < Math.abs(x(this.#at[nearest]) - this.#pointer)
      )
        nearest = at
    dot(this.#at[nearest], this.#values[nearest])
    setText(
      tip,
      `${number(this.#values[nearest])} · ${label((now - this.#at[nearest]) / 1_000)} ago`,
    )
    tip.style.left = `${Math.min(x(this.#at[nearest]), width - 110)}px`
    tip.style.top = `${Math.max(0, y(this.#values[nearest]) - 34)}px`
  };

  /** The corners of the line. If several samples share a column of pixels, its lowest and highest. */
  *#points(from, x, y) {
    let column
    let low
    let high
    for (let at = from; at < this.#at.length; at++) {
      const [across, level] = [Math.round(x(this.#at[at])), y(this.#values[at])]
      if (across === column) {
        low = Math.min(low, level)
        high = Math.max(high, level)
        if (at < this.#at.length - 1) continue
      }
      if (column !== undefined && low !== high)
        yield* [
          [column, low],
          [column, high],
        ]
      column = across
      low = high = level
      yield [across, level]
    }
  }
}

/** The names of the numbers in a flat JSON object, or [''] for a payload that is a number. */
function numericFields(payload) {
  const value = parse(payload)
  if (typeof value === 'number') return ['']
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return []
  return Object.keys(value).filter((name) => typeof value[name] === 'number')
}

function fieldOf(payload, field) {
  const value = parse(payload)
  return field === '' ? value : value?.[field]
}

function parse(payload) {
  if (payload.length > 4_096) return undefined
  try {
    return JSON.parse(text.decode(payload))
  } catch {
    return undefined
  }
}

/** Round numbers that cover low..high in about `wanted` steps. */
function niceTicks(low, high, wanted) {
  if (low === high)
    [low, high] = [low - Math.max(1, Math.abs(low)) * 0.1, high + Math.max(1, Math.abs(high)) * 0.1]
  const raw = (high - low) / wanted
  const power = 10 ** Math.floor(Math.log10(raw))
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw)
  const ticks = []
  for (let at = Math.floor(low / step); at <= Math.ceil(high / step); at++) ticks.push(at * step)
  return ticks
}

const label = (seconds) =>
  seconds >= 60 ? `${Number((seconds / 60).toFixed(1))} min` : `${Math.round(seconds)} s`
