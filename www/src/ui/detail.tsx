// One topic in full: its current value, what has changed, its history, and the payload as JSON, text, bytes and difference.
import { useSignal } from '@preact/signals'
import { useEffect, useMemo, useRef } from 'preact/hooks'
import { drawPaced } from '../core/frame.ts'
import { type Json, numberAt, parseJson, pointer, pointerLabel, valueAt } from '../core/json.ts'
import { deleteRetained, model, now, rates } from '../core/link.ts'
import type { Entry, Topic } from '../core/model.ts'
import {
  ago,
  asText,
  byteCount,
  clock,
  count,
  duration,
  hex,
  hexRow,
  lapse,
  number,
  plural,
  preview,
  rate,
  seconds,
  visible,
} from '../core/text.ts'
import { ask, Copy, Icon, Tabs } from './common.tsx'
import { element, setText, sparkline, VirtualList } from './dom.ts'
import { flagsOf } from './messages.ts'
import { chart, draft, editDraft, pinned, reveal, select, selected } from './state.ts'
import { lineOf } from './tree.ts'

/** Text and JSON beyond this are shown in part; all of it can be copied. */
const MAX_SHOWN = 64 * 1024
const MAX_JSON = 2 * 1024 * 1024
const MAX_ROWS = 400

const view = { value: 'auto' }

export function DetailPanel() {
  const shown = useSignal<
    { topic: Topic; entry: Entry | undefined; before: Entry | undefined; count: number } | undefined
  >(undefined)
  const chosen = useSignal(view.value)
  useEffect(() => {
    // What is large takes long to show: the next message then waits, so that most of the time is left to others.
    let rest = 0
    let was: Entry | undefined
    return drawPaced({
      draw() {
        const path = selected.peek()
        const topic = path === '' ? undefined : model.find(path)
        const pin = pinned.peek()
        const entry = pin ?? topic?.last
        const last = shown.peek()
        if (!topic) {
          if (last) shown.value = undefined
          return
        }
        if (last?.topic === topic && last.entry === entry && last.count === topic.count) return
        if (last?.topic === topic && was === pin && performance.now() < rest) return
        was = pin
        const began = performance.now()
        setTimeout(() => {
          const now = performance.now()
          rest = now + (now - began) * 4
        })
        let before = topic.previous
        if (pin) {
          const history = model.topics.get(pin.topic)?.history() ?? []
          before = history[history.indexOf(pin) - 1]
        }
        shown.value = { topic, entry, before, count: topic.count }
      },
    })
  }, [])
  const current = shown.value
  if (!current) {
    return (
      <div class="panel detail">
        <div class="welcome">
          <h3>{selected.value === '' ? 'Choose a topic' : 'No message yet'}</h3>
          <p>
            {selected.value === '' ? (
              'Its current value, its history and its payload stand here then. Any number can be dragged onto the charts.'
            ) : (
              <>
                Nothing has come on <bdi class="mono">{visible(selected.value)}</bdi> so far.
              </>
            )}
          </p>
          <dl class="keys">
            <dt>/</dt>
            <dd>find a topic</dd>
            <dt>↑ ↓ ← →</dt>
            <dd>walk the tree</dd>
            <dt>a–z</dt>
            <dd>jump to a name</dd>
          </dl>
        </div>
      </div>
    )
  }
  const { topic, entry, before } = current
  return (
    <div class="panel detail fresh">
      <Head topic={topic} entry={entry} />
      {entry ? (
        <>
          <Value entry={entry} before={before} />
          <Facts entry={entry} topic={topic} />
          <Payload
            entry={entry}
            before={before}
            chosen={chosen.value}
            onChosen={(id) => (chosen.value = view.value = id)}
          />
        </>
      ) : (
        <Branch topic={topic} />
      )}
    </div>
  )
}

function Head({ topic, entry }: { topic: Topic; entry: Entry | undefined }) {
  const path = entry?.topic ?? topic.path
  const levels = path.split('/')
  const kept = model.topics.get(path)?.retained.state ?? 'none'
  const reuse = () => {
    if (entry) {
      const text = entry.size ? asText(entry.payload) : ''
      const { properties } = entry
      const correlation = properties?.correlationData
      editDraft({
        topic: entry.topic,
        payload: text ?? hex(entry.payload),
        format: text === undefined ? 'hex' : 'text',
        qos: entry.qos,
        retain: entry.retain,
        contentType: properties?.contentType ?? '',
        responseTopic: properties?.responseTopic ?? '',
        correlation: correlation ? (asText(correlation) ?? `0x${hex(correlation, '')}`) : '',
        expiry:
          properties?.messageExpiryInterval === undefined
            ? ''
            : String(properties.messageExpiryInterval),
        utf8: properties?.payloadFormatIndicator === 1,
        userProperties: (properties?.userProperties ?? [])
          .map(([name, text]) => `${name}: ${text}`)
          .join('\n'),
      })
    } else editDraft({ ...draft.value, topic: path })
    reveal('publish')
    requestAnimationFrame(() => document.getElementById('publish-payload')?.focus())
  }
  const clear = async () => {
    const yes = await ask(
      'Delete the retained message?',
      `The broker forgets the message that it keeps for ${visible(path)}. Clients that subscribe later no longer get it.`,
      'Delete it',
    )
    if (yes) await deleteRetained([path])
  }
  return (
    <header class="detail-head">
      <h3 class="path" title={visible(path)}>
        {levels.map((level, at) => (
          <bdi key={`${at} ${level}`}>
            {at > 0 && <i>/</i>}
            {at < levels.length - 1 ? (
              <button
                type="button"
                class="level"
                onClick={() => select(levels.slice(0, at + 1).join('/'))}
              >
                {level === '' ? '(empty)' : visible(level)}
              </button>
            ) : (
              <b>{level === '' ? '(empty)' : visible(level)}</b>
            )}
          </bdi>
        ))}
      </h3>
      <div class="buttons">
        {kept !== 'none' && (
          <button type="button" class="small danger-quiet" id="unretain" onClick={clear}>
            <Icon name="trash" />
            <span>Delete retained</span>
          </button>
        )}
        <button type="button" class="small" id="reuse" onClick={reuse} disabled={entry?.cut}>
          <Icon name="send" />
          <span>Use in publish</span>
        </button>
        <Copy text={() => path} label="Copy topic" />
      </div>
    </header>
  )
}

const isShort = (text: string) => text.length <= 24 && !text.includes('\n')

function Value({ entry, before }: { entry: Entry; before: Entry | undefined }) {
  const { topic } = entry
  const text = entry.size === 0 ? '' : entry.size < 4_096 ? asText(entry.payload) : undefined
  const value = numberAt(entry.payload, '')
  const last = before ? numberAt(before.payload, '') : undefined
  const isNumber = value !== undefined && text !== undefined && /^[\s+-]?[\d.]/.test(text)
  const history = model.topics.get(topic)?.history() ?? []
  const values = isNumber
    ? history.map((e) => numberAt(e.payload, '')).filter((v): v is number => v !== undefined)
    : []
  return (
    <div class="value-row">
      <div
        class={text !== undefined && isShort(text) ? 'big' : 'big long'}
        id="value"
        draggable={isNumber}
        onDragStart={(event) =>
          event.dataTransfer?.setData('application/x-mqtt-series', JSON.stringify([topic, '']))
        }
      >
        <bdi>
          {entry.size === 0 ? (
            <em>empty</em>
          ) : (
            visible(
              (text !== undefined && isShort(text) ? text : preview(entry.payload, 180)).trim(),
            )
          )}
        </bdi>
      </div>
      <div class="change">
        {pinned.value ? (
          <>
            <span class="pin">A message of the past</span>
            <button
              type="button"
              class="small"
              id="unpin"
              onClick={() => (pinned.value = undefined)}
            >
              Show the latest
            </button>
          </>
        ) : isNumber && last !== undefined ? (
          <Delta by={value - last} span={Math.abs(last)} ms={entry.at - (before as Entry).at} />
        ) : before ? (
          <span class="muted">
            {same(entry, before) ? 'unchanged' : 'changed'} after {lapse(entry.at - before.at)}
          </span>
        ) : (
          <span class="muted">the first message</span>
        )}
      </div>
      {values.length > 1 && (
        <svg class="spark large" viewBox="0 0 220 52" preserveAspectRatio="none" aria-hidden="true">
          <polyline points={sparkline(values, 220, 52)} />
        </svg>
      )}
      {isNumber && (
        <button type="button" class="small chart-this" onClick={() => chart(topic)}>
          <Icon name="chart" />
          <span>Chart this</span>
        </button>
      )}
    </div>
  )
}

function Delta({ by, span, ms }: { by: number; span: number; ms: number }) {
  const sign = by > 0 ? '▲' : by < 0 ? '▼' : '='
  return (
    <span class={by > 0 ? 'delta up' : by < 0 ? 'delta down' : 'delta'}>
      {sign} {by === 0 ? 'unchanged' : number(Number(Math.abs(by).toPrecision(6)), span)}{' '}
      <span class="muted">in {lapse(ms)}</span>
    </span>
  )
}

/** What `same` has found out, by the later of two messages: a table of a hundred asks for each of them, whenever it is drawn. */
const compared = new WeakMap<Entry, { before: Entry; same: boolean }>()

function same(entry: Entry, before: Entry): boolean {
  let known = compared.get(entry)
  if (known?.before !== before) {
    known = { before, same: entry.size === before.size && equal(entry.payload, before.payload) }
    compared.set(entry, known)
  }
  return known.same
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false
  return true
}

function Facts({ entry, topic }: { entry: Entry; topic: Topic }) {
  const { properties } = entry
  const own = model.topics.get(entry.topic) ?? topic
  const kept = own.retained
  void rates.value // the rates of a topic change with it
  const rows: Array<[string, string]> = []
  if (properties?.contentType !== undefined) rows.push(['Content type', properties.contentType])
  if (properties?.payloadFormatIndicator !== undefined)
    rows.push(['Payload format', properties.payloadFormatIndicator ? 'UTF-8' : 'bytes'])
  if (properties?.messageExpiryInterval !== undefined)
    rows.push(['Expires', `${duration(properties.messageExpiryInterval * 1_000)} after it arrived`])
  if (properties?.responseTopic !== undefined)
    rows.push(['Response topic', properties.responseTopic])
  if (properties?.correlationData)
    rows.push([
      'Correlation data',
      asText(properties.correlationData) ?? hex(properties.correlationData),
    ])
  for (const [name, text] of properties?.userProperties ?? []) rows.push([name, text])
  return (
    <>
      <ul class="facts" id="facts">
        <li title={new Date(entry.at).toISOString()}>
          {clock(entry.at)}{' '}
          <span class="muted">{ago(entry.at, Math.max(now.value, entry.at))}</span>
        </li>
        <li>QoS {entry.qos}</li>
        <li>{byteCount(entry.size)}</li>
        {entry.stored && <li class="badge">stored before we came</li>}
        {entry.dup && <li class="badge">duplicate</li>}
        {entry.cut && (
          <li class="badge warn">
            memory was short: only the first {byteCount(entry.payload.length)} are kept
          </li>
        )}
        {kept.state === 'kept' && (
          <li class="badge">
            {kept.entry === entry
              ? 'retained'
              : `the broker retains an earlier one: ${lineOf(kept.entry).slice(0, 40)}`}
          </li>
        )}
        {kept.state === 'unsure' && <li class="badge">was retained before the reconnect</li>}
        <li class="muted">
          {plural(own.count, 'message')}, {rate(own.rate)}
        </li>
      </ul>
      {rows.length > 0 && (
        <dl class="properties">
          {rows.map(([name, text], at) => (
            <div key={`${at} ${name}`}>
              <dt>
                <bdi>{visible(name)}</bdi>
              </dt>
              <dd>
                <bdi>{visible(text)}</bdi>
              </dd>
            </div>
          ))}
        </dl>
      )}
    </>
  )
}

function Branch({ topic }: { topic: Topic }) {
  void rates.value
  const busiest = [...topic.children.values()].sort((a, b) => b.count - a.count).slice(0, 12)
  return (
    <div class="branch-view">
      <dl class="tiles">
        <div>
          <dt>Topics</dt>
          <dd>{count(topic.topics)}</dd>
        </div>
        <div>
          <dt>Messages</dt>
          <dd>{count(topic.count)}</dd>
        </div>
        <div>
          <dt>Rate</dt>
          <dd>{rate(topic.rate)}</dd>
        </div>
        <div>
          <dt>Last</dt>
          <dd>{ago(topic.seen, Math.max(now.value, topic.seen))}</dd>
        </div>
      </dl>
      <ul class="busiest">
        {busiest.map((child) => (
          <li key={child.name}>
            <button type="button" class="link" onClick={() => select(child.path)}>
              <bdi>{child.name === '' ? '(empty)' : visible(child.name)}</bdi>
            </button>
            <bdi class="muted one-line">
              {child.last ? lineOf(child.last) : plural(child.topics, 'topic')}
            </bdi>
            <span class="muted">{count(child.count)}</span>
          </li>
        ))}
      </ul>
    </div>
  )
}

const FORMS = ['json', 'text', 'hex', 'diff', 'history']
const TITLES: Record<string, string> = {
  json: 'JSON',
  text: 'Text',
  hex: 'Bytes',
  diff: 'Difference',
  history: 'History',
}

function Payload({
  entry,
  before,
  chosen,
  onChosen,
}: {
  entry: Entry
  before: Entry | undefined
  chosen: string
  onChosen: (id: string) => void
}) {
  const form = chosen === 'auto' ? fitting(entry) : chosen
  return (
    <section class="payload-view" aria-label="Payload">
      <div class="bar">
        <Tabs
          small
          label="Show the payload as"
          tabs={FORMS.map((id) => ({ id, title: TITLES[id] as string }))}
          front={form}
          onFront={onChosen}
        />
        <span class="grow" />
        <Copy text={() => asText(entry.payload) ?? hex(entry.payload)} label="Copy payload" />
      </div>
      <div
        class="payload-body"
        role="tabpanel"
        id={`panel-${form}`}
        aria-labelledby={`tab-${form}`}
        tabIndex={0}
      >
        {form === 'json' && <JsonTree key={entry.topic} entry={entry} before={before} />}
        {form === 'text' && <Text entry={entry} />}
        {form === 'hex' && <Hex entry={entry} />}
        {form === 'diff' && <Difference entry={entry} before={before} />}
        {form === 'history' && <History entry={entry} />}
      </div>
    </section>
  )
}

/** The form in which a payload is easiest to read. */
function fitting(entry: Entry): string {
  const json = readJson(entry)
  if (json.kind === 'tree' && (json.root.kind === 'object' || json.root.kind === 'array'))
    return 'json'
  if (numberAt(entry.payload, '') !== undefined) return 'history'
  return asText(entry.payload, entry.cut) === undefined ? 'hex' : 'text'
}

type Read = { kind: 'tree'; root: Json } | { kind: 'none'; why: string }

/** What was read last: the message before the current one was the current one itself. No more, because trees are large. */
const lastRead: Array<{ payload: Uint8Array; read: Read }> = []

function readJson(entry: Entry): Read {
  const { payload } = entry
  let known = lastRead.find((other) => other.payload === payload)
  if (!known) {
    known = { payload, read: parse(entry) }
    lastRead.unshift(known)
    lastRead.length = Math.min(lastRead.length, 2)
  }
  return known.read
}

function parse(entry: Entry): Read {
  if (entry.cut)
    return {
      kind: 'none',
      why: 'The end of this payload is not kept any more, so it cannot be read as JSON.',
    }
  if (entry.size === 0) return { kind: 'none', why: 'The payload is empty.' }
  if (entry.size > MAX_JSON)
    return {
      kind: 'none',
      why: `${byteCount(entry.size)} are too much for a tree. The text is all there.`,
    }
  const text = asText(entry.payload)
  if (text === undefined) return { kind: 'none', why: 'The payload is not text.' }
  try {
    return { kind: 'tree', root: parseJson(text) }
  } catch (error) {
    return { kind: 'none', why: `Not JSON: ${(error as Error).message}.` }
  }
}

interface JsonRow {
  path: string
  name: string
  depth: number
  value: Json
  open: boolean
}

/** What a reader opened or closed, by topic and pointer. It stays while messages come. */
const folds = new Map<string, boolean>()

function JsonTree({ entry, before }: { entry: Entry; before: Entry | undefined }) {
  const version = useSignal(0)
  const limit = useSignal(MAX_ROWS)
  void version.value
  // In this order: the later one is to be found again as the one before.
  const old = before && readJson(before)
  const read = readJson(entry)
  if (read.kind === 'none') return <p class="empty">{read.why}</p>
  const rows = flatten(read.root, entry.topic, limit.value)
  const more = rows.length > limit.value
  const toggle = (row: JsonRow) => {
    folds.set(`${entry.topic}\n${row.path}`, !row.open)
    version.value++
  }
  return (
    <div class="json" id="json">
      {rows.slice(0, limit.value).map((row) => {
        const { path, name, depth, value, open } = row
        const folder = value.kind === 'object' || value.kind === 'array'
        const written = folder ? '' : leafText(value)
        const was = old?.kind === 'tree' && !folder ? valueAt(old.root, path) : undefined
        const changed = old?.kind === 'tree' && !folder && !(was && leafText(was) === written)
        const charts = value.kind === 'number' || (value.kind === 'word' && value.text !== 'null')
        return (
          <div
            class={changed ? 'json-row changed' : 'json-row'}
            key={path}
            style={{ '--depth': String(Math.min(depth, 24)) }}
            draggable={charts}
            onDragStart={(event) =>
              event.dataTransfer?.setData(
                'application/x-mqtt-series',
                JSON.stringify([entry.topic, path]),
              )
            }
          >
            {folder ? (
              <button
                type="button"
                class="twist"
                aria-expanded={open}
                aria-label={`${name || 'root'}, ${size(value)}`}
                onClick={() => toggle(row)}
              >
                ›
              </button>
            ) : (
              <span class="twist" />
            )}
            {name !== '' && <bdi class="json-name">{visible(name)}</bdi>}
            {folder ? (
              <span class="muted">{size(value)}</span>
            ) : (
              <bdi class={`json-${value.kind}`}>{visible(written.slice(0, 2_000))}</bdi>
            )}
            {depth > 24 && <span class="muted">level {depth}</span>}
            {charts && (
              <button
                type="button"
                class="icon chart-this"
                aria-label={`Chart ${pointerLabel(path) || 'this'}`}
                title="Chart this (or drag it)"
                onClick={() => chart(entry.topic, path)}
              >
                <Icon name="chart" />
              </button>
            )}
          </div>
        )
      })}
      {more && (
        <button type="button" class="small" onClick={() => (limit.value += MAX_ROWS)}>
          Show more rows
        </button>
      )}
    </div>
  )
}

const size = (value: Json): string => {
  if (value.kind === 'object') return `{ ${plural(value.members.length, 'member')} }`
  return value.kind === 'array' ? `[ ${plural(value.items.length, 'item')} ]` : ''
}

const leafText = (value: Json): string =>
  value.kind === 'string' ? JSON.stringify(value.value) : 'text' in value ? value.text : ''

/** The rows that are open, in order, one more than `limit` where there are more. Without recursion: a payload may be 4,000 levels deep. */
function flatten(root: Json, topic: string, limit: number): JsonRow[] {
  const rows: JsonRow[] = []
  const waiting: Array<Omit<JsonRow, 'open'>> = [{ path: '', name: '', depth: 0, value: root }]
  while (waiting.length > 0 && rows.length <= limit) {
    const row = waiting.pop() as Omit<JsonRow, 'open'>
    const { value, path, depth } = row
    const many =
      (value.kind === 'array' && value.items.length > 100) ||
      (value.kind === 'object' && value.members.length > 500)
    const open = folds.get(`${topic}\n${path}`) ?? (depth < 3 && (depth === 0 || !many))
    rows.push({ ...row, open })
    if (!open) continue
    const children: typeof waiting = []
    // Never more than can be shown.
    const room = limit + 1 - rows.length
    if (value.kind === 'object')
      for (const [name, child] of value.members.slice(0, room))
        children.push({ path: pointer(path, name), name, depth: depth + 1, value: child })
    if (value.kind === 'array')
      for (const [at, child] of value.items.slice(0, room).entries())
        children.push({ path: pointer(path, at), name: String(at), depth: depth + 1, value: child })
    waiting.push(...children.reverse())
  }
  return rows
}

const MAX_LEAVES = 20_000
/** The values of a document with their pointers, at most 20,000 of them, none below a depth of 200. */
function* leaves(root: Json): Generator<[path: string, text: string]> {
  const waiting: Array<[path: string, value: Json, depth: number]> = [['', root, 0]]
  for (let n = 0; waiting.length > 0 && n < MAX_LEAVES; n++) {
    const [path, value, depth] = waiting.pop() as [string, Json, number]
    if (value.kind !== 'object' && value.kind !== 'array') yield [path, leafText(value)]
    else if (depth < 200) {
      const children: typeof waiting = (
        value.kind === 'object' ? value.members : [...value.items.entries()]
      )
        .slice(0, MAX_LEAVES)
        .map(([step, child]) => [pointer(path, step), child, depth + 1])
      waiting.push(...children.reverse())
    }
  }
}

function Text({ entry }: { entry: Entry }) {
  const limit = useSignal(MAX_SHOWN)
  if (entry.size === 0) return <p class="empty">The payload is empty.</p>
  const part = entry.payload.subarray(0, limit.value)
  const isCut = entry.cut || part.length < entry.payload.length
  const text = asText(part, isCut)
  if (text === undefined) return <p class="empty">The payload is not text: see its bytes.</p>
  return (
    <>
      <pre class="text" id="payload">
        <bdi>{text}</bdi>
      </pre>
      {part.length < entry.payload.length && (
        <p class="more">
          The first {byteCount(part.length)} of {byteCount(entry.size)}.{' '}
          <button type="button" class="small" onClick={() => (limit.value += MAX_SHOWN)}>
            Show more
          </button>
        </p>
      )}
    </>
  )
}

function Hex({ entry }: { entry: Entry }) {
  const box = useRef<HTMLDivElement>(null)
  const shown = useRef(entry)
  shown.current = entry
  useEffect(() => {
    const list = new VirtualList(box.current as HTMLDivElement, {
      height: 20,
      count: () => Math.ceil(shown.current.payload.length / 16),
      make: () => element('div', 'hex-row'),
      fill: (row, at) => setText(row, hexRow(shown.current.payload, at * 16)),
    })
    return () => list.destroy()
  }, [])
  return <div ref={box} id="hex" class="virtual hex" role="group" aria-label="Bytes" tabIndex={0} />
}

interface Change {
  sign: '+' | '−' | ' '
  /** Where it is: a JSON Pointer, or '' where the text says it all. */
  path: string
  text: string
}

function Difference({ entry, before }: { entry: Entry; before: Entry | undefined }) {
  const changes = useMemo(() => (before ? compare(before, entry) : []), [entry, before])
  if (!before)
    return <p class="empty">There is no earlier message of this topic to compare with.</p>
  const changed = changes.filter(({ sign }) => sign !== ' ')
  return (
    <div id="diff" class="diff">
      <p class="muted">
        Compared with the message of {clock(before.at)}, {lapse(entry.at - before.at)} before:{' '}
        {changed.length === 0 ? 'nothing is different' : plural(changed.length, 'line')}.
      </p>
      {changes.slice(0, 500).map(({ sign, path, text }, at) => (
        <div key={at} class={sign === '+' ? 'added' : sign === '−' ? 'removed' : ''}>
          <span class="sign">{sign}</span>
          <bdi>
            {path && `${visible(pointerLabel(path))}: `}
            {visible(text.slice(0, 2_000))}
          </bdi>
        </div>
      ))}
      {changes.length > 500 && <p class="muted">The first 500 lines.</p>}
    </div>
  )
}

/** JSON member by member, text line by line, bytes row by row. */
function compare(before: Entry, after: Entry): Change[] {
  const [a, b] = [readJson(before), readJson(after)]
  const lines: Array<Map<string, string>> = []
  const isJson = a.kind === 'tree' && b.kind === 'tree'
  if (isJson) {
    for (const { root } of [a, b]) lines.push(new Map(leaves(root)))
  } else {
    for (const { payload, cut } of [before, after]) {
      const part = payload.subarray(0, MAX_SHOWN)
      const text = asText(part, cut || part.length < payload.length)
      const rows =
        text === undefined
          ? Array.from({ length: Math.ceil(part.length / 16) }, (_, at) => hexRow(part, at * 16))
          : text.split('\n')
      lines.push(new Map(rows.map((row, at) => [String(at), row])))
    }
  }
  const [old, fresh] = lines as [Map<string, string>, Map<string, string>]
  const changes: Change[] = []
  for (const key of new Set([...old.keys(), ...fresh.keys()])) {
    const [was, is] = [old.get(key), fresh.get(key)]
    const path = isJson ? key : ''
    if (was === is) changes.push({ sign: ' ', path, text: is as string })
    else {
      if (was !== undefined) changes.push({ sign: '−', path, text: was })
      if (is !== undefined) changes.push({ sign: '+', path, text: is })
    }
  }
  // What is the same is of use where it is short.
  return changes.length > 40 ? changes.filter(({ sign }) => sign !== ' ') : changes
}

function History({ entry }: { entry: Entry }) {
  const history = (model.topics.get(entry.topic)?.history() ?? []).reverse()
  return (
    <table class="history" id="history">
      <caption class="muted">The last {plural(history.length, 'message')} of this topic</caption>
      <thead>
        <tr>
          <th scope="col">Time</th>
          <th scope="col">Value</th>
          <th scope="col">Change</th>
          <th scope="col">Flags</th>
          <th scope="col">Size</th>
        </tr>
      </thead>
      <tbody>
        {history.map((past, at) => {
          const before = history[at + 1]
          const [value, last] = [numberAt(past.payload, ''), before && numberAt(before.payload, '')]
          const by = value !== undefined && last !== undefined ? value - last : undefined
          return (
            <tr key={past.seq} aria-current={pinned.value === past ? 'true' : undefined}>
              <td>
                <button
                  type="button"
                  class="link"
                  title={seconds(past.at)}
                  onClick={() => (pinned.value = past)}
                >
                  {clock(past.at)}
                </button>
              </td>
              <td class="one-line">
                <bdi>{lineOf(past)}</bdi>
              </td>
              <td class="muted">
                {by !== undefined
                  ? `${by > 0 ? '+' : ''}${number(Number(by.toPrecision(6)), Math.abs(last as number))}`
                  : before && same(past, before)
                    ? 'same'
                    : ''}
              </td>
              <td class="muted">{flagsOf(past)}</td>
              <td class="muted">{byteCount(past.size)}</td>
            </tr>
          )
        })}
      </tbody>
    </table>
  )
}
