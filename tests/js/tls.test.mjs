// wss: with the TLS options.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:https'
import { test } from 'node:test'
import { WebSocketServer } from 'ws'
import { portOf } from '../../scripts/tools.mjs'
import { cert, key } from './certificate.mjs'
import { makeClient, Peer } from './scripted-broker.mjs'

/** A wss broker: its URL, and its connections as they come. */
async function secure(t, options) {
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

test('wss: a certificate authority of its own', async (t) => {
  const { url } = await secure(t)
  const refused = await makeClient(t, url)
    .connect()
    .catch((error) => error)
  assert.equal(refused.code, 'CONNECTION_FAILED')
  assert.match(refused.message, /self-signed certificate/)
  await makeClient(t, url, { tls: { ca: cert } }).connect()
  await makeClient(t, url, {
    tls: { ca: new TextEncoder().encode(cert), servername: 'localhost' },
  }).connect()
  await makeClient(t, url, {
    tls: { rejectUnauthorized: false, alpnProtocols: ['http/1.1'] },
  }).connect()
})

test('wss: a client certificate', async (t) => {
  const { url, peers } = await secure(t, { requestCert: true, rejectUnauthorized: true, ca: cert })
  const refused = await makeClient(t, url, { tls: { ca: cert } })
    .connect()
    .catch((error) => error)
  assert.equal(refused.code, 'CONNECTION_FAILED')
  await makeClient(t, url, { tls: { ca: cert, cert, key } }).connect()
  assert.equal(peers[0].request.socket.authorized, true)
})
