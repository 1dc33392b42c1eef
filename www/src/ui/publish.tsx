// Publishing: an editor with a check, everything that MQTT 5 lets a message carry, repetition, templates, what became of it, and requests.
import { useComputed, useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { parseJson } from '../core/json.ts'
import { currentClient, isVersion5, live, publish, sent } from '../core/link.ts'
import { pairs, stored } from '../core/profile.ts'
import { byteCount, clock, fromHex, preview, visible } from '../core/text.ts'
import { checked, Field, Icon, value } from './common.tsx'
import { type Draft, draft, editDraft, emptyDraft } from './state.ts'

type Template = Draft & { name: string }

/** The options of `client.publish` for what stands in the form. Throws where it cannot be sent so. */
function message(d: Draft): {
  payload: string | Uint8Array
  options: NonNullable<Parameters<typeof publish>[2]>
} {
  const bytes = d.format === 'hex' ? fromHex(d.payload) : d.payload
  if (bytes === undefined)
    throw new Error('These are no bytes: two hexadecimal digits each, like 48 65 6c 6c 6f.')
  const correlation = d.correlation.startsWith('0x')
    ? fromHex(d.correlation.slice(2))
    : new TextEncoder().encode(d.correlation)
  const properties = {
    contentType: d.contentType || undefined,
    responseTopic: d.responseTopic || undefined,
    correlationData: d.correlation ? correlation : undefined,
    messageExpiryInterval: d.expiry === '' ? undefined : Number(d.expiry),
    payloadFormatIndicator: d.utf8 ? (1 as const) : undefined,
    userProperties: pairs(d.userProperties),
  }
  const line = typeof bytes === 'string' ? visible(bytes.slice(0, 60)) : preview(bytes, 60)
  const wanted = Object.values(properties).some((property) => property !== undefined)
  return {
    payload: bytes,
    options: { qos: d.qos, retain: d.retain, line, ...(wanted ? { properties } : {}) },
  }
}

/** What was in the form for each message of `sent`, by its id. */
const drafts = new Map<number, Draft>()
function remember(d: Draft): void {
  const id = sent.peek().at(-1)?.id
  if (id !== undefined) drafts.set(id, d)
  const [oldest] = drafts.keys()
  if (drafts.size > 300 && oldest !== undefined) drafts.delete(oldest)
}

const repeating = { timer: undefined as ReturnType<typeof setInterval> | undefined }

export function PublishPanel() {
  const d = draft.value
  const said = useSignal<{ text: string; failed: boolean }>({ text: '', failed: false })
  const running = useSignal(repeating.timer !== undefined)
  const templates = useSignal(stored.get<Template[]>('templates', []))
  const name = useSignal('')
  const response = useSignal<{ text: string; took: number } | undefined>(undefined)
  const check = useComputed(() => jsonCheck(draft.value))
  const moreOpen = useSignal(
    Boolean(d.contentType || d.responseTopic || d.correlation || d.expiry || d.userProperties),
  )
  const say = (text: string, failed = false) => (said.value = { text, failed })

  const send = async () => {
    try {
      const { payload, options } = message(draft.value)
      if (!live.peek()) say('Not connected: it waits in the queue.')
      const done = publish(draft.value.topic, payload, options)
      remember(draft.value)
      const { took = 0 } = await done
      say(
        options.qos === 0
          ? 'Sent. Nobody acknowledges QoS 0.'
          : `Acknowledged after ${took.toFixed(1)} ms (QoS ${options.qos}).`,
      )
    } catch (error) {
      say((error as Error).message, true)
      stop()
    }
  }
  const stop = () => {
    clearInterval(repeating.timer)
    repeating.timer = undefined
    running.value = false
  }
  const repeat = () => {
    if (repeating.timer) return stop()
    const every = Math.max(10, Number(d.every) || 1_000)
    repeating.timer = setInterval(send, every)
    running.value = true
    send()
  }
  const request = async () => {
    response.value = undefined
    const began = performance.now()
    try {
      const { payload, options } = message(draft.value)
      const client = currentClient()
      if (!client) throw new Error('There is no connection: connect first.')
      const {
        line: _line,
        properties: { responseTopic: _topic, correlationData: _data, ...properties } = {},
        ...rest
      } = options as { line?: string; properties?: Record<string, unknown> }
      say('Waiting for the response…')
      const answer = await client.request(draft.value.topic, payload, {
        ...rest,
        properties,
        timeout: 10_000,
      })
      const took = performance.now() - began
      response.value = { text: preview(answer.payload, 500), took }
      say(`Answered after ${took.toFixed(1)} ms.`)
    } catch (error) {
      say((error as Error).message, true)
    }
  }
  const save = () => {
    const wanted = name.value.trim() || draft.value.topic
    templates.value = [
      ...templates.value.filter((template) => template.name !== wanted),
      { ...draft.value, name: wanted },
    ]
    stored.set('templates', templates.value)
    name.value = ''
  }
  const drop = (template: Template) => {
    templates.value = templates.value.filter((other) => other !== template)
    stored.set('templates', templates.value)
  }
  useEffect(() => () => void (repeating.timer || stop()), [])
  const set = (field: keyof Draft) => value((text) => editDraft({ [field]: text }))

  return (
    <div class="panel publish">
      <form
        id="publish"
        onSubmit={(event) => {
          event.preventDefault()
          send()
        }}
      >
        <Field label="Topic">
          <input
            name="topic"
            type="text"
            required
            value={d.topic}
            onInput={set('topic')}
            spellcheck={false}
            autocomplete="off"
          />
        </Field>
        <div class="field">
          <span class="label-row">
            <label class="label" for="publish-payload">
              Payload
            </label>
            <select
              name="format"
              aria-label="Payload is written as"
              value={d.format}
              onChange={({ currentTarget }) =>
                editDraft({ format: currentTarget.value as Draft['format'] })
              }
            >
              <option value="text">text</option>
              <option value="hex">bytes</option>
            </select>
          </span>
          <textarea
            name="payload"
            id="publish-payload"
            rows={4}
            value={d.payload}
            onInput={set('payload')}
            spellcheck={false}
            aria-describedby="payload-check"
            onKeyDown={(event) => {
              if (event.key === 'Enter' && (event.ctrlKey || event.metaKey))
                event.currentTarget.form?.requestSubmit()
            }}
          />
          <span class={check.value.bad ? 'mistake' : 'hint'} id="payload-check" role="status">
            {check.value.text}
          </span>
        </div>
        <div class="row send">
          <Field label="QoS">
            <select
              name="qos"
              value={String(d.qos)}
              onChange={({ currentTarget }) =>
                editDraft({ qos: Number(currentTarget.value) as Draft['qos'] })
              }
            >
              <option>0</option>
              <option>1</option>
              <option>2</option>
            </select>
          </Field>
          <label class="check">
            <input
              name="retain"
              type="checkbox"
              checked={d.retain}
              onChange={checked((retain) => editDraft({ retain }))}
            />
            Retain
          </label>
          <span class="grow" />
          <button
            type="button"
            id="request"
            onClick={request}
            disabled={!isVersion5.value}
            title="Publishes with a response topic and waits for the answer. Needs MQTT 5.0."
          >
            Request
          </button>
          <button type="submit" class="primary" id="publish-send">
            Publish
          </button>
        </div>
        <p class={said.value.failed ? 'said failed' : 'said'} id="published" role="status">
          {said.value.text}
        </p>
        {response.value && (
          <div class="response" id="response">
            <span class="label">Response, {response.value.took.toFixed(1)} ms</span>
            <bdi class="mono">{response.value.text}</bdi>
          </div>
        )}
        <details
          open={moreOpen.value}
          onToggle={({ currentTarget }) => (moreOpen.value = currentTarget.open)}
        >
          <summary>Properties (MQTT 5.0)</summary>
          <div class="grid">
            <Field label="Content type">
              <input
                name="contentType"
                type="text"
                value={d.contentType}
                onInput={set('contentType')}
                placeholder="application/json"
              />
            </Field>
            <Field label="Expires after, s">
              <input
                name="expiry"
                type="number"
                min="0"
                max="4294967295"
                value={d.expiry}
                onInput={set('expiry')}
              />
            </Field>
            <Field label="Response topic">
              <input
                name="responseTopic"
                type="text"
                value={d.responseTopic}
                onInput={set('responseTopic')}
              />
            </Field>
            <Field label="Correlation data" hint="Text, or 0x and digits">
              <input
                name="correlation"
                type="text"
                value={d.correlation}
                onInput={set('correlation')}
              />
            </Field>
          </div>
          <Field label="User properties, a line each: name: value">
            <textarea
              name="userProperties"
              rows={2}
              value={d.userProperties}
              onInput={set('userProperties')}
              spellcheck={false}
            />
          </Field>
          <label class="check">
            <input
              name="utf8"
              type="checkbox"
              checked={d.utf8}
              onChange={checked((utf8) => editDraft({ utf8 }))}
            />
            The payload is UTF-8 text
          </label>
        </details>
        <details>
          <summary>Repeat and templates</summary>
          <div class="row">
            <Field label="Every, ms">
              <input name="every" type="number" min="10" value={d.every} onInput={set('every')} />
            </Field>
            <button
              type="button"
              id="repeat"
              class="small"
              aria-pressed={running.value}
              onClick={repeat}
            >
              <Icon name={running.value ? 'pause' : 'play'} />
              <span>{running.value ? 'Stop' : 'Repeat'}</span>
            </button>
          </div>
          <div class="row">
            <Field label="Save as a template" class="grow">
              <input
                name="template"
                type="text"
                value={name.value}
                onInput={value((text) => (name.value = text))}
                placeholder="its name"
              />
            </Field>
            <button type="button" id="save-template" class="small" onClick={save}>
              Save
            </button>
          </div>
          <ul class="templates" id="templates">
            {templates.value.map((template) => (
              <li key={template.name}>
                <button
                  type="button"
                  class="link grow"
                  onClick={() => (draft.value = { ...emptyDraft, ...template })}
                >
                  {template.name}
                </button>
                <button
                  type="button"
                  class="icon"
                  aria-label={`Delete the template ${template.name}`}
                  onClick={() => drop(template)}
                >
                  <Icon name="close" />
                </button>
              </li>
            ))}
          </ul>
        </details>
      </form>
      {sent.value.length > 0 && (
        <section class="sent" aria-label="Sent from here">
          <h3>Sent from here</h3>
          <ol id="sent">
            {sent.value
              .slice(-30)
              .reverse()
              .map((entry) => (
                <li key={entry.id} class={entry.state}>
                  <span class="muted mono">{clock(entry.at).slice(0, 8)}</span>
                  <button
                    type="button"
                    class="link one-line"
                    title="Put it into the form"
                    onClick={() => {
                      draft.value = drafts.get(entry.id) ?? { ...emptyDraft, topic: entry.topic }
                    }}
                  >
                    <bdi>{visible(entry.topic)}</bdi>
                  </button>
                  <bdi class="one-line mono">{entry.line}</bdi>
                  <span class="state-word">
                    {entry.state === 'acknowledged' ? (
                      entry.qos === 0 ? (
                        'sent'
                      ) : (
                        `${entry.took?.toFixed(1)} ms`
                      )
                    ) : entry.state === 'failed' ? (
                      <span title={entry.error}>failed</span>
                    ) : (
                      entry.state
                    )}
                  </span>
                </li>
              ))}
          </ol>
        </section>
      )}
    </div>
  )
}

function jsonCheck({ payload, format }: Draft): { text: string; bad: boolean } {
  if (format === 'hex') {
    const bytes = fromHex(payload)
    return bytes
      ? { text: byteCount(bytes.length), bad: false }
      : { text: 'These are no bytes', bad: true }
  }
  const size = byteCount(new TextEncoder().encode(payload).length)
  if (!/^\s*[[{]/.test(payload)) return { text: size, bad: false }
  try {
    parseJson(payload)
    return { text: `JSON, ${size}`, bad: false }
  } catch (error) {
    return { text: `Not JSON: ${(error as Error).message}`, bad: true }
  }
}
