// The data behind the page: one client, the latest value of each topic, and who is there. A dashboard of your own begins like this.
import { batch, signal } from '@preact/signals'
import { Client, type ClientState } from 'wasmqtt'
import { announced } from '../core/presence.ts'
import { DEMO, openSocket } from '../core/socket.ts'

export const state = signal<ClientState>('idle')
/** Why there is no connection, or when the next attempt is. */
export const reason = signal('')
export const now = signal(Date.now())
/** When the page was last connected; undefined while it is. */
export const staleSince = signal<number | undefined>(undefined)
/** Counts up with every change of a value. */
export const version = signal(0)

export interface Presence {
  online: boolean
  /** When the page learned of the last change. */
  at: number
  /** It went while the page was watching, by its last will. */
  lost: boolean
}
export const presence = signal<Record<string, Presence>>({})
export interface Happening {
  id: number
  at: number
  text: string
  bad: boolean
}
export const events = signal<Happening[]>([])

const params = new URLSearchParams(location.hash.slice(1))
const told = document.querySelector<HTMLMetaElement>('meta[name="broker"]')?.content
export const url: string =
  params.get('url') ??
  (params.has('demo') ? DEMO : told ? JSON.parse(told).url : 'ws://127.0.0.1:9001/mqtt')
/** Where the devices are in the tree of topics. */
export const base = params.get('base') ?? 'home'

export const client = new Client(url, {
  keepalive: 15,
  transport: openSocket,
  reconnect: { initial: true, maxDelay: 5_000 },
})
const values = client.watch(`${base}/#`, { conflate: 100 })

/** When each topic was heard last. */
const heard = new Map<string, number>()

values.onChange((topics) =>
  batch(() => {
    for (const topic of topics) {
      heard.set(topic, Date.now())
      const message = values.get(topic)
      const said = message && announced(topic, message.payload)
      if (said) change(said.name.slice(base.length + 1), said.state === 'online')
    }
    version.value++
  }),
)

let ids = 0
function change(name: string, online: boolean): void {
  const before = presence.value[name]
  if (before && before.online === online) return
  const at = Date.now()
  presence.value = {
    ...presence.value,
    [name]: { online, at, lost: before !== undefined && !online },
  }
  if (before)
    note(online ? `${name} is back` : `${name} is gone: its last will has arrived`, !online)
}

export function note(text: string, bad = false): void {
  events.value = [{ id: ++ids, at: Date.now(), text, bad }, ...events.value].slice(0, 8)
}

/** The latest payload of a topic below the base, as text. */
export function text(topic: string): string | undefined {
  void version.value
  return values.get(`${base}/${topic}`)?.text()
}

/** The latest payload of a topic as JSON; undefined where it is none. */
export function json(topic: string): Record<string, number | boolean> | undefined {
  try {
    return JSON.parse(text(topic) ?? '')
  } catch {
    return undefined
  }
}

export const lastHeard = (topic: string): number | undefined => heard.get(`${base}/${topic}`)

/** Publishes a command; what goes wrong becomes an event. */
export async function command(topic: string, payload: string): Promise<void> {
  try {
    await client.publish(`${base}/${topic}`, payload, { qos: 1, timeout: 5_000 })
  } catch (error) {
    note(`${topic}: ${(error as Error).message}`, true)
  }
}

client.on('state', (is) => {
  batch(() => {
    state.value = is
    if (is === 'connected') {
      staleSince.value = undefined
      reason.value = ''
    } else if (version.value > 0) staleSince.value ??= Date.now()
  })
})
client.on('reconnecting', ({ error }) => (reason.value = error.message))
client.on('close', (error) => (reason.value = error?.message ?? ''))
client.on('error', (error) => note(error.message, true))
client.connect().catch(() => {}) // 'close' and 'reconnecting' tell
values.ready.catch((error: Error) => note(error.message, true))
addEventListener('pagehide', () => void client.end({ timeout: 0 }))
setInterval(() => (now.value = Date.now()), 1_000)
