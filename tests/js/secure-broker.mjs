// A broker behind TLS, with a certificate of its own.
import { once } from 'node:events'
import { createServer } from 'node:https'
import { WebSocketServer } from 'ws'
import { portOf } from '../../scripts/tools.mjs'
import { cert, key } from './certificate.mjs'
import { Peer } from './scripted-broker.mjs'

/** A wss broker: its URL, and its connections as they come. */
export async function secure(t, options) {
  const server = createServer({ key, cert, ...options })
  const sockets = new WebSocketServer({ server, handleProtocols: () => 'mqtt' })
  const peers = []
  sockets.on('connection', (socket, request) => {
    const peer = new Peer(socket, request)
    peers.push(peer)
    peer.welcome()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    for (const socket of sockets.clients) socket.terminate()
    server.close()
  })
  return { url: `wss://127.0.0.1:${portOf(server)}`, peers }
}
