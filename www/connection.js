// The connection form, and everything that shows the state of the connection.
import { Client } from '/pkg/index.js'
import { element, setText } from './dom.js'
import { byteCount, count, time } from './format.js'

const MAX_LOG = 100

export class Connection {
  client
  #parts
  #onMessage
  #countdown
  #rates

  constructor(parts, onMessage) {
    this.#parts = parts
    this.#onMessage = onMessage
    parts.form.addEventListener('submit', (event) => {
      event.preventDefault()
      this.connect()
    })
    parts.disconnect.addEventListener('click', () => this.client?.end())
    parts.drop.addEventListener('click', () => this.client?.end({ force: true }))
    parts.retry.addEventListener('click', () => this.client?.connect().catch(() => {}))
    setInterval(() => this.#drawStats(), 500)
  }

  connect() {
    this.client?.end({ timeout: 0 })
    const { elements: fields } = this.#parts.form
    let client
    try {
      client = new Client(fields.url.value, options(fields))
    } catch (error) {
      return this.#show('closed', error.message)
    }
    this.client = client
    this.#rates = undefined
    // A client that was replaced still closes its connection. Its events are no longer of interest.
    const on = (event, listener) =>
      client.on(event, (...args) => client === this.client && listener(...args))
    on('state', (state) => this.#show(state))
    on('connect', ({ url, clientId, sessionPresent, server }) => {
      const version = server.protocolVersion === 5 ? '5.0' : '3.1.1'
      this.#show('connected', `Connected, MQTT ${version}`)
      this.#log(
        `Connected to ${url} as ${clientId}: MQTT ${version}, ${sessionPresent ? 'session resumed' : 'new session'}`,
      )
    })
    on('disconnect', (error) => this.#log(`Connection lost: ${error.message}`))
    on('reconnecting', ({ attempt, delay, error }) => {
      this.#log(`Attempt ${attempt} in ${(delay / 1_000).toFixed(1)} s: ${error.message}`)
      this.#wait(Date.now() + delay, error.message)
    })
    on('error', (error) => this.#log(`Error: ${error.message}`))
    on('close', (error) => {
      this.#show('closed', error ? error.message : 'Disconnected')
      this.#log(error ? `Closed for good: ${error.message}` : 'Disconnected')
    })
    const filters = fields.sys.checked ? [fields.filter.value, '$SYS/#'] : [fields.filter.value]
    client
      .subscribe(filters, { qos: 1, retainAsPublished: true }, this.#onMessage)
      .catch(
        (error) =>
          error.code !== 'CLOSED' &&
          client === this.client &&
          this.#log(`Not subscribed: ${error.message}`),
      )
    client.connect().catch(() => {}) // 'close' and 'reconnecting' report it
  }

  #show(state, text) {
    const { chip, form, connect, disconnect, drop, retry } = this.#parts
    clearInterval(this.#countdown)
    chip.dataset.state = state
    setText(
      this.#parts.text,
      text ??
        {
          idle: 'Not connected',
          connecting: 'Connecting…',
          connected: 'Connected',
          waiting: 'Waiting',
          closing: 'Closing…',
          closed: 'Disconnected',
        }[state],
    )
    const open = state !== 'idle' && state !== 'closed'
    disconnect.hidden = !open
    connect.textContent = open ? 'Reconnect' : 'Connect'
    drop.disabled = state !== 'connected'
    retry.hidden = state !== 'waiting'
    form.dataset.state = state
  }

  #wait(until, reason) {
    const draw = () =>
      setText(
        this.#parts.text,
        `${reason} · next try in ${Math.max(0, Math.ceil((until - Date.now()) / 1_000))} s`,
      )
    this.#show('waiting')
    draw()
    this.#countdown = setInterval(draw, 250)
  }

  #log(text) {
    const { log } = this.#parts
    log.prepend(element('li', '', `${time(Date.now())}  ${text}`))
    if (log.children.length > MAX_LOG) log.lastChild.remove()
  }

  #drawStats() {
    if (!this.client) return
    const stats = this.client.stats()
    const at = performance.now()
    const before = this.#rates ?? { stats, at: at - 1 }
    this.#rates = { stats, at }
    const rate = (name) => ((stats[name] - before.stats[name]) * 1_000) / (at - before.at)
    const shown = {
      in: `${count(rate('messagesReceived'))}/s`,
      out: `${count(rate('messagesSent'))}/s`,
      traffic: `${byteCount(rate('bytesReceived') + rate('bytesSent'))}/s`,
      ping: stats.roundTrip === undefined ? '–' : `${stats.roundTrip.toFixed(1)} ms`,
      'in flight': String(stats.inFlightOut),
      queued: String(stats.queuedMessages),
      connects: String(stats.connections),
      wasm: byteCount(stats.wasmMemoryBytes),
    }
    const { stats: list } = this.#parts
    if (list.children.length === 0) for (const name of Object.keys(shown)) list.append(pair(name))
    for (const [at, text] of Object.values(shown).entries())
      setText(list.children[at].lastChild, text)
  }
}

function pair(name) {
  const made = element('div', '')
  made.append(element('dt', '', name), element('dd', ''))
  return made
}

/** @returns {import('../pkg/index.js').ConnectOptions} */
function options(fields) {
  const text = (name) => fields[name].value || undefined
  const number = (name) => (fields[name].value === '' ? undefined : Number(fields[name].value))
  const version = fields.version.value
  /** @type {any} */
  const will = {
    topic: fields.willTopic.value,
    payload: fields.willPayload.value,
    qos: Number(fields.willQos.value),
    retain: fields.willRetain.checked,
    properties: { willDelayInterval: number('willDelay') ?? 0 },
  }
  return {
    protocolVersion: version === 'auto' ? version : Number(version),
    clientId: text('clientId'),
    username: text('username'),
    password: text('password'),
    clean: fields.clean.checked,
    keepalive: number('keepalive'),
    properties: { sessionExpiryInterval: number('expiry') },
    will: fields.will.checked ? will : undefined,
    reconnect: { initial: true },
  }
}
