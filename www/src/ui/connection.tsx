// The bar of one line that says how the connection is, and the dialog behind it.
import { useSignal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import {
  alerts,
  connect,
  cut,
  disconnect,
  dismiss,
  lastAcknowledgement,
  link,
  linkText,
  live,
  networkOff,
  now,
  profile,
  rates,
  retry,
  setNetworkOff,
  staleSince,
  stats,
  tooQuiet,
  unsent,
} from '../core/link.ts'
import {
  type Mistakes,
  mistakes,
  newFilter,
  newProfile,
  type Profile,
  savedProfiles,
  saveProfiles,
} from '../core/profile.ts'
import { DEMO, isDemo } from '../core/socket.ts'
import { ago, clock, plural, rate, seconds, visible } from '../core/text.ts'
import { ask, checked, Dialog, Field, Icon, Spark, value } from './common.tsx'
import { connectionOpen, servedBroker, showHouse, theme } from './state.ts'

/** Connects, but asks first where that would lose messages. Resolves with whether it did. */
export async function connectSafely(wanted: Profile): Promise<boolean> {
  const lost = unsent()
  if (lost > 0) {
    const yes = await ask(
      'Give up what is queued?',
      `${plural(lost, 'message')} from this page ${lost === 1 ? 'is' : 'are'} not acknowledged yet. A new connection begins without them.`,
      'Give them up',
      'Keep waiting',
    )
    if (!yes) return false
  }
  await connect(wanted)
  return true
}

const host = (url: string) =>
  isDemo(url)
    ? 'Demo in this page'
    : url.replace(/^wss?:\/\/(?:[^@/]*@)?/, '').replace(/\/mqtt$/, '')

export function Bar() {
  const is = link.value
  const state =
    is.state === 'connected' && tooQuiet.value
      ? 'quiet'
      : is.state === 'off' && is.failed
        ? 'failed'
        : is.state
  const version =
    is.state === 'connected'
      ? is.info.server.protocolVersion === 5
        ? 'MQTT 5.0'
        : 'MQTT 3.1.1'
      : ''
  const roundTrip = lastAcknowledgement.value ?? stats.value?.roundTrip
  const themes = { system: 'light', light: 'dark', dark: 'system' } as const
  return (
    <header class="top">
      <h1>
        <span class="logo" aria-hidden="true" />
        <span class="logo-text">wasmqtt</span>
      </h1>
      <button
        type="button"
        class="broker"
        id="broker"
        aria-haspopup="dialog"
        onClick={() => (connectionOpen.value = true)}
        title="Connection"
      >
        <Icon name="settings" />
        <bdi class="one-line">{host(profile.value.url)}</bdi>
      </button>
      <div id="state" class="state" data-state={state}>
        <span class="lamp" />
        <span id="state-text" role="status" title={linkText.value}>
          {is.state === 'waiting' ? is.reason : linkText.value}
        </span>
        {is.state === 'waiting' && (
          // Left out for screen readers: they would hear it each second.
          <span aria-hidden="true" class="countdown">
            Next try in {Math.max(0, Math.ceil((is.until - now.value) / 1_000))} s
          </span>
        )}
        {version && <span class="version">{version}</span>}
      </div>
      <Action />
      <span class="grow" />
      <dl class="meters" aria-label="Traffic">
        {live.value && (
          <>
            <div>
              <dt>in</dt>
              <dd id="rate-in">{rate(rates.value.in.at(-1) ?? 0)}</dd>
              <Spark values={rates.value.in} />
            </div>
            <div class="optional">
              <dt>out</dt>
              <dd>{rate(rates.value.out)}</dd>
            </div>
            <div title="Round trip of the last ping or acknowledgement">
              <dt>round trip</dt>
              <dd>{roundTrip === undefined ? '–' : `${roundTrip.toFixed(1)} ms`}</dd>
            </div>
          </>
        )}
        {stats.value && stats.value.queuedMessages > 0 && (
          <div class="queued">
            <dt>queued</dt>
            <dd id="queued">{stats.value.queuedMessages}</dd>
          </div>
        )}
      </dl>
      <a
        class="button small fleet-link"
        href={`./fleet.html#url=${encodeURIComponent(profile.value.url)}`}
      >
        <Icon name="home" />
        <span>House</span>
      </a>
      <button
        type="button"
        class="icon"
        id="theme"
        aria-label={`Colours: ${theme.value}. Change to ${themes[theme.value]}`}
        title={`Colours: ${theme.value}`}
        onClick={() => (theme.value = themes[theme.value])}
      >
        <Icon name={theme.value === 'light' ? 'sun' : theme.value === 'dark' ? 'moon' : 'auto'} />
      </button>
    </header>
  )
}

/** The one thing to do in this state. It never destroys anything. */
function Action() {
  const is = link.value
  if (is.state === 'waiting')
    return networkOff.value ? (
      <button type="button" id="action" class="primary small" onClick={() => setNetworkOff(false)}>
        Network on
      </button>
    ) : (
      <button type="button" id="action" class="primary small" onClick={retry}>
        Try now
      </button>
    )
  if (is.state === 'off')
    return (
      <button
        type="button"
        id="action"
        class="primary small"
        onClick={() =>
          is.failed || !profile.value.url
            ? (connectionOpen.value = true)
            : connectSafely(profile.value)
        }
      >
        {is.failed ? 'Change connection' : 'Connect'}
      </button>
    )
  return (
    <button
      type="button"
      id="action"
      class="small"
      onClick={disconnect}
      disabled={is.state === 'closing'}
    >
      {is.state === 'connecting' ? 'Give up' : 'Disconnect'}
    </button>
  )
}

/** What has to be said in full: old data, refusals, the limits of the broker. */
export function Notices() {
  const stale = staleSince.value
  const limits = servedBroker && servedBroker.url === profile.value.url ? servedBroker.limits : []
  return (
    <section class="notices" aria-label="Notices">
      {stale !== undefined && !live.value && (
        <p class="notice stale" id="stale">
          <b>Not live.</b> What you see is as it was at {seconds(stale)},{' '}
          <span aria-hidden="true">last seen {ago(stale, Math.max(now.value, stale))}</span>.
        </p>
      )}
      <div role="alert" class="alerts" id="alerts">
        {alerts.value.map(({ id, at, text }) => (
          <p class="notice bad" key={id}>
            <span class="muted">{clock(at).slice(0, 8)}</span>{' '}
            <bdi class="grow">{visible(text)}</bdi>
            <button
              type="button"
              class="icon"
              aria-label="Put this away"
              onClick={() => dismiss(id)}
            >
              <Icon name="close" />
            </button>
          </p>
        ))}
      </div>
      {limits.length > 0 && live.value && (
        <p class="notice" id="notice">
          <bdi>
            {servedBroker?.name}: {limits.join(' ')}
          </bdi>
        </p>
      )}
    </section>
  )
}

const linesOf = ({ filters }: Profile) => filters.map(({ filter }) => filter).join('\n')

export function ConnectionDialog() {
  if (!connectionOpen.value) return null
  return <ConnectionForm onClose={() => (connectionOpen.value = false)} />
}

function ConnectionForm({ onClose }: { onClose: () => void }) {
  const p = useSignal<Profile>({ ...profile.value })
  const wrong = useSignal<Mistakes>({})
  const profiles = useSignal(savedProfiles())
  const form = useRef<HTMLFormElement>(null)
  // As it is typed: a line that is still empty is no filter, and stays where it is.
  const lines = useSignal(linesOf(profile.value))
  const edit = (to: Partial<Profile>) => {
    p.value = { ...p.value, ...to }
    if (Object.keys(wrong.value).length) wrong.value = mistakes(p.value)
  }
  const text = (name: keyof Profile) => ({
    name,
    value: String(p.value[name]),
    onInput: value((said) => edit({ [name]: said })),
    spellcheck: false,
    autocomplete: 'off',
    'aria-invalid': wrong.value[name] ? true : undefined,
  })
  const box = (name: keyof Profile) => ({
    name,
    type: 'checkbox' as const,
    checked: Boolean(p.value[name]),
    onChange: checked((said) => edit({ [name]: said })),
  })
  const submit = async (event: Event) => {
    event.preventDefault()
    wrong.value = mistakes(p.value)
    if (Object.keys(wrong.value).length) {
      requestAnimationFrame(() => {
        const field = form.current?.querySelector<HTMLElement>('[aria-invalid]')
        for (let at = field?.parentElement; at; at = at.parentElement)
          if (at instanceof HTMLDetailsElement) at.open = true
        field?.focus()
      })
      return
    }
    if (await connectSafely(p.value)) onClose()
  }
  const save = () => {
    const name = p.value.name.trim() || host(p.value.url)
    profiles.value = [
      ...profiles.value.filter((other) => other.name !== name),
      { ...p.value, name },
    ]
    saveProfiles(profiles.value)
  }
  const remove = (other: Profile) => {
    profiles.value = profiles.value.filter((kept) => kept !== other)
    saveProfiles(profiles.value)
  }
  const demo = async () => {
    if (!(await connectSafely(newProfile(DEMO)))) return
    showHouse()
    onClose()
  }
  useEffect(() => form.current?.querySelector<HTMLInputElement>('[name=url]')?.focus(), [])
  const hasMore = Boolean(wrong.value.receiveMaximum || wrong.value.maximumPacketSize)
  return (
    <Dialog title="Connection" onClose={onClose} wide>
      <div class="connection-dialog">
        <aside class="profiles" aria-label="Saved connections">
          <h3>Saved</h3>
          <ul id="profiles">
            {profiles.value.length === 0 && <li class="muted">None yet</li>}
            {profiles.value.map((saved) => (
              <li key={saved.name}>
                <button
                  type="button"
                  class="link grow"
                  onClick={() => {
                    p.value = { ...newProfile(), ...saved }
                    lines.value = linesOf(p.value)
                  }}
                >
                  <b>{saved.name}</b>
                  <span class="muted one-line">{host(saved.url)}</span>
                </button>
                <button
                  type="button"
                  class="icon"
                  aria-label={`Delete ${saved.name}`}
                  onClick={() => remove(saved)}
                >
                  <Icon name="close" />
                </button>
              </li>
            ))}
          </ul>
          <div class="row">
            <input
              type="text"
              aria-label="Name of this connection"
              placeholder="name"
              value={p.value.name}
              onInput={value((name) => edit({ name }))}
            />
            <button type="button" class="small" id="save-profile" onClick={save}>
              Save
            </button>
          </div>
        </aside>
        <form id="connection" ref={form} onSubmit={submit} noValidate>
          <div class="row">
            <Field label="Broker" class="grow" mistake={wrong.value.url}>
              <input type="text" inputMode="url" {...text('url')} />
            </Field>
            <Field label="MQTT">
              <select
                name="version"
                value={p.value.version}
                onChange={({ currentTarget }) =>
                  edit({ version: currentTarget.value as Profile['version'] })
                }
              >
                <option value="auto">auto</option>
                <option value="5">5.0</option>
                <option value="4">3.1.1</option>
              </select>
            </Field>
          </div>
          {!isDemo(profile.value.url) && (
            <p class="muted">
              No broker?{' '}
              <button type="button" class="link inline" id="demo" onClick={demo}>
                Try it with a broker and five devices in this page.
              </button>
            </p>
          )}
          <div class="grid">
            <Field label="User name">
              <input type="text" {...text('username')} />
            </Field>
            <Field
              label="Password"
              hint={p.value.remember ? 'It will be kept in this browser' : undefined}
            >
              <input type="password" {...text('password')} />
            </Field>
            <Field label="Client id" mistake={wrong.value.clientId}>
              <input type="text" placeholder="automatic" {...text('clientId')} />
            </Field>
            <Field label="Keep alive, s" mistake={wrong.value.keepalive}>
              <input type="text" inputMode="numeric" {...text('keepalive')} />
            </Field>
          </div>
          <div class="row">
            <label class="check">
              <input {...box('remember')} />
              Keep the password in this browser
            </label>
            <label class="check">
              <input {...box('clean')} />
              Clean start
            </label>
          </div>
          <details open={hasMore}>
            <summary>Session and limits</summary>
            <div class="grid">
              <Field label="Session expiry, s" mistake={wrong.value.expiry}>
                <input type="text" inputMode="numeric" placeholder="300" {...text('expiry')} />
              </Field>
              <Field label="Receive maximum" mistake={wrong.value.receiveMaximum}>
                <input
                  type="text"
                  inputMode="numeric"
                  placeholder="65535"
                  {...text('receiveMaximum')}
                />
              </Field>
              <Field label="Maximum packet size, bytes" mistake={wrong.value.maximumPacketSize}>
                <input
                  type="text"
                  inputMode="numeric"
                  placeholder="16 MiB"
                  {...text('maximumPacketSize')}
                />
              </Field>
            </div>
            <Field label="User properties, a line each: name: value">
              <textarea rows={2} {...text('userProperties')} />
            </Field>
          </details>
          <details id="will" open={p.value.will || Boolean(wrong.value.willTopic)}>
            <summary>Last will</summary>
            <label class="check">
              <input {...box('will')} />
              The broker publishes a message when this page is gone without a goodbye
            </label>
            <div class="grid">
              <Field label="Topic" mistake={wrong.value.willTopic}>
                <input type="text" {...text('willTopic')} />
              </Field>
              <Field label="Payload">
                <input type="text" {...text('willPayload')} />
              </Field>
              <Field label="QoS">
                <select
                  name="willQos"
                  value={String(p.value.willQos)}
                  onChange={({ currentTarget }) =>
                    edit({ willQos: Number(currentTarget.value) as 0 | 1 | 2 })
                  }
                >
                  <option>0</option>
                  <option>1</option>
                  <option>2</option>
                </select>
              </Field>
              <Field label="Delay, s" mistake={wrong.value.willDelay}>
                <input type="text" inputMode="numeric" placeholder="0" {...text('willDelay')} />
              </Field>
            </div>
            <label class="check">
              <input {...box('willRetain')} />
              Retain
            </label>
          </details>
          <Field label="Subscribe to, a filter each line" class="filters">
            <textarea
              name="filters"
              rows={Math.min(6, lines.value.split('\n').length + 1)}
              spellcheck={false}
              value={lines.value}
              onInput={value((typed) => {
                lines.value = typed
                const known = p.value.filters
                const filters = typed.split('\n').filter((line) => line.trim() !== '')
                edit({
                  filters: filters.map(
                    (line) => known.find(({ filter }) => filter === line) ?? newFilter(line),
                  ),
                })
              })}
            />
          </Field>
          <div class="buttons">
            {live.value && profile.value.will && (
              <button
                type="button"
                id="cut"
                onClick={cut}
                title="Closes the socket without a DISCONNECT: the broker publishes the will"
              >
                Cut the connection
              </button>
            )}
            <span class="grow" />
            <button type="button" onClick={onClose}>
              Cancel
            </button>
            <button type="submit" class="primary" id="connect">
              {live.value ? 'Connect anew' : 'Connect'}
            </button>
          </div>
        </form>
      </div>
    </Dialog>
  )
}
