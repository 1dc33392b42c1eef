// Shows which devices are online. By convention, the retained .../status of a device says online, and its last will says offline.
import { element, setText } from './dom.js'
import { asText, time } from './format.js'
import { redraw } from './frame.js'

const MAX_DEVICES = 200

export class Devices {
  #devices = new Map() // topic without /status -> { online, at, row }
  #parts

  constructor(model, parts) {
    this.#parts = parts
    model.onEntry((entry) => {
      if (!entry.topic.endsWith('/status') || entry.size > 16) return
      const said = asText(entry.payload)
      if (said === 'online' || said === 'offline') this.#set(entry, said === 'online')
      else if (said === '') this.#forget(entry.topic)
    })
  }

  #set({ topic, at }, online) {
    const name = topic.slice(0, -'/status'.length)
    if (!this.#devices.has(name) && this.#devices.size >= MAX_DEVICES) return
    this.#devices.set(name, { online, at })
    redraw(this.#draw)
  }

  #forget(topic) {
    if (this.#devices.delete(topic.slice(0, -'/status'.length))) redraw(this.#draw)
  }

  #draw = () => {
    const rows = [...this.#devices]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, { online, at }]) => {
        const row = element('li', online ? 'online' : 'offline')
        row.append(
          element('span', 'lamp'),
          element('span', 'name', name),
          element(
            'span',
            'since',
            `${online ? 'online' : 'offline'} since ${time(at).slice(0, -4)}`,
          ),
        )
        return row
      })
    this.#parts.list.replaceChildren(...rows)
    const online = [...this.#devices.values()].filter((device) => device.online).length
    setText(this.#parts.total, `${online} of ${this.#devices.size} online`)
  }
}
