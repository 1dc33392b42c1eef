// The messages of a branch, the newest first. Time goes on whatever a person does: while somebody reads (the list is scrolled, or the
// pointer is over it) new rows come in above, and the rows in view stay where they are.
import type { View } from '../core/frame.ts'
import type { Entry, Model } from '../core/model.ts'
import { byteCount, clock, visible } from '../core/text.ts'
import { element, setText, VirtualList } from './dom.ts'
import { lineOf } from './tree.ts'

const HEIGHT = 27

interface Row extends HTMLElement {
  entry: Entry
}

export interface MessageListOptions {
  model: Model
  box: HTMLElement
  onSelect: (entry: Entry) => void
  /** How many messages there are, and how many of them came in above what is in view. */
  onDrawn: (total: number, above: number) => void
  /** The colour of the subscription that a topic belongs to, by number; -1: none. */
  colourOf: (entry: Entry) => number
  failed: View['failed']
}

export class MessageList {
  selected: Entry | undefined
  #options: MessageListOptions
  #list: VirtualList
  #entries: readonly Entry[] = []
  /** While paused: what was there then. */
  #held: readonly Entry[] | undefined
  #over = false
  #topSeq = 0

  constructor(options: MessageListOptions) {
    this.#options = options
    const { box } = options
    this.#list = new VirtualList(box, {
      height: HEIGHT,
      count: () => this.#update(),
      make,
      fill: (row, at) => this.#fill(row as Row, this.#at(at), at),
    })
    ;(this.#list as View).failed = options.failed
    box.addEventListener('pointerenter', () => (this.#over = true))
    box.addEventListener('pointerleave', () => (this.#over = false))
    box.addEventListener('pointerdown', (event) => {
      const row = (event.target as Element).closest('.message') as Row | null
      if (row && event.button === 0) this.select(row.entry)
    })
    box.addEventListener('keydown', (event) => this.#key(event))
  }

  destroy(): void {
    this.#list.destroy()
  }

  get entries(): readonly Entry[] {
    return this.#entries
  }

  pause(paused: boolean): void {
    this.#held = paused ? this.#entries.slice() : undefined
    this.#list.redraw()
  }

  /** Shows the newest again. */
  toTop(): void {
    this.#list.box.scrollTop = 0
    this.#over = false
    this.#list.redraw()
  }

  /** Another branch: begins at the top. */
  restart(): void {
    if (this.#held) this.#held = this.#options.model.followed().slice()
    this.#topSeq = 0
    this.toTop()
  }

  select(entry: Entry): void {
    this.selected = entry
    this.#list.redraw()
    this.#options.onSelect(entry)
  }

  #at(index: number): Entry {
    return this.#entries[this.#entries.length - 1 - index] as Entry
  }

  #update(): number {
    this.#entries = this.#held ?? this.#options.model.followed()
    const { box } = this.#list
    const newest = this.#entries.at(-1)?.seq ?? 0
    let above = 0
    if ((box.scrollTop > 0 || this.#over) && this.#topSeq) {
      // From the end, because few are new.
      while (above < this.#entries.length && this.#at(above).seq > this.#topSeq) above++
      if (above) {
        const spacer = box.firstElementChild as HTMLElement
        spacer.style.height = `${this.#entries.length * HEIGHT}px`
        box.scrollTop += above * HEIGHT
      }
    }
    this.#topSeq = newest
    this.#options.onDrawn(this.#entries.length, Math.floor(box.scrollTop / HEIGHT))
    return this.#entries.length
  }

  #key(event: KeyboardEvent): void {
    const page = Math.max(1, Math.floor(this.#list.box.clientHeight / HEIGHT) - 1)
    const total = this.#entries.length
    const at = this.selected ? total - 1 - this.#entries.indexOf(this.selected) : -1
    const to: Record<string, number> = {
      ArrowDown: at === total ? 0 : at + 1,
      ArrowUp: at - 1,
      PageDown: at + page,
      PageUp: at - page,
      Home: 0,
      End: total - 1,
    }
    const wanted = to[event.key]
    if (wanted === undefined || total === 0) return
    event.preventDefault()
    const next = Math.min(total - 1, Math.max(0, wanted))
    this.select(this.#at(next))
    this.#list.reveal(next)
  }

  #fill(row: Row, entry: Entry, at: number): void {
    const selected = entry === this.selected
    row.setAttribute('aria-selected', String(selected))
    row.id = `message-${at}`
    if (selected) this.#options.box.setAttribute('aria-activedescendant', row.id)
    if (row.entry === entry) return
    row.entry = entry
    const [time, topic, payload, flags, size] = row.children as unknown as HTMLElement[]
    row.dataset.colour = String(this.#options.colourOf(entry))
    setText(time as Element, clock(entry.at))
    setText(topic as Element, visible(entry.topic))
    ;(topic as HTMLElement).title = visible(entry.topic)
    setText(payload as Element, lineOf(entry))
    setText(flags as Element, flagsOf(entry))
    setText(size as Element, byteCount(entry.size))
  }
}

/** `QoS 1 R D P`: retained, duplicate, with properties. */
export function flagsOf({ qos, retain, dup, properties }: Entry): string {
  const has =
    properties && Object.keys(properties).some((name) => name !== 'subscriptionIdentifiers')
  return [`Q${qos}`, retain && 'R', dup && 'D', has && 'P'].filter(Boolean).join(' ')
}

function make(): HTMLElement {
  const row = element('div', 'message')
  row.role = 'option'
  row.append(
    element('span', 'at'),
    element('bdi', 'topic'),
    element('bdi', 'payload'),
    element('span', 'flags'),
    element('span', 'size'),
  )
  return row
}

/** The messages as JSON: a payload that is text as text, any other in base64. */
export function toJson(
  entries: readonly Entry[],
  text: (bytes: Uint8Array) => string | undefined,
): string {
  return JSON.stringify(
    entries.map(({ topic, at, payload, size, cut, qos, retain, dup, properties }) => {
      const payloadText = text(payload)
      return {
        time: new Date(at).toISOString(),
        topic,
        qos,
        retain,
        dup,
        size,
        ...(cut ? { cut } : {}),
        ...(payloadText === undefined ? { base64: base64(payload) } : { payload: payloadText }),
        ...(properties
          ? {
              properties: {
                ...properties,
                correlationData: properties.correlationData && base64(properties.correlationData),
              },
            }
          : {}),
      }
    }),
    null,
    2,
  )
}

/** The messages as comma-separated values (RFC 4180). A payload that is no text is in base64, and the column before says so. */
export function toCsv(
  entries: readonly Entry[],
  text: (bytes: Uint8Array) => string | undefined,
): string {
  // A quote before what a spreadsheet would take for a formula.
  const cell = (value: unknown) =>
    `"${String(value)
      .replace(/^(?=[=+@\t\r])/, "'")
      .replaceAll('"', '""')}"`
  const rows = entries.map(({ topic, at, payload, size, qos, retain, dup }) => {
    const payloadText = text(payload)
    return [
      new Date(at).toISOString(),
      cell(topic),
      qos,
      retain,
      dup,
      size,
      payloadText === undefined ? 'base64' : 'text',
      cell(payloadText ?? base64(payload)),
    ].join(',')
  })
  return ['time,topic,qos,retain,dup,size,encoding,payload', ...rows, ''].join('\r\n')
}

function base64(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += String.fromCharCode(byte)
  return btoa(text)
}
