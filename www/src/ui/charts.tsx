// Lines over time: any number of any topic, one below the other or in one chart, with pause, zoom, gaps, and what they come to.
import { useSignal, useSignalEffect } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { drawNow, type View } from '../core/frame.ts'
import { pointerLabel } from '../core/json.ts'
import { link, model } from '../core/link.ts'
import { Series } from '../core/series.ts'
import { clock, number, visible } from '../core/text.ts'
import { Icon, useFailure } from './common.tsx'
import { download } from './dom.ts'
import { colourOf, join, Plot, themed } from './plot.ts'
import { chart, charted, selected, selectedTopic } from './state.ts'

const WINDOWS: Array<[seconds: number, label: string]> = [
  [30, '30 s'],
  [120, '2 min'],
  [600, '10 min'],
  [3_600, '1 h'],
  [0, 'all'],
]

/** Samples go on being taken while the panel is not in front. */
const kept = new Map<string, { series: Series; colour: number }>()
const keyOf = (topic: string, path: string) => `${topic}\n${path}`
let known = charted.peek()

charted.subscribe((wanted) => {
  known = wanted
  const keys = new Set(wanted.map(([topic, path]) => keyOf(topic, path)))
  for (const [key, { series }] of kept) {
    if (keys.has(key)) continue
    series.end()
    kept.delete(key)
  }
  for (const [topic, path] of wanted) {
    const key = keyOf(topic, path)
    if (kept.has(key)) continue
    const used = new Set([...kept.values()].map(({ colour }) => colour))
    let colour = 0
    while (used.has(colour)) colour++
    kept.set(key, { series: new Series(model, topic, path), colour })
  }
})
link.subscribe(({ state }) => {
  if (state === 'waiting' || state === 'off') for (const { series } of kept.values()) series.gap()
})

const nameOf = ({ topic, path }: Series) =>
  `${visible(topic)}${path ? ` › ${visible(pointerLabel(path))}` : ''}`

interface Shown {
  from: number
  to: number
}

export function ChartsPanel() {
  const host = useRef<HTMLDivElement>(null)
  const span = useSignal(120)
  const together = useSignal(false)
  const frozen = useSignal<Shown | undefined>(undefined)
  const over = useSignal(false)
  const readouts = useRef(new Map<string, HTMLElement>())
  const plots = useRef<Array<{ plot: Plot; members: Series[]; drawn: string }>>([])
  const [failure, setFailure] = useFailure()
  const lines = charted.value
    .map(([topic, path]) => kept.get(keyOf(topic, path)))
    .filter((line) => line !== undefined)
  const layout = `${together.value} ${charted.value.map((line) => line.join('\n')).join('\n\n')}`

  const range = (): Shown => {
    if (frozen.peek()) return frozen.peek() as Shown
    const to = Date.now() / 1_000
    // The window grows with the data until it is as long as was chosen.
    const first = Math.min(to - 10, ...[...kept.values()].map(({ series }) => series.at[0] ?? to))
    return { from: span.peek() ? Math.max(first, to - span.peek()) : first, to }
  }

  useEffect(() => {
    const box = host.current as HTMLDivElement
    const groups = together.peek() ? [lines] : lines.map((line) => [line])
    const view: View = {
      draw() {
        const { from, to } = range()
        for (const made of plots.current) {
          const state = `${made.members.map(({ version }) => version)} ${from} ${to}`
          if (state === made.drawn) continue
          made.drawn = state
          const width = Math.max(200, box.clientWidth)
          made.plot.show(
            join(made.members.map((series) => thinned(series, from, to, width))),
            from,
            to,
          )
        }
        for (const { series } of kept.values()) {
          const target = readouts.current.get(keyOf(series.topic, series.path))
          if (target)
            readout(
              target,
              series,
              from,
              to,
              plots.current.find(({ plot }) => plot.cursor !== undefined)?.plot.cursor,
            )
        }
      },
      failed: setFailure,
    }
    plots.current = groups
      .filter((group) => group.length > 0)
      .map((group) => {
        const slot = box.appendChild(document.createElement('div'))
        slot.className = 'plot'
        const zoom = (to: [number, number] | undefined) =>
          (frozen.value = to && { from: to[0], to: to[1] })
        const plot = new Plot(
          slot,
          group.map(({ series, colour }) => ({ label: nameOf(series), colour })),
          zoom,
          () => drawNow(view),
        )
        return { plot, members: group.map(({ series }) => series), drawn: '' }
      })
    // Charts follow the frames of the screen, as long as they leave most of the time to others.
    let stop = false
    let rest = 0
    const frame = (at: number) => {
      if (stop) return
      requestAnimationFrame(frame)
      if (at < rest || document.hidden) return
      const began = performance.now()
      try {
        view.draw()
      } catch (error) {
        view.failed?.(error as Error)
        stop = true
      }
      rest = at + Math.max(15, (performance.now() - began) * 4)
    }
    requestAnimationFrame(frame)
    return () => {
      stop = true
      for (const { plot } of plots.current) plot.destroy()
      plots.current = []
      box.replaceChildren()
    }
  }, [layout])
  useSignalEffect(() => {
    void [span.value, frozen.value]
    for (const made of plots.current) made.drawn = ''
  })
  useEffect(() => {
    const repaint = () => {
      for (const { plot } of plots.current) plot.redraw()
    }
    const observer = new MutationObserver(repaint)
    observer.observe(document.documentElement, { attributeFilter: ['data-theme'] })
    const dark = matchMedia('(prefers-color-scheme: dark)')
    dark.addEventListener('change', repaint)
    return () => {
      observer.disconnect()
      dark.removeEventListener('change', repaint)
    }
  }, [])

  const drop = (event: DragEvent) => {
    event.preventDefault()
    over.value = false
    const text = event.dataTransfer?.getData('application/x-mqtt-series')
    if (!text) return
    const [topic, path] = JSON.parse(text) as [string, string]
    chart(topic, path)
  }
  const remove = (series: Series) =>
    (charted.value = known.filter(
      ([topic, path]) => topic !== series.topic || path !== series.path,
    ))
  const topic = selected.value ? selectedTopic() : undefined
  return (
    <div
      class={over.value ? 'panel charts drop' : 'panel charts'}
      onDragOver={(event) => {
        if (!event.dataTransfer?.types.includes('application/x-mqtt-series')) return
        event.preventDefault()
        over.value = true
      }}
      onDragLeave={() => (over.value = false)}
      onDrop={drop}
    >
      <div class="bar">
        <div class="choice" role="group" aria-label="Time shown">
          {WINDOWS.map(([seconds, label]) => (
            <button
              type="button"
              key={label}
              aria-pressed={!frozen.value && span.value === seconds}
              onClick={() => {
                span.value = seconds
                frozen.value = undefined
              }}
            >
              {label}
            </button>
          ))}
        </div>
        <button
          type="button"
          class="small"
          id="chart-pause"
          aria-pressed={frozen.value !== undefined}
          onClick={() => (frozen.value = frozen.value ? undefined : range())}
        >
          <Icon name={frozen.value ? 'play' : 'pause'} />
          <span>{frozen.value ? 'Live' : 'Pause'}</span>
        </button>
        <span class="grow" />
        {lines.length > 1 && (
          <label class="check">
            <input
              type="checkbox"
              checked={together.value}
              onChange={({ currentTarget }) => (together.value = currentTarget.checked)}
            />
            One chart
          </label>
        )}
        {topic?.used && (
          <button type="button" class="small" onClick={() => chart(topic.path)}>
            <Icon name="plus" />
            <span>Add the topic</span>
          </button>
        )}
        <button
          type="button"
          class="small"
          id="chart-png"
          disabled={lines.length === 0}
          onClick={() => exportPng(plots.current, range())}
        >
          <Icon name="download" />
          <span>PNG</span>
        </button>
      </div>
      {failure}
      {lines.length === 0 && (
        <div class="empty drop-here">
          <Icon name="chart" />
          <p>
            Drag a number here: a topic of the tree, or a field of a JSON payload. The chart button
            beside a number does the same.
          </p>
        </div>
      )}
      <div class={together.value ? 'legend' : 'legend beside'} role="list" aria-label="Lines">
        {lines.map(({ series, colour }) => (
          <div class="legend-row" role="listitem" key={keyOf(series.topic, series.path)}>
            <span class={`swatch series-${colour % 8}`} />
            <bdi class="one-line" title={nameOf(series)}>
              {nameOf(series)}
            </bdi>
            <span
              class="readout"
              ref={(target) => {
                if (target) readouts.current.set(keyOf(series.topic, series.path), target)
              }}
            />
            <button
              type="button"
              class="icon"
              aria-label={`Remove ${nameOf(series)}`}
              onClick={() => remove(series)}
            >
              <Icon name="close" />
            </button>
          </div>
        ))}
      </div>
      <div
        class="plots"
        ref={host}
        role="img"
        aria-label={`Charts of ${lines.map(({ series }) => nameOf(series)).join(', ') || 'nothing'}`}
      />
    </div>
  )
}

/** What is within the range and one sample on each side; where several share a pixel column, its first, lowest, highest and last. */
function thinned(
  series: Series,
  from: number,
  to: number,
  width: number,
): [number[], Array<number | null>] {
  const first = Math.max(0, series.indexOf(from) - 1)
  const last = Math.min(series.at.length, series.indexOf(to) + 1)
  const [at, values]: [number[], Array<number | null>] = [[], []]
  const push = (i: number) => {
    at.push(series.at[i] as number)
    const value = series.values[i] as number
    values.push(Number.isNaN(value) ? null : value)
  }
  if (last - first <= width * 4) {
    for (let i = first; i < last; i++) push(i)
    return [at, values]
  }
  const column = (i: number) =>
    Math.floor((((series.at[i] as number) - from) / (to - from)) * width)
  for (let i = first; i < last; ) {
    const here = column(i)
    let [low, high, end] = [i, i, i]
    const kept = new Set([i])
    for (; end < last && column(end) === here; end++) {
      const value = series.values[end] as number
      if (Number.isNaN(value)) kept.add(end)
      else if (!(value >= (series.values[low] as number))) low = end
      else if (!(value <= (series.values[high] as number))) high = end
    }
    for (const k of [
      ...kept
        .add(low)
        .add(high)
        .add(end - 1),
    ].sort((a, b) => a - b))
      push(k)
    i = end
  }
  return [at, values]
}

/** Characters of a value that the legend has room for. */
const LONG = 12

function readout(
  target: HTMLElement,
  series: Series,
  from: number,
  to: number,
  cursor: number | undefined,
): void {
  const sum = series.summary(from, to)
  let text =
    series.misses && series.values.length === 0
      ? 'no number in the messages'
      : 'no value in this time'
  if (sum) {
    const span = sum.max - sum.min || Math.abs(sum.max)
    text = `min ${number(sum.min, span)}  mean ${number(sum.mean, span)}  max ${number(sum.max, span)}`
    if (cursor !== undefined) {
      const after = series.indexOf(cursor)
      const nearest =
        after > 0 &&
        cursor - (series.at[after - 1] as number) <
          (series.at[after] ?? Number.POSITIVE_INFINITY) - cursor
          ? after - 1
          : after
      const value = series.values[nearest]
      if (value !== undefined && !Number.isNaN(value))
        text = `${clock((series.at[nearest] as number) * 1_000)}  ${number(value, span)}   ${text}`
    } else {
      const { lastText } = series
      const last = series.values.at(-1)
      // The detail has all digits; here they would leave no room for the rest.
      const isLong = lastText.length > LONG && last !== undefined && !Number.isNaN(last)
      text = `${isLong ? number(last, span) : lastText}   ${text}`
    }
  }
  if (target.textContent !== text) target.textContent = text
}

/** The charts as they are, below one another, with their names. */
function exportPng(plots: Array<{ plot: Plot; members: Series[] }>, { from, to }: Shown): void {
  const scale = devicePixelRatio
  const head = 26 * scale
  const width = Math.max(...plots.map(({ plot }) => plot.canvas.width))
  const canvas = document.createElement('canvas')
  canvas.width = width
  canvas.height = plots.reduce((sum, { plot }) => sum + plot.canvas.height + head, 0)
  const pen = canvas.getContext('2d') as CanvasRenderingContext2D
  pen.fillStyle = themed('--card')
  pen.fillRect(0, 0, canvas.width, canvas.height)
  pen.font = `${12 * scale}px system-ui, sans-serif`
  pen.textBaseline = 'middle'
  let top = 0
  for (const { plot, members } of plots) {
    let left = 12 * scale
    for (const [at, series] of members.entries()) {
      const sum = series.summary(from, to)
      const text = `${nameOf(series)}${sum ? `   min ${number(sum.min)}  mean ${number(sum.mean)}  max ${number(sum.max)}` : ''}`
      pen.fillStyle = colourOf(plot.lines[at]?.colour ?? 0)
      pen.fillText(text, left, top + head / 2)
      left += pen.measureText(text).width + 24 * scale
    }
    pen.drawImage(plot.canvas, 0, top + head)
    top += head + plot.canvas.height
  }
  canvas.toBlob(
    (blob) =>
      blob &&
      download(
        `mqtt-chart-${new Date(to * 1_000).toISOString().slice(0, 19).replaceAll(':', '')}.png`,
        blob,
      ),
  )
}
