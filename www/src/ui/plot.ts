// uPlot behind a few calls: lines over time, ticks that are bounded and measured, a range that somebody else decides.
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { niceTicks, roomyRange } from '../core/series.ts'
import { number, seconds } from '../core/text.ts'

export interface Line {
  label: string
  /** A colour of the style sheet, by number. */
  colour: number
}

/** The colour of a number in the current theme. */
export const colourOf = (colour: number): string => themed(`--series-${colour % 8}`)

/** Colours by their names, until the theme changes: to ask the browser in each frame would make it compute all styles there. */
const colours = new Map<string, string>()
const probe = document.createElement('span')
probe.hidden = true

/** A colour of the style sheet in the current theme. A canvas does not know `light-dark()`, so an element computes it. */
export function themed(name: string): string {
  let colour = colours.get(name)
  if (colour === undefined) {
    document.body.append(probe)
    probe.style.color = `var(${name})`
    colour = getComputedStyle(probe).color
    probe.remove()
    colours.set(name, colour)
  }
  return colour
}

// These stand before those of the charts, and so run before them.
new MutationObserver(() => colours.clear()).observe(document.documentElement, {
  attributeFilter: ['data-theme'],
})
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => colours.clear())

const FONT = '11px system-ui, sans-serif'

export class Plot {
  #plot: uPlot
  #host: HTMLElement
  #lines: Line[]
  #observer: ResizeObserver
  #range: [number, number] = [0, 1]
  /** The time under the pointer, in seconds. */
  cursor: number | undefined

  /** `onZoom` is called with the range that was dragged out, or with undefined after a double click. */
  constructor(
    host: HTMLElement,
    lines: Line[],
    onZoom: (range: [number, number] | undefined) => void,
    onCursor: () => void,
  ) {
    this.#host = host
    this.#lines = lines
    const axis = {
      stroke: () => themed('--muted'),
      font: FONT,
      grid: { stroke: () => themed('--grid'), width: 1 },
      ticks: { show: false },
    }
    this.#plot = new uPlot(
      {
        ...this.#size(),
        legend: { show: false },
        pxAlign: 1,
        // On the right, half of a time: the last one may stand at the very end.
        padding: [10, 28, 0, 0],
        cursor: {
          sync: { key: 'charts', setSeries: false },
          drag: { x: true, y: false, setScale: false },
          points: { size: 7 },
        },
        scales: {
          x: { time: true, range: () => this.#range },
          y: { range: (_, low, high) => roomyRange(low, high) },
        },
        axes: [
          {
            ...axis,
            size: 26,
            values: (_, splits) => splits.map((at) => seconds(at * 1_000)),
            space: 76,
          },
          {
            ...axis,
            // uPlot's own loop over ticks does not end where a step is less than a double can tell apart.
            splits: (plot, _, low, high) =>
              niceTicks(
                low,
                high,
                Math.max(3, Math.floor(plot.bbox.height / devicePixelRatio / 30)),
              ),
            values: (_, splits) =>
              splits.map((tick) =>
                number(
                  tick,
                  Math.abs((splits.at(-1) as number) - (splits[0] as number)) || Math.abs(tick),
                ),
              ),
            size: (plot, values) => measured(plot, values),
          },
        ],
        series: [
          {},
          ...lines.map(({ label, colour }) => ({
            label,
            stroke: () => colourOf(colour),
            width: 1.75,
            fill:
              lines.length === 1
                ? () => `color-mix(in srgb, ${colourOf(colour)} 12%, transparent)`
                : undefined,
            points: {
              show: (plot: uPlot, _: number, first: number, last: number) =>
                last - first < plot.bbox.width / 24,
              size: 4,
            },
            spanGaps: false,
          })),
        ],
        hooks: {
          setSelect: [
            (plot) => {
              const { left, width } = plot.select
              if (width < 6) return
              const range: [number, number] = [
                plot.posToVal(left, 'x'),
                plot.posToVal(left + width, 'x'),
              ]
              plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false)
              onZoom(range)
            },
          ],
          setCursor: [
            (plot) => {
              const { left } = plot.cursor
              this.cursor =
                left === undefined || left === null || left < 0
                  ? undefined
                  : plot.posToVal(left, 'x')
              onCursor()
            },
          ],
        },
      },
      [[], ...lines.map(() => [])],
      host,
    )
    host.addEventListener('dblclick', () => onZoom(undefined))
    this.#observer = new ResizeObserver(() => this.#plot.setSize(this.#size()))
    this.#observer.observe(host)
  }

  #size() {
    return {
      width: Math.max(80, this.#host.clientWidth),
      height: Math.max(60, this.#host.clientHeight),
    }
  }

  /** Shows `data` (seconds, then the values of each line; null is a gap, undefined is no sample) from `from` to `to`. */
  show(data: uPlot.AlignedData, from: number, to: number): void {
    this.#range = [from, to]
    // In a batch it draws at once: an error then reaches the caller.
    this.#plot.batch(() => this.#plot.setData(data, true))
  }

  /** Draws again, in the colours of another theme. */
  redraw(): void {
    this.#plot.redraw(false, true)
  }

  destroy(): void {
    this.#observer.disconnect()
    this.#plot.destroy()
  }

  get canvas(): HTMLCanvasElement {
    return this.#plot.ctx.canvas
  }

  get lines(): Line[] {
    return this.#lines
  }
}

/** The room that the labels need: as wide as the widest of them. */
function measured(plot: uPlot, values: string[] | null): number {
  plot.ctx.save()
  plot.ctx.font = FONT
  const width = Math.max(28, ...(values ?? []).map((text) => plot.ctx.measureText(text).width))
  plot.ctx.restore()
  return Math.ceil(width) + 16
}

/** Several lines with times of their own as one table, as uPlot wants it: undefined where a line has no sample at that time. */
export const join = (tables: Array<[number[], Array<number | null>]>): uPlot.AlignedData =>
  tables.length === 1 ? (tables[0] as uPlot.AlignedData) : uPlot.join(tables as uPlot.AlignedData[])
