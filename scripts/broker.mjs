// Starts a broker on loopback: the package's own test broker in this process, or Mosquitto.
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

/**
 * `kind` is 'embedded' or 'mosquitto'. The embedded broker is of pkg/, which must have been built. Resolves when the broker accepts connections.
 * `onExit` is called if it ends by itself.
 */
export async function startBroker({ kind = 'embedded', websocketPort, tcpPort, onExit }) {
  const start = { embedded, mosquitto }[kind]
  if (!start) throw new Problem(`There is no broker called '${kind}': embedded or mosquitto.`)
  const broker = await start(websocketPort, tcpPort, onExit)
  return { ...broker, url: `ws://${HOST}:${websocketPort}/mqtt`, tcpPort }
}

async function mosquitto(websocketPort, tcpPort, onExit) {
  if (!findCommand('mosquitto'))
    throw new Problem('Mosquitto is not installed. On Debian: apt install mosquitto')
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

async function embedded(websocketPort, tcpPort) {
  const { TestBroker } = await import('../pkg/testing-node.js')
  const broker = new TestBroker()
  await broker.listen({ port: websocketPort, tcp: tcpPort })
  return {
    kind: 'embedded',
    name: 'the embedded broker',
    speaks: 'MQTT 5.0 and 3.1.1',
    limits: [],
    stop: () => broker[Symbol.asyncDispose](),
  }
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
