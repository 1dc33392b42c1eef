// The connection: one client, what it is doing, and what has to be said about it. Everything that a person may see is a signal.
import { batch, computed, effect, signal } from '@preact/signals'
import {
  Client,
  type ConnectInfo,
  type MqttError,
  type PacketInfo,
  type Stats,
  type Store,
  type Subscription,
  type TransportContext,
  type WebSocketLike,
} from 'wasmqtt'
import { IndexedDBStore } from 'wasmqtt/stores'
import { Model } from './model.ts'
import { Devices } from './presence.ts'
import {
  connectOptions,
  type Filter,
  mistakes,
  newProfile,
  type Profile,
  saveLast,
  stored,
  tabClientId,
  withoutCredentials,
} from './profile.ts'
import { openSocket } from './socket.ts'
import { count, duration } from './text.ts'

export type Link =
  | { state: 'off'; reason?: string; failed: boolean }
  | { state: 'connecting'; attempt: number }
  | { state: 'connected'; info: ConnectInfo; since: number }
  | { state: 'waiting'; reason: string; attempt: number; until: number }
  | { state: 'closing' }

/** One line of the list of subscriptions. */
export interface Sub extends Filter {
  id: number
  colour: number
  granted: 'pending' | 'granted' | 'refused'
  /** The QoS granted, or why it was refused. */
  said: string
  count: number
  rate: number
  handle?: Subscription
}

/** Something that was refused or went wrong, until the person has put it away. */
export interface Alert {
  id: number
  at: number
  text: string
}

export interface Logged extends PacketInfo {
  seq: number
  at: number
}

/** What the page was told to publish and how far it has come. */
export interface Sent {
  id: number
  at: number
  topic: string
  line: string
  qos: 0 | 1 | 2
  state: 'queued' | 'sent' | 'acknowledged' | 'failed'
  /** ms from the call to the acknowledgement. */
  took?: number
  /** Its place among what was acknowledged. */
  order?: number
  error?: string
}

const NETWORK_OFF = 'The network is switched off on this page.'
const RATE_SECONDS = 60
const LOGGED = 400

export const model = new Model()
export const devices = new Devices(model)
export const profile = signal<Profile>(newProfile())
export const link = signal<Link>({ state: 'off', failed: false })
export const subs = signal<Sub[]>([])
export const alerts = signal<Alert[]>([])
export const sent = signal<Sent[]>([])
export const stats = signal<Stats | undefined>(undefined)
/** Messages a second in each of the last 60 s, the latest last; rates of now. */
export const rates = signal({
  in: new Array<number>(RATE_SECONDS).fill(0),
  bytesIn: 0,
  bytesOut: 0,
  out: 0,
})
/** Seconds since anything came from the broker, while connected. */
export const silent = signal(0)
/** When the data were last live; undefined while they are, and before the first connection. */
export const staleSince = signal<number | undefined>(undefined)
/** Also after a reload of this tab. */
export const networkOff = signal(stored.get('network-off', false, () => sessionStorage))
export const closeReason = signal('')
/** ms from the last QoS 1 or 2 publish to its acknowledgement: the client pings only where nothing else is sent. */
export const lastAcknowledgement = signal<number | undefined>(undefined)
/** The time, once a second. */
export const now = signal(Date.now())

export const live = computed(() => link.value.state === 'connected')
/** Whether the broker speaks version 5 on this connection. */
export const isVersion5 = computed(
  () => link.value.state === 'connected' && link.value.info.server.protocolVersion === 5,
)
/** Nothing has come for longer than it should: longer than a keep-alive, or than a busy broker is ever quiet. */
export const tooQuiet = computed(() => {
  if (!live.value || silent.value < 4) return false
  const busy = rates.value.in.slice(-20).filter((n) => n > 0).length >= 6
  return busy || silent.value > Number(profile.value.keepalive || 60) + 2
})

let client: Client | undefined
let ids = 0
let subscribedAt = Number.POSITIVE_INFINITY
/** Topics for which a first message has come since the subscription. */
let greeted = new Set<string>()
const sockets = new Set<WebSocketLike>()

export const currentClient = (): Client | undefined => client

export function alertUser(text: string): void {
  const again = alerts.value.find((alert) => alert.text === text)
  alerts.value = [
    ...alerts.value.filter((alert) => alert !== again).slice(-4),
    { id: ++ids, at: Date.now(), text },
  ]
}
export const dismiss = (id: number): void => {
  alerts.value = alerts.value.filter((alert) => alert.id !== id)
}

/** Messages that were handed over and not acknowledged yet: they would be lost with the client. */
export const unsent = (): number => {
  const said = client && client.state !== 'closed' ? client.stats() : undefined
  return said ? said.queuedMessages + said.inFlightOut : 0
}

// ---- connecting

/** Ends what there is and connects as `wanted` says. What was shown of another broker is forgotten. */
export async function connect(wanted: Profile): Promise<void> {
  const problem = Object.values(mistakes(wanted))[0]
  if (problem) {
    link.value = { state: 'off', reason: problem, failed: true }
    return
  }
  const old = client
  client = undefined
  old?.end({ timeout: 0 })
  const otherBroker = wanted.url !== profile.value.url || wanted.username !== profile.value.username
  const id = await tabId()
  const store = await openStore(wanted, wanted.clientId || id, old !== undefined)
  if (client) return // another call came in between
  let made: Client
  try {
    made = new Client(wanted.url, {
      ...connectOptions(wanted, id),
      transport: openMine,
      store,
    })
  } catch (error) {
    link.value = { state: 'off', reason: (error as Error).message, failed: true }
    return
  }
  client = made
  batch(() => {
    profile.value = wanted
    saveLast(wanted)
    if (otherBroker) forget()
    alerts.value = []
    sent.value = sent.value.map((entry) =>
      entry.state === 'queued'
        ? { ...entry, state: 'failed', error: 'The client was replaced.' }
        : entry,
    )
    subs.value = []
    link.value = { state: 'connecting', attempt: 1 }
  })
  greeted = new Set()
  subscribedAt = Number.POSITIVE_INFINITY
  listen(made)
  for (const filter of wanted.filters) addSubscription(filter)
  made.connect().catch(() => {}) // 'close' and 'reconnecting' tell
}

let tab: Promise<string> | undefined
const tabId = () => (tab ??= tabClientId())

/** By the name of the database. They stay open as long as the page, and one client takes over from the other. */
const stores = new Map<string, IndexedDBStore>()

/**
 * What keeps messages that wait to be acknowledged over a reload of the tab: for each broker by itself, so that none gets those of another one.
 * `anew`: those of the client before are given up.
 */
async function openStore(p: Profile, id: string, anew: boolean): Promise<Store | undefined> {
  try {
    const name = `wasmqtt dashboard ${withoutCredentials(p.url)}`
    const store = stores.get(name) ?? new IndexedDBStore(name)
    stores.set(name, store)
    const records = await store.load(id)
    if (anew && records.length)
      await store.write(
        id,
        records.map(([key]) => [key, null]),
      )
    return {
      load: (clientId) => store.load(clientId),
      write: (clientId, changes) => store.write(clientId, changes),
    }
  } catch {
    // No IndexedDB here, or another tab has this client id: the page works, and the browser asks before messages are lost.
    return undefined
  }
}

function forget(): void {
  model.reset()
  devices.reset()
  staleSince.value = undefined
  rates.value = { in: new Array<number>(RATE_SECONDS).fill(0), bytesIn: 0, bytesOut: 0, out: 0 }
  sent.value = []
}

function listen(made: Client): void {
  // A client that was replaced still says goodbye: what it reports is no longer of interest.
  const mine = (work: () => void) => {
    if (made === client) batch(work)
  }
  made.on('state', (state) =>
    mine(() => {
      if (state === 'connecting')
        link.value = { state, attempt: link.value.state === 'waiting' ? link.value.attempt : 1 }
      if (state === 'closing') link.value = { state }
      if (state !== 'connected' && link.peek().state !== 'connected') return
      if (state !== 'connected') staleSince.value ??= Date.now()
    }),
  )
  made.on('connect', (info) =>
    mine(() => {
      link.value = { state: 'connected', info, since: Date.now() }
      staleSince.value = undefined
      silent.value = 0
      lastBytes = -1
      if (!info.sessionPresent) model.doubtRetained()
      // Stored messages come right after the SUBACK; on a resumed session there are none.
      greeted = new Set()
      subscribedAt = info.sessionPresent ? 0 : Date.now()
      closeReason.value = ''
      lastAcknowledgement.value = undefined
    }),
  )
  made.on('disconnect', (error) =>
    mine(() => {
      staleSince.value ??= Date.now()
      closeReason.value = error.message
    }),
  )
  made.on('reconnecting', ({ attempt, delay, error }) =>
    mine(() => {
      const reason = networkOff.value ? NETWORK_OFF : error.message
      link.value = { state: 'waiting', reason, attempt, until: Date.now() + delay }
    }),
  )
  made.on('error', (error) => mine(() => alertUser(error.message)))
  made.on('close', (error) =>
    mine(() => {
      if (model.total) staleSince.value ??= Date.now()
      link.value = { state: 'off', reason: error?.message, failed: error !== undefined }
      closeReason.value = error?.message ?? ''
    }),
  )
  made.on('packet', (packet) => made === client && record(packet))
  made.on('message', (message) => {
    if (made !== client) return
    let isStored = false
    if (message.retain && !greeted.has(message.topic)) {
      // With Retain As Published live messages carry the flag as well: the first of a topic, soon after the SUBSCRIBE, is the stored one.
      isStored = Date.now() - subscribedAt < 3_000
    }
    greeted.add(message.topic)
    model.add(message, isStored)
  })
}

/** Opens the socket, unless the network is switched off on the page. */
async function openMine(url: URL, context: TransportContext): Promise<WebSocketLike> {
  if (networkOff.peek()) throw new Error(NETWORK_OFF)
  const socket = await openSocket(url, context)
  sockets.add(socket)
  context.signal.addEventListener('abort', () => sockets.delete(socket))
  return socket
}

export function setNetworkOff(off: boolean): void {
  networkOff.value = off
  stored.set('network-off', off, () => sessionStorage)
  if (off) cut()
  else if (client?.state === 'waiting') retry()
}

/** Cuts the connection without a DISCONNECT, as a crash would: the broker publishes the will, and the client comes back. */
export function cut(): void {
  for (const socket of sockets) socket.close()
}

export const retry = (): void => void client?.connect().catch(() => {})

export async function disconnect(): Promise<void> {
  await client?.end({ timeout: 2_000 })
}

// A page that goes away says goodbye, so that the broker keeps no session for nobody.
addEventListener('pagehide', () => void client?.end({ timeout: 0 }))
addEventListener('pageshow', ({ persisted }) => persisted && void connect(profile.value))
addEventListener('beforeunload', (event) => unsent() > 0 && event.preventDefault())

// ---- subscriptions

export async function addSubscription(wanted: Filter): Promise<void> {
  if (!client) return
  const made = client
  const sub: Sub = {
    ...wanted,
    id: ++ids,
    colour: nextColour(),
    granted: 'pending',
    said: '',
    count: 0,
    rate: 0,
  }
  subs.value = [...subs.value, sub]
  const change = (to: Partial<Sub>) => {
    if (made !== client) return
    Object.assign(sub, to)
    subs.value = [...subs.value]
  }
  try {
    const { filter, qos, noLocal, retainHandling } = wanted
    const version4 = profile.value.version === '4'
    const handle = await made.subscribe(
      filter,
      version4 ? { qos } : { qos, noLocal, retainHandling, retainAsPublished: true },
      () => {
        sub.count++
      },
    )
    const qosGranted = handle.grants[0]?.qos ?? qos
    if (made.server?.protocolVersion === 5)
      subscribedAt = Math.max(
        subscribedAt === Number.POSITIVE_INFINITY ? 0 : subscribedAt,
        Date.now(),
      )
    change({
      handle,
      granted: 'granted',
      said: qosGranted < qos ? `QoS ${qosGranted} instead of ${qos}` : `QoS ${qosGranted}`,
    })
  } catch (error) {
    const { code, message } = error as MqttError
    if (made !== client || code === 'CLOSED') return
    change({ granted: 'refused', said: message })
    alertUser(`Not subscribed to ${wanted.filter}: ${message}`)
  }
}

function nextColour(): number {
  for (let colour = 0; ; colour++)
    if (!subs.value.some((sub) => sub.colour === colour)) return colour
}

export async function removeSubscription(sub: Sub): Promise<void> {
  subs.value = subs.value.filter((other) => other !== sub)
  rememberFilters()
  try {
    await sub.handle?.unsubscribe()
  } catch (error) {
    alertUser(`Not unsubscribed from ${sub.filter}: ${(error as Error).message}`)
  }
}

/** Keeps the subscriptions of now with the connection, for the next reload. */
export function rememberFilters(): void {
  const filters = subs.value.map(({ filter, qos, noLocal, retainHandling }) => ({
    filter,
    qos,
    noLocal,
    retainHandling,
  }))
  profile.value = { ...profile.value, filters }
  saveLast(profile.value)
}

// ---- publishing

const SENT = 200
let acknowledged = 0

/** Publishes, and keeps how it went in `sent`. Rejects as the client does. */
export async function publish(
  topic: string,
  payload: string | Uint8Array,
  options: NonNullable<Parameters<Client['publish']>[2]> & { line?: string } = {},
): Promise<Sent> {
  const { line = '', ...rest } = options as { line?: string; qos?: 0 | 1 | 2 }
  const entry: Sent = {
    id: ++ids,
    at: Date.now(),
    topic,
    line,
    qos: rest.qos ?? 0,
    state: client?.connected ? 'sent' : 'queued',
  }
  sent.value = [...sent.value.slice(-SENT), entry]
  const change = (to: Partial<Sent>) => {
    const after = { ...entry, ...to }
    sent.value = sent.value.map((other) => (other.id === entry.id ? after : other))
    return after
  }
  const began = performance.now()
  try {
    if (!client || client.state === 'closed')
      throw new Error('There is no connection: connect first.')
    const acknowledgement = client.publish(topic, payload, rest)
    // What waits is counted at once, not with the next second.
    stats.value = client.stats()
    await acknowledgement
    const took = performance.now() - began
    if (client) stats.value = client.stats()
    if (entry.qos > 0 && entry.state === 'sent') lastAcknowledgement.value = took
    return change({ state: 'acknowledged', took, order: ++acknowledged })
  } catch (error) {
    change({ state: 'failed', error: (error as Error).message })
    throw error
  }
}

/** Deletions that are under way at the same time: the queue of the client has room for other messages beside them. */
const DELETING = 200

/**
 * Deletes the retained messages of these topics, and calls `progress` with how many the broker has acknowledged so far. Resolves with how many
 * it was in the end.
 */
export async function deleteRetained(
  topics: string[],
  progress: (deleted: number) => void = () => {},
): Promise<number> {
  const mine = client
  let deleted = 0
  const failed: Array<{ topic: string; error: Error }> = []
  // All of them take from the same iterator.
  const waiting = topics.values()
  const work = async () => {
    for (const topic of waiting)
      try {
        await mine?.publish(topic, '', { qos: 1, retain: true })
        model.retainedDeleted(topic)
        progress(++deleted)
      } catch (error) {
        failed.push({ topic, error: error as Error })
      }
  }
  await Promise.all(Array.from({ length: DELETING }, work))
  const [first] = failed
  if (first) {
    const others = failed.length > 1 ? ` and of ${count(failed.length - 1)} more` : ''
    alertUser(
      `The retained message of ${first.topic}${others} is not deleted: ${first.error.message}`,
    )
  }
  return deleted
}

// ---- the timeline of packets

/** Messages come in crowds: they have a ring of their own, so that the rest is not swept away. */
const rings: Record<'control' | 'messages', Logged[]> = { control: [], messages: [] }
let logged = 0

function record(packet: PacketInfo): void {
  const ring =
    packet.type === 'publish' || packet.type === 'puback' ? rings.messages : rings.control
  ring.push({ ...packet, seq: ++logged, at: Date.now() })
  if (ring.length > 2 * LOGGED) ring.splice(0, LOGGED)
}

/** The latest packets, the newest first. */
export function timeline(withMessages: boolean): Logged[] {
  const all = withMessages
    ? [...rings.control.slice(-LOGGED), ...rings.messages.slice(-LOGGED)]
    : rings.control.slice(-LOGGED)
  return all.sort((a, b) => b.seq - a.seq).slice(0, LOGGED)
}

// ---- what is measured

let before: { stats: Stats; at: number; client: Client } | undefined
let lastBytes = -1
let heardAt = 0

setInterval(() => {
  now.value = Date.now()
  if (!client) return
  const at = performance.now()
  const current = client.stats()
  const last = before?.client === client ? before : { stats: current, at: at - 1_000, client }
  before = { stats: current, at, client }
  const perSecond = (name: 'messagesReceived' | 'messagesSent' | 'bytesReceived' | 'bytesSent') =>
    Math.max(0, ((current[name] - last.stats[name]) * 1_000) / (at - last.at))
  batch(() => {
    stats.value = current
    rates.value = {
      in: [...rates.value.in.slice(1), perSecond('messagesReceived')],
      out: perSecond('messagesSent'),
      bytesIn: perSecond('bytesReceived'),
      bytesOut: perSecond('bytesSent'),
    }
    if (lastBytes !== current.bytesReceived) {
      lastBytes = current.bytesReceived
      heardAt = at
    }
    silent.value = live.value ? Math.floor((at - heardAt) / 1_000) : 0
    for (const sub of subs.value) {
      const counted = counts.get(sub.id) ?? sub.count
      sub.rate = sub.rate * 0.6 + (sub.count - counted) * 0.4
      counts.set(sub.id, sub.count)
    }
  })
}, 1_000)
const counts = new Map<number, number>()

/** What the state of the link is, in one line. */
export const linkText = computed((): string => {
  const is = link.value
  switch (is.state) {
    case 'off':
      return is.reason ?? 'Disconnected'
    case 'connecting':
      return is.attempt > 1 ? `Connecting, attempt ${is.attempt}…` : 'Connecting…'
    case 'connected':
      return tooQuiet.value
        ? `Connected, silent for ${duration(silent.value * 1_000)}`
        : 'Connected'
    case 'waiting':
      return `${is.reason} Next try in ${Math.max(0, Math.ceil((is.until - now.value) / 1_000))} s.`
    case 'closing':
      return 'Closing…'
  }
})

effect(() => {
  document.documentElement.dataset.link = link.value.state
  document.documentElement.toggleAttribute(
    'data-stale',
    !live.value && staleSince.value !== undefined,
  )
})
