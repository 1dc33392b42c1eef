// The panels of the explorer: the tree of topics and the messages of a branch. What changes many times a second is in tree.ts and messages.ts.
import { useSignal, useSignalEffect } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { matches } from 'wasmqtt'
import { drawPaced } from '../core/frame.ts'
import { link, model, subs } from '../core/link.ts'
import type { Entry } from '../core/model.ts'
import { asText, count, plural, visible } from '../core/text.ts'
import { Icon, useFailure } from './common.tsx'
import { download } from './dom.ts'
import { MessageList, toCsv, toJson } from './messages.ts'
import { chart, pinned, reveal, room, select, selected, showSys } from './state.ts'
import { Tree } from './tree.ts'

export function TopicsPanel() {
  const box = useRef<HTMLDivElement>(null)
  const search = useRef<HTMLInputElement>(null)
  const tree = useRef<Tree | undefined>(undefined)
  const query = useSignal('')
  const rows = useSignal(0)
  const totals = useSignal('')
  const exact = useSignal(0)
  const [failure, setFailure] = useFailure()

  useEffect(() => {
    const made = new Tree(
      {
        model,
        box: box.current as HTMLDivElement,
        onSelect: (path) => {
          if (path !== selected.peek()) select(path)
        },
        onChart: (topic) => chart(topic),
        onDrawn: (drawn) => {
          rows.value = drawn
        },
        failed: setFailure,
      },
      selected.peek(),
    )
    tree.current = made
    const stop = drawPaced({
      draw() {
        const hidden = model.unplaced
          ? `, ${plural(model.unplaced, 'message')} of topics beyond the limit are in the list of messages only`
          : ''
        exact.value = model.total
        totals.value = `${plural(model.topics.size, 'topic')}, ${plural(model.total, 'message')}${hidden}`
      },
    })
    // What the address names may not have come yet.
    const wanted = selected.peek()
    const until = setInterval(() => {
      if (wanted !== '' && !model.find(wanted)) return
      clearInterval(until)
      if (wanted !== '' && selected.peek() === wanted) made.reveal(wanted)
    }, 200)
    return () => {
      clearInterval(until)
      stop()
      made.destroy()
    }
  }, [])
  useSignalEffect(() => tree.current?.showSys(showSys.value))
  useSignalEffect(() => {
    if (tree.current && selected.value !== tree.current.selected)
      tree.current.reveal(selected.value)
  })
  useEffect(() => {
    const slash = (event: KeyboardEvent) => {
      if (event.key !== '/' || (event.target as Element).closest('input, textarea, select, dialog'))
        return
      event.preventDefault()
      search.current?.focus()
    }
    addEventListener('keydown', slash)
    return () => removeEventListener('keydown', slash)
  }, [])

  const find = (text: string) => {
    query.value = text
    tree.current?.search(text)
  }
  const searchKey = (event: KeyboardEvent) => {
    if (event.key === 'Escape') {
      event.preventDefault()
      find('')
      if (search.current) search.current.value = ''
      tree.current?.enter()
    } else if (event.key === 'ArrowDown' || event.key === 'Enter') {
      event.preventDefault()
      tree.current?.enter()
    }
  }
  return (
    <div class="panel topics">
      <div class="bar">
        <label class="search">
          <Icon name="search" />
          <input
            ref={search}
            id="search"
            type="search"
            placeholder="Find a topic ( / )"
            aria-label="Find a topic"
            spellcheck={false}
            onInput={({ currentTarget }) => find(currentTarget.value)}
            onKeyDown={searchKey}
          />
        </label>
        <button
          type="button"
          class="icon"
          aria-label="Fold all branches"
          title="Fold all branches"
          onClick={() => tree.current?.expandAll(false)}
        >
          <Icon name="fold" />
        </button>
        <label class="check" title="Show the topics in which the broker tells about itself">
          <input
            type="checkbox"
            checked={showSys.value}
            onChange={({ currentTarget }) => (showSys.value = currentTarget.checked)}
          />
          $SYS
        </label>
      </div>
      {failure}
      <div id="tree" ref={box} class="virtual fresh" role="tree" tabIndex={0} aria-label="Topics" />
      {rows.value === 0 && (
        <p class="empty">
          {query.value
            ? 'No topic has this in its name.'
            : link.value.state === 'connected'
              ? 'Nothing has come yet. Topics appear here with their first message.'
              : 'Not connected. Topics appear here with their first message.'}
        </p>
      )}
      <p class="foot" id="tree-count" data-total={exact.value}>
        {totals.value}
      </p>
    </div>
  )
}

const subOf = new Map<string, number>()
/** The colour of the first subscription that a topic matches. */
function colourOf({ topic }: Entry): number {
  if (subs.peek().length < 2) return -1
  let colour = subOf.get(topic)
  if (colour === undefined) {
    colour =
      subs
        .peek()
        .find(
          ({ filter, granted }) =>
            granted !== 'refused' && matches(filter.replace(/^\$share\/[^/]*\//, ''), topic),
        )?.colour ?? -1
    if (subOf.size > 20_000) subOf.clear()
    subOf.set(topic, colour)
  }
  return colour
}

export function MessagesPanel() {
  const box = useRef<HTMLDivElement>(null)
  const list = useRef<MessageList | undefined>(undefined)
  const paused = useSignal(false)
  const all = useSignal(false)
  const total = useSignal(0)
  const above = useSignal(0)
  const [failure, setFailure] = useFailure()

  useEffect(() => {
    const made = new MessageList({
      model,
      box: box.current as HTMLDivElement,
      onSelect: (entry) => {
        // In this order: choosing a topic shows its latest message.
        if (selected.peek() !== entry.topic && !isAbove(selected.peek(), entry.topic))
          selected.value = entry.topic
        pinned.value = entry
        if (room.peek() === 'small') reveal('detail')
      },
      onDrawn: (drawn, hidden) => {
        total.value = drawn
        above.value = hidden
      },
      colourOf,
      failed: setFailure,
    })
    list.current = made
    return () => {
      made.destroy()
      model.follow('')
    }
  }, [])
  useSignalEffect(() => {
    void subs.value
    subOf.clear()
  })
  const branch = all.value ? '' : selected.value
  useEffect(() => {
    model.follow(branch)
    list.current?.restart()
  }, [branch])

  const pause = () => {
    paused.value = !paused.value
    list.current?.pause(paused.value)
  }
  const clear = () => {
    model.clearMessages()
    if (paused.value) pause()
    list.current?.restart()
  }
  // A topic may still become a branch: whether it has any below it is looked up with the number of messages.
  const isOne = branch !== '' && total.value > 0 && model.find(branch)?.children.size === 0
  const name = () =>
    `mqtt-${(branch || 'all').replace(/[^\w.-]+/g, '_')}-${new Date().toISOString().slice(0, 19).replaceAll(':', '')}`
  return (
    <div class={isOne ? 'panel messages one' : 'panel messages'}>
      <div class="bar">
        <div class="choice" role="group" aria-label="Messages shown">
          <button type="button" aria-pressed={branch === ''} onClick={() => (all.value = true)}>
            All topics
          </button>
          {selected.value !== '' && (
            <button
              type="button"
              id="branch"
              class="branch"
              aria-pressed={branch !== ''}
              onClick={() => (all.value = false)}
            >
              <bdi>{visible(selected.value)}</bdi>
            </button>
          )}
        </div>
        <span class="muted grow one-line">{plural(total.value, 'message')}</span>
        <button type="button" class="small" id="pause" aria-pressed={paused.value} onClick={pause}>
          <Icon name={paused.value ? 'play' : 'pause'} />
          <span>{paused.value ? 'Resume' : 'Pause'}</span>
        </button>
        <button
          type="button"
          class="small"
          id="clear"
          onClick={clear}
          title="Forgets the messages, but for the last one of each topic"
        >
          <Icon name="trash" />
          <span>Clear</span>
        </button>
        <button
          type="button"
          class="small"
          id="export-json"
          onClick={() =>
            download(
              `${name()}.json`,
              toJson(list.current?.entries ?? [], asText),
              'application/json',
            )
          }
        >
          <Icon name="download" />
          <span>JSON</span>
        </button>
        <button
          type="button"
          class="small"
          id="export-csv"
          onClick={() =>
            download(`${name()}.csv`, toCsv(list.current?.entries ?? [], asText), 'text/csv')
          }
        >
          <Icon name="download" />
          <span>CSV</span>
        </button>
      </div>
      {failure}
      <div class="columns" aria-hidden="true">
        <span>Time</span>
        <span class="topic">Topic</span>
        <span>Payload</span>
        <span>Flags</span>
        <span>Size</span>
      </div>
      <div class="list-box">
        <div
          id="messages"
          ref={box}
          class="virtual fresh"
          role="listbox"
          tabIndex={0}
          aria-label="Messages"
        />
        {above.value > 0 && (
          <button type="button" class="newer" onClick={() => list.current?.toTop()}>
            <Icon name="up" />
            {count(above.value)} newer
          </button>
        )}
        {total.value === 0 && <p class="empty">No message yet.</p>}
      </div>
    </div>
  )
}

const isAbove = (branch: string, topic: string) =>
  branch === '' || topic === branch || topic.startsWith(`${branch}/`)
