// Small parts that every panel uses.

import { signal } from '@preact/signals'
import { Component, type ComponentChildren, type JSX } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { sparkline } from './dom.ts'

/** Shows what failed in the place of the panel that failed; the others go on. */
export class Boundary extends Component<
  { name: string; children: ComponentChildren },
  { error?: Error }
> {
  static override getDerivedStateFromError(error: Error) {
    return { error }
  }
  override render() {
    const { error } = this.state
    if (!error) return this.props.children
    return (
      <div class="failure" role="alert">
        <p>
          The panel “{this.props.name}” failed: {error.message}
        </p>
        <button type="button" onClick={() => this.setState({ error: undefined })}>
          Show it again
        </button>
      </div>
    )
  }
}

/** Says that a view outside the framework has failed. */
export function useFailure(): [JSX.Element | null, (error: Error | undefined) => void] {
  const [error, setError] = useState<Error | undefined>()
  const shown = error ? (
    <p class="failure" role="alert">
      This view failed: {error.message}
    </p>
  ) : null
  return [shown, setError]
}

export interface Tab {
  id: string
  title: string
  badge?: string
}

/** The buttons of a tab list, with the keys that tabs have. The panel carries the id `panel-<id>`. */
export function Tabs({
  tabs,
  front,
  onFront,
  label,
  small,
}: {
  tabs: Tab[]
  front: string
  onFront: (id: string) => void
  label: string
  small?: boolean
}) {
  const list = useRef<HTMLDivElement>(null)
  const key = (event: KeyboardEvent) => {
    const at = tabs.findIndex(({ id }) => id === front)
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key]
    if (to === undefined) return
    event.preventDefault()
    const next = tabs[(to + tabs.length) % tabs.length] as Tab
    onFront(next.id)
    list.current?.querySelector<HTMLElement>(`#tab-${next.id}`)?.focus()
  }
  useEffect(() => {
    list.current
      ?.querySelector(`#tab-${front}`)
      ?.scrollIntoView({ block: 'nearest', inline: 'nearest' })
  }, [front])
  return (
    <div
      class={small ? 'tabs small' : 'tabs'}
      role="tablist"
      aria-label={label}
      ref={list}
      onKeyDown={key}
    >
      {tabs.map(({ id, title, badge }) => (
        <button
          type="button"
          role="tab"
          key={id}
          id={`tab-${id}`}
          aria-selected={id === front}
          aria-controls={id === front ? `panel-${id}` : undefined}
          tabIndex={id === front ? 0 : -1}
          onClick={() => onFront(id)}
        >
          {title}
          {badge ? <span class="tab-badge">{badge}</span> : null}
        </button>
      ))}
    </div>
  )
}

/** A modal dialog. Escape closes it, and the focus goes back to where it came from. */
export function Dialog({
  title,
  onClose,
  children,
  wide,
}: {
  title: string
  onClose: () => void
  children: ComponentChildren
  wide?: boolean
}) {
  const dialog = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null
    dialog.current?.showModal()
    return () => {
      if (before?.isConnected) before.focus()
    }
  }, [])
  return (
    <dialog
      ref={dialog}
      class={wide ? 'wide' : ''}
      aria-label={title}
      onCancel={(event) => {
        event.preventDefault()
        onClose()
      }}
      onPointerDown={(event) => event.target === dialog.current && onClose()}
    >
      <div class="dialog-body">
        <div class="dialog-head">
          <h2>{title}</h2>
          <button type="button" class="icon" aria-label="Close" onClick={onClose}>
            <Icon name="close" />
          </button>
        </div>
        {children}
      </div>
    </dialog>
  )
}

interface Question {
  title: string
  text: string
  yes: string
  no: string
  answer: (yes: boolean) => void
}
const question = signal<Question | undefined>(undefined)

/** Asks before something that cannot be undone. */
export function ask(title: string, text: string, yes: string, no = 'Cancel'): Promise<boolean> {
  return new Promise((resolve) => {
    question.value = {
      title,
      text,
      yes,
      no,
      answer: (said) => {
        question.value = undefined
        resolve(said)
      },
    }
  })
}

export function Questions() {
  const asked = question.value
  if (!asked) return null
  return (
    <Dialog title={asked.title} onClose={() => asked.answer(false)}>
      <p class="question">{asked.text}</p>
      <div class="buttons">
        <button type="button" autofocus onClick={() => asked.answer(false)}>
          {asked.no}
        </button>
        <button type="button" class="danger" onClick={() => asked.answer(true)}>
          {asked.yes}
        </button>
      </div>
    </Dialog>
  )
}

const PATHS: Record<string, string> = {
  close: 'M4 4l8 8M12 4l-8 8',
  chart: 'M2 13h12M3 10l3-4 3 3 4-6',
  copy: 'M5.5 5.5h7v8h-7zM3.5 10.5v-8h7',
  send: 'M2.5 8l11-5-4 10.5-2-4.5z',
  trash: 'M3 4.5h10M6.5 4.5v-2h3v2M4.5 4.5l.6 9h5.8l.6-9',
  pause: 'M5.5 3v10M10.5 3v10',
  play: 'M4.5 3l8 5-8 5z',
  sun: 'M8 5a3 3 0 100 6 3 3 0 000-6zM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1',
  moon: 'M13 9.5A5.5 5.5 0 016.5 3a5.5 5.5 0 106.5 6.5z',
  auto: 'M8 2a6 6 0 100 12zM8 2a6 6 0 010 12',
  settings:
    'M2 4.5h6M12 4.5h2M2 11.5h2M8 11.5h6M10 2.7a1.8 1.8 0 100 3.6 1.8 1.8 0 000-3.6zM6 9.7a1.8 1.8 0 100 3.6 1.8 1.8 0 000-3.6z',
  search: 'M7 2.5a4.5 4.5 0 100 9 4.5 4.5 0 000-9zM10.5 10.5L14 14',
  download: 'M8 2v8M4.5 7L8 10.5 11.5 7M3 13.5h10',
  plus: 'M8 3v10M3 8h10',
  up: 'M8 13V3M4 7l4-4 4 4',
  fold: 'M4 6l4-3 4 3M4 10l4 3 4-3',
  home: 'M2.5 8L8 3l5.5 5M4 7v6.5h8V7',
}

export function Icon({ name }: { name: string }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  )
}

export function Spark({
  values,
  width = 72,
  height = 20,
  fromZero = true,
}: {
  values: number[]
  width?: number
  height?: number
  fromZero?: boolean
}) {
  return (
    <svg
      class="spark"
      viewBox={`0 0 ${width} ${height}`}
      width={width}
      height={height}
      preserveAspectRatio="none"
      aria-hidden="true"
    >
      <polyline points={sparkline(values, width, height, fromZero)} />
    </svg>
  )
}

/** Copies a text and says so for a moment. */
export function Copy({ text, label = 'Copy' }: { text: () => string; label?: string }) {
  const [said, setSaid] = useState('')
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text())
      setSaid('Copied')
    } catch {
      setSaid('The browser did not allow it')
    }
    setTimeout(() => setSaid(''), 1_500)
  }
  return (
    <button type="button" class="small copy" onClick={copy}>
      <Icon name="copy" />
      <span class={said ? 'now' : ''}>{said || label}</span>
    </button>
  )
}

/** A field with its label, a hint, and what is wrong with it. */
export function Field({
  label,
  mistake,
  hint,
  children,
  class: name = '',
}: {
  label: string
  mistake?: string | undefined
  hint?: string
  children: ComponentChildren
  class?: string
}) {
  return (
    <label class={`field ${name}`}>
      <span class="label">{label}</span>
      {children}
      {mistake ? (
        <span class="mistake" role="alert">
          {mistake}
        </span>
      ) : hint ? (
        <span class="hint">{hint}</span>
      ) : null}
    </label>
  )
}

/** An event listener that hands on the value of the field. */
export const value =
  (set: (value: string) => void) =>
  ({ currentTarget }: { currentTarget: { value: string } }) =>
    set(currentTarget.value)
export const checked =
  (set: (value: boolean) => void) =>
  ({ currentTarget }: { currentTarget: { checked: boolean } }) =>
    set(currentTarget.checked)
