// Ports on loopback, in Node, Deno and Bun.
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { WebSocketServer } from 'ws'
import { testingPlatform } from './platform.js'
import type { BrokerListener, FarEnd, NearEnd } from './types.js'

const HOST = '127.0.0.1'
/** Bytes of one WebSocket message. It may hold many packets, each of which the broker limits. */
const MAX_PAYLOAD = 0x2000_0000
/** Bytes that may wait for a client that does not read, before it is cut off. */
const UNREAD = 64 * 1024 * 1024

type Accept = (end: FarEnd) => NearEnd

testingPlatform.listen = async (accept, { port, tcp }): Promise<BrokerListener> => {
  const http = createHttpServer((_request, response) => {
    response.writeHead(426, { 'content-type': 'text/plain' }).end('This is a WebSocket port.\n')
  })
  const sockets = acceptWebSockets(http, accept)
  const plain = tcp === undefined ? undefined : acceptTcp(accept)
  const close = async () => {
    sockets.stop()
    plain?.stop()
    await Promise.all([http, plain?.server].map((server) => server?.listening && closed(server)))
  }
  try {
    const bound = await listening(http, port)
    const tcpBound = plain && (await listening(plain.server, tcp!))
    return {
      url: `ws://${HOST}:${bound}/mqtt`,
      tcpUrl: tcpBound === undefined ? undefined : `mqtt://${HOST}:${tcpBound}`,
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

function acceptWebSockets(server: HttpServer, accept: Accept): { stop(): void } {
  const sockets = new WebSocketServer({
    server: server as never,
    maxPayload: MAX_PAYLOAD,
    perMessageDeflate: false,
    handleProtocols: (offered) => offered.has('mqtt') && 'mqtt',
  })
  // Those of the port, which `listening` tells.
  sockets.on('error', () => {})
  sockets.on('connection', (socket) => {
    socket.on('error', () => {})
    const near = accept({
      receive(bytes) {
        socket.send(bytes)
        if (socket.bufferedAmount > UNREAD) socket.terminate()
      },
      end: (how) => (how === 'close' ? socket.close(1000) : socket.terminate()),
    })
    socket.on('message', (data: Buffer, isBinary) => (isBinary ? near.input(data) : near.text()))
    socket.on('close', () => near.closed())
  })
  return {
    stop() {
      for (const socket of sockets.clients) socket.terminate()
      // A connection whose request never comes, or never ends, would hold the port open.
      server.closeAllConnections()
    },
  }
}

function acceptTcp(accept: Accept): { server: Server; stop(): void } {
  const open = new Set<import('node:net').Socket>()
  const server = createServer({ noDelay: true }, (socket) => {
    open.add(socket)
    socket.on('error', () => {})
    const near = accept({
      receive(bytes) {
        socket.write(bytes)
        if (socket.writableLength > UNREAD) socket.destroy()
      },
      end: (how) => (how === 'close' ? socket.end() : socket.resetAndDestroy()),
    })
    socket.on('data', (data) => near.input(data))
    socket.on('close', () => {
      open.delete(socket)
      near.closed()
    })
  })
  return {
    server,
    stop() {
      for (const socket of open) socket.destroy()
    },
  }
}

function listening(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, HOST, () => {
      server.off('error', reject)
      resolve((server.address() as AddressInfo).port)
    })
  })
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()))
}
