// wss: with the TLS options.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cert, key } from './certificate.mjs'
import { makeClient } from './scripted-broker.mjs'
import { secure } from './secure-broker.mjs'

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
