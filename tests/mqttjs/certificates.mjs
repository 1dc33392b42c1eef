// A TLS server whose certificate is its own authority.
import { once } from 'node:events'
import { createServer } from 'node:tls'

// For localhost and 127.0.0.1 alone, valid for a hundred years, of no use to anybody else.
const key = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg6xHUmAE84JaExnOa
IMQ8i0PLnjVBcnnr95IguvAoyLuhRANCAATSeuW1sclJ5AgHyvO87S8h7NM6bhC+
WdLPd8tdMZoYP40Izt6qumUESoJU8Deaub0uHyVakG8d9WnQIVFIOVTf
-----END PRIVATE KEY-----`
const cert = `-----BEGIN CERTIFICATE-----
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

/** Starts a TLS server that goes with the test. `seen`: what each connection said of itself. */
export async function tlsServer(t, onSocket) {
  const seen = []
  const options = { key, cert, ca: cert, requestCert: true, rejectUnauthorized: false }
  const server = createServer({ ...options, ALPNProtocols: ['mqtt'] }, (socket) => {
    seen.push({
      servername: socket.servername,
      alpn: socket.alpnProtocol,
      hasCertificate: Object.keys(socket.getPeerCertificate()).length > 0,
    })
    onSocket(socket)
  })
  server.on('tlsClientError', () => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  return { port, ca: cert, key, cert, seen }
}
