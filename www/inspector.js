// Shows one message in full: facts, properties, and the payload as text, JSON or hexadecimal.
import { setText } from './dom.js'
import { asHex, asJson, asText, byteCount, time } from './format.js'
import { redraw } from './frame.js'
import { KEPT } from './model.js'

export class Inspector {
  #parts
  #node
  #entry

  constructor(model, parts) {
    this.#parts = parts
    model.onEntry((_, node) => node && node === this.#node && this.show(node.entry, node))
    parts.views.addEventListener('change', () => redraw(this.#draw))
    parts.reuse.addEventListener('click', () => parts.onReuse(this.#entry))
    parts.unretain.addEventListener('click', () => parts.onUnretain(this.#entry.topic))
  }

  /** With `node`, the inspector shows each new message of the topic. */
  show(entry, node) {
    this.#entry = entry
    this.#node = node
    redraw(this.#draw)
  }

  #draw = () => {
    const { topic, facts, payload, reuse, unretain, views } = this.#parts
    const entry = this.#entry
    payload.hidden = reuse.hidden = !entry
    unretain.hidden = !entry?.retain
    topic.classList.toggle('muted', !entry)
    if (!entry) {
      setText(
        topic,
        this.#node
          ? `${this.#node.path}/…  ${this.#node.count} messages in this branch`
          : 'Pick a topic or a message.',
      )
      setText(facts, '')
      return
    }
    setText(topic, entry.topic)
    const said = [
      time(entry.at),
      `QoS ${entry.qos}`,
      entry.retain && 'retained',
      entry.dup && 'duplicate',
      byteCount(entry.size),
      entry.size > KEPT && `the first ${byteCount(KEPT)} shown`,
    ]
    setText(facts, [said.filter(Boolean).join(' · '), ...properties(entry.properties)].join('\n'))
    const form = views.querySelector('input:checked').value
    const show = {
      text: () => asText(entry.payload) ?? `Not text.\n${asHex(entry.payload)}`,
      json: () => asJson(entry.payload),
      hex: () => asHex(entry.payload),
    }[form]
    setText(payload, entry.size === 0 ? '(empty)' : show())
  }
}

function properties(given) {
  return Object.entries(given ?? {}).flatMap(([name, value]) => {
    if (name === 'subscriptionIdentifiers') return []
    if (name === 'userProperties') return value.map(([key, text]) => `${key}: ${text}`)
    return [`${name}: ${value instanceof Uint8Array ? asHex(value) : value}`]
  })
}
