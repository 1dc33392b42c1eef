// Sockets of TCP, TLS and Unix paths, and what the errors of a first contact say.
import assert from 'node:assert/strict'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import tls from 'node:tls'
import { WebSocketServer } from 'ws'
import { Client } from '../../pkg/node.js'
import { portOf } from '../../scripts/tools.mjs'
import { freePort } from '../brokers/mosquitto.mjs'
import { cert, key } from './certificate.mjs'
import { event, makeClient, Peer, settle, until } from './scripted-broker.mjs'

// ------------------------------------------------------------------------------------------------ servers

/** A stream of TCP or TLS as the socket of a Peer. */
function asSocket(stream) {
  return Object.defineProperties(stream, {
    send: { value: (data) => stream.write(data) },
    terminate: { value: () => stream.destroy() },
    readyState: { get: () => (stream.destroyed ? 3 : 1) },
    // 'close' follows an error, and is all that a Peer waits for.
    emit: {
      value: (name, ...args) =>
        name !== 'error' && stream.constructor.prototype.emit.call(stream, name, ...args),
    },
  }).on('data', (data) => stream.emit('message', data))
}

/**
 * Listens, and closes with the test.
 *
 * @param {net.ListenOptions} [where] port and host, or a path
 */
async function listen(t, server, where = { port: 0, host: '127.0.0.1' }) {
  const sockets = new Set()
  for (const name of ['connection', 'secureConnection']) {
    server.on(name, (socket) => {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => sockets.delete(socket))
    })
  }
  server.listen(where)
  await once(server, 'listening')
  t.after(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return portOf(server)
}

/**
 * A scripted broker on TCP or TLS: its port, and its connections as they come.
 *
 * @param {{ server?: net.Server, where?: net.ListenOptions, name?: string }} [options]
 */
async function startTcp(t, options = {}) {
  const { server = net.createServer(), where, name = 'connection' } = options
  const peers = []
  const waiting = []
  server.on(name, (stream) => {
    const peer = Object.assign(new Peer(asSocket(stream)), { stream })
    const resolve = waiting.shift()
    if (resolve) resolve(peer)
    else peers.push(peer)
  })
  const port = await listen(t, server, where)
  const accept = () =>
    peers.length
      ? Promise.resolve(peers.shift())
      : new Promise((resolve) => {
          waiting.push(resolve)
        })
  return { port, accept }
}

const startTls = (t, options) =>
  startTcp(t, { server: tls.createServer({ key, cert, ...options }), name: 'secureConnection' })

/** Connects, and plays the server's side. */
async function meet(t, broker, url, options) {
  const client = makeClient(t, url, { reconnect: false, ...options })
  const [peer] = await Promise.all([
    broker.accept().then(async (peer) => {
      await peer.welcome()
      return peer
    }),
    client.connect(),
  ])
  return { client, peer }
}

/** The error of a first attempt. */
async function failure(t, url, options) {
  const client = makeClient(t, url, { reconnect: false, connectTimeout: 5_000, ...options })
  const error = await client.connect().then(
    () => assert.fail('it connected'),
    (error) => error,
  )
  assert.doesNotMatch(error.message, /[\r\n]|error:[0-9A-F]{6}|routines/, error.message)
  return error
}

// ------------------------------------------------------------------------------------------------ TCP

// Contract: ws:, wss: everywhere; mqtt: (tcp), mqtts: (tls) in Node, Deno and Bun.
// Contract: Makes the socket. Default: by URL scheme and runtime.
test('mqtt: both ways, and a chunk for each read', async (t) => {
  const broker = await startTcp(t)
  const { client, peer } = await meet(t, broker, `mqtt://127.0.0.1:${broker.port}`)
  const got = []
  client.on('message', ({ topic, payload }) => got.push([topic, payload.length]))
  peer.send({ type: 'publish', topic: 'a', payload: 'x' }, { type: 'publish', topic: 'b' })
  peer.send({ type: 'publish', topic: 'big', payload: Buffer.alloc(300_000) })
  await until(() => got.length === 3)
  assert.deepEqual(got, [
    ['a', 1],
    ['b', 0],
    ['big', 300_000],
  ])
  const big = Buffer.alloc(500_000, 7)
  const done = client.publish('big', big, { qos: 1 })
  const { id, payload } = await peer.expect('publish')
  assert.ok(payload.equals(big))
  peer.send({ type: 'puback', id })
  await done
  const ended = client.end()
  await peer.expect('disconnect')
  await ended
  await peer.closed
})

test('mqtt: what is sent in one turn leaves in one segment', async (t) => {
  const broker = await startTcp(t)
  const { client, peer } = await meet(t, broker, `mqtt://127.0.0.1:${broker.port}`)
  const before = peer.frames.length
  const published = Array.from({ length: 50 }, (_, index) => client.publish(`a/${index}`, 'x'))
  await Promise.all(published)
  await until(() => peer.pending.length === 50)
  assert.equal(peer.frames.length - before, 1)
})

test('mqtt: IPv6, and a name', async (t) => {
  const broker = await startTcp(t, { where: { port: 0, host: '::1' } })
  await meet(t, broker, `mqtt://[::1]:${broker.port}`)
  const other = await startTcp(t)
  await meet(t, other, `mqtt://localhost:${other.port}/ignored?too=1`)
})

test('mqtt: user and password of the URL go into CONNECT and nowhere else', async (t) => {
  const broker = await startTcp(t)
  const client = makeClient(t, `mqtt://me:secret@127.0.0.1:${broker.port}`, { reconnect: false })
  const connected = client.connect()
  const peer = await broker.accept()
  const { username, password } = await peer.welcome()
  assert.deepEqual([username, password], ['me', 'secret'])
  const { url } = await connected
  assert.equal(url, `mqtt://127.0.0.1:${broker.port}`)
})

test('unix: a path', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'wasmqtt-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'broker socket')
  const broker = await startTcp(t, { where: { path } })
  await meet(t, broker, `unix:${path}`)
  await meet(t, broker, `unix://${path.replace(' ', '%20')}`)
  const error = await failure(t, `unix:${path}2`)
  assert.match(error.message, /there is no socket at '.*2' \(ENOENT\)/)
})

test('mqtt: a URL that lacks something is refused before anything is sent', () => {
  for (const url of [
    'mqtt:',
    'mqtt:host:1883',
    'mqtt:///a',
    'mqtts://',
    'unix:',
    'unix://host/a',
    'mqtt://h:0',
    'tcp://h',
  ])
    assert.throws(() => new Client(url), { argument: 'url', name: 'InvalidArgumentError' }, url)
})

test('mqtt: the server closes, resets, or half-closes', async (t) => {
  const broker = await startTcp(t)
  const end = { end: 'end', reset: 'resetAndDestroy', destroy: 'destroy' }
  for (const [how, method] of Object.entries(end)) {
    const { client, peer } = await meet(t, broker, `mqtt://127.0.0.1:${broker.port}`)
    const disconnected = event(client, 'disconnect')
    peer.stream[method]()
    const [error] = await disconnected
    assert.equal(error.code, 'CONNECTION_LOST', how)
    assert.equal(error.closeCode, 1006)
    if (how === 'reset') assert.match(error.closeReason, /connection was reset \(ECONNRESET\)/)
  }
})

test('mqtt: end() does not wait for a server that is silent', async (t) => {
  const broker = await startTcp(t, { server: net.createServer({ allowHalfOpen: true }) })
  const { client, peer } = await meet(t, broker, `mqtt://127.0.0.1:${broker.port}`)
  const began = Date.now()
  await client.end()
  await peer.expect('disconnect')
  assert.ok(Date.now() - began < 500, `${Date.now() - began} ms`)
  // The server never ends its side: the socket is gone after a second all the same.
  await sleep(1_500)
  const closed = new Promise((resolve) => peer.stream.once('close', resolve))
  peer.stream.write('x')
  await sleep(50)
  peer.stream.write('x')
  await closed
})

test('mqtt: end() while the server reads nothing', async (t) => {
  const broker = await startTcp(t)
  const { client, peer } = await meet(t, broker, `mqtt://127.0.0.1:${broker.port}`)
  peer.stream.pause()
  client.publish('a', Buffer.alloc(20_000_000)).catch(() => {})
  await settle()
  const began = Date.now()
  await client.end({ timeout: 300 })
  assert.ok(Date.now() - began < 1_000, `${Date.now() - began} ms`)
})

test('mqtt: the process ends when the client has ended, and keeps nothing open', async (t) => {
  const broker = await startTcp(t, { server: net.createServer({ allowHalfOpen: true }) })
  const served = broker.accept().then((peer) => peer.welcome().then(() => peer))
  const script = `
    import { connect } from ${JSON.stringify(new URL('../../pkg/node.js', import.meta.url).href)}
    const client = await connect('mqtt://127.0.0.1:${broker.port}', { protocolVersion: 5 })
    client.publish('a', 'b')
    await client.end()
    if (process.argv[1] === 'exit') process.exit()`
  const { spawn } = await import('node:child_process')
  const began = Date.now()
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'inherit' })
  const peer = await served
  await peer.expect('publish', { topic: 'a' })
  await peer.expect('disconnect')
  const ended = Date.now()
  const [code] = await once(child, 'exit')
  assert.equal(code, 0)
  assert.ok(Date.now() - ended < 900, `${Date.now() - ended} of ${Date.now() - began} ms`)
})

// ------------------------------------------------------------------------------------------------ TLS

// Contract: ws:, wss: everywhere; mqtt: (tcp), mqtts: (tls) in Node, Deno and Bun.
// Contract: `url` is without credentials and without the values of its query. `status`: of an HTTP answer that was no upgrade, where the runtime
// tells. `retryable` is false where a retry cannot cure it: certificate refused, HTTP 401, 403 and 404, CSP, mixed content.
test('mqtts: certificates, keys and names, as PEM and as DER', async (t) => {
  const broker = await startTls(t)
  const url = `mqtts://127.0.0.1:${broker.port}`
  const error = await failure(t, url)
  assert.equal(error.code, 'CONNECTION_FAILED')
  assert.equal(error.phase, 'transport')
  assert.equal(error.retryable, false)
  assert.match(error.message, /the certificate of '127.0.0.1' is refused, it is self-signed/)
  assert.match(error.message, /tls\.ca$/)
  await meet(t, broker, url, { tls: { ca: cert } })
  await meet(t, broker, url, { tls: { ca: new TextEncoder().encode(cert) } })
  await meet(t, broker, url, { tls: { ca: new Uint8Array(new X509Certificate(cert).raw) } })
  await meet(t, broker, url, { tls: { rejectUnauthorized: false } })
  const { peer } = await meet(t, broker, `mqtts://localhost:${broker.port}`, { tls: { ca: cert } })
  assert.equal(peer.stream.servername, 'localhost')
  const other = await failure(t, url, { tls: { ca: cert, servername: 'other.example' } })
  assert.match(
    other.message,
    /the certificate is not for 'other.example' but for DNS:localhost, IP Address:127.0.0.1:/,
  )
  assert.equal(other.retryable, false)
})

test('mqtts: a client certificate, its key in every form', async (t) => {
  const broker = await startTls(t, { requestCert: true, rejectUnauthorized: true, ca: cert })
  const url = `mqtts://127.0.0.1:${broker.port}`
  const none = await failure(t, url, { tls: { ca: cert } })
  assert.match(none.message, /the server wants a client certificate: set tls.cert and tls.key/)
  assert.equal(none.retryable, false)
  const { peer } = await meet(t, broker, url, { tls: { ca: cert, cert, key } })
  assert.equal(peer.stream.authorized, true)
  const privateKey = createPrivateKey(key)
  const raw = new Uint8Array(new X509Certificate(cert).raw)
  for (const type of /** @type {const} */ (['pkcs8', 'sec1'])) {
    const der = new Uint8Array(privateKey.export({ type, format: 'der' }))
    await meet(t, broker, url, { tls: { ca: cert, cert: raw, key: der } })
  }
  const passphrase = 'open sesame'
  const locked = privateKey.export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase,
  })
  await meet(t, broker, url, { tls: { ca: cert, cert, key: locked, passphrase } })
  const wrong = await failure(t, url, { tls: { ca: cert, cert, key: locked, passphrase: 'no' } })
  assert.match(wrong.message, /check tls.passphrase/)
  const garbage = await failure(t, url, { tls: { ca: cert, cert, key: 'nonsense' } })
  assert.match(garbage.message, /PEM or DER is expected/)
})

test('mqtts: protocols of ALPN are offered only where they are given', async (t) => {
  const seen = []
  const ALPNCallback = ({ protocols }) => {
    seen.push(protocols)
    return protocols.includes('mqtt') ? 'mqtt' : undefined
  }
  const broker = await startTls(t, { ALPNCallback })
  const url = `mqtts://127.0.0.1:${broker.port}`
  await meet(t, broker, url, { tls: { ca: cert } })
  const { peer } = await meet(t, broker, url, { tls: { ca: cert, alpnProtocols: ['x', 'mqtt'] } })
  assert.equal(peer.stream.alpnProtocol, 'mqtt')
  assert.deepEqual(seen, [['x', 'mqtt']])
  const error = await failure(t, url, { tls: { ca: cert, alpnProtocols: ['x'] } })
  assert.match(error.message, /knows none of the protocols of tls.alpnProtocols/)
})

// ------------------------------------------------------------------------------------------------ first contact

test('the sockets of many clients are opened a few at a time, between what the first ones bring', async (t) => {
  let opened = 0
  const count = () => void opened++
  subscribe('net.client.socket', count)
  t.after(() => unsubscribe('net.client.socket', count))
  let openedAtFirst = 0
  const server = net.createServer((socket) => {
    openedAtFirst ||= opened
    socket.destroy()
  })
  const port = await listen(t, server)
  for (const scheme of ['mqtt', 'ws']) {
    opened = openedAtFirst = 0
    const url = `${scheme}://127.0.0.1:${port}`
    const attempts = Array.from({ length: 200 }, () => makeClient(t, url).connect())
    const results = await Promise.allSettled(attempts)
    assert.ok(results.every(({ status }) => status === 'rejected'))
    assert.equal(opened, 200)
    assert.ok(openedAtFirst < 100, `${openedAtFirst} were opened before the server heard of one`)
  }
})

test('first contact: nothing listens, no such name', async (t) => {
  const port = await freePort()
  for (const scheme of ['mqtt', 'mqtts', 'ws', 'wss']) {
    const error = await failure(t, `${scheme}://127.0.0.1:${port}`)
    assert.equal(error.code, 'CONNECTION_FAILED')
    assert.equal(error.retryable, true)
    assert.equal(error.status, undefined)
    assert.match(
      error.message,
      new RegExp(`nothing listens at 127.0.0.1:${port} \\(ECONNREFUSED\\): check`),
    )
    assert.equal(error.closeReason, error.cause.message)
    const name = await failure(t, `${scheme}://no-such-host.invalid`)
    assert.match(
      name.message,
      /the name 'no-such-host.invalid' (was not found|could not be looked up)/,
    )
  }
  const both = await failure(t, `mqtt://localhost:${port}`)
  assert.match(both.message, /nothing listens at localhost/)
})

// Contract: `url` is without credentials and without the values of its query. `status`: of an HTTP answer that was no upgrade, where the runtime
// tells. `retryable` is false where a retry cannot cure it: certificate refused, HTTP 401, 403 and 404, CSP, mixed content.
test('first contact: an HTTP answer that is no WebSocket', async (t) => {
  const expected = {
    200: /a web server, no WebSocket: check the port and the path '\/mqtt'/,
    301: /redirects to wss:\/\/other.example\/mqtt\?token=\.\.\., and redirects are not followed/,
    401: /HTTP 401 \(Unauthorized\): .*websocket.headers/,
    403: /HTTP 403 \(Forbidden\)/,
    404: /there is nothing at the path '\/mqtt'/,
    502: /HTTP 502 \(Bad Gateway\): a proxy cannot reach the MQTT server/,
    418: /HTTP 418 \(I'm a Teapot\): it refuses the WebSocket/,
  }
  const server = createHttpServer()
  let status
  const answer = (_request, response) => {
    const location = 'https://user:word@other.example/mqtt?token=hidden'
    response.writeHead(status, status === 301 ? { location } : {}).end('no')
  }
  server.on('request', answer)
  const port = await listen(t, server)
  for (const text of Object.keys(expected)) {
    status = Number(text)
    const error = await failure(t, `ws://u:p@127.0.0.1:${port}/mqtt?key=hidden&flag`)
    assert.equal(error.code, 'CONNECTION_FAILED')
    assert.equal(error.status, status)
    assert.equal(error.retryable, ![401, 403, 404].includes(status))
    assert.match(error.message, expected[status])
    assert.equal(error.url, `ws://127.0.0.1:${port}/mqtt?key=...&flag`)
    assert.doesNotMatch(error.message + error.stack, /hidden|u:p|user:word/)
    assert.equal(error.closeReason, error.cause.message)
  }
})

test('first contact: the wrong scheme for a port', async (t) => {
  const refuse = net.createServer((socket) => socket.once('data', () => socket.end()))
  const tcp = await listen(t, refuse)
  const web = createHttpServer((_, response) => response.writeHead(404).end())
  const http = await listen(t, web)
  const secure = await listen(t, createHttpsServer({ key, cert }))
  const plain = await listen(
    t,
    net.createServer((socket) => socket.once('data', () => socket.end('nonsense, not TLS\n'))),
  )
  const fatal = Buffer.from('15030300020228', 'hex')
  const alert = await listen(
    t,
    net.createServer((socket) => socket.once('data', () => socket.end(fatal))),
  )
  /** @type {[url: string, expected: RegExp][]} */
  const cases = [
    [
      `ws://127.0.0.1:${tcp}`,
      /check that port \d+ is a WebSocket port. MQTT over TCP has mqtt:\/\//,
    ],
    [`ws://127.0.0.1:${plain}`, /did not answer in HTTP: port \d+ is no WebSocket port/],
    [`ws://127.0.0.1:${secure}`, /port \d+ is (no|a) WebSocket port/],
    [`wss://127.0.0.1:${http}`, /does not speak TLS on port \d+: check the port, or use ws:\/\//],
    [`wss://127.0.0.1:${plain}`, /does not speak TLS on port \d+: check the port, or use ws:\/\//],
    [`wss://127.0.0.1:${tcp}`, /closed the connection in the TLS handshake/],
    [`mqtts://127.0.0.1:${tcp}`, /closed the connection in the TLS handshake/],
    [
      `mqtts://127.0.0.1:${plain}`,
      /does not speak TLS on port \d+: check the port, or use mqtt:\/\//,
    ],
    [
      `mqtt://127.0.0.1:${secure}`,
      /without an answer to CONNECT: .*port \d+ is not for MQTT without TLS$/,
    ],
    [`mqtt://127.0.0.1:${alert}`, /the server answered in TLS: check the port, or use mqtts:\/\//],
    [`mqtt://127.0.0.1:${http}`, /the server answered in HTTP: check the port, or use ws:\/\//],
  ]
  for (const [url, expected] of cases) {
    const error = await failure(t, url)
    assert.equal(error.code, 'CONNECTION_FAILED', url)
    assert.match(error.message, expected, url)
  }
})

test('first contact: wss: with a certificate that is not trusted', async (t) => {
  const port = await listen(t, createHttpsServer({ key, cert }))
  const error = await failure(t, `wss://127.0.0.1:${port}`)
  assert.equal(error.retryable, false)
  assert.match(
    error.message,
    /the certificate of '127.0.0.1' is refused, it is self-signed \(self-signed certificate\)/,
  )
})

// Contract: The subprotocol that the server chose; checked to be one of those offered where it is there.
test('first contact: a missing and a wrong subprotocol', async (t) => {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols: () => false })
  await once(server, 'listening')
  t.after(() => server.close())
  const error = await failure(t, `ws://127.0.0.1:${portOf(server)}`)
  assert.match(error.message, /the server chose no subprotocol: check .*websocket.protocols/)
  const other = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols: () => 'other' })
  await once(other, 'listening')
  t.after(() => other.close())
  const wrong = await failure(t, `ws://127.0.0.1:${portOf(other)}`)
  assert.match(wrong.message, /the server chose a subprotocol that was not offered/)
})

test('first contact: the words of a WebSocket that the server closes', async (t) => {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols: () => 'mqtt' })
  server.on('connection', (socket) => socket.close(1008, 'no such tenant'))
  await once(server, 'listening')
  t.after(() => server.close())
  const error = await failure(t, `ws://127.0.0.1:${portOf(server)}`, { protocolVersion: 5 })
  assert.equal(error.closeCode, 1008)
  assert.equal(error.closeReason, 'no such tenant')
  assert.match(error.message, /close code 1008, "no such tenant"$/)
})
