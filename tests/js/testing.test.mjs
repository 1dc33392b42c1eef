// @ts-nocheck: mistakes that the types refuse are tested here.
// 'wasmqtt/testing' through the package: the test broker, its faults, its clock, and its ports.

import { deepStrictEqual, equal, ok, rejects, strictEqual, throws } from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import net from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import mqtt from 'mqtt'
import { WebSocket } from 'ws'
import { Client, connect, Message } from '../../pkg/node.js'
import { TestBroker } from '../../pkg/testing-node.js'

const run = promisify(execFile)

/** A test for each protocol version, with a broker of its own. */
function story(title, options, tell = options) {
  for (const protocolVersion of [5, 4]) {
    test(`MQTT ${protocolVersion === 5 ? '5' : '3.1.1'}: ${title}`, {
      timeout: 30_000,
    }, async (t) => {
      const broker = new TestBroker(tell === options ? {} : options)
      t.after(() => broker[Symbol.asyncDispose]())
      const join = async (clientId, more) => {
        const client = await connect('ws://broker', {
          transport: broker.transport,
          protocolVersion,
          clientId,
          reconnect: { minDelay: 10, maxDelay: 10 },
          ...more,
        })
        t.after(() => client.end({ force: true }))
        return client
      }
      await tell({ t, broker, join, protocolVersion })
    })
  }
}

const next = (client, event) =>
  new Promise((resolve) => client.once(event, (...all) => resolve(all)))

/** A turn of the event loop, which fake timers do not hold back. */
const turn = () =>
  new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = () => resolve(port1.close())
    port2.postMessage(0)
  })

// ------------------------------------------------------------------------------------------------ messages

// Contract: A broker for tests and demos, in the same page or process: MQTT 5.0 and 3.1.1 with sessions, QoS 0 to 2, retained messages, wills, shared
// subscriptions, and faults on demand.
// Contract: For ConnectOptions.transport: no network is touched
story('messages come and go at each QoS, without a network', async ({ broker, join }) => {
  const client = await join('me')
  const got = []
  await client.subscribe(
    'a/#',
    { qos: 2 },
    (message) => void got.push([message.topic, message.text(), message.qos]),
  )
  for (const qos of [0, 1, 2]) await client.publish(`a/${qos}`, 'x', { qos })
  broker.publish('a/b', 'from the test', { qos: 1 })
  await client.publish('end', '', { qos: 1 })
  deepStrictEqual(got, [
    ['a/0', 'x', 0],
    ['a/1', 'x', 1],
    ['a/2', 'x', 2],
    ['a/b', 'from the test', 1],
  ])
  deepStrictEqual(broker.clients, [{ clientId: 'me', connected: true, subscriptions: ['a/#'] }])
})

story(
  'what is published with properties arrives with them',
  async ({ broker, join, protocolVersion }) => {
    const client = await join('me')
    const message = new Promise((resolve) => client.subscribe('a', resolve))
    await broker.expect({ type: 'suback' })
    broker.publish('a', new Uint8Array([1, 2]), {
      properties: {
        contentType: 'bytes',
        correlationData: new Uint8Array([3]),
        userProperties: { one: '1', two: ['2', '3'] },
        messageExpiryInterval: 10,
      },
    })
    const { payload, properties } = await message
    deepStrictEqual([...payload], [1, 2])
    if (protocolVersion === 4) return strictEqual(properties, undefined)
    equal(properties.contentType, 'bytes')
    equal(properties.messageExpiryInterval, 10)
    deepStrictEqual([...properties.correlationData], [3])
    deepStrictEqual(properties.userProperties, [
      ['one', '1'],
      ['two', '2'],
      ['two', '3'],
    ])
  },
)

story(
  'retained messages are seen by later subscribers, and by the test',
  async ({ broker, join }) => {
    const client = await join('me')
    await client.publish('state/a', '1', { qos: 1, retain: true })
    broker.publish('state/b', '2', { retain: true })
    deepStrictEqual([...broker.retained.keys()], ['state/a', 'state/b'])
    const message = broker.retained.get('state/a')
    ok(message instanceof Message)
    deepStrictEqual([message.text(), message.qos, message.retain], ['1', 1, true])
    const got = []
    await client.subscribe('state/+', (message) => void got.push(message.text()))
    await client.publish('end', '', { qos: 1 })
    deepStrictEqual(got, ['1', '2'])
    broker.publish('state/a', null, { retain: true })
    deepStrictEqual([...broker.retained.keys()], ['state/b'])
  },
)

// Contract: What clients sent and got, decoded, oldest first; bounded.
story('packets are kept, decoded', async ({ broker, join, protocolVersion }) => {
  const client = await join('me')
  await client.subscribe(['a', 'b/#'], { qos: 1 })
  await client.publish('a', 'hello', { qos: 1, retain: true })
  await client.unsubscribe('a')
  const types = broker.packets.map(({ direction, type }) => `${direction} ${type}`)
  for (const type of [
    'in connect',
    'out connack',
    'in subscribe',
    'out suback',
    'in publish',
    'out puback',
    'out publish',
    'out unsuback',
  ])
    ok(types.includes(type), `${type} in ${types}`)
  const [first] = broker.packets
  equal(first.clientId, 'me')
  equal(first.keepalive, 60)
  equal(first.protocolVersion, protocolVersion)
  const publish = broker.packets.find(({ type }) => type === 'publish')
  equal(publish.topic, 'a')
  equal(publish.qos, 1)
  equal(publish.retain, true)
  equal(Buffer.from(publish.payload).toString(), 'hello')
  // One SUBSCRIBE, or one for each filter.
  const subscriptions = broker.packets.flatMap(({ subscriptions = [] }) => subscriptions)
  deepStrictEqual(
    subscriptions.map(({ filter, qos }) => [filter, qos]),
    [
      ['a', 1],
      ['b/#', 1],
    ],
  )
  strictEqual(broker.packets, broker.packets, 'the same list while nothing happens')
})

// ------------------------------------------------------------------------------------------------ expect

// Contract: Resolves with the first packet that fits, past or future.
story('expect finds what was and waits for what comes', async ({ broker, join }) => {
  const connack = broker.expect({ type: 'connack' })
  const client = await join('me')
  equal((await connack).reasonCode, 0)
  equal((await broker.expect({ type: 'connect', clientId: 'me' })).type, 'connect')
  const wanted = broker.expect({ type: 'publish', clientId: 'me', topic: 'a/+' })
  client.publish('b', '')
  client.publish('a/b', 'x')
  equal((await wanted).topic, 'a/b')
})

// Contract: Resolves with the first packet that fits, past or future.
story('expect can be bounded', async ({ broker, join }) => {
  await join('me')
  await rejects(broker.expect({ type: 'publish' }, { timeout: 20 }), {
    code: 'TIMEOUT',
    message: /^No 'publish' within 20 ms$/,
  })
  const controller = new AbortController()
  const aborted = broker.expect({ type: 'publish' }, { signal: controller.signal })
  controller.abort()
  await rejects(aborted, { code: 'ABORTED' })
  await rejects(broker.expect({ type: 'publish' }, { signal: AbortSignal.abort() }), {
    code: 'ABORTED',
  })
  await rejects(broker.expect({ typo: 'publish' }), { code: 'INVALID_ARGUMENT', argument: 'typo' })
  await rejects(broker.expect({}), { code: 'INVALID_ARGUMENT', argument: 'match' })
  const disposed = broker.expect({ type: 'publish' })
  await broker[Symbol.asyncDispose]()
  await rejects(disposed, { code: 'CLOSED' })
  await rejects(broker.expect({ type: 'publish' }), { code: 'CLOSED' })
})

// ------------------------------------------------------------------------------------------------ faults

// Contract: drop: the connection is gone, without a word
story(
  'a drop is a lost connection; the client comes back to its session',
  async ({ broker, join }) => {
    const client = await join('me', { clean: false })
    const got = []
    await client.subscribe('a', { qos: 1 }, (message) => void got.push(message.text()))
    const lost = next(client, 'disconnect')
    const back = next(client, 'connect')
    broker.drop('me')
    broker.publish('a', 'meanwhile', { qos: 1 })
    const [error, willReconnect] = await lost
    equal(error.code, 'CONNECTION_LOST')
    equal(willReconnect, true)
    const [info] = await back
    equal(info.sessionPresent, true)
    await client.publish('end', '', { qos: 1 })
    deepStrictEqual(got, ['meanwhile'])
  },
)

// Contract: loseSession(clientId?)
story('a session that is lost is restored by the client', async ({ broker, join }) => {
  const client = await join('me', { clean: false })
  await client.subscribe('a')
  broker.loseSession('me')
  const back = next(client, 'connect')
  broker.drop('me')
  const [info] = await back
  equal(info.sessionPresent, false)
  await client.publish('end', '', { qos: 1 })
  deepStrictEqual(broker.clients[0].subscriptions, ['a'])
})

// Contract: disconnect(reasonCode, clientId?)
story('the server says goodbye', async ({ broker, join, protocolVersion }) => {
  const client = await join('me')
  await client.publish('a', '', { qos: 1 })
  const lost = next(client, 'disconnect')
  broker.disconnect(0x8b)
  const [error] = await lost
  equal(error.code, protocolVersion === 5 ? 'SERVER_DISCONNECTED' : 'CONNECTION_LOST')
  throws(() => broker.disconnect(0x04), { code: 'INVALID_ARGUMENT', argument: 'reasonCode' })
})

// Contract: refuse: the next CONNECTs; undefined: none any more
story('a refusal holds until it is taken back', async ({ broker, join }) => {
  broker.refuse(0x87)
  for (let attempt = 0; attempt < 2; attempt++)
    await rejects(join('me'), { code: 'CONNECTION_REFUSED', reasonCode: 0x87 })
  broker.refuse(undefined)
  await join('me')
  throws(() => broker.refuse(0), { code: 'INVALID_ARGUMENT', argument: 'reasonCode' })
})

// Contract: deny: not authorized
story('topics can be denied', async ({ broker, join, protocolVersion }) => {
  const client = await join('me')
  broker.deny({ publish: 'secret/#', subscribe: 'secret/#' })
  const publish = client.publish('secret/a', 'x', { qos: 1 })
  if (protocolVersion === 5) await rejects(publish, { code: 'PUBLISH_REFUSED', reasonCode: 0x87 })
  else await publish
  await rejects(client.subscribe('secret/a'), { code: 'SUBSCRIBE_REFUSED' })
  throws(() => broker.deny({ publish: 'a/#/b' }), { argument: 'publish' })
  throws(() => broker.deny({ topic: 'a' }), { argument: 'topic' })
  broker.deny({})
  await client.subscribe('secret/a')
})

// Contract: cutAfter: in the middle of a packet
story('a cut in the middle of a packet loses and doubles nothing', async ({ broker, join }) => {
  const client = await join('me', { clean: false })
  const got = []
  await client.subscribe('a', { qos: 2 }, (message) => void got.push(message.text()))
  const texts = Array.from({ length: 20 }, (_, number) => `${number}`)
  for (const bytes of [1, 7, 30, 31, 32, 33, 100]) {
    got.length = 0
    broker.cutAfter(bytes, 'me')
    await Promise.all(texts.map((text) => client.publish('a', text, { qos: 2 })))
    await client.publish('end', '', { qos: 1 })
    deepStrictEqual(got, texts)
  }
  throws(() => broker.cutAfter(-1), { argument: 'bytes' })
})

// Contract: freeze: half-open, until the returned function is called
story('a frozen connection carries nothing until it goes on', async ({ broker, join }) => {
  const client = await join('me')
  const thaw = broker.freeze('me')
  const publish = client.publish('a', 'x', { qos: 1 })
  await sleep(30)
  ok(!broker.packets.some(({ type }) => type === 'publish'))
  thaw()
  await publish
  ok(broker.packets.some(({ type }) => type === 'publish'))
})

// Contract: delay(ms)
story('a delay is so long', async ({ broker, join }) => {
  const client = await join('me')
  broker.delay(50)
  const began = performance.now()
  await client.publish('a', 'x', { qos: 1 })
  // Timers may be early by a millisecond.
  ok(performance.now() - began >= 45)
  broker.delay(0)
  throws(() => broker.delay(NaN), { argument: 'ms' })
})

// ------------------------------------------------------------------------------------------------ time

story('with fake timers messages need no time', async ({ t, broker, join }) => {
  const client = await join('me', { keepalive: 0, connectTimeout: 2_000 })
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'setImmediate', 'Date'] })
  const message = new Promise((resolve) => client.subscribe('a', { qos: 2 }, resolve))
  await client.publish('a', 'x', { qos: 2 })
  equal((await message).text(), 'x')
  await client.end()
})

test('a connection that begins under fake timers needs no time, either', async (t) => {
  const broker = new TestBroker()
  t.after(() => broker[Symbol.asyncDispose]())
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'setImmediate', 'Date'] })
  const client = await connect('ws://broker', { transport: broker.transport })
  const message = new Promise((resolve) => client.subscribe('a', resolve))
  await client.publish('a', 'x', { qos: 2 })
  equal((await message).text(), 'x')
  await client.end()
})

test('microtasks that are faked, as those of Jest, hold nothing back', async (t) => {
  const { queueMicrotask } = globalThis
  t.after(() => Object.assign(globalThis, { queueMicrotask }))
  globalThis.queueMicrotask = () => {}
  const broker = new TestBroker()
  const client = await connect('ws://broker', { transport: broker.transport })
  await client.publish('a', 'x', { qos: 1 })
  await broker.expect({ type: 'puback' })
  await client.end()
})

story('fake timers move what needs time', async ({ t, broker, join }) => {
  const client = await join('me', { keepalive: 0, connectTimeout: 2_000 })
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'setImmediate'] })
  // A client that says nothing after its CONNECT.
  const silent = broker.transport(new URL('ws://broker'), { protocols: ['mqtt'], signal: t.signal })
  await new Promise((resolve) => (silent.onopen = resolve))
  silent.send(Buffer.from('101000044d5154540402000a0004676f6e65', 'hex'))
  await broker.expect({ type: 'connack', clientId: 'gone' })
  const closed = new Promise((resolve) => (silent.onclose = resolve))
  t.mock.timers.tick(14_990)
  equal(broker.clients.length, 2)
  t.mock.timers.tick(11)
  equal(broker.clients.length, 1)
  await closed

  // A delay.
  broker.delay(1_000)
  let isDone = false
  const publish = client.publish('a', 'x', { qos: 1 }).then(() => (isDone = true))
  await broker.expect({ type: 'puback' })
  t.mock.timers.tick(999)
  await turn()
  equal(isDone, false)
  t.mock.timers.tick(1)
  await publish
})

test('messages and sessions expire by the clock of the test', async (t) => {
  const broker = new TestBroker()
  const client = await connect('ws://broker', {
    transport: broker.transport,
    protocolVersion: 5,
    clientId: 'me',
    reconnect: false,
    keepalive: 0,
    connectTimeout: 2_000,
    properties: { sessionExpiryInterval: 100 },
  })
  t.mock.timers.enable({ apis: ['setTimeout'] })
  await client.publish('a', 'x', {
    qos: 1,
    retain: true,
    properties: { messageExpiryInterval: 10 },
  })
  await client.end({ force: true })
  await broker.expect({ type: 'puback' })
  equal(broker.clients.length, 1)
  t.mock.timers.tick(100_000)
  equal(broker.clients.length, 0)
  equal(broker.retained.size, 0)
  await broker[Symbol.asyncDispose]()
})

// ------------------------------------------------------------------------------------------------ options

// Contract: versions, users, receiveMaximum, maximumPacketSize, maximumQoS, topicAliasMaximum, retainAvailable
test('options are heard', async () => {
  const broker = new TestBroker({
    versions: [5],
    users: { ann: 'secret' },
    receiveMaximum: 7,
    maximumPacketSize: 1_000,
    maximumQoS: 1,
    topicAliasMaximum: 3,
    retainAvailable: false,
  })
  const options = { transport: broker.transport, username: 'ann', password: 'secret' }
  const client = await connect('ws://broker', options)
  const { server } = client
  deepStrictEqual(
    [
      server.receiveMaximum,
      server.maximumPacketSize,
      server.maximumQoS,
      server.topicAliasMaximum,
      server.retainAvailable,
    ],
    [7, 1_000, 1, 3, false],
  )
  ok(client.clientId.startsWith('auto-'))
  await rejects(connect('ws://broker', { ...options, password: 'wrong' }), { reasonCode: 0x86 })
  await rejects(connect('ws://broker', { ...options, username: undefined, password: undefined }), {
    reasonCode: 0x87,
  })
  await rejects(connect('ws://broker', { ...options, protocolVersion: 4 }), { reasonCode: 0x84 })
  await client.end()
  await broker[Symbol.asyncDispose]()
  await rejects(connect('ws://broker', { ...options, reconnect: false }), {
    code: 'CONNECTION_FAILED',
  })
})

test('mistakes are named', () => {
  for (const [options, argument] of [
    [{ version: [5] }, 'version'],
    [{ versions: [] }, 'versions'],
    [{ versions: [3] }, 'versions'],
    [{ receiveMaximum: 0 }, 'receiveMaximum'],
    [{ receiveMaximum: 65_536 }, 'receiveMaximum'],
    [{ maximumQoS: 3 }, 'maximumQoS'],
    [{ maximumPacketSize: 'large' }, 'maximumPacketSize'],
    [{ retainAvailable: 'no' }, 'retainAvailable'],
    [{ topicAliasMaximum: -1 }, 'topicAliasMaximum'],
    [{ versions: 5 }, 'versions'],
    [{ users: 7 }, 'users'],
    [{ users: { ann: 7 } }, 'users'],
  ])
    throws(() => new TestBroker(options), { code: 'INVALID_ARGUMENT', argument })
  const broker = new TestBroker()
  for (const [call, argument] of [
    [() => broker.publish('a/#', ''), 'topic'],
    [() => broker.publish('a', 42), 'payload'],
    [() => broker.publish('a', '', { Qos: 1 }), 'Qos'],
    [() => broker.publish('a', '', { qos: 3 }), 'qos'],
    [() => broker.publish('a', '', { retain: 1 }), 'retain'],
    [() => broker.publish('a', '', { properties: { contentTyp: '' } }), 'contentTyp'],
    [() => broker.publish(7, ''), 'topic'],
    [() => broker.publish('\ud800', ''), 'topic'],
    [() => broker.publish('a', '\ud800'), 'payload'],
    [() => broker.publish('a', '', { properties: { contentType: '\ud800' } }), 'contentType'],
    [() => broker.publish('a', '', { properties: { userProperties: { a: 7 } } }), 'userProperties'],
    [() => broker.drop(7), 'clientId'],
    [() => broker.freeze({}), 'clientId'],
    [() => broker.disconnect(0x8b, 7), 'clientId'],
    [() => broker.disconnect(0x18b), 'reasonCode'],
    [() => broker.refuse('0x87'), 'reasonCode'],
    [() => broker.loseSession(null), 'clientId'],
    [() => broker.deny({ publish: 7 }), 'publish'],
    [() => broker.cutAfter(1, 7), 'clientId'],
    [() => broker.cutAfter('1 KB'), 'bytes'],
    [() => broker.delay('1 s'), 'ms'],
    [() => broker.publish('a', '', { properties: { responseTopic: '+' } }), 'properties'],
  ])
    throws(call, { code: 'INVALID_ARGUMENT', argument })
})

test('the properties of a received message can be published again', async (t) => {
  const broker = new TestBroker()
  t.after(() => broker[Symbol.asyncDispose]())
  const client = await connect('ws://broker', { transport: broker.transport })
  const once = (topic) =>
    new Promise((resolve) => client.subscribe(topic, { subscriptionIdentifier: 7 }, resolve))
  const [first, second] = [once('a'), once('b')]
  await broker.expect({ type: 'suback' })
  await client.publish('a', 'x', { qos: 1, properties: { contentType: 'text/plain' } })
  const { payload, properties } = await first
  deepStrictEqual(properties.subscriptionIdentifiers, [7])
  broker.publish('b', payload, { properties })
  equal((await second).properties.contentType, 'text/plain')
  await client.end()
})

test('brokers do not mix, and a broker that is disposed of is gone', async () => {
  const brokers = [new TestBroker(), new TestBroker()]
  const clients = await Promise.all(
    brokers.map((broker) =>
      connect('ws://broker', { transport: broker.transport, clientId: 'me', reconnect: false }),
    ),
  )
  await clients[0].publish('a', 'x', { qos: 1, retain: true })
  deepStrictEqual(
    brokers.map(({ retained }) => retained.size),
    [1, 0],
  )
  const closed = next(clients[0], 'close')
  await brokers[0][Symbol.asyncDispose]()
  await brokers[0][Symbol.asyncDispose]()
  const [error] = await closed
  equal(error.code, 'CONNECTION_LOST')
  await clients[1].publish('a', 'x', { qos: 1 })
  await clients[1].end()
  await brokers[1][Symbol.asyncDispose]()
})

test('it is the same module for require() and import, and keeps no process alive', async () => {
  const required = createRequire(import.meta.url)(
    fileURLToPath(new URL('../../pkg/testing-node.cjs', import.meta.url)),
  )
  strictEqual(required.TestBroker, TestBroker)
  const url = new URL('../../pkg/', import.meta.url)
  const script = `
    import { TestBroker } from '${url}testing-node.js'
    import { connect } from '${url}node.js'
    const broker = new TestBroker()
    const client = await connect('ws://broker', { transport: broker.transport })
    await client.publish('a', 'x', { qos: 1, retain: true })
    await client.end()
    console.log(broker.retained.size)`
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], {
    timeout: 10_000,
  })
  equal(stdout, '1\n')
})

// ------------------------------------------------------------------------------------------------ ports

// Contract: Node, Deno and Bun: also on loopback, for other programs and pages; port 0 chooses one.
story(
  'it listens for WebSockets and TCP [serves MQTT3-7.1.1-1]',
  async ({ broker, protocolVersion }) => {
    const listener = await broker.listen({ tcp: 0 })
    const client = await connect(listener.url, { protocolVersion })
    const other = await mqtt.connectAsync(listener.tcpUrl, { protocolVersion })
    const message = once(other, 'message')
    await other.subscribeAsync('a', { qos: 2 })
    await client.publish('a', 'hello', { qos: 2 })
    const [topic, payload] = await message
    deepStrictEqual([topic, payload.toString()], ['a', 'hello'])
    equal(broker.clients.length, 2)
    const lost = next(client, 'disconnect')
    broker.drop(client.clientId)
    await lost
    await client.end({ force: true })
    await other.endAsync()
    await listener.close()
    await rejects(connect(listener.url, { protocolVersion }), { code: 'CONNECTION_FAILED' })
  },
)

test('the subprotocol is mqtt, and only binary frames are taken [serves MQTT5-6.0.0-4] [serves MQTT3-6.0.0-4] [serves MQTT5-6.0.0-1]', async (t) => {
  const broker = new TestBroker()
  t.after(() => broker[Symbol.asyncDispose]())
  const { url } = await broker.listen()
  const socket = new WebSocket(url, ['other', 'mqtt'])
  await once(socket, 'open')
  equal(socket.protocol, 'mqtt')
  socket.send('text')
  const [code] = await once(socket, 'close')
  equal(code, 1000)
})

test('close() ends connections that never became an upgrade', async (t) => {
  const broker = new TestBroker()
  t.after(() => broker[Symbol.asyncDispose]())
  const { url, tcpUrl, close } = await broker.listen({ tcp: 0 })
  const begun = {
    nothing: [url, ''],
    'half a request': [url, 'GET /mqtt HTTP/1.1\r\nHost: a'],
    'a request whose body does not come': [
      url,
      'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n',
    ],
    'nothing over TCP': [tcpUrl, ''],
  }
  const ends = Object.entries(begun).map(async ([name, [to, text]]) => {
    const socket = net.connect(Number(new URL(to).port), '127.0.0.1')
    socket.on('error', () => {})
    t.after(() => socket.destroy())
    await once(socket, 'connect')
    socket.write(text)
    socket.resume()
    return { name, closed: once(socket, 'close') }
  })
  const sockets = await Promise.all(ends)
  // They have arrived before the port closes.
  await sleep(50)
  const late = sleep(5_000, 'late', { ref: false })
  equal(await Promise.race([close(), late]), undefined)
  for (const { name, closed } of sockets)
    ok((await Promise.race([closed, late])) !== 'late', `${name} is still open`)
})

test('a port that is taken is told', async (t) => {
  const broker = new TestBroker()
  t.after(() => broker[Symbol.asyncDispose]())
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const { port } = server.address()
  await rejects(broker.listen({ port }), { code: 'EADDRINUSE' })
  await rejects(broker.listen({ tcp: port }), { code: 'EADDRINUSE' })
  await rejects(broker.listen({ tpc: 0 }), { argument: 'tpc' })
  await broker.listen()
})

story('mosquitto_pub and mosquitto_sub', async ({ broker, protocolVersion }) => {
  const { tcpUrl } = await broker.listen({ tcp: 0 })
  const version = protocolVersion === 5 ? 'mqttv5' : 'mqttv311'
  const options = ['-p', new URL(tcpUrl).port, '-h', '127.0.0.1', '-V', version]
  const sub = spawn('mosquitto_sub', [
    ...options,
    '-i',
    'sub',
    '-t',
    'a/#',
    '-q',
    '2',
    '-C',
    '3',
    '-v',
    '-W',
    '10',
  ])
  let said = ''
  sub.stdout.on('data', (text) => (said += text))
  const exit = once(sub, 'exit')
  await broker.expect({ type: 'suback', clientId: 'sub' })
  for (const qos of ['0', '1', '2'])
    await run('mosquitto_pub', [...options, '-t', `a/${qos}`, '-m', `QoS ${qos}`, '-q', qos])
  deepStrictEqual(await exit, [0, null])
  equal(said, 'a/0 QoS 0\na/1 QoS 1\na/2 QoS 2\n')
})

test('Client is constructed with the transport, too', async () => {
  const broker = new TestBroker()
  const client = new Client('ws://broker', { transport: broker.transport })
  const publish = client.publish('a', 'queued', { qos: 1 })
  await client.connect()
  await publish
  equal((await broker.expect({ type: 'publish' })).topic, 'a')
  await client.end()
  await broker[Symbol.asyncDispose]()
})
