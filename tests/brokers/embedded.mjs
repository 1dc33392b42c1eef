// The test broker of the package in the place of a Mosquitto process, for the stories that are about any honest broker.

import { TestBroker } from '../../pkg/testing-node.js'

/** A story needs what this broker does not have. It is skipped. */
export class Unsupported extends Error {}

/**
 * Takes the same options as startMosquitto, as far as there is something like them. `embedded` says for a story whose `config` names files what stands in
 * them: the users, and what is denied.
 *
 * @param {{ config?: string, files?: object, persistent?: boolean, embedded?: any }} [settings]
 */
export async function startEmbedded(t, settings = {}) {
  const { config = '', persistent = false, embedded } = settings
  const { deny = {}, ...own } = embedded ?? options(config)
  const broker = new Embedded({ ...MOSQUITTO, ...own }, deny, persistent)
  t.after(() => broker.stop())
  await broker.start()
  return broker
}

/** What Mosquitto offers without being told. */
const MOSQUITTO = { topicAliasMaximum: 10 }

/** The options of a TestBroker for lines of a mosquitto.conf. */
function options(config) {
  const known = { max_inflight_messages: 'receiveMaximum', max_packet_size: 'maximumPacketSize' }
  // Its queues are long enough.
  const lines = config
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.startsWith('max_queued_messages'))
  return Object.fromEntries(
    lines.map((line) => {
      const [name, value] = line.trim().split(' ')
      if (!(name in known)) throw new Unsupported(`it has nothing like '${line}'`)
      return [known[name], Number(value)]
    }),
  )
}

class Embedded {
  wsPort = 0
  tcpPort = 0
  /** The reason code for a wrong password. */
  wrongPassword = 0x86
  #broker
  #listener
  /** The log before the last start. */
  #earlier = []
  #thaw = () => {}

  constructor(options, deny, persistent) {
    this.options = options
    this.deny = deny
    this.persistent = persistent
  }

  get url() {
    return `ws://127.0.0.1:${this.wsPort}/mqtt`
  }

  /** What Mosquitto would have logged, as far as a story looks at it. */
  get log() {
    const { packets, clients } = this.#broker
    const lines = packets.flatMap(
      ({ clientId, direction, type, reasonCode, subscriptions = [] }) => [
        `${direction === 'in' ? 'Received' : 'Sending'} ${type.toUpperCase()} ${direction === 'in' ? 'from' : 'to'} ${clientId} (${type === 'connack' ? `0, ${reasonCode})` : ''}`,
        ...subscriptions.map(({ filter, qos }) => `\t${filter} (QoS ${qos})`),
      ],
    )
    const connected = new Set(
      clients.flatMap((client) => (client.connected ? [client.clientId] : [])),
    )
    const known = new Set(packets.map(({ clientId }) => clientId))
    const gone = [...known].filter((clientId) => !connected.has(clientId))
    return [
      ...this.#earlier,
      'starting',
      ...lines,
      ...gone.map((clientId) => `Client ${clientId} is gone`),
    ]
  }

  async start() {
    if (this.#broker === undefined || !this.persistent) {
      this.#earlier = this.#broker === undefined ? [] : this.log
      this.#broker = new TestBroker(this.options)
      this.#broker.deny(this.deny)
    }
    this.#listener = await this.#broker.listen({ port: this.wsPort, tcp: this.tcpPort })
    this.wsPort = Number(new URL(this.#listener.url).port)
    this.tcpPort = Number(new URL(this.#listener.tcpUrl).port)
  }

  async stop() {
    await this.#listener.close()
  }

  kill() {
    return this.stop()
  }

  async restart() {
    await this.stop()
    await this.start()
  }

  /** It never waits for its clients. */
  async hurry() {}

  /** Takes effect with the next restart, as with Mosquitto. */
  async setUsers(users) {
    this.options = { ...this.options, users }
  }

  /** Freezes the connections that there are. */
  freeze() {
    this.#thaw = this.#broker.freeze()
  }

  thaw() {
    this.#thaw()
  }
}
