// Starts each broker that the checks know, on free ports of loopback, with one user who may do everything.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, rmSync } from 'node:fs'
import { mkdtemp, writeFile } from 'node:fs/promises'
import http from 'node:http'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { capture, findCommand, portOf } from '../../scripts/tools.mjs'
import { accepts, freePort, passwordFile, startMosquitto } from '../brokers/mosquitto.mjs'

/** What every client says who may connect. */
export const credentials = { username: 'user', password: 'secret' }

/**
 * A broker that is running.
 * @typedef {object} Running
 * @property {string} name
 * @property {string} version
 * @property {ReadonlyArray<4 | 5>} versions The versions of MQTT that it speaks.
 * @property {(transport: 'WebSocket' | 'TCP', version: 4 | 5) => string | undefined} url Undefined where it has no such port.
 * @property {() => Promise<void>} kill Ends it without a word.
 * @property {() => Promise<void>} start Starts it again, on the same ports.
 */

/**
 * A kind of broker.
 * @typedef {object} Kind
 * @property {string} name
 * @property {string} install How to install it.
 * @property {() => boolean} present Whether it is installed.
 * @property {() => boolean} [speaksQoS2] Undefined where it always does.
 * @property {(t: { after: (end: () => any) => void }, how?: { measured?: boolean }) => Promise<Running>} run Starts it, and ends it with `t`.
 *   One that is measured does not log each packet, does not wait for more to send, and does not send again what is not acknowledged in seconds.
 */

/** A broker that is a process of its own. */
export class Daemon {
  #process
  /** The last lines that it wrote. */
  output = ''

  /**
   * @param {string} command
   * @param {string[]} args
   * @param {{ env?: NodeJS.ProcessEnv, host?: string, ports: number[], dir: string, patience?: number }} options `patience` is in ms.
   */
  constructor(command, args, options) {
    this.command = command
    this.args = args
    this.options = options
  }

  get pid() {
    return this.#process.pid
  }

  get running() {
    return this.#process?.exitCode === null && this.#process.signalCode === null
  }

  /** Starts the process, and waits until it listens on all its ports. */
  async start() {
    const { env, host, ports, dir, patience = 60_000 } = this.options
    const child = spawn(this.command, this.args, {
      env: { ...process.env, ...env },
      cwd: dir,
      stdio: ['ignore', 'pipe', 'pipe'],
      // Some brokers are started by a shell. Signals go to all processes of the group.
      detached: true,
    })
    this.#process = child
    const abandon = () => this.#signal('SIGKILL')
    process.once('exit', abandon)
    child.once('exit', () => process.off('exit', abandon))
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text) => {
        this.output = (this.output + text).slice(-8_000)
        if (process.env.BROKER_LOG) process.stderr.write(text)
      })
    await once(child, 'spawn')
    const deadline = Date.now() + patience
    for (const port of ports)
      while (!(await accepts(port, host))) {
        if (!this.running || Date.now() > deadline)
          throw new Error(`${this.command} does not start:\n${this.output}`)
        await sleep(50)
      }
  }

  /** @param {NodeJS.Signals} signal */
  async end(signal) {
    if (!this.running) return
    const exit = once(this.#process, 'close')
    this.#signal('SIGCONT')
    this.#signal(signal)
    await exit
  }

  #signal(signal) {
    try {
      process.kill(-this.#process.pid, signal)
    } catch {
      // It has ended already.
    }
  }

  stop() {
    return this.end('SIGTERM')
  }

  kill() {
    return this.end('SIGKILL')
  }

  freeze() {
    this.#signal('SIGSTOP')
  }

  thaw() {
    this.#signal('SIGCONT')
  }
}

/** A folder that is deleted after the test. */
export async function folder(t, name) {
  const dir = await mkdtemp(join(tmpdir(), `${name}-`))
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

/** @type {Kind} */
const mosquitto = {
  name: 'Mosquitto',
  install: 'apt-get install mosquitto',
  present: () => findCommand('mosquitto') !== undefined,
  async run(t, { measured = false } = {}) {
    // Under load, Mosquitto 2.0.11 drops messages long before 10,000 of them wait.
    const limits = measured
      ? 'max_queued_messages 1000000\nset_tcp_nodelay true\nlog_type none\nlog_type notice\nlog_type information'
      : 'max_queued_messages 10000'
    const broker = await startMosquitto(t, {
      config: `allow_anonymous false\npassword_file {dir}/passwords\nsys_interval 1\n${limits}`,
      files: { passwords: passwordFile({ [credentials.username]: credentials.password }) },
    })
    await awake(t, broker.tcpPort)
    return {
      name: this.name,
      version: /version (\S+)/.exec(broker.log.join('\n'))?.[1] ?? '',
      versions: [5, 4],
      url: (transport) => (transport === 'TCP' ? `mqtt://127.0.0.1:${broker.tcpPort}` : broker.url),
      kill: () => broker.kill(),
      start: () => broker.start(),
    }
  },
}

/**
 * Debian's Mosquitto serves WebSockets once per turn of its main loop, which takes 100 ms unless a TCP client wakes it. A client that does nothing
 * but pings saves most of the time of the checks.
 */
async function awake(t, port) {
  const connect = Buffer.from(
    '101e00044d51545404c2000000056875727279000475736572000673656372657400'.slice(0, -2),
    'hex',
  )
  connect[1] = connect.length - 2
  const open = () => {
    const socket = net.connect(port, '127.0.0.1')
    socket.on('error', () => {})
    socket.on('data', () => setTimeout(() => socket.write(Buffer.from([0xc0, 0])), 1))
    socket.on('connect', () => socket.write(connect))
    return socket
  }
  let socket = open()
  const again = setInterval(() => {
    if (socket.destroyed) socket = open()
  }, 500)
  t.after(() => {
    clearInterval(again)
    socket.destroy()
  })
}

/** @type {Kind} */
const testBroker = {
  name: 'wasmqtt/testing',
  install: 'npm run build',
  present: () => true,
  async run(t) {
    const { TestBroker } = await import('../../pkg/testing-node.js')
    const { version } = await import('../../pkg/node.js')
    let broker
    let listener
    const ports = { port: 0, tcp: 0 }
    const start = async () => {
      broker = new TestBroker({
        users: { [credentials.username]: credentials.password },
        topicAliasMaximum: 10,
      })
      listener = await broker.listen(ports)
      ports.port = Number(new URL(listener.url).port)
      ports.tcp = Number(new URL(listener.tcpUrl).port)
    }
    await start()
    t.after(() => listener.close())
    return {
      name: this.name,
      version,
      versions: [5, 4],
      url: (transport) => (transport === 'TCP' ? listener.tcpUrl : listener.url),
      kill: () => listener.close(),
      start,
    }
  },
}

/** @type {Kind} */
const aedes = {
  name: 'aedes',
  install: 'npm ci',
  present: () => true,
  async run(t) {
    const { Aedes } = await import('aedes')
    const { default: packageJson } = await import('../../node_modules/aedes/package.json', {
      with: { type: 'json' },
    })
    const { createWebSocketStream, WebSocketServer } = await import('ws')
    const ports = { ws: 0, tcp: 0 }
    let end = async () => {}
    const start = async () => {
      const broker = await Aedes.createBroker({
        heartbeatInterval: 500,
        queueLimit: 10_000,
        authenticate: (_client, username, password, done) =>
          done(null, username === credentials.username && `${password}` === credentials.password),
      })
      const sockets = new Set()
      const tcp = net.createServer((socket) => {
        socket.setNoDelay()
        sockets.add(socket)
        broker.handle(socket)
      })
      const web = http.createServer()
      const wss = new WebSocketServer({ server: web, handleProtocols: () => 'mqtt' })
      wss.on('connection', (socket, request) => {
        sockets.add(request.socket)
        broker.handle(createWebSocketStream(socket), request)
      })
      for (const [server, key] of /** @type {const} */ ([
        [tcp, 'tcp'],
        [web, 'ws'],
      ])) {
        server.listen(ports[key], '127.0.0.1')
        await once(server, 'listening')
        ports[key] = portOf(server)
      }
      end = async () => {
        tcp.close()
        web.close()
        for (const socket of sockets) socket.destroy()
        await new Promise((resolve) => broker.close(() => resolve(undefined)))
      }
    }
    await start()
    t.after(() => end())
    return {
      name: this.name,
      version: packageJson.version,
      versions: [4],
      url: (transport) =>
        transport === 'TCP' ? `mqtt://127.0.0.1:${ports.tcp}` : `ws://127.0.0.1:${ports.ws}/`,
      kill: () => end(),
      start,
    }
  },
}

const natsCommand = () => process.env.NATS_SERVER ?? findCommand('nats-server')

/** The configuration of a NATS server; `cluster` is more of it. */
function natsConfig({ name, dir, host, port, mqtt, ws, cluster = '', ackWait = '2s' }) {
  return `server_name: ${name}
listen: "${host}:${port}"
jetstream { store_dir: "${dir}/${name}", max_mem: 256M, max_file: 2G }
authorization { user: ${credentials.username}, password: ${credentials.password} }
mqtt { listen: "${host}:${mqtt}", ack_wait: "${ackWait}", max_ack_pending: 1000 }
websocket { listen: "${host}:${ws}", no_tls: true }
max_payload: 8MB
${cluster}
`
}

export const natsPresent = () => natsCommand() !== undefined
export const natsVersion = () => /v([\d.]+)/.exec(capture(natsCommand(), ['--version']))[1]
export const natsSpeaksQoS2 = () => {
  const [major, minor] = natsVersion().split('.').map(Number)
  return major > 2 || minor >= 10
}

/**
 * A node of NATS that is not started yet.
 * @param {string} dir
 * @param {{ name: string, port: number, mqtt: number, ws: number, cluster?: string, ackWait?: string }} settings
 * @param {{ address: string, wrap: (...words: string[]) => string[] }} [machine] The network namespace that it runs in.
 */
export async function natsNode(dir, settings, machine) {
  const host = machine?.address ?? '127.0.0.1'
  const path = join(dir, `${settings.name}.conf`)
  await writeFile(path, natsConfig({ dir, host, ...settings }))
  const words = [natsCommand(), '-c', path]
  const [command, ...args] = machine ? machine.wrap(...words) : words
  return new Daemon(command, args, { dir, host, ports: [settings.mqtt, settings.ws] })
}

/** @type {Kind} */
const nats = {
  name: 'NATS',
  install: 'apt-get install nats-server',
  present: natsPresent,
  speaksQoS2: natsSpeaksQoS2,
  async run(t, { measured = false } = {}) {
    const dir = await folder(t, 'nats')
    const [port, mqtt, ws] = [await freePort(), await freePort(), await freePort()]
    const ackWait = measured ? '60s' : undefined
    const daemon = await natsNode(dir, { name: 'single', port, mqtt, ws, ackWait })
    t.after(() => daemon.kill())
    await daemon.start()
    return {
      name: this.name,
      version: natsVersion(),
      versions: [4],
      url: (transport) =>
        transport === 'TCP' ? `mqtt://127.0.0.1:${mqtt}` : `ws://127.0.0.1:${ws}/mqtt`,
      kill: () => daemon.kill(),
      start: () => daemon.start(),
    }
  },
}

const RABBITMQ = '/usr/lib/rabbitmq/bin/rabbitmq-server'

/** Starts the process that knows the ports of RabbitMQ's nodes by their names, which would outlive the test if a node started it. */
export async function nodeNames(t, dir) {
  const port = await freePort()
  const names = new Daemon('epmd', ['-port', `${port}`, '-address', '127.0.0.1'], {
    dir,
    ports: [port],
  })
  t.after(() => names.kill())
  await names.start()
  return port
}

/** A node of RabbitMQ that is not started yet; `more` are lines of its configuration. Nodes of one folder may form a cluster. */
export async function rabbitNode(dir, { name, names, tcp, ws, more = [] }) {
  const own = join(dir, name)
  mkdirSync(join(own, 'log'), { recursive: true })
  await writeFile(join(own, 'plugins'), '[rabbitmq_mqtt,rabbitmq_web_mqtt].\n')
  const settings = [
    `listeners.tcp.1 = 127.0.0.1:${await freePort()}`,
    `mqtt.listeners.tcp.1 = 127.0.0.1:${tcp}`,
    'web_mqtt.tcp.ip = 127.0.0.1',
    `web_mqtt.tcp.port = ${ws}`,
    `default_user = ${credentials.username}`,
    `default_pass = ${credentials.password}`,
    'mqtt.allow_anonymous = false',
    ...more,
  ]
  await writeFile(join(own, 'rabbitmq.conf'), settings.map((line) => `${line}\n`).join(''))
  return new Daemon(RABBITMQ, [], {
    dir,
    ports: [tcp, ws],
    patience: 180_000,
    env: {
      // The secret that the nodes share is kept there.
      HOME: dir,
      ERL_EPMD_PORT: `${names}`,
      RABBITMQ_NODENAME: `${name}@localhost`,
      RABBITMQ_DIST_PORT: `${await freePort()}`,
      RABBITMQ_CONFIG_FILE: join(own, 'rabbitmq.conf'),
      RABBITMQ_ENABLED_PLUGINS_FILE: join(own, 'plugins'),
      RABBITMQ_MNESIA_BASE: join(own, 'data'),
      RABBITMQ_LOG_BASE: join(own, 'log'),
      RABBITMQ_PID_FILE: join(own, 'pid'),
      // Seconds after which a node that is silent counts as gone.
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-kernel net_ticktime 4',
    },
  })
}

export const rabbitPresent = () =>
  findCommand('rabbitmq-server') !== undefined && findCommand('epmd') !== undefined
export const rabbitVersion = (node) => /RabbitMQ\s+([\d.]+)/.exec(node.output)?.[1] ?? ''

/** @type {Kind} */
const rabbitmq = {
  name: 'RabbitMQ',
  install: 'apt-get install rabbitmq-server',
  present: rabbitPresent,
  async run(t) {
    const dir = await folder(t, 'rabbitmq')
    const [tcp, ws] = [await freePort(), await freePort()]
    const names = await nodeNames(t, dir)
    const daemon = await rabbitNode(dir, { name: `check${tcp}`, names, tcp, ws })
    t.after(() => daemon.kill())
    await daemon.start()
    return {
      name: this.name,
      version: rabbitVersion(daemon),
      versions: [4],
      url: (transport) =>
        transport === 'TCP' ? `mqtt://127.0.0.1:${tcp}` : `ws://127.0.0.1:${ws}/ws`,
      kill: () => daemon.kill(),
      start: () => daemon.start(),
    }
  },
}

const rumqttdCommand = () => process.env.RUMQTTD ?? findCommand('rumqttd')

/** @type {Kind} */
const rumqttd = {
  name: 'rumqttd',
  install: 'cargo install rumqttd',
  present: () => rumqttdCommand() !== undefined,
  async run(t) {
    const dir = await folder(t, 'rumqttd')
    const [v4, v5, ws, console] = [
      await freePort(),
      await freePort(),
      await freePort(),
      await freePort(),
    ]
    const server = (kind, port) => `
[${kind}.1]
name = "${kind}"
listen = "127.0.0.1:${port}"
next_connection_delay_ms = 1
[${kind}.1.connections]
connection_timeout_ms = 60000
max_payload_size = 8388608
max_inflight_count = 500
dynamic_filters = true
auth = { ${credentials.username} = "${credentials.password}" }
`
    const path = join(dir, 'rumqttd.toml')
    await writeFile(
      path,
      `id = 0
[router]
id = 0
max_connections = 10010
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
${server('v4', v4)}${server('v5', v5)}${server('ws', ws)}
[console]
listen = "127.0.0.1:${console}"
`,
    )
    const daemon = new Daemon(rumqttdCommand(), ['-c', path], { dir, ports: [v4, v5, ws] })
    t.after(() => daemon.kill())
    await daemon.start()
    return {
      name: this.name,
      version: /([\d.]+)/.exec(capture(rumqttdCommand(), ['--version']))[1],
      versions: [5, 4],
      url: (transport, version) => {
        if (transport === 'TCP') return `mqtt://127.0.0.1:${version === 5 ? v5 : v4}`
        return version === 4 ? `ws://127.0.0.1:${ws}/` : undefined
      },
      kill: () => daemon.kill(),
      start: () => daemon.start(),
    }
  },
}

const amqttCommand = () => process.env.AMQTT ?? findCommand('amqtt')

/** @type {Kind} */
const amqtt = {
  name: 'amqtt',
  install: 'pip install amqtt',
  present: () => amqttCommand() !== undefined,
  async run(t) {
    const dir = await folder(t, 'amqtt')
    const [tcp, ws] = [await freePort(), await freePort()]
    const path = join(dir, 'amqtt.yaml')
    await writeFile(
      path,
      `listeners:
  default:
    type: tcp
    bind: 127.0.0.1:${tcp}
  web:
    type: ws
    bind: 127.0.0.1:${ws}
plugins:
  amqtt.plugins.authentication.FileAuthPlugin:
    password_file: ${dir}/passwords
  amqtt.plugins.sys.broker.BrokerSysPlugin:
    sys_interval: 1
`,
    )
    // The hash of 'secret', as \`mkpasswd -m sha-512\` makes it.
    await writeFile(join(dir, 'passwords'), `${credentials.username}:${AMQTT_HASH}\n`)
    const daemon = new Daemon(amqttCommand(), ['-c', path], { dir, ports: [tcp, ws] })
    t.after(() => daemon.kill())
    await daemon.start()
    return {
      name: this.name,
      version: /([\d.]+)/.exec(capture(amqttCommand(), ['--version']))[1],
      versions: [4],
      url: (transport) =>
        transport === 'TCP' ? `mqtt://127.0.0.1:${tcp}` : `ws://127.0.0.1:${ws}/`,
      kill: () => daemon.kill(),
      start: () => daemon.start(),
    }
  },
}
const AMQTT_HASH =
  '$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1'

export const kinds = [mosquitto, nats, rabbitmq, aedes, rumqttd, amqtt, testBroker]
