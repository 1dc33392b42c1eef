// nginx and HAProxy in front of Mosquitto's WebSockets, and Mosquitto's TLS listeners: what the client says and does about what they answer.

import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import net from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from '../../pkg/node.js'
import { findCommand, portOf } from '../../scripts/tools.mjs'
import { freePort, startMosquitto } from '../brokers/mosquitto.mjs'
import { Daemon, folder } from './brokers.mjs'
import { ca, client, elsewhere, expired, server, stranger } from './certificates.mjs'

/** Seconds after which the proxies end a connection without traffic. */
const IDLE = 2

/** Starts a TCP proxy that lets the first bytes of each answer wait. */
async function startSlow(t, port, delay) {
  const sockets = new Set()
  const slow = net.createServer((from) => {
    const to = net.connect(port, '127.0.0.1')
    for (const socket of [from, to]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => [from, to].forEach((each) => void each.destroy()))
    }
    from.pipe(to)
    setTimeout(() => to.pipe(from), delay)
  })
  slow.listen(0, '127.0.0.1')
  await once(slow, 'listening')
  t.after(() => {
    slow.close()
    for (const socket of sockets) socket.destroy()
  })
  return portOf(slow)
}

/**
 * A proxy that is running. Its paths: /mqtt is the broker, /idle ends connections without traffic, /slow answers late, /dead has no broker
 * behind it, and the others answer with what their names say.
 * @typedef {{ name: string, version: string, url: (path: string) => string }} Proxy
 */

async function startNginx(t, { broker, slow, dead }) {
  const dir = await folder(t, 'nginx')
  const port = await freePort()
  const upgrade = (to, more = '') =>
    `proxy_pass http://127.0.0.1:${to}/mqtt; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; ${more}`
  await writeFile(
    join(dir, 'nginx.conf'),
    `daemon off; pid ${dir}/pid; error_log ${dir}/error.log; worker_processes 1;
events { worker_connections 256; }
http {
  access_log off;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${dir}/${kind};`).join(' ')}
  server {
    listen 127.0.0.1:${port};
    location = /mqtt { ${upgrade(broker, 'proxy_read_timeout 1h;')} }
    location = /idle { ${upgrade(broker, `proxy_read_timeout ${IDLE}s;`)} }
    location = /slow { ${upgrade(slow)} }
    location = /dead { ${upgrade(dead)} }
    location = /deflate { ${upgrade(broker, 'add_header Sec-WebSocket-Extensions permessage-deflate always;')} }
    location = /wrong { ${upgrade(broker, 'proxy_hide_header Sec-WebSocket-Protocol; add_header Sec-WebSocket-Protocol chat always;')} }
    location = /none { ${upgrade(broker, 'proxy_hide_header Sec-WebSocket-Protocol;')} }
    location = /200 { return 200 "hello"; }
    location = /301 { return 301 http://127.0.0.1:${port}/mqtt; }
    location = /401 { return 401; }
    location = /403 { return 403; }
    location = /503 { add_header Retry-After 1 always; return 503; }
  }
}
`,
  )
  const daemon = new Daemon(
    findCommand('nginx'),
    ['-e', `${dir}/error.log`, '-c', `${dir}/nginx.conf`],
    {
      dir,
      ports: [port],
    },
  )
  t.after(() => daemon.kill())
  await daemon.start()
  return { name: 'nginx', url: (path) => `ws://127.0.0.1:${port}/${path}` }
}

async function startHAProxy(t, { broker, slow, dead }) {
  const dir = await folder(t, 'haproxy')
  const port = await freePort()
  const paths = ['idle', 'slow', 'dead', 'deflate', 'wrong', 'none']
  const backend = (name, to, more = '') =>
    `backend ${name}\n  http-request set-path /mqtt\n  ${more}\n  server broker 127.0.0.1:${to}\n`
  await writeFile(
    join(dir, 'haproxy.cfg'),
    `global
  maxconn 256
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout tunnel 1h
frontend web
  bind 127.0.0.1:${port}
  http-request return status 200 content-type text/plain string hello if { path /200 }
  http-request redirect location http://127.0.0.1:${port}/mqtt code 301 if { path /301 }
  http-request return status 401 if { path /401 }
  http-request return status 403 if { path /403 }
  http-request return status 502 if { path /502 }
  http-request return status 503 hdr Retry-After 1 if { path /503 }
  http-request return status 404 unless { path /mqtt ${paths.map((path) => `/${path}`).join(' ')} }
  ${paths.map((path) => `use_backend ${path} if { path /${path} }`).join('\n  ')}
  default_backend mqtt
${backend('mqtt', broker)}${backend('idle', broker, `timeout tunnel ${IDLE}s`)}${backend('slow', slow)}${backend('dead', dead)}
${backend('deflate', broker, 'http-after-response set-header Sec-WebSocket-Extensions permessage-deflate')}
${backend('wrong', broker, 'http-after-response set-header Sec-WebSocket-Protocol chat')}
${backend('none', broker, 'http-after-response del-header Sec-WebSocket-Protocol')}`,
  )
  const daemon = new Daemon(findCommand('haproxy'), ['-db', '-f', `${dir}/haproxy.cfg`], {
    dir,
    ports: [port],
  })
  t.after(() => daemon.kill())
  await daemon.start()
  return { name: 'HAProxy', url: (path) => `ws://127.0.0.1:${port}/${path}` }
}

export const proxies = [
  { name: 'nginx', command: 'nginx', install: 'apt-get install nginx', start: startNginx },
  { name: 'HAProxy', command: 'haproxy', install: 'apt-get install haproxy', start: startHAProxy },
].map((each) => ({ ...each, present: () => findCommand(each.command) !== undefined }))

/** Starts a proxy with a Mosquitto behind it. */
export async function startProxied(t, proxy) {
  const broker = await startMosquitto(t)
  const slow = await startSlow(t, broker.wsPort, 1_000)
  return proxy.start(t, { broker: broker.wsPort, slow, dead: await freePort() })
}

/** @type {import('../../pkg/node.js').ConnectOptions} */
const ONCE = { reconnect: false, connectTimeout: 10_000 }

/** What connect() said: 'connected', or the error. */
async function attempt(url, options) {
  try {
    const connected = await connect(url, { ...ONCE, ...options })
    await connected.publish('a', 'b', { qos: 1, timeout: 10_000 })
    await connected.end()
    return { result: 'connected' }
  } catch (error) {
    const { code, status, retryable, message } = error
    return { result: code, status, retryable, message }
  }
}

/**
 * A check: what happened, and whether it is what should happen.
 * @typedef {{ name: string, expected: object, run: (url: (path: string) => string) => Promise<object> }} Check
 */

const answer = (name, path, expected, options) => ({
  name,
  expected,
  run: (url) => attempt(url(path), options),
})
const refused = (status, retryable, message) => ({
  result: 'CONNECTION_FAILED',
  status,
  retryable,
  message,
})

/** Watches a connection for some time, and says how often it was lost and whether the client is back at the end. */
async function watchIdle(url, keepalive) {
  const connected = await connect(url, { keepalive, reconnect: { minDelay: 10, maxDelay: 50 } })
  const losses = []
  connected.on('disconnect', ({ code }) => losses.push(code))
  await sleep(1_000 * (2 * IDLE + 1))
  await connected.connect({ timeout: 10_000 })
  await connected.end()
  return { losses: [...new Set(losses)].join(), lost: losses.length > 0 }
}

/** @type {Check[]} */
export const proxyChecks = [
  answer('a broker behind it', 'mqtt', { result: 'connected' }),
  {
    name: `idle connections end after ${IDLE} s, keepalive 60`,
    expected: { lost: true, losses: 'CONNECTION_LOST' },
    run: (url) => watchIdle(url('idle'), 60),
  },
  {
    name: `idle connections end after ${IDLE} s, keepalive 1`,
    expected: { lost: false, losses: '' },
    run: (url) => watchIdle(url('idle'), 1),
  },
  answer('HTTP 200 and a page', '200', refused(200, true, /no WebSocket.*'\/200'/)),
  answer('HTTP 301', '301', refused(301, true, /redirects to ws:\/\/127\.0\.0\.1:\d+\/mqtt/)),
  answer('HTTP 401', '401', refused(401, false, /websocket\.headers/)),
  answer('HTTP 403', '403', refused(403, false, /refuses this client/)),
  answer('HTTP 404', '404', refused(404, false, /nothing at the path '\/404'/)),
  answer('no broker behind it: HTTP 502 or 503', 'dead', {
    ...refused(undefined, true, /HTTP 50[23] .*cannot reach the MQTT server/),
  }),
  answer('HTTP 503 with Retry-After', '503', refused(503, true, /HTTP 503 .*try again later/)),
  {
    name: 'a list whose first server answers HTTP 503',
    expected: { result: 'connected' },
    run: (url) =>
      attempt([url('503'), url('mqtt')], { reconnect: { initial: true, minDelay: 10 } }),
  },
  answer('an answer after 1 s, with time for it', 'slow', { result: 'connected' }),
  answer(
    'an answer after 1 s, too late',
    'slow',
    refused(undefined, true, /did not answer in time/),
    {
      connectTimeout: 400,
    },
  ),
  answer(
    'permessage-deflate, which was not offered',
    'deflate',
    refused(undefined, true, /extension/i),
  ),
  answer(
    'another subprotocol',
    'wrong',
    refused(undefined, true, /subprotocol that was not offered/),
  ),
  answer('no subprotocol', 'none', refused(undefined, true, /no subprotocol/)),
]

/** Starts a Mosquitto with TLS on TCP and on WebSockets. */
async function startSecure(t, { key, cert }, more = '') {
  const [mqtts, wss] = [await freePort(), await freePort()]
  const tls = `certfile {dir}/cert.pem\nkeyfile {dir}/key.pem\ncafile {dir}/ca.pem\n${more}\n`
  await startMosquitto(t, {
    config: `listener ${mqtts} 127.0.0.1\n${tls}listener ${wss} 127.0.0.1\nprotocol websockets\n${tls}`,
    files: { 'cert.pem': cert, 'key.pem': key, 'ca.pem': ca.cert },
  })
  return { mqtts: `mqtts://localhost:${mqtts}`, wss: `wss://localhost:${wss}/mqtt` }
}

const trust = { ca: ca.cert }
const final = (message) => ({ result: 'CONNECTION_FAILED', retryable: false, message })
const OK = { result: 'connected' }

/** What is checked with each certificate of the server: the TLS options of the client, and what must come of them. */
const SECURE = [
  { name: 'its authority given', of: server, tls: trust, expected: OK },
  {
    name: 'its authority unknown',
    of: server,
    tls: {},
    expected: final(/issuer is not known|self-signed certificate in/),
  },
  {
    name: 'its authority unknown, and not asked',
    of: server,
    tls: { rejectUnauthorized: false },
    expected: OK,
  },
  {
    name: 'for another host',
    of: elsewhere,
    tls: trust,
    expected: final(/is not for 'localhost' but for DNS:elsewhere/),
  },
  {
    name: 'for another host, which is named',
    of: elsewhere,
    tls: { ...trust, servername: 'elsewhere.example' },
    expected: OK,
  },
  { name: 'expired', of: expired, tls: trust, expected: final(/has expired/) },
]

/** What is checked with a server that wants a certificate of the client. */
const MUTUAL = [
  { name: 'client certificate given', tls: { ...trust, ...client }, expected: OK },
  { name: 'client certificate missing', tls: trust, expected: final(/client certificate/) },
  {
    name: 'client certificate of an unknown authority',
    tls: { ...trust, ...stranger },
    expected: final(/client certificate/),
  },
]

/** Runs all checks of TLS; resolves with what happened in each. */
export async function checkSecure(t) {
  const outcomes = []
  const play = async (urls, { name, tls, expected }) => {
    for (const url of Object.values(urls)) {
      const got = await attempt(url, { tls })
      outcomes.push({ name, where: url.split(':')[0], ...verdict(got, expected) })
    }
  }
  const servers = new Map()
  for (const check of SECURE) {
    if (!servers.has(check.of)) servers.set(check.of, await startSecure(t, check.of))
    await play(servers.get(check.of), check)
  }
  const mutual = await startSecure(t, server, 'require_certificate true')
  for (const check of MUTUAL) await play(mutual, check)
  return outcomes
}

/** Runs all checks of a proxy at the same time; resolves with what happened in each. */
export async function checkProxy(t, proxy) {
  const { url } = await startProxied(t, proxy)
  return Promise.all(
    proxyChecks.map(async ({ name, expected, run }) => ({
      name,
      where: proxy.name,
      ...verdict(await run(url), expected),
    })),
  )
}

function verdict(got, expected) {
  const fits = ([key, wanted]) =>
    wanted instanceof RegExp ? wanted.test(got[key]) : wanted === undefined || got[key] === wanted
  return { got, ok: Object.entries(expected).every(fits) }
}
