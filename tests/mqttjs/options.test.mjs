// No option of MQTT.js is silently ignored: each is honoured, or says on the console or by an error what it does not do here. The list of
// options is the one in MQTT.js' own types.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import originals from 'mqtt'
import { WebSocket } from 'ws'
import mqtt from '../../pkg/mqttjs.node.js'
import { accepting, startServer } from './server.mjs'

const types = readFileSync(
  new URL('../../node_modules/mqtt/build/lib/client.d.ts', import.meta.url),
  'utf8',
)

/** The names of an interface's members. */
function membersOf(name) {
  const [, body] = new RegExp(`interface ${name}(?: extends \\w+)? \\{\\n(.*?)\\n\\}`, 's').exec(
    types,
  )
  return [...body.matchAll(/^ {4}(\w+)\??:/gm)].map(([, member]) => member)
}

/** The properties of a packet in the types of mqtt-packet, which MQTT.js' own types name; 4 spaces before: those of its will. */
function propertiesOf(name, indent = 2) {
  const text = readFileSync(
    new URL('../../node_modules/mqtt-packet/types/index.d.ts', import.meta.url),
    'utf8',
  )
  const [, body] = new RegExp(
    `interface ${name} .*?\\n {${indent}}properties\\?: \\{\\n(.*?)\\n {${indent}}\\}`,
    's',
  ).exec(text)
  return [...body.matchAll(/^ +(\w+)\?:/gm)].map(([, member]) => member)
}

/** Properties as literals are: user properties that were read have no prototype. */
const plain = (properties) => ({
  ...properties,
  userProperties: { ...properties.userProperties },
})

const covered = new Set()

/** A test of options that have an effect: their names are its title. */
function honours(names, run) {
  for (const name of names.split(' ')) covered.add(name)
  test(`honours ${names}`, run)
}

/** Connects, and ends with the test. */
async function connected(t, url, options) {
  const client = mqtt.connect(url, options)
  t.after(() => client.endAsync(true))
  await once(client, 'connect')
  return client
}

/** What is said on the console while `run` works. */
async function warnings(t, run) {
  const spy = t.mock.method(console, 'warn', () => {})
  await run()
  const said = spy.mock.calls.map(({ arguments: [text] }) => text)
  spy.mock.restore()
  return said
}

honours('clientId protocolVersion protocolId clean keepalive username password', async (t) => {
  const server = await startServer(t)
  await connected(t, server.url, {
    clientId: 'me',
    protocolVersion: 5,
    protocolId: 'MQTT',
    clean: false,
    keepalive: 17,
    username: 'user',
    password: Buffer.from('word'),
  })
  const packet = await server.packet('connect')
  assert.equal(packet.clientId, 'me')
  assert.equal(packet.protocolVersion, 5)
  assert.equal(packet.protocolId, 'MQTT')
  assert.equal(packet.clean, false)
  assert.equal(packet.keepalive, 17)
  assert.equal(packet.username, 'user')
  assert.equal(packet.password.toString(), 'word')
})

test('has the defaults of MQTT.js', async (t) => {
  const server = await startServer(t)
  const client = await connected(t, server.url)
  const packet = await server.packet('connect')
  assert.match(packet.clientId, /^mqttjs_[0-9a-f]{8}$/)
  assert.equal(packet.protocolVersion, 4)
  assert.equal(packet.clean, true)
  assert.equal(packet.keepalive, 60)
  assert.equal(client.options.reconnectPeriod, 1000)
  assert.equal(client.options.connectTimeout, 30_000)
})

honours('will', async (t) => {
  const server = await startServer(t)
  const properties = {
    willDelayInterval: 3,
    payloadFormatIndicator: true,
    messageExpiryInterval: 60,
    contentType: 'text/plain',
    responseTopic: 'answers',
    correlationData: Buffer.from('c'),
    userProperties: { a: ['b', 'c'] },
  }
  await connected(t, server.url, {
    protocolVersion: 5,
    will: { topic: 'gone', payload: 'bye', qos: 1, retain: true, properties },
  })
  const { will } = await server.packet('connect')
  assert.equal(will.topic, 'gone')
  assert.equal(will.payload.toString(), 'bye')
  assert.equal(will.qos, 1)
  assert.equal(will.retain, true)
  assert.deepEqual(plain(will.properties), properties)
  assert.deepEqual(propertiesOf('IConnectPacket', 4), Object.keys(properties))
})

honours('properties', async (t) => {
  const server = await startServer(t)
  const properties = {
    sessionExpiryInterval: 20,
    receiveMaximum: 30,
    maximumPacketSize: 4_000,
    topicAliasMaximum: 5,
    requestResponseInformation: true,
    requestProblemInformation: false,
    userProperties: { a: 'b', c: ['d', 'e'] },
    authenticationMethod: 'M',
    authenticationData: Buffer.from('first'),
  }
  const client = mqtt.connect(server.url, { protocolVersion: 5, properties })
  t.after(() => client.endAsync(true))
  assert.deepEqual(plain((await server.packet('connect')).properties), properties)
  assert.deepEqual(propertiesOf('IConnectPacket'), Object.keys(properties))
})

honours('host hostname port protocol path query auth defaultProtocol', async (t) => {
  const server = await startServer(t, {}, { ws: true })
  const { port } = server
  await connected(t, { protocol: 'ws', host: '127.0.0.1', port, path: '/way?x=1', auth: 'a:b:c' })
  assert.equal(server.requests[0].url, '/way?x=1')
  assert.equal((await server.packet('connect')).username, 'a')
  assert.equal((await server.packet('connect')).password.toString(), 'b:c')
  const client = await connected(t, `${server.url}/mqtt?clientId=asked`)
  assert.equal(server.requests[1].url, '/mqtt?clientId=asked')
  assert.equal((await server.packet('connect', 2)).clientId, 'asked')
  assert.equal(client.options.defaultProtocol, 'ws')
  await connected(t, { protocol: 'ws', hostname: '127.0.0.1', port })
})

honours('servers', async (t) => {
  const [one, two] = [await startServer(t), await startServer(t, {}, { ws: true })]
  const client = await connected(t, {
    protocol: 'mqtt',
    reconnectPeriod: 20,
    servers: [
      { host: '127.0.0.1', port: one.port },
      { host: '127.0.0.1', port: two.port, protocol: 'ws' },
    ],
  })
  assert.equal(one.connections.length, 1)
  client.stream.destroy()
  await once(client, 'connect')
  assert.equal(two.connections.length, 1)
  client.stream.destroy()
  await once(client, 'connect')
  assert.equal(one.connections.length, 2)
})

honours('unixSocket', async (t) => {
  const { createServer } = await import('node:net')
  const { mkdtemp, rm } = await import('node:fs/promises')
  const folder = await mkdtemp('/tmp/wasmqtt-')
  t.after(() => rm(folder, { recursive: true }))
  const server = await startServer(t)
  const local = createServer((socket) => server.accept(socket)).listen(`${folder}/socket`)
  t.after(() => local.close())
  await once(local, 'listening')
  await connected(t, `mqtt+unix://${folder}/socket`)
  assert.equal(server.packets('connect').length, 1)
})

honours('wsOptions', async (t) => {
  const server = await startServer(t, {}, { ws: true })
  await connected(t, server.url, { wsOptions: { headers: { 'x-token': 'secret' } } })
  assert.equal(server.requests[0].headers['x-token'], 'secret')
})

honours('transformWsUrl', async (t) => {
  const server = await startServer(t, {}, { ws: true })
  let count = 0
  const client = await connected(t, `${server.url}/mqtt`, {
    reconnectPeriod: 20,
    transformWsUrl(url, options, client) {
      assert.equal(options, client.options)
      options.username = `user ${++count}`
      options.clientId = `id${count}`
      return `${url}?signed=${count}`
    },
  })
  assert.equal(server.requests[0].url, '/mqtt?signed=1')
  assert.equal((await server.packet('connect')).clientId, 'id1')
  await client.subscribeAsync('kept')
  client.stream.end()
  await once(client, 'connect')
  assert.equal(server.requests[1].url, '/mqtt?signed=2')
  const packet = await server.packet('connect', 2)
  assert.equal(packet.username, 'user 2')
  assert.equal(packet.clientId, 'id2')
  assert.equal((await server.packet('subscribe', 2)).subscriptions[0].topic, 'kept')
})

honours('createWebsocket', async (t) => {
  const server = await startServer(t, {}, { ws: true })
  await connected(t, server.url, {
    createWebsocket: (url, protocols) => new WebSocket(url, protocols, { headers: { mine: '1' } }),
  })
  assert.equal(server.requests[0].headers.mine, '1')
})

honours('forceNativeWebSocket', async (t) => {
  const server = await startServer(t, {}, { ws: true })
  let made = 0
  const before = globalThis.WebSocket
  const Counted = class extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols)
      made++
    }
  }
  Object.assign(globalThis, { WebSocket: Counted })
  t.after(() => (globalThis.WebSocket = before))
  const client = await connected(t, server.url, { forceNativeWebSocket: true })
  await client.publishAsync('a', 'b', { qos: 1 })
  assert.equal(made, 1)
})

honours('manualConnect', async (t) => {
  const server = await startServer(t)
  const client = mqtt.connect(server.url, { manualConnect: true })
  t.after(() => client.endAsync(true))
  const published = client.publishAsync('a', 'b', { qos: 1 })
  await sleep(30)
  assert.equal(server.connections.length, 0)
  client.connect()
  await published
})

honours('reconnectPeriod', async (t) => {
  const server = await startServer(t)
  const client = await connected(t, server.url, { reconnectPeriod: 60 })
  const began = Date.now()
  client.stream.destroy()
  await once(client, 'connect')
  assert.ok(Date.now() - began >= 55)
  // As it is when the connection is lost.
  client.options.reconnectPeriod = 10
  const again = Date.now()
  client.stream.destroy()
  await once(client, 'connect')
  assert.ok(Date.now() - again < 55)
  client.options.reconnectPeriod = 0
  client.stream.destroy()
  await once(client, 'close')
  await sleep(50)
  assert.equal(server.connections.length, 3)
  client.reconnect()
  await once(client, 'connect')
})

honours('reconnectOnConnackError', async (t) => {
  let refusals = 1
  const answers = {
    connect: (connection) =>
      connection.send({
        cmd: 'connack',
        returnCode: refusals-- > 0 ? 5 : 0,
        sessionPresent: false,
      }),
  }
  const server = await startServer(t, answers)
  const client = mqtt.connect(server.url, { reconnectPeriod: 10, reconnectOnConnackError: true })
  t.after(() => client.endAsync(true))
  const [error] = await once(client, 'error')
  assert.equal(error.code, 5)
  assert.equal(error.message, 'Connection refused: Not authorized')
  await once(client, 'connect')

  refusals = 1
  const other = mqtt.connect(server.url, { reconnectPeriod: 10 })
  t.after(() => other.endAsync(true))
  await once(other, 'error')
  await sleep(50)
  assert.equal(server.connections.length, 3)
})

honours('connectTimeout', async (t) => {
  const server = await startServer(t, { connect: () => {} })
  const client = mqtt.connect(server.url, { connectTimeout: 30 })
  t.after(() => client.endAsync(true))
  const [error] = await once(client, 'error')
  assert.equal(error.message, 'connack timeout')
})

honours('queueQoSZero', async (t) => {
  const server = await startServer(t)
  const client = mqtt.connect(server.url, { queueQoSZero: false })
  t.after(() => client.endAsync(true))
  await assert.rejects(client.publishAsync('a', 'b'), { message: 'No connection to broker' })
  await client.publishAsync('a', 'c', { qos: 1 })
  assert.equal(server.packets('publish').length, 1)
})

honours('resubscribe', async (t) => {
  for (const resubscribe of [true, false]) {
    const server = await startServer(t)
    const client = await connected(t, server.url, { resubscribe, reconnectPeriod: 10 })
    await client.subscribeAsync('a')
    client.stream.destroy()
    await once(client, 'connect')
    await client.publishAsync('a', 'b', { qos: 1 })
    assert.equal(server.packets('subscribe').length, resubscribe ? 2 : 1)
  }
})

honours('subscribeBatchSize', async (t) => {
  const server = await startServer(t)
  const client = await connected(t, server.url, { subscribeBatchSize: 2 })
  const granted = await client.subscribeAsync(['a', 'b', 'c'])
  assert.deepEqual(
    granted.map(({ topic }) => topic),
    ['a', 'b', 'c'],
  )
  assert.deepEqual(
    server.packets('subscribe').map(({ subscriptions }) => subscriptions.length),
    [2, 1],
  )
})

honours('outgoingStore incomingStore', async (t) => {
  const server = await startServer(t, { publish: () => {} })
  const options = {
    clientId: 'keeper',
    clean: false,
    outgoingStore: new mqtt.Store({ clean: false }),
    incomingStore: new mqtt.Store({ clean: false }),
  }
  const client = await connected(t, server.url, options)
  client.publish('a', 'kept', { qos: 1 })
  await server.packet('publish')
  await client.endAsync(true)
  const closed = t.mock.method(options.incomingStore, 'close')
  // As another process would, with the same store.
  const other = await connected(t, server.url, options)
  assert.equal((await server.packet('publish', 2)).payload.toString(), 'kept')
  await other.endAsync(true)
  assert.equal(closed.mock.callCount(), 1)
})

honours('customHandleAcks', async (t) => {
  const server = await startServer(t)
  const client = await connected(t, server.url, {
    protocolVersion: 5,
    customHandleAcks: (topic, _payload, _packet, done) => done(null, topic === 'bad' ? 131 : 0),
  })
  const shown = []
  client.on('message', (topic) => shown.push(topic))
  await client.subscribeAsync('#', { qos: 2 })
  for (const [at, topic] of ['bad', 'good'].entries())
    server.connections[0].send({ cmd: 'publish', topic, payload: '', qos: 1, messageId: at + 1 })
  assert.equal((await server.packet('puback', 1)).reasonCode, 131)
  assert.equal((await server.packet('puback', 2)).reasonCode, 0)
  assert.deepEqual(shown, ['good'])
})

honours('autoUseTopicAlias autoAssignTopicAlias', async (t) => {
  for (const option of [{}, { autoUseTopicAlias: true }, { autoAssignTopicAlias: true }]) {
    const server = await startServer(t, {
      connect: accepting({ topicAliasMaximum: 5 }),
    })
    const client = await connected(t, server.url, { protocolVersion: 5, ...option })
    for (let n = 0; n < 4; n++) await client.publishAsync('a/long/topic', 'x', { qos: 1 })
    const topics = server.packets('publish').map(({ topic }) => topic)
    assert.equal(topics.includes(''), Object.keys(option).length > 0, JSON.stringify(topics))
  }
})

honours('authPacket', async (t) => {
  const server = await startServer(t, {
    connect: (connection) =>
      connection.send({
        cmd: 'auth',
        reasonCode: 24,
        properties: { authenticationMethod: 'M', authenticationData: Buffer.from('challenge') },
      }),
    auth: accepting({ authenticationMethod: 'M' }),
  })
  await connected(t, server.url, {
    protocolVersion: 5,
    properties: { authenticationMethod: 'M', authenticationData: Buffer.from('first') },
    authPacket: { properties: { authenticationData: Buffer.from('answer') } },
  })
  const connect = await server.packet('connect')
  assert.equal(connect.properties.authenticationData.toString(), 'first')
  assert.equal((await server.packet('auth')).properties.authenticationData.toString(), 'answer')
})

honours('log', async (t) => {
  const server = await startServer(t)
  const lines = []
  await connected(t, server.url, { log: (...args) => lines.push(args) })
  assert.ok(lines.length > 0)
})

honours('messageIdProvider', async (t) => {
  const server = await startServer(t)
  const messageIdProvider = new mqtt.UniqueMessageIdProvider()
  const client = await connected(t, server.url, { messageIdProvider })
  client.publish('a', 'b', { qos: 1 })
  assert.equal(client.getLastMessageId(), 1)
  client.subscribe('a')
  assert.equal(messageIdProvider.getLastAllocated(), 2)
})

// TLS is made by Node of the same options: tests/js/tls.test.mjs has certificates, client.test.mjs a secure connection.
honours('key cert ca rejectUnauthorized servername ALPNProtocols', async (t) => {
  const { tlsServer } = await import('./certificates.mjs')
  const server = await startServer(t)
  const { port, ca, key, cert, seen } = await tlsServer(t, (socket) => server.accept(socket))
  await connected(t, `mqtts://127.0.0.1:${port}`, {
    ca,
    key,
    cert,
    servername: 'localhost',
    ALPNProtocols: ['mqtt'],
  })
  assert.equal(seen[0].servername, 'localhost')
  assert.equal(seen[0].alpn, 'mqtt')
  assert.equal(seen[0].hasCertificate, true)
  const refusing = mqtt.connect(`mqtts://127.0.0.1:${port}`, { servername: 'localhost' })
  t.after(() => refusing.endAsync(true))
  const [error] = await once(refusing, 'error')
  assert.match(error.code, /CERT|SELF_SIGNED|UNABLE/)
  await connected(t, `mqtts://127.0.0.1:${port}`, { rejectUnauthorized: false })
})

const WARNED = {
  reschedulePings: false,
  timerVariant: 'worker',
  writeCache: false,
  encoding: 'binary',
  binary: false,
  objectMode: true,
  browserBufferSize: 1024,
  browserBufferTimeout: 100,
  my: {},
  socksTimeout: 5,
}
for (const [name, value] of Object.entries(WARNED)) {
  covered.add(name)
  test(`says that ${name} has no effect, and why`, async (t) => {
    const server = await startServer(t)
    const said = await warnings(t, () => connected(t, server.url, { [name]: value }))
    assert.equal(said.length, 1)
    assert.ok(said[0].includes(name), said[0])
    assert.match(said[0], /no effect/)
  })
}

const REFUSED = {
  socksProxy: 'socks5://127.0.0.1:1080',
  protocolVersion: 3,
  protocolId: 'MQIsdp',
}
for (const [name, value] of Object.entries(REFUSED)) {
  covered.add(name)
  test(`refuses ${name}: ${value}`, () => {
    assert.throws(
      () => mqtt.connect('mqtt://127.0.0.1:1', { [name]: value }),
      /wasmqtt\/mqttjs: .* not supported/,
    )
  })
}
for (const scheme of ['wx', 'wxs', 'ali', 'alis'])
  test(`refuses ${scheme}: URLs`, () => {
    assert.throws(() => mqtt.connect(`${scheme}://example.org`), /no WebAssembly/)
  })

// Only MQTT.js' command line reads them.
for (const name of ['keyPath', 'certPath', 'caPaths']) covered.add(name)

test('knows every option of the types of MQTT.js', () => {
  const names = [...membersOf('IClientOptions'), ...membersOf('ISecureClientOptions')]
  assert.ok(names.length > 55, `only ${names.length} were found`)
  assert.deepEqual(
    names.filter((name) => !covered.has(name)),
    [],
  )
})

const own = (path) =>
  readFileSync(new URL(`../../node_modules/mqtt/${path}`, import.meta.url), 'utf8')

test('knows every option of the manual of MQTT.js', () => {
  const [, text] = /### mqtt\.Client\(streamBuilder, options\)(.*?)<a name="events">/s.exec(
    own('README.md'),
  )
  const names = [...text.matchAll(/^ {2}- `(\w+)`/gm)].map(([, name]) => name)
  assert.ok(names.length > 30, `only ${names.length} were found`)
  assert.deepEqual(
    names.filter((name) => !covered.has(name)),
    [],
  )
})

test('has what MQTT.js exports, and the members of its client', () => {
  const missing = Object.keys(originals).filter((name) => name !== 'default' && !(name in mqtt))
  // What its keep-alive is made of, and two helpers of its own.
  assert.deepEqual(missing.sort(), ['KeepaliveManager', 'applyMixin', 'nextTick'])
  const [, body] = own('build/lib/client.d.ts').split('export default class MqttClient')
  const members = [...body.matchAll(/^ {4}(?:get )?(\w+)[(:]/gm)].map(([, name]) => name)
  const client = mqtt.connect('mqtt://127.0.0.1:1', { manualConnect: true })
  client.end(true)
  assert.deepEqual(
    [...new Set(members)].filter((name) => !(name in client)),
    // The core sends pings.
    ['noop', 'keepaliveManager', 'reschedulePing', 'sendPing', 'onKeepaliveTimeout'],
  )
})

/** A connection whose CONNACK allows topic aliases. */
async function aliasing(t, answers) {
  const server = await startServer(t, {
    connect: accepting({ topicAliasMaximum: 10 }),
    ...answers,
  })
  return { server, client: await connected(t, server.url, { protocolVersion: 5 }) }
}

test('honours every option of publish', async (t) => {
  const { server, client } = await aliasing(t)
  const properties = {
    payloadFormatIndicator: true,
    messageExpiryInterval: 60,
    topicAlias: 7,
    responseTopic: 'answers',
    correlationData: Buffer.from('c'),
    userProperties: { a: 'b', c: ['d', 'e'] },
    contentType: 'text/plain',
  }
  let stored = 0
  /** @type {import('../../pkg/mqttjs.node.js').IClientPublishOptions} */
  const options = { qos: 1, retain: true, properties, cbStorePut: () => stored++ }
  await client.publishAsync('a', 'b', options)
  assert.equal(stored, 1)
  const packet = await server.packet('publish')
  assert.deepEqual([packet.qos, packet.retain], [1, true])
  assert.deepEqual(plain(packet.properties), properties)
  const said = await warnings(t, () =>
    client.publishAsync('a', 'b', { properties: { subscriptionIdentifier: 1 } }),
  )
  assert.match(said[0], /subscriptionIdentifier/)
  // The test after the next says so of `dup`.
  const known = [...Object.keys(options), 'dup']
  assert.deepEqual(membersOf('IClientPublishOptions').sort(), known.sort())
  const names = [...Object.keys(properties), 'subscriptionIdentifier']
  assert.deepEqual(propertiesOf('IPublishPacket').sort(), names.sort())
})

test('honours every option of subscribe and unsubscribe', async (t) => {
  const { server, client } = await aliasing(t)
  const userProperties = { a: ['b', 'c'] }
  const properties = { subscriptionIdentifier: 9, userProperties }
  await client.subscribeAsync('a', { qos: 1, nl: true, rap: true, rh: 2, properties })
  const subscribe = await server.packet('subscribe')
  assert.deepEqual(
    { ...subscribe.subscriptions[0] },
    { topic: 'a', qos: 1, nl: true, rap: true, rh: 2 },
  )
  assert.equal(subscribe.properties.subscriptionIdentifier, 9)
  assert.deepEqual({ ...subscribe.properties.userProperties }, userProperties)
  await client.subscribeAsync({ b: { qos: 2, rh: 1 }, c: { qos: 0 } })
  assert.deepEqual(
    (await server.packet('subscribe', 2)).subscriptions.map(({ topic, qos, rh }) => [
      topic,
      qos,
      rh,
    ]),
    [
      ['b', 2, 1],
      ['c', 0, 0],
    ],
  )
  await client.unsubscribeAsync(['a', 'b'], { properties: { userProperties } })
  const unsubscribe = await server.packet('unsubscribe')
  assert.deepEqual(unsubscribe.unsubscriptions, ['a', 'b'])
  assert.deepEqual({ ...unsubscribe.properties.userProperties }, userProperties)
  assert.deepEqual(membersOf('IClientSubscribeOptions'), ['qos', 'nl', 'rap', 'rh'])
  for (const name of ['IClientSubscribeProperties', 'IClientUnsubscribeProperties'])
    assert.deepEqual(membersOf(name), ['properties'])
})

test('honours resubscribe of a map of subscriptions: what is there is asked for again', async (t) => {
  const server = await startServer(t)
  const client = await connected(t, server.url)
  for (const resubscribe of [false, false, true]) {
    // @ts-expect-error: MQTT.js' type does not allow its own option, either.
    await client.subscribeAsync({ a: { qos: 0 }, resubscribe })
  }
  assert.deepEqual(
    server.packets('subscribe').map(({ subscriptions }) => subscriptions.map(({ topic }) => topic)),
    [['a'], ['a']],
  )
})

test('honours every option of end', async (t) => {
  const { server, client } = await aliasing(t)
  const properties = { sessionExpiryInterval: 0, reasonString: 'enough' }
  await client.endAsync(false, { reasonCode: 4, properties })
  const packet = await server.packet('disconnect')
  assert.equal(packet.reasonCode, 4)
  assert.deepEqual({ ...packet.properties }, properties)
})

test('honours every option of reconnect', async (t) => {
  const server = await startServer(t, { publish: () => {} })
  const client = await connected(t, server.url, { clean: false, clientId: 'keeper' })
  await client.endAsync(true)
  const [incomingStore, outgoingStore] = [new mqtt.Store(), new mqtt.Store()]
  client.reconnect({ incomingStore, outgoingStore })
  await once(client, 'connect')
  const put = t.mock.method(outgoingStore, 'put')
  client.publish('a', 'b', { qos: 1 })
  await server.packet('publish')
  assert.equal(put.mock.callCount(), 1)
  assert.equal(client.incomingStore, incomingStore)
  assert.deepEqual(membersOf('IClientReconnectOptions'), ['incomingStore', 'outgoingStore'])
})

test('says that publish with dup has no effect', async (t) => {
  const server = await startServer(t)
  const client = await connected(t, server.url)
  const said = await warnings(t, () => client.publishAsync('a', 'b', { qos: 1, dup: true }))
  assert.match(said[0], /dup/)
})

test('honours a stream that the application makes', async (t) => {
  const server = await startServer(t)
  const client = new mqtt.MqttClient(() => createConnection(server.port, '127.0.0.1'), {})
  t.after(() => client.endAsync(true))
  await once(client, 'connect')
  await client.publishAsync('a', 'b', { qos: 2 })
})
