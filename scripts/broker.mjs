// Starts a broker on loopback: Mosquitto if it is installed, otherwise aedes in this process.
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { findCommand, Problem, portOf, stopChild } from './tools.mjs'

export const HOST = '127.0.0.1'

/** `kind` is 'mosquitto' or 'aedes'. Resolves when the broker accepts connections. `onExit` is called if it ends by itself. */
export async function startBroker({
  kind = findCommand('mosquitto') ? 'mosquitto' : 'aedes',
  websocketPort,
  tcpPort,
  onExit,
}) {
  const broker = await (kind === 'mosquitto' ? mosquitto : aedes)(websocketPort, tcpPort, onExit)
  return { ...broker, url: `ws://${HOST}:${websocketPort}/mqtt`, tcpPort }
}

async function mosquitto(websocketPort, tcpPort, onExit) {
  const folder = mkdtempSync(join(tmpdir(), 'wasmqtt-broker-'))
  const config = [
    ...[
      'allow_anonymous true',
      'persistence false',
      'set_tcp_nodelay true',
      'log_dest stderr',
      'log_type error',
      'log_type warning',
      'sys_interval 5',
    ],
    ...[`listener ${tcpPort} ${HOST}`, 'protocol mqtt'],
  ]
  const path = join(folder, 'mosquitto.conf')
  writeFileSync(path, `${config.join('\n')}\n`)
  // In its own process group, so that Ctrl-C in the terminal does not end it before its clients.
  const child = spawn('mosquitto', ['-c', path], {
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
  })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text) => (said = (said + text).slice(-4_000)))
  // Mosquitto 2.0 opens a WebSocket listener on all networks, whatever address it gets. So this process accepts WebSockets and passes them on over TCP.
  const sockets = await acceptWebSockets(websocketPort, (stream) => {
    const tcp = connect(tcpPort, HOST)
    pipeline(stream, tcp, () => {})
    pipeline(tcp, stream, () => {})
  })
  let stopping = false
  child.on('exit', () => {
    rmSync(folder, { recursive: true, force: true })
    if (!stopping) onExit?.(new Problem(`Mosquitto ended by itself.\n${said}`))
  })
  const stop = () => {
    stopping = true
    sockets.stop()
    return stopChild(child)
  }
  if (!(await accepts(tcpPort, child))) {
    await stop()
    throw new Problem(`Mosquitto does not start.\n${said}`)
  }
  const version =
    /version (\S+)/.exec(spawnSync('mosquitto', ['-h'], { encoding: 'utf8' }).stdout)?.[1] ?? ''
  return {
    kind: 'mosquitto',
    name: `Mosquitto ${version}`,
    speaks: 'MQTT 5.0 and 3.1.1',
    limits: [],
    stop,
  }
}

async function accepts(port, child) {
  for (
    const until = Date.now() + 5_000;
    Date.now() < until && child.exitCode === null;
    await sleep(25)
  ) {
    const open = await new Promise((resolve) => {
      const socket = connect(port, HOST, () => resolve(true)).on('error', () => resolve(false))
      socket.on('connect', () => socket.destroy())
    })
    if (open) return true
  }
  return false
}

async function aedes(websocketPort, tcpPort) {
  const { Aedes } = await import('aedes')
  const broker = await Aedes.createBroker()
  const tcp = createServer(broker.handle)
  const [sockets] = await Promise.all([
    acceptWebSockets(websocketPort, broker.handle),
    listen(tcp, tcpPort),
  ])
  const stop = async () => {
    await new Promise((resolve) => broker.close(() => resolve(undefined)))
    tcp.close()
    sockets.stop()
  }
  const limits = [
    'It speaks MQTT 3.1.1 only: no properties, no reason codes, no session expiry. Install Mosquitto (Debian: apt install mosquitto) for MQTT 5.0.',
  ]
  return { kind: 'aedes', name: 'aedes (built in)', speaks: 'MQTT 3.1.1', limits, stop }
}

/** Accepts WebSockets, and calls `handle` with a stream for each. */
async function acceptWebSockets(port, handle) {
  const { WebSocketServer, createWebSocketStream } = await import('ws')
  const http = createHttpServer()
  const server = new WebSocketServer({
    server: http,
    handleProtocols: (offered) => offered.has('mqtt') && 'mqtt',
  })
  server.on('connection', (socket, request) => handle(createWebSocketStream(socket), request))
  await listen(http, port)
  const stop = () => {
    http.close()
    for (const socket of server.clients) socket.terminate()
  }
  return { stop }
}

export function listen(server, port) {
  return new Promise((resolve, reject) =>
    server.once('error', reject).listen(port, HOST, () => resolve(portOf(server))),
  )
}

/** Resolves with `wanted` if it is free, otherwise with another port. 0 means any free port. */
export async function freePort(wanted) {
  const probe = createServer()
  try {
    return await listen(probe, wanted)
  } catch (error) {
    if (error.code !== 'EADDRINUSE' && error.code !== 'EACCES') throw error
    return freePort(0)
  } finally {
    probe.close()
  }
}
