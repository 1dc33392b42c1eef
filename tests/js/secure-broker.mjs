// A broker behind TLS, with a certificate of its own.
import { once } from 'node:events'
import { createServer } from 'node:https'
import { WebSocketServer } from 'ws'
import { Peer } from './scripted-broker.mjs'

// For localhost and 127.0.0.1 alone, valid for a hundred years, of no use to anybody else.
export const key = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg6xHUmAE84JaExnOa
IMQ8i0PLnjVBcnnr95IguvAoyLuhRANCAATSeuW1sclJ5AgHyvO87S8h7NM6bhC+
WdLPd8tdMZoYP40Izt6qumUESoJU8Deaub0uHyVakG8d9WnQIVFIOVTf
-----END PRIVATE KEY-----`
export const cert = `-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIUFb4y0QzPdF4liEGg6OGA8iO0zUgwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNDA3MjUwNFoYDzIxMjYxMDMx
MDcyNTA0WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATSeuW1sclJ5AgHyvO87S8h7NM6bhC+WdLPd8tdMZoYP40Izt6qumUE
SoJU8Deaub0uHyVakG8d9WnQIVFIOVTfo28wbTAdBgNVHQ4EFgQUjcrKsXeCod79
vTiZ96HdC4WpuUowHwYDVR0jBBgwFoAUjcrKsXeCod79vTiZ96HdC4WpuUowDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSAAwRQIhAKKiJQXmcbNkVLoXNtqLrGzdCwAD44Aoqt3jbRQ6HUBkAiBd
2rb9Cj/m9czkbbK1ozsXJu9AV92w+OMLjVqPIB9Ckg==
-----END CERTIFICATE-----`

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
  return { url: `wss://127.0.0.1:${server.address().port}`, peers }
}
