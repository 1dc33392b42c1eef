// What a connection is made of, as a person fills it in; kept in this browser and in the address of the page. Passwords are kept only when asked,
// and never go into the address.
import type { ConnectOptions, QoS } from 'wasmqtt'
import { DEMO, isDemo } from './socket.ts'

export interface Filter {
  filter: string
  qos: QoS
  noLocal: boolean
  retainHandling: 0 | 1 | 2
}

export interface Profile {
  name: string
  url: string
  version: 'auto' | '5' | '4'
  clientId: string
  username: string
  password: string
  remember: boolean
  clean: boolean
  keepalive: string
  expiry: string
  receiveMaximum: string
  maximumPacketSize: string
  userProperties: string
  will: boolean
  willTopic: string
  willPayload: string
  willQos: QoS
  willRetain: boolean
  willDelay: string
  filters: Filter[]
}

export const newFilter = (filter: string, qos: QoS = 1): Filter => ({
  filter,
  qos,
  noLocal: false,
  retainHandling: 0,
})

export const newProfile = (url = 'ws://127.0.0.1:9001/mqtt'): Profile => ({
  name: '',
  url,
  version: 'auto',
  clientId: '',
  username: '',
  password: '',
  remember: false,
  clean: true,
  keepalive: '20',
  expiry: '',
  receiveMaximum: '',
  maximumPacketSize: '',
  userProperties: '',
  will: false,
  willTopic: 'dashboard/status',
  willPayload: 'offline',
  willQos: 1,
  willRetain: false,
  willDelay: '',
  filters: [newFilter('#')],
})

/** What is wrong with a field, by its name. */
export type Mistakes = Partial<Record<keyof Profile, string>>

export function mistakes(p: Profile): Mistakes {
  const found: Mistakes = {}
  let url: URL | undefined
  try {
    url = new URL(p.url)
  } catch {}
  // `localhost:9001` is a URL as well, of a scheme that nobody means.
  if (!url?.host) found.url = 'This is no URL. A broker is reached at one like ws://host:9001/mqtt.'
  else if (url.protocol !== 'ws:' && url.protocol !== 'wss:')
    found.url = `A page reaches a broker by ws:// or wss://, not by ${url.protocol}//. Ask for the broker's WebSocket port.`
  else if (
    location.protocol === 'https:' &&
    !isDemo(p.url) &&
    url.protocol === 'ws:' &&
    !/^(localhost|127\.|\[::1)/.test(url.hostname)
  )
    found.url = 'This page came over https, and browsers then allow only wss:// to other hosts.'
  const whole = (name: keyof Profile, low: number, high: number) => {
    const text = String(p[name])
    if (text !== '' && !(/^\d+$/.test(text) && Number(text) >= low && Number(text) <= high))
      found[name] = `A whole number from ${low} to ${high}.`
  }
  whole('keepalive', 0, 65_535)
  whole('expiry', 0, 4_294_967_295)
  whole('receiveMaximum', 1, 65_535)
  whole('maximumPacketSize', 1, 268_435_460)
  whole('willDelay', 0, 4_294_967_295)
  if (!p.clean && p.clientId === '' && p.version !== '5')
    found.clientId = 'A session that is to be kept needs a client id.'
  if (p.will && p.willTopic === '') found.willTopic = 'A will needs a topic.'
  else if (p.will && /[#+]/.test(p.willTopic))
    found.willTopic = 'A topic to publish to has no wildcards.'
  return found
}

export function connectOptions(p: Profile, clientId: string): ConnectOptions {
  const number = (text: string) => (text === '' ? undefined : Number(text))
  return {
    protocolVersion: p.version === 'auto' ? 'auto' : p.version === '5' ? 5 : 4,
    clientId: p.clientId || clientId,
    username: p.username || undefined,
    password: p.password || undefined,
    clean: p.clean,
    keepalive: number(p.keepalive),
    properties: {
      sessionExpiryInterval: number(p.expiry),
      receiveMaximum: number(p.receiveMaximum),
      maximumPacketSize: number(p.maximumPacketSize),
      userProperties: pairs(p.userProperties),
    },
    will: p.will
      ? {
          topic: p.willTopic,
          payload: p.willPayload,
          qos: p.willQos,
          retain: p.willRetain,
          properties: { willDelayInterval: number(p.willDelay) },
        }
      : undefined,
    reconnect: { initial: true },
  }
}

/** Lines of `name: value` as user properties; undefined where there are none. */
export function pairs(text: string): Array<[string, string]> | undefined {
  const lines = text.split('\n').filter((line) => line.trim() !== '')
  if (lines.length === 0) return undefined
  return lines.map((line) => {
    const at = line.indexOf(':')
    return at === -1 ? [line.trim(), ''] : [line.slice(0, at).trim(), line.slice(at + 1).trim()]
  })
}

// ---- in this browser

/** Reads and writes JSON in a storage of the browser, which may be full or forbidden. */
export const stored = {
  get<T>(key: string, otherwise: T, storage: () => Storage = () => localStorage): T {
    try {
      const text = storage().getItem(`wasmqtt.${key}`)
      return text === null ? otherwise : (JSON.parse(text) as T)
    } catch {
      return otherwise
    }
  },
  set(key: string, value: unknown, storage: () => Storage = () => localStorage): void {
    try {
      storage().setItem(`wasmqtt.${key}`, JSON.stringify(value))
    } catch {
      // Without storage the page works, it only forgets.
    }
  },
}

const kept = (p: Profile): Profile => (p.remember ? p : { ...p, password: '' })
const complete = (p: Partial<Profile>): Profile => ({ ...newProfile(), ...p })

export const savedProfiles = (): Profile[] => stored.get<Profile[]>('profiles', []).map(complete)
export const saveProfiles = (all: Profile[]): void => stored.set('profiles', all.map(kept))
export const saveLast = (p: Profile): void => stored.set('last', kept(p))

/**
 * An id of this tab, the same after a reload, so that the broker replaces the old session instead of keeping it beside the new one. A tab that
 * was duplicated has a copy of the id: the lock says which of the two may use it.
 */
export async function tabClientId(): Promise<string> {
  const storage = () => sessionStorage
  const fresh = () => `dashboard-${crypto.getRandomValues(new Uint32Array(2)).join('-')}`
  let id = stored.get('client-id', fresh(), storage)
  const claim = (name: string) =>
    new Promise<boolean>((resolve) => {
      if (!navigator.locks) return resolve(true)
      navigator.locks
        .request(`wasmqtt ${name}`, { ifAvailable: true }, (lock) => {
          resolve(lock !== null)
          // Held until the page is gone.
          return lock ? new Promise(() => {}) : undefined
        })
        .catch(() => resolve(true))
    })
  if (!(await claim(id))) {
    id = fresh()
    await claim(id)
  }
  stored.set('client-id', id, storage)
  return id
}

// ---- in the address

export interface Address {
  profile: Profile | undefined
  topic: string
  /** Topic and JSON Pointer of each line of the charts. */
  charts: Array<[topic: string, path: string]>
  panel: string
}

export const withoutCredentials = (url: string): string => url.replace(/\/\/[^/@]*@/, '//')

/** `#demo`, or `#url=ws://…&sub=1:home/%23&topic=…&chart=…` */
export function readAddress(last: Profile): Address {
  const given = new URLSearchParams(location.hash.slice(1))
  const url = given.get('url') ?? (given.has('demo') ? DEMO : null)
  let profile: Profile | undefined
  if (url !== null) {
    const subs = given.getAll('sub').map((text): Filter => {
      const [, qos = '0', filter = '#'] = /^([012]):(.*)$/s.exec(text) ?? []
      return newFilter(filter, Number(qos) as QoS)
    })
    // The rest of what was last used here, but only with the same broker: its password must not go to another one.
    profile = { ...(last.url === url ? last : newProfile(url)), url }
    if (subs.length) profile.filters = subs
    const version = given.get('version')
    if (version === '5' || version === '4') profile.version = version
  }
  return {
    profile,
    topic: given.get('topic') ?? '',
    charts: given.getAll('chart').map((text) => {
      const [topic = '', path = ''] = text.split('\n')
      return [topic, path]
    }),
    panel: given.get('panel') ?? '',
  }
}

export function writeAddress(p: Profile, { topic, charts, panel }: Omit<Address, 'profile'>): void {
  const said = new URLSearchParams()
  said.set('url', withoutCredentials(p.url))
  if (p.version !== 'auto') said.set('version', p.version)
  for (const { qos, filter } of p.filters) said.append('sub', `${qos}:${filter}`)
  if (topic) said.set('topic', topic)
  for (const line of charts) said.append('chart', line.join('\n'))
  if (panel) said.set('panel', panel)
  history.replaceState(null, '', `#${said}`)
}
