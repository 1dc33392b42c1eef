// What the person has chosen: which topic, which panels, which lines are charted. It is in the address, so that a link shows the same page.
import { computed, effect, signal } from '@preact/signals'
import { model, profile } from '../core/link.ts'
import type { Entry } from '../core/model.ts'
import { newProfile, type Profile, readAddress, stored, writeAddress } from '../core/profile.ts'
import { applyTheme, storedTheme, type Theme } from './theme.ts'

/** The broker that `npm start` names in the page; undefined on any other host. */
export interface Served {
  url: string
  name: string
  limits: string[]
  /** What a first visit shows. */
  topic: string
  charts: Array<[topic: string, path: string]>
}

function served(): Served | undefined {
  try {
    return JSON.parse(document.querySelector<HTMLMetaElement>('meta[name="broker"]')?.content ?? '')
  } catch {
    return undefined
  }
}
export const servedBroker = served()

const last: Profile = {
  ...newProfile(servedBroker?.url),
  ...stored.get<Partial<Profile>>('last', {}),
}
// The ports of `npm start` may differ from time to time: its broker is the one to begin with.
if (servedBroker && /^ws:\/\/127\.0\.0\.1:/.test(last.url)) last.url = servedBroker.url
const address = readAddress(last)
if (servedBroker && location.hash === '') {
  address.topic = servedBroker.topic
  address.charts = servedBroker.charts
}
/** What the first look at the demo shows, as with `npm start`. */
const HOUSE: Pick<Served, 'topic' | 'charts'> = {
  topic: 'home/living-room/climate/temperature',
  charts: [
    ['home/utility/meter/power', '/watts'],
    ['home/living-room/climate/temperature', ''],
  ],
}
if (location.hash === '#demo') Object.assign(address, HOUSE)
/** What the page connects to by itself: what the address, `npm start` or the last visit says; undefined on a first visit. */
export const initial: Profile | undefined =
  address.profile ?? (servedBroker || stored.get('last', undefined) ? last : undefined)
profile.value = initial ?? last

/** The topic or branch that was chosen. */
export const selected = signal(address.topic)
/** One message of the past that was chosen; undefined: the latest one of the topic. */
export const pinned = signal<Entry | undefined>(undefined)
/** Topic and JSON Pointer of each line. */
export const charted = signal<Array<[topic: string, path: string]>>(address.charts)
/** The panel in front, by dock. */
export const front = signal<Record<string, string>>({
  ...stored.get<Record<string, string>>('panels', {}),
  ...(address.panel ? { small: address.panel, right: address.panel, lower: address.panel } : {}),
})
/** The $SYS topics are in the tree. */
export const showSys = signal(stored.get('sys', false))
export const theme = signal<Theme>(storedTheme())
export const connectionOpen = signal(false)

export const selectedTopic = () => (selected.value === '' ? undefined : model.find(selected.value))

export function select(path: string): void {
  pinned.value = undefined
  selected.value = path
}

/** Shows what the demo is about. */
export function showHouse(): void {
  select(HOUSE.topic)
  charted.value = HOUSE.charts
  reveal('charts')
}

export function chart(topic: string, path = ''): void {
  if (!charted.value.some(([t, p]) => t === topic && p === path))
    charted.value = [...charted.value, [topic, path]]
  reveal('charts')
}

/** How many docks there is room for. */
const wide = matchMedia('(min-width: 1240px)')
const small = matchMedia('(max-width: 720px)')
export const room = signal<'wide' | 'medium' | 'small'>('wide')
const measure = () => {
  room.value = wide.matches ? 'wide' : small.matches ? 'small' : 'medium'
}
wide.addEventListener('change', measure)
small.addEventListener('change', measure)
measure()

export const PANELS = {
  topics: 'Topics',
  detail: 'Detail',
  messages: 'Messages',
  charts: 'Charts',
  publish: 'Publish',
  devices: 'Devices',
  retained: 'Retained',
  subscriptions: 'Subscriptions',
  traffic: 'Traffic',
  offline: 'Offline',
} as const
export type PanelName = keyof typeof PANELS

const DOCKS: Record<'wide' | 'medium' | 'small', Record<string, PanelName[]>> = {
  wide: {
    left: ['topics'],
    upper: ['detail'],
    lower: ['messages', 'charts', 'retained', 'traffic'],
    right: ['publish', 'devices', 'subscriptions', 'offline'],
  },
  medium: {
    left: ['topics'],
    upper: ['detail', 'publish', 'devices', 'subscriptions', 'offline'],
    lower: ['messages', 'charts', 'retained', 'traffic'],
  },
  small: {
    small: [
      'topics',
      'detail',
      'messages',
      'charts',
      'publish',
      'devices',
      'retained',
      'subscriptions',
      'traffic',
      'offline',
    ],
  },
}
export const docks = computed(() => DOCKS[room.value])

export function frontOf(dock: string): PanelName {
  const panels = docks.value[dock] ?? []
  const wanted = front.value[dock] as PanelName
  return panels.includes(wanted) ? wanted : (panels[0] as PanelName)
}

/** Brings a panel to the front of its dock. */
export function reveal(panel: PanelName): void {
  for (const [dock, panels] of Object.entries(docks.value))
    if (panels.includes(panel)) front.value = { ...front.value, [dock]: panel }
}

effect(() => stored.set('panels', front.value))
effect(() => stored.set('sys', showSys.value))
effect(() => applyTheme(theme.value))
/** ms. Writing the address takes the browser a while: it waits until the choice has been painted. */
const AFTER_PAINT = 30
/** ms between two of them: browsers refuse more than 200 in 30 s. */
const BETWEEN = 200
let written = 0
let writing: ReturnType<typeof setTimeout> | undefined
effect(() => {
  const said = {
    topic: selected.value,
    charts: charted.value,
    panel: room.value === 'small' ? frontOf('small') : '',
  }
  const of = profile.value
  clearTimeout(writing)
  const wait = Math.max(AFTER_PAINT, written + BETWEEN - performance.now())
  writing = setTimeout(() => {
    written = performance.now()
    writeAddress(of, said)
  }, wait)
})

/** What stands in the publish form; it survives a reload of the tab. */
export interface Draft {
  topic: string
  payload: string
  format: 'text' | 'hex'
  qos: 0 | 1 | 2
  retain: boolean
  contentType: string
  responseTopic: string
  correlation: string
  expiry: string
  utf8: boolean
  userProperties: string
  every: string
}
export const emptyDraft: Draft = {
  topic: 'home/kitchen/lamp/set',
  payload: 'off',
  format: 'text',
  qos: 1,
  retain: false,
  contentType: '',
  responseTopic: '',
  correlation: '',
  expiry: '',
  utf8: false,
  userProperties: '',
  every: '1000',
}
export const draft = signal<Draft>({
  ...emptyDraft,
  ...stored.get<Partial<Draft>>('draft', {}, () => sessionStorage),
})
effect(() => stored.set('draft', draft.value, () => sessionStorage))
export const editDraft = (to: Partial<Draft>): void => {
  draft.value = { ...draft.value, ...to }
}
