// The samples of one line of a chart, in bounded memory for however long: where they grow too many, the oldest are thinned out to their
// lowest and highest values.
import { numberAt } from './json.ts'
import type { Entry, Model } from './model.ts'

const MAX_SAMPLES = 20_000

export class Series {
  readonly topic: string
  readonly path: string
  /** Seconds since the epoch, as charts want them. NaN in `values` is a gap. */
  at: number[] = []
  values: number[] = []
  /** The text of the latest value, with the digits that it came with. */
  lastText = ''
  /** Messages in which there was no number. */
  misses = 0
  /** Counts up with every sample. */
  version = 0
  #typical = 0
  #stop: () => void

  constructor(model: Model, topic: string, path: string) {
    this.topic = topic
    this.path = path
    for (const entry of model.topics.get(topic)?.history() ?? []) this.#take(entry)
    this.#stop = model.onTopic(topic, (entry) => this.#take(entry))
  }

  end(): void {
    this.#stop()
  }

  /** The line ends here: the connection is gone. */
  gap(): void {
    if (this.values.length && !Number.isNaN(this.values.at(-1)))
      this.#push((this.at.at(-1) as number) + 0.001, Number.NaN)
  }

  #take(entry: Entry): void {
    const value = entry.cut ? undefined : numberAt(entry.payload, this.path)
    if (value === undefined) {
      this.misses++
      return
    }
    const at = entry.at / 1_000
    const last = this.at.at(-1)
    if (last !== undefined) {
      const step = at - last
      // Nothing for much longer than usual is a gap, not a slope.
      if (this.#typical && step > Math.max(10, this.#typical * 10)) this.gap()
      else this.#typical = this.#typical ? this.#typical * 0.95 + step * 0.05 : step
    }
    this.#push(Math.max(at, last ?? 0), value)
    this.lastText =
      this.path === '' && entry.size < 32
        ? new TextDecoder().decode(entry.payload).trim()
        : String(value)
  }

  #push(at: number, value: number): void {
    this.at.push(at)
    this.values.push(value)
    this.version++
    if (this.at.length > MAX_SAMPLES) this.#thin()
  }

  /** Of the older half, of each four samples the lowest and the highest stay. */
  #thin(): void {
    const half = MAX_SAMPLES / 2
    const [at, values]: [number[], number[]] = [[], []]
    for (let from = 0; from < half; from += 4) {
      const group = [from, from + 1, from + 2, from + 3]
      const gaps = group.filter((i) => Number.isNaN(this.values[i]))
      const numbers = group
        .filter((i) => !Number.isNaN(this.values[i]))
        .sort((i, j) => (this.values[i] as number) - (this.values[j] as number))
      const kept = new Set([...gaps.slice(0, 1), ...numbers.slice(0, 1), ...numbers.slice(-1)])
      for (const i of [...kept].sort((i, j) => i - j)) {
        at.push(this.at[i] as number)
        values.push(this.values[i] as number)
      }
    }
    this.at = [...at, ...this.at.slice(half)]
    this.values = [...values, ...this.values.slice(half)]
  }

  /** The index of the first sample at or after `at`. */
  indexOf(at: number): number {
    let [low, high] = [0, this.at.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.at[middle] as number) < at) low = middle + 1
      else high = middle
    }
    return low
  }

  /** What there is from `from` to `to`, in seconds. */
  summary(
    from: number,
    to: number,
  ): { min: number; mean: number; max: number; count: number } | undefined {
    let [min, max, mean, count] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, 0]
    for (let i = this.indexOf(from); i < this.at.length && (this.at[i] as number) <= to; i++) {
      const value = this.values[i] as number
      if (Number.isNaN(value)) continue
      min = Math.min(min, value)
      max = Math.max(max, value)
      // Step by step: the sum of numbers near the largest double would be infinite.
      mean += (value - mean) / ++count
    }
    return count ? { min, mean: Math.min(max, Math.max(min, mean)), max, count } : undefined
  }
}

/** At most `wanted` + 2 round numbers that cover low..high. Their number is bounded, whatever a double makes of the step. */
export function niceTicks(low: number, high: number, wanted: number): number[] {
  const raw = (high - low) / wanted
  if (!(raw > 0) || !Number.isFinite(raw)) return [low]
  const power = 10 ** Math.floor(Math.log10(raw))
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= raw) ?? raw
  const first = Math.ceil(low / step)
  const ticks: number[] = []
  for (let i = 0; i <= wanted + 1; i++) {
    const tick = (first + i) * step
    if (tick > high) break
    // Beyond the precision of a double the same tick would come again.
    if (tick !== ticks.at(-1)) ticks.push(tick)
  }
  return ticks.length ? ticks : [low]
}

/** A range with some room around low..high, never empty: at least what a double can tell apart there. */
export function roomyRange(low: number, high: number): [number, number] {
  if (!Number.isFinite(low) || !Number.isFinite(high)) return [0, 1]
  const size = Math.max(Math.abs(low), Math.abs(high))
  const room = Math.max((high - low) * 0.08, low === high ? size * 0.05 || 1 : 0, size * 1e-14)
  const limit = Number.MAX_VALUE / 4
  return [Math.max(-limit, low - room), Math.min(limit, high + room)]
}
