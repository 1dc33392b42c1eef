// Starts Mosquitto for a test, and a TCP proxy between a client and its broker that can cut or freeze connections.

import { spawn } from 'node:child_process'
import { pbkdf2Sync, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import net from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { portOf } from '../../scripts/tools.mjs'

const CONNECT = Buffer.from('101100044d5154540402000000056875727279', 'hex') // 3.1.1, client id 'hurry'
const PINGREQ = Buffer.from('c000', 'hex')

/**
 * Starts a Mosquitto with a WebSocket and a TCP listener on loopback, and stops it after the test. `config` is text for mosquitto.conf,
 * `files` are written beside it, and `{dir}` in the text stands for their folder.
 */
export async function startMosquitto(t, options = {}) {
  const { config = '', files = {}, persistent = false } = options
  const broker = new Mosquitto(await mkdtemp(join(tmpdir(), 'mosquitto-')), config, persistent)
  t.after(() => broker.remove())
  for (const [name, text] of Object.entries(files)) await writeFile(join(broker.dir, name), text)
  await broker.startOnFreePorts()
  return broker
}

class Mosquitto {
  /** The log of the broker, which says what packets there were, independently of the client under test. */
  log = []
  /** The reason code for a wrong password: Mosquitto does not tell it from others who may not connect. */
  wrongPassword = 0x87
  #process

  constructor(dir, config, persistent) {
    this.dir = dir
    this.config = config
    this.persistent = persistent
  }

  get url() {
    return `ws://127.0.0.1:${this.wsPort}/mqtt`
  }

  async startOnFreePorts() {
    for (let attempt = 1; ; attempt++) {
      this.wsPort = await freePort()
      this.tcpPort = await freePort()
      try {
        return await this.start()
      } catch (error) {
        const taken = this.log.some((line) =>
          /address already in use|unable to create websockets listener/i.test(line),
        )
        if (!taken || attempt === 5) throw error
      }
    }
  }

  async start() {
    const path = join(this.dir, 'mosquitto.conf')
    await writeFile(path, this.#conf())
    // Debian keeps the broker in /usr/sbin, which few users have on their PATH.
    const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/usr/local/sbin` }
    const child = spawn('mosquitto', ['-c', path], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    this.#process = child
    const abandon = () => {
      child.kill('SIGKILL')
      rmSync(this.dir, { recursive: true, force: true })
    }
    process.once('exit', abandon)
    child.once('exit', () => process.off('exit', abandon))
    for (const stream of [child.stdout, child.stderr]) {
      createInterface(stream).on('line', (line) => {
        if (/ hurry( |$)/.test(line)) return
        this.log.push(line)
        if (process.env.MOSQUITTO_LOG) console.error(line)
      })
    }
    await once(child, 'spawn')
    // A SIGTERM before the main loop runs would be lost. Once the broker has answered a probe, the loop runs.
    const start = this.log.length
    const loops = () => this.log.slice(start).some((line) => line.startsWith('New connection from'))
    while (!(await accepts(this.wsPort)) || !(await accepts(this.tcpPort)) || !loops()) {
      if (!this.running)
        throw new Error(`mosquitto does not start:\n${this.log.slice(-5).join('\n')}`)
      await sleep(20)
    }
  }

  get running() {
    return this.#process?.exitCode === null && this.#process.signalCode === null
  }

  /** Stops the broker as `systemctl stop` does. A persistent one saves its state. */
  stop() {
    return this.#end('SIGTERM')
  }

  kill() {
    return this.#end('SIGKILL')
  }

  async restart() {
    await this.stop()
    await this.start()
  }

  /**
   * Keeps the broker awake until the test ends, for stories with large payloads. Debian's Mosquitto serves each WebSocket once per turn of its
   * main loop, 4 KiB at a time, and a turn takes 100 ms unless a TCP client wakes it.
   */
  async hurry(t) {
    const socket = net.connect(this.tcpPort, '127.0.0.1')
    t.after(() => socket.destroy())
    socket.on('error', () => {})
    socket.on('data', () => socket.write(PINGREQ))
    await once(socket, 'connect')
    socket.write(CONNECT)
  }

  /** Replaces the users of the password file `passwords`. The broker reads it when it starts. */
  async setUsers(users) {
    await writeFile(join(this.dir, 'passwords'), passwordFile(users))
  }

  freeze() {
    this.#process.kill('SIGSTOP')
  }

  thaw() {
    this.#process.kill('SIGCONT')
  }

  async remove() {
    await this.kill()
    await rm(this.dir, { recursive: true, force: true })
  }

  async #end(signal) {
    if (!this.running) return
    const exit = once(this.#process, 'exit')
    this.#process.kill(signal)
    await exit
  }

  #conf() {
    return [
      `user ${userInfo().username}`,
      'log_dest stderr',
      'log_type all',
      'log_timestamp false',
      // On 3.1.1, one copy for overlapping subscriptions, which is the default until Mosquitto 2.1.
      'allow_duplicate_messages false',
      /^allow_anonymous/m.test(this.config) ? '' : 'allow_anonymous true',
      this.persistent ? `persistence true\npersistence_location ${this.dir}/` : 'persistence false',
      this.config.replaceAll('{dir}', this.dir),
      `listener ${this.tcpPort} 127.0.0.1`,
      `listener ${this.wsPort} 127.0.0.1`,
      'protocol websockets',
      '',
    ].join('\n')
  }
}

/** Returns the text of a `password_file`. */
export function passwordFile(users) {
  const line = ([user, password]) => {
    const { salt, hash, iterations } = hashed(password)
    return `${user}:$7$${iterations}$${salt}$${hash}\n`
  }
  return Object.entries(users).map(line).join('')
}

/** Returns options for a Mosquitto whose dynamic-security plugin lets one user subscribe to `filter`, and to nothing else. */
export async function onlySubscribesTo(filter, { username, password }) {
  const { salt, hash, iterations } = hashed(password)
  const security = {
    defaultACLAccess: {
      publishClientSend: true,
      publishClientReceive: true,
      subscribe: false,
      unsubscribe: true,
    },
    clients: [{ username, salt, password: hash, iterations, roles: [{ rolename: 'reader' }] }],
    roles: [
      { rolename: 'reader', acls: [{ acltype: 'subscribePattern', topic: filter, allow: true }] },
    ],
  }
  return {
    config: `allow_anonymous false\nplugin ${await dynamicSecurity()}\nplugin_opt_config_file {dir}/security.json`,
    files: { 'security.json': JSON.stringify(security) },
  }
}

function hashed(password) {
  const salt = randomBytes(12)
  const iterations = 101
  const hash = pbkdf2Sync(password, salt, iterations, 64, 'sha512')
  return { salt: salt.toString('base64'), hash: hash.toString('base64'), iterations }
}

async function dynamicSecurity() {
  const name = 'mosquitto_dynamic_security.so'
  for (const entry of await readdir('/usr/lib', { withFileTypes: true })) {
    if (!entry.isDirectory()) continue
    const files = await readdir(join('/usr/lib', entry.name)).catch(() => [])
    if (files.includes(name)) return join('/usr/lib', entry.name, name)
  }
  throw new Error(`${name} is not there: install Debian's mosquitto`)
}

/** Starts a proxy in front of `port`, on its own port, and closes it after the test. */
export async function startProxy(t, port) {
  const proxy = new TcpProxy(port)
  await proxy.listen()
  t.after(() => proxy.close())
  return proxy
}

class TcpProxy {
  /** Whether new connections are let through. */
  open = true
  #server
  #links = new Set()
  #port

  constructor(port) {
    this.#port = port
  }

  get url() {
    return `ws://127.0.0.1:${portOf(this.#server)}/mqtt`
  }

  get connections() {
    return this.#links.size
  }

  async listen() {
    this.#server = net.createServer((client) => this.#link(client))
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  /** Resets every connection, without a close of WebSocket or MQTT. */
  cut() {
    for (const { client, broker } of this.#links) {
      client.resetAndDestroy()
      broker.resetAndDestroy()
    }
  }

  /** Stops everything from the broker to the client on the existing connections. */
  holdAnswers() {
    for (const { broker } of this.#links) broker.unpipe()
  }

  /** Stops everything from the client to the broker on the existing connections. */
  holdRequests() {
    for (const { client } of this.#links) client.unpipe()
  }

  async close() {
    this.#server.close()
    this.cut()
  }

  #link(client) {
    if (!this.open) return client.resetAndDestroy()
    const broker = net.connect(this.#port, '127.0.0.1')
    const link = { client, broker }
    this.#links.add(link)
    for (const [one, other] of [
      [client, broker],
      [broker, client],
    ]) {
      one.setNoDelay()
      one.pipe(other)
      one.on('error', () => {})
      one.once('close', () => {
        this.#links.delete(link)
        other.destroy()
      })
    }
  }
}

/**
 * Returns a port that nobody listened on a moment ago. It is below those that systems give to outgoing connections (from 32,768 on Linux), because
 * any connection of the machine could take one of them before the broker does.
 */
export async function freePort() {
  for (;;) {
    const port = 12_000 + Math.floor(Math.random() * 20_000)
    const server = net.createServer().listen(port, '127.0.0.1')
    const free = await once(server, 'listening').then(
      () => true,
      () => false,
    )
    if (!free) continue
    server.close()
    await once(server, 'close')
    return port
  }
}

/** Whether something listens on a port. */
export function accepts(port, host = '127.0.0.1') {
  return new Promise((resolve) => {
    const socket = net.connect(port, host)
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}
