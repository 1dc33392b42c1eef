// Every option reaches what it sets, through the package: what CONNECT holds, what a timer does, what the socket is made with. Which options
// there are is read from the types: one that is added without a row or a story here is missed by a test.
import assert from 'node:assert/strict'
import { createPrivateKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { cert, key } from './certificate.mjs'
import { Loopback } from './loopback.mjs'
import {
  connected,
  encode,
  event,
  makeClient,
  record,
  settle,
  startBroker,
  until,
} from './scripted-broker.mjs'
import { secure } from './secure-broker.mjs'

// ------------------------------------------------------------------------------------------------ the options there are

const types = readFileSync(new URL('../../pkg/index.d.cts', import.meta.url), 'utf8')

/** The fields of an interface, each with its type. */
function fields(name) {
  const [, body] = new RegExp(`^interface ${name} \\{\n([^]*?)\n\\}`, 'm').exec(types)
  return [...body.matchAll(/^ {2}(\w+)\??(?::|(?=\()) ?(.*)/gm)].map(([, field, type]) => [
    field,
    type,
  ])
}

/** The paths of all options, `reconnect` beside `reconnect.minDelay`. */
function paths(name, prefix = '') {
  return fields(name).flatMap(([field, type]) => {
    const path = prefix + field
    const [, inner] =
      /\b([A-Z]\w+(?:Options|Properties)|Will|Authenticator) \| undefined/.exec(type) ?? []
    if (inner === undefined) return [path]
    return [...(/boolean/.test(type) ? [path] : []), ...paths(inner, `${path}.`)]
  })
}

// ------------------------------------------------------------------------------------------------ options that CONNECT holds

const connectProperties = (name, value, sent = value) => [
  `properties.${name}`,
  { properties: { [name]: value } },
  { properties: { [name]: sent } },
]
const will = (field, value, sent = value) => [
  `will.${field}`,
  { will: { topic: 'w', [field]: value } },
  { will: { [field]: sent } },
]
const willProperties = (name, value, sent = value) => [
  `will.properties.${name}`,
  { will: { topic: 'w', properties: { [name]: value } } },
  { will: { properties: { [name]: sent } } },
]
const presence = (field, value, sent) => [
  `presence.${field}`,
  { presence: { topic: 'p', [field]: value } },
  { will: sent },
]

/** Path, options, and what CONNECT has to hold. A client without options does not send it. */
const CONNECT = [
  ['protocolVersion', { protocolVersion: 4 }, { version: 4 }],
  ['clientId', { clientId: 'me' }, { clientId: 'me' }],
  ['username', { username: 'user' }, { username: 'user' }],
  ['username', { username: async () => 'user' }, { username: 'user' }],
  ['password', { username: 'user', password: 'secret' }, { password: 'secret' }],
  ['password', { username: 'user', password: () => Buffer.from('bytes') }, { password: 'bytes' }],
  ['clean', { clean: false }, { clean: false }],
  ['keepalive', { keepalive: 7 }, { keepalive: 7 }],
  connectProperties('sessionExpiryInterval', 7),
  connectProperties('sessionExpiryInterval', Infinity, 0xffff_ffff),
  connectProperties('receiveMaximum', 5),
  connectProperties('maximumPacketSize', 1_000),
  connectProperties('topicAliasMaximum', 3),
  connectProperties('requestResponseInformation', true, 1),
  connectProperties('requestProblemInformation', false, 0),
  connectProperties('userProperties', { a: ['1', '2'] }, [
    ['a', '1'],
    ['a', '2'],
  ]),
  will('topic', 'gone'),
  will('payload', 'bye'),
  will('payload', new Uint8Array([65]), 'A'),
  will('qos', 2),
  will('retain', true),
  willProperties('willDelayInterval', 5),
  willProperties('payloadFormatIndicator', 1),
  willProperties('messageExpiryInterval', 60),
  willProperties('contentType', 'text/plain'),
  willProperties('responseTopic', 'answers'),
  willProperties('correlationData', new Uint8Array([1, 2]), Buffer.from([1, 2])),
  willProperties('userProperties', [['b', '3']]),
  presence('topic', 'here', { topic: 'here', payload: 'offline', qos: 1, retain: true }),
  presence('offline', 'bye', { payload: 'bye' }),
  presence('offline', null, { payload: '' }),
  presence('qos', 2, { qos: 2 }),
  presence('retain', false, { retain: false }),
  [
    'authentication.method',
    { authentication: { method: 'X', start: () => undefined, continue: () => undefined } },
    { properties: { authenticationMethod: 'X' } },
  ],
  [
    'authentication.start',
    {
      authentication: { method: 'X', start: () => Buffer.from('first'), continue: () => undefined },
    },
    { properties: { authenticationData: Buffer.from('first') } },
  ],
]

/** Whether everything of `part` is in `whole`. */
function holds(whole, part) {
  if (Buffer.isBuffer(part)) return Buffer.isBuffer(whole) && whole.equals(part)
  if (typeof part !== 'object' || part === null) return whole === part
  return (
    typeof whole === 'object' &&
    whole !== null &&
    Object.keys(part).every((name) => holds(whole[name], part[name]))
  )
}

/** What a client with these options sends first. */
async function connectOf(t, broker, options) {
  const client = makeClient(t, broker.url, options)
  client.connect().catch(() => {})
  const peer = await broker.accept()
  const packet = await peer.expect('connect')
  await client.end({ force: true })
  return packet
}

for (const [path, options, expected] of CONNECT) {
  test(`${path} is in CONNECT: ${JSON.stringify(expected)}`, async (t) => {
    const broker = await startBroker(t)
    const packet = await connectOf(t, broker, options)
    assert.ok(holds(packet, expected), JSON.stringify(packet))
    const plain = await connectOf(t, broker, undefined)
    assert.ok(!holds(plain, expected), 'it is not the default')
  })
}

// ------------------------------------------------------------------------------------------------ options that something else shows

/** The delays before the next attempts of a client whose server is gone. */
async function delays(t, reconnect, count) {
  const { client, broker } = await connected(t, { reconnect: { jitter: 0, ...reconnect } })
  const waits = record(client, 'reconnecting')
  await broker.stop()
  await until(() => waits.length >= count)
  return waits.slice(0, count).map(([, { delay }]) => delay)
}

/** Whether the client subscribes again after the server has lost the session. */
async function subscribesAgain(t, resubscribe) {
  const { client, peer, broker } = await connected(t, { resubscribe, reconnect: { minDelay: 1 } })
  const pending = client.subscribe('a')
  await peer.grant()
  await pending
  peer.drop()
  const second = await broker.accept()
  await second.welcome({ sessionPresent: false })
  await settle()
  return second.pending.map(({ type }) => type)
}

/** Whether topics of several messages become aliases. */
async function usesAliases(t, topicAliases) {
  const connack = { properties: { topicAliasMaximum: 5 } }
  const { client, peer } = await connected(t, { topicAliases }, connack)
  for (let n = 0; n < 5; n++) client.publish('a/b', 'x')
  const packets = []
  while (packets.length < 5) packets.push(await peer.expect('publish'))
  return packets.some(({ properties }) => properties.topicAlias !== undefined)
}

/**
 * The codes of messages that are published while there is no connection.
 * @param {any} t
 * @param {import('../../pkg/node.js').QueueOptions} queue
 * @param {[topic: string, payload?: string, options?: import('../../pkg/node.js').PublishOptions][]} messages
 */
function outcomes(t, queue, messages) {
  const client = makeClient(t, 'ws://127.0.0.1:1', { queue })
  const published = messages.map((message) => client.publish(...message))
  return Promise.all(
    published.map((promise) =>
      Promise.race([promise, settle().then(() => 'waits')]).catch(({ code }) => code),
    ),
  )
}

/** What the server sees of the TLS connection of a client with these options. */
async function tlsOf(t, tls, server) {
  const { url, peers } = await secure(t, server)
  await makeClient(t, url, { tls }).connect()
  return peers[0].request.socket
}
const refusedBy = async (t, tls, server) => {
  const { url } = await secure(t, server)
  return makeClient(t, url, { tls })
    .connect()
    .catch((error) => error)
}
const MUTUAL = { requestCert: true, rejectUnauthorized: true, ca: cert }
const encrypted = createPrivateKey(key).export({
  type: 'pkcs8',
  format: 'pem',
  cipher: 'aes-256-cbc',
  passphrase: 'secret',
})

/** Path, and the story that shows what the option does. */
const STORIES = {
  async keepalive(t) {
    const { peer } = await connected(t, { keepalive: 1 })
    const began = Date.now()
    await peer.expect('pingreq')
    assert.ok(Date.now() - began < 20_000)
  },

  async connectTimeout(t) {
    const broker = await startBroker(t)
    const began = performance.now()
    const connecting = makeClient(t, broker.url, { connectTimeout: 40 }).connect()
    await assert.rejects(connecting, { code: 'CONNECTION_FAILED' })
    const took = performance.now() - began
    assert.ok(took >= 39 && took < 5_000, `${took} ms`)
  },

  async 'authentication.continue'(t) {
    const broker = await startBroker(t)
    const answer = (challenge) => Buffer.concat([Buffer.from('re: '), challenge])
    const authentication = { method: 'X', start: () => undefined, continue: answer }
    makeClient(t, broker.url, { authentication })
      .connect()
      .catch(() => {})
    const peer = await broker.accept()
    await peer.expect('connect')
    const properties = { authenticationMethod: 'X', authenticationData: Buffer.from('riddle') }
    peer.send({ type: 'auth', reasonCode: 0x18, properties })
    const auth = await peer.expect('auth')
    assert.equal(auth.properties.authenticationData.toString(), 're: riddle')
  },

  async 'presence.online'(t) {
    const { peer } = await connected(t, { presence: { topic: 'p', online: 'here' } })
    await peer.expect('publish', { topic: 'p', payload: 'here', qos: 1, retain: true })
  },

  async reconnect(t) {
    const never = await connected(t, { reconnect: false })
    never.peer.drop()
    assert.equal((await event(never.client, 'close'))[0].code, 'CONNECTION_LOST')
    const always = await connected(t, { reconnect: true })
    always.peer.drop()
    assert.equal((await event(always.client, 'reconnecting'))[0].attempt, 1)
  },
  async 'reconnect.minDelay'(t) {
    assert.deepEqual(await delays(t, { minDelay: 25 }, 1), [25])
  },
  async 'reconnect.maxDelay'(t) {
    const found = await delays(t, { minDelay: 10, maxDelay: 15, factor: 10 }, 3)
    assert.deepEqual(found, [10, 15, 15])
  },
  async 'reconnect.factor'(t) {
    assert.deepEqual(await delays(t, { minDelay: 4, factor: 3 }, 3), [4, 12, 36])
  },
  async 'reconnect.jitter'(t) {
    const reconnect = { minDelay: 20, maxDelay: 20, jitter: 1 }
    const found = await delays(t, reconnect, 8)
    assert.ok(new Set(found).size > 1, `${found}`)
    assert.ok(found.every((delay) => delay <= 20))
  },
  async 'reconnect.maxAttempts'(t) {
    const reconnect = { minDelay: 1, maxDelay: 1, maxAttempts: 2 }
    const { client, broker } = await connected(t, { reconnect })
    const waits = record(client, 'reconnecting')
    await broker.stop()
    assert.equal((await event(client, 'close'))[0].code, 'CONNECTION_FAILED')
    assert.equal(waits.length, 2)
  },
  async 'reconnect.initial'(t) {
    const broker = await startBroker(t)
    await broker.stop()
    const client = makeClient(t, broker.url, { reconnect: { initial: true, minDelay: 1 } })
    client.connect().catch(() => {})
    assert.equal((await event(client, 'reconnecting'))[0].error.code, 'CONNECTION_FAILED')
    await assert.rejects(makeClient(t, broker.url).connect(), { code: 'CONNECTION_FAILED' })
  },
  async 'reconnect.shouldRetry'(t) {
    const asked = []
    const shouldRetry = (error, attempt) => (asked.push([error.code, attempt]), false)
    const { client, peer } = await connected(t, { reconnect: { shouldRetry } })
    peer.drop()
    await event(client, 'close')
    assert.deepEqual(asked, [['CONNECTION_LOST', 1]])
  },

  async resubscribe(t) {
    assert.deepEqual(await subscribesAgain(t, true), ['subscribe'])
    assert.deepEqual(await subscribesAgain(t, false), [])
  },

  async 'queue.maxMessages'(t) {
    const found = await outcomes(t, { maxMessages: 1 }, [['a'], ['a']])
    assert.deepEqual(found, ['waits', 'QUEUE_FULL'])
  },
  async 'queue.maxBytes'(t) {
    const found = await outcomes(t, { maxBytes: 1_000 }, [['a'], ['a', 'x'.repeat(1_000)]])
    assert.deepEqual(found, ['waits', 'QUEUE_FULL'])
  },
  async 'queue.overflow'(t) {
    const found = await outcomes(t, { maxMessages: 1, overflow: 'drop-oldest' }, [['a'], ['a']])
    assert.deepEqual(found, ['QUEUE_FULL', 'waits'])
    const waiting = await outcomes(t, { maxMessages: 1, overflow: 'wait' }, [['a'], ['a']])
    assert.deepEqual(waiting, ['waits', 'waits'])
  },
  async 'queue.qos0'(t) {
    const found = await outcomes(t, { qos0: false }, [['a'], ['a', 'b', { qos: 1 }]])
    assert.deepEqual(found, ['CONNECTION_LOST', 'waits'])
  },

  async store(t) {
    const asked = []
    const store = {
      load: async (clientId) => (asked.push(['load', clientId]), []),
      write: async (clientId, changes) => void asked.push(['write', clientId, changes.length]),
      close: async () => void asked.push(['close']),
    }
    const { client, peer } = await connected(t, { clientId: 'me', store })
    const publishing = client.publish('a', 'b', { qos: 1 })
    const { id } = await peer.expect('publish')
    peer.send({ type: 'puback', id })
    await publishing
    await client.end()
    assert.deepEqual(asked.shift(), ['load', 'me'])
    assert.deepEqual(asked.pop(), ['close'])
    // The message, and that it is done: once more at the end, if that is under way.
    assert(asked.length >= 2)
    for (const write of asked) assert.deepEqual(write, ['write', 'me', 1])
  },

  async topicAliases(t) {
    assert.equal(await usesAliases(t, true), true)
    assert.equal(await usesAliases(t, false), false)
  },

  async transport(t) {
    const asked = []
    const broker = new Loopback()
    const transport = (url, context) => (
      asked.push([url.href, context.protocols]), broker.transport()
    )
    await makeClient(t, 'x://y/z', { transport, websocket: { protocols: ['p'] } }).connect()
    assert.deepEqual(asked, [['x://y/z', ['p']]])
  },

  async 'websocket.protocols'(t) {
    const broker = await startBroker(t, { handleProtocols: () => 'two' })
    const connecting = makeClient(t, broker.url, {
      websocket: { protocols: ['one', 'two'] },
    }).connect()
    const peer = await broker.accept()
    assert.equal(peer.request.headers['sec-websocket-protocol'], 'one,two')
    await peer.welcome()
    await connecting
    // It is one that was not offered.
    const refused = makeClient(t, broker.url, { websocket: { protocols: ['one'] } }).connect()
    await assert.rejects(refused, { code: 'CONNECTION_FAILED' })
  },
  async 'websocket.headers'(t) {
    for (const headers of [{ 'x-token': 'fresh' }, async () => ({ 'x-token': 'fresh' })]) {
      const broker = await startBroker(t)
      makeClient(t, broker.url, { websocket: { headers } })
        .connect()
        .catch(() => {})
      assert.equal((await broker.accept()).request.headers['x-token'], 'fresh')
    }
  },

  async 'tls.ca'(t) {
    assert.equal((await tlsOf(t, { ca: cert })).encrypted, true)
    assert.match((await refusedBy(t, undefined)).message, /self-signed certificate/)
  },
  async 'tls.rejectUnauthorized'(t) {
    assert.equal((await tlsOf(t, { rejectUnauthorized: false })).encrypted, true)
  },
  async 'tls.cert'(t) {
    const { authorized } = await tlsOf(t, { ca: cert, cert, key }, MUTUAL)
    assert.equal(authorized, true)
    assert.equal((await refusedBy(t, { ca: cert }, MUTUAL)).code, 'CONNECTION_FAILED')
  },
  async 'tls.key'(t) {
    assert.equal((await tlsOf(t, { ca: cert, cert, key }, MUTUAL)).authorized, true)
    assert.equal((await refusedBy(t, { ca: cert, cert }, MUTUAL)).code, 'CONNECTION_FAILED')
  },
  async 'tls.passphrase'(t) {
    const tls = { ca: cert, cert, key: encrypted }
    const { authorized } = await tlsOf(t, { ...tls, passphrase: 'secret' }, MUTUAL)
    assert.equal(authorized, true)
    assert.equal((await refusedBy(t, tls, MUTUAL)).code, 'CONNECTION_FAILED')
  },
  async 'tls.servername'(t) {
    assert.equal((await tlsOf(t, { ca: cert, servername: 'localhost' })).servername, 'localhost')
    assert.equal((await tlsOf(t, { ca: cert })).servername, false)
  },
  async 'tls.alpnProtocols'(t) {
    const found = await tlsOf(t, { ca: cert, alpnProtocols: ['http/1.1'] })
    assert.equal(found.alpnProtocol, 'http/1.1')
    assert.equal((await tlsOf(t, { ca: cert })).alpnProtocol, false)
  },

  async signal(t) {
    const controller = new AbortController()
    const { client, peer } = await connected(t, { signal: controller.signal })
    controller.abort()
    await peer.expect('disconnect', { reasonCode: 0 })
    await until(() => client.state === 'closed')
  },
}

for (const [path, story] of Object.entries(STORIES))
  test(`${path} does what it says`, (t) => story(t))

test('every option of the types has a row', () => {
  const shown = new Set([...CONNECT.map(([path]) => path), ...Object.keys(STORIES)])
  const all = paths('ConnectOptions')
  assert.ok(all.length > 50, `${all.length}`)
  assert.deepEqual(all.filter((path) => !shown.has(path)).sort(), [])
  assert.deepEqual([...shown].filter((path) => !all.includes(path)).sort(), [])
})

// ------------------------------------------------------------------------------------------------ what no option sets

// Contract: 3.1.1: 'wasmqtt' + 16 random hex digits: 23 letters and digits, which every server must take
test('the seed: no two clients are alike', async (t) => {
  const broker = await startBroker(t)
  const ids = []
  for (let n = 0; n < 3; n++)
    ids.push((await connectOf(t, broker, { protocolVersion: 4 })).clientId)
  assert.equal(new Set(ids).size, 3, ids.join())
})

// Contract: A transport of the user's own gets `data` to keep: it is no view of wasm memory and the client does not touch it again.
test('a socket of the application gets bytes to keep, no views of WebAssembly memory', async (t) => {
  const broker = new Loopback()
  const kept = []
  const transport = () => {
    const socket = broker.transport()
    const { send } = socket
    socket.send = (data) => {
      kept.push([data, Buffer.from(data)])
      send.call(socket, data)
    }
    return socket
  }
  const client = makeClient(t, 'x://y', { transport })
  await client.connect()
  for (let n = 0; n < 50; n++) await client.publish('a', `${n}`.repeat(100), { qos: 1 })
  assert.ok(kept.length > 50)
  for (const [data, copy] of kept) {
    assert.equal(data.buffer.byteLength, data.length)
    assert.equal(Buffer.compare(data, copy), 0)
  }
})

test('a large packet in pieces is put together outside of WebAssembly memory', async (t) => {
  // tests/js/memory.test.mjs has the largest, in a process of its own.
  const { client, peer } = await connected(t)
  const payload = Buffer.alloc(8 * 1024 * 1024, 'abc')
  const before = client.stats().wasmMemoryBytes
  const arrived = event(client, 'message')
  peer.sendPieces(encode({ type: 'publish', topic: 'a', payload }), 64 * 1024)
  const [message] = await arrived
  assert.equal(Buffer.compare(message.payload, payload), 0)
  assert.ok(client.stats().wasmMemoryBytes - before < 2 * 1024 * 1024)
})

// Contract: packet: Every control packet, for tracing. Costs nothing while nobody listens.
test('packets are events only while somebody listens', async (t) => {
  const { client, peer } = await connected(t)
  const packets = []
  const listener = ({ type }) => packets.push(type)
  client.on('packet', listener)
  await client.publish('a')
  client.off('packet', listener)
  await client.publish('a')
  client.once('packet', listener)
  await client.publish('a')
  await client.publish('a')
  for (let n = 0; n < 4; n++) await peer.expect('publish')
  assert.deepEqual(packets, ['publish', 'publish'])
})
