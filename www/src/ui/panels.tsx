// The smaller panels: devices, retained messages, subscriptions, traffic, and what happens without a network.
import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { Client, type ServerInfo } from 'wasmqtt'
import { drawPaced } from '../core/frame.ts'
import {
  addSubscription,
  closeReason,
  cut,
  deleteRetained,
  devices,
  isVersion5,
  type Logged,
  link,
  live,
  model,
  networkOff,
  now,
  profile,
  publish,
  rates,
  rememberFilters,
  removeSubscription,
  sent,
  setNetworkOff,
  stats,
  subs,
  timeline,
} from '../core/link.ts'
import { connectOptions, newFilter, stored } from '../core/profile.ts'
import { openSocket } from '../core/socket.ts'
import {
  ago,
  byteCount,
  clock,
  count,
  duration,
  plural,
  preview,
  rate,
  seconds,
  visible,
} from '../core/text.ts'
import { ask, Copy, checked, Field, Icon, value } from './common.tsx'
import { connectionOpen, select, selected, selectedTopic, servedBroker } from './state.ts'
import { lineOf } from './tree.ts'

/** Draws again eight times a second at most, when `version` gives another value. */
function usePaced(version: () => unknown): void {
  const tick = useSignal(0)
  void tick.value
  useEffect(() => {
    let last: unknown
    return drawPaced({
      draw() {
        const is = version()
        if (is !== last) tick.value++
        last = is
      },
    })
  }, [])
}

// ---- devices

export function DevicesPanel() {
  usePaced(() => devices.version)
  const current = live.value
  const all = [...devices.all.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  const online = all.filter(({ state }) => state !== 'offline').length
  const MAX = 500
  const problem = all.filter(({ state }) => state === 'offline')
  // Those that are gone first: they are what one looks for.
  const shown = [...problem, ...all.filter(({ state }) => state !== 'offline')].slice(0, MAX)
  return (
    <div class="panel devices">
      <p class="summary" id="devices-count">
        {all.length === 0
          ? ''
          : current
            ? `${online} of ${plural(all.length, 'device')} online`
            : `${plural(all.length, 'device')}, state unknown without a connection`}
      </p>
      {all.length === 0 && (
        <p class="empty">
          No device has announced itself. Known are the conventions of Home Assistant
          (…/availability), Tasmota (tele/…/LWT), Homie (…/$state), Shelly (…/online), Sparkplug B,
          and topics named …/status.
        </p>
      )}
      <ul id="devices">
        {shown.map((device) => {
          const { name, topic, state, said, since, lost, convention, heard } = device
          return (
            <li
              key={`${convention} ${name}`}
              class={current ? `${state}${lost ? ' lost' : ''}` : 'unknown'}
            >
              <span class="lamp" />
              <button
                type="button"
                class="link one-line"
                title={`${visible(topic)} (${convention})`}
                onClick={() => select(topic)}
              >
                <bdi class="mono">{visible(name)}</bdi>
              </button>
              <span class="muted since">
                {!current
                  ? `${said} when last seen, ${ago(heard, Math.max(now.value, heard))}`
                  : since
                    ? `${said} since ${seconds(since)}`
                    : `${said} already when we came`}
              </span>
            </li>
          )
        })}
      </ul>
      {all.length > MAX && <p class="foot">{plural(all.length - MAX, 'more device')} not shown.</p>}
    </div>
  )
}

// ---- retained messages

export function RetainedPanel() {
  usePaced(() => `${model.kept} ${now.peek()}`)
  const whole = useSignal(true)
  const filter = useSignal('')
  const said = useSignal('')
  const branch = whole.value ? undefined : selectedTopic()
  const query = filter.value.trim().toLowerCase()
  const all = model
    .retainedIn(branch ?? model.root)
    .filter(({ topic }) => query === '' || topic.path.toLowerCase().includes(query))
  const MAX = 300
  const bytes = all.reduce((sum, { entry }) => sum + entry.size, 0)
  const clearAll = async () => {
    const yes = await ask(
      `Delete ${plural(all.length, 'retained message')}?`,
      `The broker forgets what it keeps for ${branch ? `${visible(branch.path)} and below` : query ? `topics with “${query}”` : 'every topic that this page sees'}. This cannot be undone.`,
      'Delete them',
    )
    if (!yes) return
    const topics = all.map(({ topic }) => topic.path)
    const deleted = await deleteRetained(topics, (so) => {
      said.value = `${count(so)} of ${count(topics.length)} deleted…`
    })
    said.value = `${plural(deleted, 'retained message')} deleted.`
  }
  const clearOne = async (path: string) => {
    if (
      await ask(
        'Delete the retained message?',
        `The broker forgets the message that it keeps for ${visible(path)}.`,
        'Delete it',
      )
    ) {
      const deleted = await deleteRetained([path])
      said.value = deleted ? 'Deleted.' : ''
    }
  }
  // What was done stands there until something else is looked at.
  useEffect(() => {
    said.value = ''
  }, [query, branch])
  return (
    <div class="panel retained">
      <div class="bar">
        <label class="search">
          <Icon name="search" />
          <input
            type="search"
            aria-label="Find a retained message"
            placeholder="Find"
            value={filter.value}
            onInput={value((text) => (filter.value = text))}
          />
        </label>
        <label class="check">
          <input
            type="checkbox"
            checked={!whole.value}
            disabled={selected.value === ''}
            onChange={checked((only) => (whole.value = !only))}
          />
          Selected branch
        </label>
        <span class="muted grow one-line" role="status">
          {said.value || `${plural(all.length, 'message')}, ${byteCount(bytes)}`}
        </span>
        <button
          type="button"
          class="small danger-quiet"
          id="clear-branch"
          disabled={all.length === 0 || !live.value}
          onClick={clearAll}
        >
          <Icon name="trash" />
          <span>Delete all shown</span>
        </button>
      </div>
      {live.value && !isVersion5.value && (
        <p class="muted pad">
          On MQTT 3.1.1 a broker does not say whether a live message is retained: listed is what it
          kept when the page subscribed.
        </p>
      )}
      <ul id="retained" class="rows">
        {all.slice(0, MAX).map(({ topic, entry, sure }) => (
          <li key={topic.path}>
            <button type="button" class="link one-line" onClick={() => select(topic.path)}>
              <bdi class="mono">{visible(topic.path)}</bdi>
            </button>
            <bdi class="one-line mono">{lineOf(entry)}</bdi>
            <span class="muted">
              {sure
                ? entry.stored
                  ? `before ${seconds(entry.at)}`
                  : ago(entry.at, Math.max(now.value, entry.at))
                : 'not seen since the reconnect'}
            </span>
            <button
              type="button"
              class="icon"
              aria-label={`Delete the retained message of ${visible(topic.path)}`}
              disabled={!live.value}
              onClick={() => clearOne(topic.path)}
            >
              <Icon name="trash" />
            </button>
          </li>
        ))}
      </ul>
      {all.length === 0 && <p class="empty">The broker retains nothing that this page has seen.</p>}
      {all.length > MAX && (
        <p class="foot">
          The first {MAX} of {count(all.length)}.
        </p>
      )}
    </div>
  )
}

// ---- subscriptions

export function SubscriptionsPanel() {
  const filter = useSignal('')
  const qos = useSignal<0 | 1 | 2>(1)
  const noLocal = useSignal(false)
  const handling = useSignal<0 | 1 | 2>(0)
  void rates.value
  const add = async (event: Event) => {
    event.preventDefault()
    if (filter.value === '') return
    const wanted = {
      ...newFilter(filter.value, qos.value),
      noLocal: noLocal.value,
      retainHandling: handling.value,
    }
    filter.value = ''
    await addSubscription(wanted)
    rememberFilters()
  }
  return (
    <div class="panel subscriptions">
      <form onSubmit={add} id="subscribe" class="row">
        <Field label="Filter" class="grow">
          <input
            name="filter"
            type="text"
            value={filter.value}
            onInput={value((text) => (filter.value = text))}
            placeholder="home/+/temperature"
            spellcheck={false}
            autocomplete="off"
          />
        </Field>
        <Field label="QoS">
          <select
            value={String(qos.value)}
            onChange={({ currentTarget }) => (qos.value = Number(currentTarget.value) as 0 | 1 | 2)}
          >
            <option>0</option>
            <option>1</option>
            <option>2</option>
          </select>
        </Field>
        <button type="submit" class="primary" disabled={link.value.state === 'off'}>
          Subscribe
        </button>
      </form>
      <details>
        <summary>Options (MQTT 5.0)</summary>
        <label class="check">
          <input
            type="checkbox"
            checked={noLocal.value}
            onChange={checked((said) => (noLocal.value = said))}
          />
          Not what this page publishes itself
        </label>
        <Field label="Retained messages">
          <select
            value={String(handling.value)}
            onChange={({ currentTarget }) =>
              (handling.value = Number(currentTarget.value) as 0 | 1 | 2)
            }
          >
            <option value="0">at every subscribe</option>
            <option value="1">if the subscription is new</option>
            <option value="2">never</option>
          </select>
        </Field>
      </details>
      <ul id="subscriptions" class="rows">
        {subs.value.map((sub) => (
          <li key={sub.id} class={sub.granted}>
            <span class={`swatch series-${sub.colour % 8}`} />
            <bdi class="mono one-line">{visible(sub.filter)}</bdi>
            <span class={sub.granted === 'refused' ? 'mistake said' : 'muted said'}>
              {sub.granted === 'pending'
                ? live.value
                  ? 'asked for…'
                  : 'when connected'
                : sub.granted === 'refused'
                  ? `Refused: ${sub.said}`
                  : `${sub.said}, ${rate(Math.round(sub.rate * 10) / 10)}`}
            </span>
            <button
              type="button"
              class="icon"
              aria-label={`Unsubscribe from ${visible(sub.filter)}`}
              onClick={() => removeSubscription(sub)}
            >
              <Icon name="close" />
            </button>
          </li>
        ))}
      </ul>
      {subs.value.length === 0 && <p class="empty">No subscription: nothing comes in.</p>}
      {subs.value.length > 1 && (
        <p class="muted note">
          The colours mark the messages of each filter in the list of messages.
        </p>
      )}
    </div>
  )
}

// ---- traffic

/** What a broker may leave out, by whether this one has it. */
function abilities(server: ServerInfo): Array<[string, string]> {
  const all: Array<[name: string, available: boolean]> = [
    ['retain', server.retainAvailable],
    ['wildcards', server.wildcardSubscriptionAvailable],
    ['shared', server.sharedSubscriptionAvailable],
    ['identifiers', server.subscriptionIdentifiersAvailable],
  ]
  const those = (wanted: boolean) =>
    all.filter(([, available]) => available === wanted).map(([name]) => name)
  const lacking = those(false)
  return [
    ['Available', those(true).join(', ') || 'none of the options'],
    ...(lacking.length ? [['Not available', lacking.join(', ')] as [string, string]] : []),
  ]
}

export function TrafficPanel() {
  const is = link.value
  const s = stats.value
  const messages = useSignal(false)
  const paused = useSignal<Logged[] | undefined>(undefined)
  void now.value
  const packets = paused.value ?? timeline(messages.value)
  const server = is.state === 'connected' ? is.info.server : undefined
  const rows: Array<[string, string]> = []
  if (s) {
    rows.push(
      ['Messages in', `${count(s.messagesReceived)}, ${rate(rates.value.in.at(-1) ?? 0)}`],
      ['Messages out', `${count(s.messagesSent)}, ${rate(rates.value.out)}`],
      ['Bytes in', `${byteCount(s.bytesReceived)}, ${byteCount(rates.value.bytesIn)}/s`],
      ['Bytes out', `${byteCount(s.bytesSent)}, ${byteCount(rates.value.bytesOut)}/s`],
      ['In flight', `${s.inFlightOut} out, ${s.inFlightIn} in`],
      ['Queued', `${count(s.queuedMessages)}, ${byteCount(s.queuedBytes)}`],
      ['Connects', String(s.connections)],
      ['Up for', live.value && s.connectedSince ? duration(Date.now() - s.connectedSince) : '–'],
      ['Last loss', closeReason.value || 'none'],
      ['History kept', byteCount(model.cost)],
      ['WebAssembly', byteCount(s.wasmMemoryBytes)],
    )
  }
  const limits: Array<[string, string]> = server
    ? [
        ...(servedBroker?.url === profile.value.url
          ? [['Broker', servedBroker.name] as [string, string]]
          : []),
        ['Session', is.state === 'connected' && is.info.sessionPresent ? 'resumed' : 'new'],
        ['Client id', is.state === 'connected' ? is.info.clientId : ''],
        ['Keep alive', `${server.keepalive} s`],
        [
          'Session expiry',
          server.sessionExpiryInterval >= 0xffffffff
            ? 'never'
            : `${server.sessionExpiryInterval} s`,
        ],
        ['Receive maximum', String(server.receiveMaximum)],
        [
          'Packet size',
          Number.isFinite(server.maximumPacketSize)
            ? byteCount(server.maximumPacketSize)
            : 'no limit',
        ],
        ['Maximum QoS', String(server.maximumQoS)],
        ['Topic aliases', String(server.topicAliasMaximum)],
        ...abilities(server),
      ]
    : []
  return (
    <div class="panel traffic">
      <div class="columns-2">
        <section aria-labelledby="statistics-title">
          <h3 id="statistics-title">Statistics</h3>
          <Facts rows={rows} id="statistics" />
        </section>
        <section aria-labelledby="limits-title">
          <h3 id="limits-title">Agreed with the broker</h3>
          {limits.length ? (
            <Facts rows={limits} id="limits" />
          ) : (
            <p class="muted pad">Not connected.</p>
          )}
        </section>
      </div>
      <section class="timeline" aria-labelledby="timeline-title">
        <div class="bar">
          <h3 id="timeline-title">Packets</h3>
          <label class="check">
            <input
              type="checkbox"
              checked={messages.value}
              onChange={checked((said) => (messages.value = said))}
            />
            PUBLISH and PUBACK too
          </label>
          <span class="grow" />
          <button
            type="button"
            class="small"
            aria-pressed={paused.value !== undefined}
            onClick={() => (paused.value = paused.value ? undefined : packets)}
          >
            <Icon name={paused.value ? 'play' : 'pause'} />
            <span>{paused.value ? 'Resume' : 'Pause'}</span>
          </button>
          <Copy
            text={() => [...packets].reverse().map(packetLine).join('\n')}
            label="Copy as text"
          />
        </div>
        <ol id="timeline">
          {packets.slice(0, 150).map((packet) => (
            <li key={packet.seq} class={packet.direction}>
              <bdi>{packetLine(packet)}</bdi>
            </li>
          ))}
        </ol>
      </section>
    </div>
  )
}

const packetLine = ({ at, direction, type, bytes, packetId, topic, reasonCode }: Logged): string =>
  [
    clock(at),
    direction === 'in' ? '←' : '→',
    type.toUpperCase().padEnd(11),
    `${bytes} B`.padStart(8),
    packetId === undefined ? '' : `#${packetId}`,
    reasonCode ? `0x${reasonCode.toString(16).padStart(2, '0')}` : '',
    topic === undefined ? '' : visible(topic),
  ]
    .filter((part) => part !== '')
    .join('  ')

function Facts({ rows, id }: { rows: Array<[string, string]>; id: string }) {
  return (
    <dl class="properties" id={id}>
      {rows.map(([name, text]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>
            <bdi>{visible(text)}</bdi>
          </dd>
        </div>
      ))}
    </dl>
  )
}

// ---- offline, and the will

const BURST = 10
const tab = () => sessionStorage
let numbered = stored.get('burst', 0, tab)

export function OfflinePanel() {
  void now.value
  const s = stats.value
  const will = useSignal<{ text: string; failed: boolean }>({ text: '', failed: false })
  const waiting = sent.value.filter(({ state }) => state === 'queued' || state === 'sent')
  const restored = (s ? s.queuedMessages + s.inFlightOut : 0) - waiting.length
  const burst = () => {
    for (let at = 0; at < BURST; at++)
      publish('dashboard/offline-test', String(++numbered), {
        qos: 1,
        line: String(numbered),
      }).catch(() => {})
    stored.set('burst', numbered, tab)
  }
  const seeWill = async () => {
    will.value = { text: 'A second client waits for the will…', failed: false }
    try {
      will.value = { text: await watchWill(), failed: false }
    } catch (error) {
      will.value = { text: (error as Error).message, failed: true }
    }
  }
  const acknowledged = sent.value
    .filter(({ state, qos }) => state === 'acknowledged' && qos > 0)
    .slice(-12)
  return (
    <div class="panel offline">
      <section aria-labelledby="network-title">
        <h3 id="network-title">Without a network</h3>
        <p class="muted">
          Switch the network of this page off, go on publishing, and see the queue fill. Reload in
          between if you like. Switched on again, it drains in order.
        </p>
        <div class="row">
          <label class="switch">
            <input
              type="checkbox"
              role="switch"
              id="network"
              checked={!networkOff.value}
              onChange={checked((on) => setNetworkOff(!on))}
            />
            Network {networkOff.value ? 'off' : 'on'}
          </label>
          <span class="grow" />
          <button type="button" class="small" id="burst" onClick={burst}>
            Publish {BURST} numbered messages
          </button>
        </div>
        <div class="queue" role="group" aria-label="Queue">
          <span class="big-number" id="queue-length">
            {s?.queuedMessages ?? 0}
          </span>
          <span class="muted">queued, {byteCount(s?.queuedBytes ?? 0)}</span>
          <span class="big-number">{s?.inFlightOut ?? 0}</span>
          <span class="muted">in flight</span>
        </div>
        {restored > 0 && (
          <p class="muted" id="restored">
            {plural(restored, 'message')} from before the reload
          </p>
        )}
        <ol class="chips" aria-label="Waiting" id="waiting">
          {waiting.slice(0, 60).map(({ id, line }) => (
            <li key={id}>
              <bdi>{line || '…'}</bdi>
            </li>
          ))}
        </ol>
        {acknowledged.length > 0 && (
          <>
            <p class="muted">Acknowledged last, in this order:</p>
            <ol class="chips done" aria-label="Acknowledged" id="drained">
              {acknowledged.map(({ id, line }) => (
                <li key={id}>
                  <bdi>{line || '…'}</bdi>
                </li>
              ))}
            </ol>
          </>
        )}
        {waiting.length > 0 && (
          <p class="hint">
            A reload of this tab loses none of them. With the tab they are gone, so the browser asks
            before you leave.
          </p>
        )}
      </section>
      <section aria-labelledby="will-title">
        <h3 id="will-title">The last will</h3>
        {profile.value.will ? (
          <>
            <p class="muted">
              A will for <bdi class="mono">{visible(profile.value.willTopic)}</bdi> is set. Cutting
              the connection without a goodbye makes the broker publish it; a second client of this
              page listens for it.
            </p>
            <button
              type="button"
              class="small"
              id="cut-and-watch"
              disabled={!live.value}
              onClick={seeWill}
            >
              Cut the connection
            </button>
            <p role="status" class={will.value.failed ? 'said failed' : 'said'} id="will-said">
              {will.value.text}
            </p>
          </>
        ) : (
          <>
            <p class="muted">
              None is set. With one, the broker tells the others when this page is gone.
            </p>
            <button type="button" class="small" onClick={() => (connectionOpen.value = true)}>
              Set a will
            </button>
          </>
        )}
      </section>
    </div>
  )
}

/** Cuts the connection of the page while a second client listens for its will. Resolves with what to say. */
async function watchWill(): Promise<string> {
  const p = profile.value
  const witness = new Client(p.url, {
    ...connectOptions({ ...p, will: false, clientId: '', clean: true }, ''),
    clientId: undefined,
    reconnect: false,
    transport: openSocket,
  })
  try {
    await witness.connect({ timeout: 5_000 })
    const delay = Number(p.willDelay || 0) * 1_000
    const arrived = new Promise<string>((resolve, reject) => {
      let began = 0
      witness
        .subscribe(p.willTopic, { qos: p.willQos }, (message) => {
          if (began && !message.retain)
            resolve(
              `The will arrived after ${(performance.now() - began).toFixed(0)} ms: ${preview(message.payload)}`,
            )
        })
        .then(() => {
          began = performance.now()
          cut()
        }, reject)
      setTimeout(
        () => reject(new Error('The will did not arrive within ten seconds.')),
        10_000 + delay,
      )
    })
    return await arrived
  } finally {
    witness.end({ timeout: 500 }).catch(() => {})
  }
}
