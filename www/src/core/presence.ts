// Who is there: devices that announce themselves by one of the conventions in use, and how much of it the page really knows.

import type { Entry, Model } from './model.ts'
import { asText } from './text.ts'

export type Presence = 'online' | 'offline' | 'asleep'

export interface Device {
  readonly name: string
  readonly topic: string
  readonly convention: string
  state: Presence
  /** The word that the device used. */
  said: string
  /** When it changed while the page was listening; undefined: it was so before, nobody knows since when. */
  since: number | undefined
  /** When the page heard it last. */
  heard: number
  /** The last change was from online to offline, so a will, most likely. */
  lost: boolean
}

interface Convention {
  name: string
  /** Matches the topic; the groups make the device's name. */
  topic: RegExp
  states: Record<string, Presence>
}

const ONLINE: Record<string, Presence> = { online: 'online', offline: 'offline' }

const CONVENTIONS: Convention[] = [
  {
    name: 'Homie',
    topic: /^(?:homie\/(?:5\/)?)?(.+)\/\$state$/,
    states: {
      init: 'online',
      ready: 'online',
      alert: 'online',
      sleeping: 'asleep',
      disconnected: 'offline',
      lost: 'offline',
    },
  },
  { name: 'Sparkplug B', topic: /^spBv1\.0\/([^/]+)\/[ND](?:BIRTH|DEATH)\/(.+)$/, states: {} },
  {
    name: 'Sparkplug B host',
    topic: /^spBv1\.0\/(STATE\/.+)$/,
    states: { ...ONLINE, true: 'online', false: 'offline' },
  },
  { name: 'Tasmota', topic: /^tele\/(.+)\/LWT$/, states: ONLINE },
  {
    name: 'Home Assistant',
    topic: /^(.+)\/availability$/,
    states: { ...ONLINE, available: 'online', unavailable: 'offline' },
  },
  { name: 'Shelly', topic: /^(.+)\/online$/, states: { true: 'online', false: 'offline' } },
  {
    name: 'status topic',
    topic: /^(.+)\/(?:status|connected|lwt|LWT)$/,
    states: {
      ...ONLINE,
      connected: 'online',
      disconnected: 'offline',
      '0': 'offline',
      '1': 'online',
      '2': 'online',
    },
  },
]

/** The device and its state that a message announces; undefined where it announces none. */
export function announced(
  topic: string,
  payload: Uint8Array,
): Pick<Device, 'name' | 'convention' | 'state' | 'said'> | undefined {
  for (const { name: convention, topic: pattern, states } of CONVENTIONS) {
    const found = pattern.exec(topic)
    if (!found) continue
    const name = found.slice(1).filter(Boolean).join('/')
    // The payload of Sparkplug B is a protocol buffer; the topic says it all.
    if (convention === 'Sparkplug B') {
      const born = topic.includes('BIRTH/')
      return {
        name,
        convention,
        state: born ? 'online' : 'offline',
        said: born ? 'birth' : 'death',
      }
    }
    if (payload.length > 256) continue
    const word = stateWord(asText(payload) ?? '')
    const state = states[word.toLowerCase()]
    if (state) return { name, convention, state, said: word }
  }
  return undefined
}

/** `online`, or the state in `{"state":"online"}` and `{"online":true}`. */
function stateWord(text: string): string {
  if (!text.startsWith('{')) return text.trim()
  try {
    const { state, status, online } = JSON.parse(text)
    return String(state ?? status ?? online ?? '')
  } catch {
    return ''
  }
}

export class Devices {
  readonly all = new Map<string, Device>()
  /** Counts up with every change. */
  version = 0

  constructor(model: Model) {
    model.onEntry((entry) => this.#take(entry))
  }

  reset(): void {
    this.all.clear()
    this.version++
  }

  #take(entry: Entry): void {
    if (!LOOKS_LIKE_ONE.test(entry.topic)) return
    const found = announced(entry.topic, entry.payload)
    const key = found ? `${found.convention} ${found.name}` : ''
    const known = this.all.get(key)
    if (!found) {
      // The retained announcement was deleted: the device is forgotten.
      if (entry.size === 0)
        for (const [key, device] of this.all) if (device.topic === entry.topic) this.all.delete(key)
    } else if (!known) {
      const since = entry.stored ? undefined : entry.at
      this.all.set(key, { ...found, topic: entry.topic, since, heard: entry.at, lost: false })
    } else {
      if (known.state !== found.state) {
        known.since = entry.stored ? undefined : entry.at
        known.lost = found.state === 'offline' && !entry.stored
      }
      known.state = found.state
      known.said = found.said
      known.heard = entry.at
    }
    this.version++
  }
}

const LOOKS_LIKE_ONE = /(?:\/(?:\$state|LWT|lwt|availability|online|status|connected)$)|^spBv1\.0\//
