import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Client } from '../../pkg/node.js'
import { connected, event, makeClient, settle, startBroker, until } from './scripted-broker.mjs'

// Contract: A string is sent as UTF-8; null is the empty payload.
// Contract: never set by default, as for publish
// Contract: qos: default 0. retain: default false
test('QoS 0: payloads of every kind', async (t) => {
  const { client, peer } = await connected(t, { topicAliases: false })
  const bytes = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8])
  const payloads = [
    [undefined, ''],
    [null, ''],
    ['', ''],
    ['plain', 'plain'],
    ['grüße €😀', 'grüße €😀'],
    ['x'.repeat(200), 'x'.repeat(200)],
    [`${'x'.repeat(100)}ü`, `${'x'.repeat(100)}ü`],
    ['ä'.repeat(20_000), 'ä'.repeat(20_000)],
    [bytes, '\x01\x02\x03\x04\x05\x06\x07\x08'],
    [bytes.buffer, '\x01\x02\x03\x04\x05\x06\x07\x08'],
    [new DataView(bytes.buffer, 2, 3), '\x03\x04\x05'],
    [new Uint16Array(bytes.buffer, 2, 1), '\x03\x04'],
    [Buffer.from('buffer'), 'buffer'],
    [structuredClone(bytes.buffer), '\x01\x02\x03\x04\x05\x06\x07\x08'],
  ]
  for (const [payload, expected] of payloads) {
    assert.deepEqual(await client.publish('a/b', payload), { reasonCode: 0 })
    const packet = await peer.expect('publish', {
      topic: 'a/b',
      qos: 0,
      retain: false,
      dup: false,
      properties: {},
    })
    assert.equal(packet.payload.toString(), expected)
  }
})

test('payloads of two clients arrive as they were, whatever their lengths', async (t) => {
  const ends = [
    await connected(t, { topicAliases: false, clientId: 'one' }),
    await connected(t, { topicAliases: false, clientId: 'two' }),
  ]
  // All clients hand over their payloads in the same place of the memory. It moves when it grows, and is given back where it is large.
  const lengths = [3, 700, 40_000, 3, 65_536, 70_000, 3, 200_000, 700, 2_000_000, 3, 65_537, 64]
  for (const [index, length] of lengths.entries()) {
    for (const { client, peer } of ends) {
      const payload = Buffer.alloc(length, 97 + index)
      const sent = client.publish('a', index % 2 ? payload : payload.toString())
      const packet = await peer.expect('publish', { topic: 'a' })
      assert.ok(payload.equals(packet.payload), `${length} bytes`)
      await sent
    }
  }
})

test('the payload is copied before the call returns', async (t) => {
  const { client, peer } = await connected(t)
  const bytes = new Uint8Array([65, 66])
  client.publish('a', bytes)
  client.publish('a', bytes, { qos: 1 }).catch(() => {})
  bytes.fill(0)
  await peer.expect('publish', { payload: 'AB' })
  await peer.expect('publish', { payload: 'AB' })
})

test('everything of one turn leaves in one frame, in order', async (t) => {
  const { client, peer } = await connected(t, { topicAliases: false })
  const frames = peer.frames.length
  const all = []
  for (let n = 0; n < 50; n++)
    all.push(client.publish(`t/${n % 3}`, `${n}`, n % 2 ? { qos: 1 } : undefined))
  for (let n = 0; n < 50; n++) {
    const packet = await peer.expect('publish', {
      topic: `t/${n % 3}`,
      payload: `${n}`,
      qos: n % 2,
    })
    if (packet.qos) peer.send({ type: 'puback', id: packet.id })
  }
  assert.equal(peer.frames.length - frames, 1)
  for (const result of await Promise.all(all)) assert.equal(result.reasonCode, 0)
  assert.equal(client.stats().messagesSent, 50)
})

// Contract: QoS 0: resolves when handed to the transport (which waits while its buffer is over 1 MiB); 1: on PUBACK; 2: on PUBCOMP.
test('QoS 1: PUBACK, its reason code and properties', async (t) => {
  const { client, peer } = await connected(t)
  const publish = client.publish('a', 'b', { qos: 1, retain: true })
  const { id } = await peer.expect('publish', { qos: 1, retain: true })
  peer.send({
    type: 'puback',
    id,
    reasonCode: 0x10,
    properties: { reasonString: 'nobody', userProperties: [['a', 'b']] },
  })
  assert.deepEqual(await publish, {
    reasonCode: 0x10,
    reasonString: 'nobody',
    userProperties: [['a', 'b']],
  })
  const second = client.publish('a', 'b', { qos: 1 })
  peer.send({ type: 'puback', id: (await peer.expect('publish')).id, reasonCode: 0x10 })
  assert.deepEqual(await second, { reasonCode: 0x10 })
  const refused = client.publish('a', 'b', { qos: 1 }).catch((error) => error)
  peer.send({
    type: 'puback',
    id: (await peer.expect('publish')).id,
    reasonCode: 0x97,
    properties: { reasonString: 'full' },
  })
  const error = await refused
  assert.equal(error.name, 'PublishError')
  assert.equal(error.code, 'PUBLISH_REFUSED')
  assert.equal(error.reasonCode, 0x97)
  assert.match(error.message, /'a'.*quota exceeded \(0x97\).*"full"/)
})

// Contract: QoS 0: resolves when handed to the transport (which waits while its buffer is over 1 MiB); 1: on PUBACK; 2: on PUBCOMP.
test('QoS 2: PUBREC, PUBREL, PUBCOMP', async (t) => {
  const { client, peer } = await connected(t)
  const publish = client.publish('a', 'b', { qos: 2 })
  const { id } = await peer.expect('publish', { qos: 2 })
  peer.send({ type: 'pubrec', id })
  await peer.expect('pubrel', { id })
  peer.send({ type: 'pubcomp', id })
  assert.deepEqual(await publish, { reasonCode: 0 })
})

test('an ended connection: sent again with DUP, the same promise settles', async (t) => {
  const { client, peer, broker } = await connected(t, { reconnect: { minDelay: 1 } })
  const publish = client.publish('a', 'b', { qos: 1 })
  const { id } = await peer.expect('publish', { dup: false })
  peer.drop()
  const second = await broker.accept()
  await second.welcome({ sessionPresent: true })
  await second.expect('publish', { dup: true, id, payload: 'b' })
  second.send({ type: 'puback', id })
  assert.deepEqual(await publish, { reasonCode: 0 })
})

// Contract: Where an overload below has a callback `(error, result)`, the method returns undefined, creates no promise, and calls back exactly once,
// never synchronously.
// Contract: `result` is there where `error` is null.
test('callbacks: undefined returned, called once, never at once', async (t) => {
  const { client, peer } = await connected(t)
  const calls = []
  const call =
    (name) =>
    (...args) =>
      calls.push([name, ...args])
  assert.equal(client.publish('a', 'b', call('qos0')), undefined)
  assert.equal(client.publish('a', 'b', undefined, call('again')), undefined)
  assert.equal(client.publish('a', 'b', { qos: 1 }, call('qos1')), undefined)
  assert.equal(client.publish('a/#', 'b', call('wrong')), undefined)
  assert.equal(client.publish('a', 'b', /** @type {any} */ ({ qos: 3 }), call('option')), undefined)
  assert.deepEqual(calls, [])
  await peer.expect('publish')
  await peer.expect('publish')
  peer.send({ type: 'puback', id: (await peer.expect('publish')).id })
  await settle()
  const byName = Object.fromEntries(calls.map(([name, ...args]) => [name, args]))
  assert.equal(calls.length, 5)
  for (const name of ['qos0', 'again', 'qos1'])
    assert.deepEqual(byName[name], [null, { reasonCode: 0 }])
  assert.equal(byName.wrong[0].argument, 'topic')
  assert.equal(byName.option[0].argument, 'qos')
  const untyped = /** @type {any} */ (client)
  await assert.rejects(untyped.publish('a', 'b', {}, 'no function'), {
    argument: 'callback',
  })
})

// Contract: A user callback that throws (or whose promise rejects) never disturbs the client: it surfaces as 'error', a HandlerError that names the
// topic and the filter.
// Contract: HandlerError: `cause` is what the handler threw
test('a callback that throws is reported', async (t) => {
  const { client } = await connected(t)
  const cause = new Error('thrown by the test')
  const reported = []
  client.on('error', (error) => reported.push(error))
  client.publish('a', 'b', () => {
    throw cause
  })
  client.publish('a', 'b', async () => {
    throw cause
  })
  await client.publish('a', 'b')
  await settle()
  assert.equal(reported.length, 2)
  for (const error of reported) {
    assert.equal(error.name, 'HandlerError')
    assert.equal(error.cause, cause)
    assert.match(error.message, /thrown by the test/)
  }
})

// Contract: A caller's mistake (bad topic, bad option, wrong type, unknown option name) is an InvalidArgumentError that names the argument; from a
// promise-returning method it is a rejection, from a constructor a throw. Nothing is sent.
test('what is wrong is named, and nothing is sent', async (t) => {
  const { client, peer } = await connected(t)
  /** @type {[string, any[]][]} */
  const wrong = [
    ['topic', ['']],
    ['topic', ['a/#']],
    ['topic', ['a/+/b']],
    ['topic', ['a\u0000']],
    ['topic', ['\ud800']],
    ['topic', ['x'.repeat(65_536)]],
    ['topic', [5]],
    ['topic', []],
    ['payload', ['a', 5]],
    ['payload', ['a', {}]],
    ['payload', ['a', '\udc00']],
    ['payload', ['a', `${'x'.repeat(30_000)}\udc00`]],
    ['qos', ['a', 'b', { qos: 3 }]],
    ['qos', ['a', 'b', { qos: '1' }]],
    ['retain', ['a', 'b', { retain: 1 }]],
    ['foo', ['a', 'b', { foo: 1 }]],
    ['options', ['a', 'b', 'qos']],
    ['options', ['a', 'b', null]],
    ['timeout', ['a', 'b', { timeout: -1 }]],
    ['timeout', ['a', 'b', { timeout: NaN }]],
    ['signal', ['a', 'b', { signal: 1 }]],
    ['properties', ['a', 'b', { properties: 1 }]],
    ['properties.foo', ['a', 'b', { properties: { foo: 1 } }]],
    ['properties.contentType', ['a', 'b', { properties: { contentType: 1 } }]],
    ['properties.contentType', ['a', 'b', { properties: { contentType: '\ud800' } }]],
    ['properties.correlationData', ['a', 'b', { properties: { correlationData: 'x' } }]],
    ['properties.userProperties', ['a', 'b', { properties: { userProperties: { a: 1 } } }]],
    [
      'properties.responseTopic',
      ['a', 'b', { properties: { contentType: 'kept out', responseTopic: 'a/#' } }],
    ],
    ['properties.messageExpiryInterval', ['a', 'b', { properties: { messageExpiryInterval: -1 } }]],
    [
      'properties.payloadFormatIndicator',
      ['a', 'b', { properties: { payloadFormatIndicator: 2 } }],
    ],
    ['properties.topicAlias', ['a', 'b', { properties: { topicAlias: 0 } }]],
  ]
  for (const [argument, args] of wrong) {
    const [topic, payload, options] = args
    const error = await client.publish(topic, payload, options).catch((error) => error)
    assert.equal(error.name, 'InvalidArgumentError', argument)
    assert.equal(error.argument, argument)
    assert.ok(error.message.includes(argument), error.message)
  }
  await client.publish('fine', 'x', { properties: {} })
  await peer.expect('publish', { topic: 'fine', properties: {} })
})

test('getters that throw are a mistake of the caller, not a trap', async (t) => {
  const { client } = await connected(t)
  const cause = new Error('getter')
  const error = await client
    .publish('a', 'b', {
      /** @returns {0} */
      get qos() {
        throw cause
      },
    })
    .catch((error) => error)
  assert.equal(error.code, 'INVALID_ARGUMENT')
  assert.equal(error.cause, cause)
  assert.equal(client.connected, true)
})

// Contract: User properties keep order and duplicates. A record is accepted as input; the output is always pairs.
// Contract: A received message's `properties` may be passed on as they are: its subscription identifiers and alias are dropped.
test('properties; those of a received message can be passed on', async (t) => {
  const { client, peer } = await connected(t)
  /** @type {import('../../pkg/node.js').MessageProperties} */
  const properties = {
    payloadFormatIndicator: 1,
    messageExpiryInterval: 100,
    contentType: 'text/plain',
    responseTopic: 'r',
    correlationData: new Uint8Array([1, 2]),
    userProperties: [
      ['__proto__', 'a'],
      ['b', ''],
      ['b', 'c'],
    ],
  }
  client.publish('a', 'b', { properties })
  const sent = await peer.expect('publish')
  assert.deepEqual(
    { ...sent.properties, correlationData: [...sent.properties.correlationData] },
    { ...properties, correlationData: [1, 2] },
  )
  const subscribed = client.subscribe('in', { subscriptionIdentifier: 7 })
  await peer.grant()
  await subscribed
  const message = event(client, 'message')
  peer.send({
    type: 'publish',
    topic: 'in',
    properties: { ...properties, subscriptionIdentifier: 7 },
  })
  const [received] = await message
  assert.deepEqual(received.properties, { ...properties, subscriptionIdentifiers: [7] })
  assert.equal(received.properties, received.properties)
  client.publish('out', 'x', { properties: received.properties })
  const passed = await peer.expect('publish', { topic: 'out' })
  assert.deepEqual(passed.properties.userProperties, properties.userProperties)
  assert.equal(passed.properties.subscriptionIdentifier, undefined)
})

// Contract: Keep QoS 0 messages while offline. Default true.
// Contract: Validates everything, opens nothing. Publishes and subscribes before connect() are queued.
test('queued while offline, in order; limits', async (t) => {
  const broker = await startBroker(t)
  const client = makeClient(t, broker.url, { queue: { maxMessages: 3 }, topicAliases: false })
  const queued = [
    client.publish('a', '1'),
    client.publish('a', '2', { qos: 1 }),
    client.publish('a', '3'),
  ]
  const full = await client.publish('a', '4').catch((error) => error)
  assert.equal(full.name, 'QueueFullError')
  assert.equal(full.code, 'QUEUE_FULL')
  assert.equal(full.retryable, true)
  assert.equal(client.stats().queuedMessages, 3)
  client.connect()
  const peer = await broker.accept()
  await peer.welcome()
  for (const payload of ['1', '2', '3']) {
    const packet = await peer.expect('publish', { payload })
    if (packet.qos) peer.send({ type: 'puback', id: packet.id })
  }
  assert.deepEqual(await Promise.all(queued), [
    { reasonCode: 0 },
    { reasonCode: 0 },
    { reasonCode: 0 },
  ])
  const strict = makeClient(t, broker.url, { queue: { qos0: false } })
  const error = await strict.publish('a').catch((error) => error)
  assert.ok(error.code, error)
})

// Contract: what was not sent yet is dropped; a QoS 1 or 2 message that was sent still completes on the wire, only its promise is gone
test('timeout and signal: queued is withdrawn, sent completes on the wire', async (t) => {
  const broker = await startBroker(t)
  const client = makeClient(t, broker.url)
  const controller = new AbortController()
  const timedOut = client.publish('a', 'late', { timeout: 10 }).catch((error) => error)
  const aborted = client
    .publish('a', 'aborted', { qos: 1, signal: controller.signal })
    .catch((error) => error)
  const kept = client.publish('a', 'kept', {
    qos: 1,
    timeout: 60_000,
    signal: new AbortController().signal,
  })
  controller.abort('reason')
  const abort = await aborted
  assert.equal(abort.name, 'AbortError')
  assert.equal(abort.cause, 'reason')
  const timeout = await timedOut
  assert.equal(timeout.name, 'TimeoutError')
  assert.equal(timeout.code, 'TIMEOUT')
  assert.equal(client.stats().queuedMessages, 1)
  client.connect()
  const peer = await broker.accept()
  await peer.welcome()
  const { id } = await peer.expect('publish', { payload: 'kept' })
  peer.send({ type: 'puback', id })
  await kept
  const sent = client.publish('a', 'sent', { qos: 2, timeout: 10 }).catch((error) => error)
  const packet = await peer.expect('publish', { payload: 'sent' })
  assert.equal((await sent).code, 'TIMEOUT')
  peer.send({ type: 'pubrec', id: packet.id })
  await peer.expect('pubrel', { id: packet.id })
  peer.send({ type: 'pubcomp', id: packet.id })
  await client.drain()
  const early = await client
    .publish('a', 'b', { signal: AbortSignal.abort() })
    .catch((error) => error)
  assert.equal(early.code, 'ABORTED')
  assert.equal(
    (await client.publish('a', 'b', { timeout: 0, qos: 1 }).catch((error) => error)).code,
    'TIMEOUT',
  )
})

test('a late acknowledgement does not settle another publish', async (t) => {
  const { client, peer } = await connected(t)
  const first = client.publish('a', '1', { qos: 1, timeout: 5 }).catch((error) => error.code)
  const { id } = await peer.expect('publish')
  assert.equal(await first, 'TIMEOUT')
  let settled = false
  const second = client.publish('a', '2', { qos: 1 }).then(() => (settled = true))
  const next = await peer.expect('publish')
  peer.send({ type: 'puback', id })
  await settle()
  assert.equal(settled, false)
  peer.send({ type: 'puback', id: next.id })
  await second
})

test('many in flight, acknowledged in one frame, callbacks publish again', async (t) => {
  const { client, peer } = await connected(t)
  const total = 3_000
  let done = 0
  const finished = new Promise((resolve) => {
    const again = (error) => {
      assert.equal(error, null)
      if (++done === total) resolve(undefined)
      if (done <= total - 100) client.publish('a', 'x', { qos: 1 }, again)
    }
    for (let n = 0; n < 100; n++) client.publish('a', 'x', { qos: 1 }, again)
  })
  for (let got = 0; got < total; ) {
    const ids = []
    do ids.push((await peer.expect('publish')).id)
    while (peer.pending.length > 0)
    got += ids.length
    peer.send(...ids.map((id) => ({ type: 'puback', id })))
  }
  await finished
})

// Contract: Beyond what the server offers (maximum QoS, retain, wildcards, shared subscriptions, identifiers): NotSupportedError, never a silent
// downgrade.
test('beyond what the server offers', async (t) => {
  const { client, peer } = await connected(
    t,
    {},
    {
      properties: {
        maximumQoS: 0,
        retainAvailable: 0,
        maximumPacketSize: 100,
        topicAliasMaximum: 2,
      },
    },
  )
  const qos = await client.publish('a', 'b', { qos: 1 }).catch((error) => error)
  assert.equal(qos.name, 'NotSupportedError')
  assert.equal(
    (await client.publish('a', 'b', { retain: true }).catch((error) => error)).code,
    'NOT_SUPPORTED',
  )
  const large = await client.publish('a', 'x'.repeat(200)).catch((error) => error)
  assert.equal(large.name, 'PacketTooLargeError')
  assert.equal(large.limit, 100)
  assert.ok(large.size > 200)
  assert.match(large.message, /the limit is 100/)
  const huge = await client.publish('a', new Uint8Array(268_435_456)).catch((error) => error)
  assert.equal(huge.code, 'PACKET_TOO_LARGE')
  await client.publish('a', 'fits')
  await peer.expect('publish', { payload: 'fits' })
})

// Contract: On 3.1.1, MQTT 5 connect and publish properties and subscribe options are left out
// Contract: request, respond, reauthenticate and refusing acknowledgements reject with NotSupportedError.
test('3.1.1: properties are left out, version 5 calls refused', async (t) => {
  const { client, peer } = await connected(t, {
    protocolVersion: 4,
    properties: { sessionExpiryInterval: 1 },
  })
  client.publish('a', 'b', { qos: 1, properties: { contentType: 'x', topicAlias: 3 } })
  const { id } = await peer.expect('publish', { payload: 'b', qos: 1 })
  peer.send({ type: 'puback', id })
  assert.equal((await client.reauthenticate().catch((error) => error)).code, 'NOT_SUPPORTED')
})

// Contract: seconds; time spent in the queue is subtracted, and an expired message is dropped (ExpiredError)
test('an expired message in the queue', async (t) => {
  const broker = await startBroker(t)
  const client = makeClient(t, broker.url)
  const expired = client
    .publish('a', 'b', { qos: 1, properties: { messageExpiryInterval: 1 } })
    .catch((error) => error)
  await new Promise((resolve) => setTimeout(resolve, 1_100))
  client.connect()
  await (await broker.accept()).welcome()
  assert.equal((await expired).name, 'ExpiredError')
})

// Contract: When the server comes back without the session (sessionPresent false): what was never sent, and QoS 1 in flight, is published again as a
// new message (new id, DUP 0); QoS 2 that was sent rejects with SessionLostError, because sending it again could deliver it twice.
test('session lost: QoS 1 goes out as a new message, QoS 2 that was sent rejects', async (t) => {
  const { client, peer, broker } = await connected(t, { reconnect: { minDelay: 1 } })
  const one = client.publish('a', '1', { qos: 1 })
  const two = client.publish('a', '2', { qos: 2 }).catch((error) => error)
  await peer.expect('publish')
  await peer.expect('publish')
  peer.drop()
  const second = await broker.accept()
  await second.welcome({ sessionPresent: false })
  const { id } = await second.expect('publish', { payload: '1', dup: false })
  second.send({ type: 'puback', id })
  await one
  const error = await two
  assert.equal(error.name, 'SessionLostError')
  assert.equal(error.code, 'SESSION_LOST')
})

// Contract: Resolves when nothing is queued or in flight, in either direction: handlers at work have settled and their acknowledgements have left.
// Contract: connectedSince: ms since the epoch. roundTrip: Last PINGREQ round trip, ms.
test('drain, stats, packet events', async (t) => {
  const { client, peer } = await connected(t)
  assert.equal('roundTrip' in client.stats(), true)
  assert.equal(makeClient(t, 'ws://127.0.0.1:1').stats().connectedSince, undefined)
  const packets = []
  const listener = (packet) => packets.push(packet)
  client.on('packet', listener)
  const publish = client.publish('a', 'b', { qos: 1 })
  let drained = false
  const drain = client.drain().then(() => (drained = true))
  const { id } = await peer.expect('publish')
  assert.equal((await client.drain({ timeout: 5 }).catch((error) => error)).code, 'TIMEOUT')
  assert.equal(drained, false)
  peer.send({ type: 'puback', id })
  await publish
  await drain
  client.off('packet', listener)
  await client.publish('a')
  assert.deepEqual(
    packets.map(({ direction, type, packetId, topic }) => [direction, type, packetId, topic]),
    [
      ['out', 'publish', id, 'a'],
      ['in', 'puback', id, undefined],
    ],
  )
  const stats = client.stats()
  assert.equal(stats.messagesSent, 2)
  assert.equal(stats.connections, 1)
  assert.equal(stats.inFlightOut, 0)
  assert.ok(Math.abs(stats.connectedSince - Date.now()) < 5_000)
  assert.ok(stats.wasmMemoryBytes >= 65_536)
})

test('more topics than the table holds', async (t) => {
  const { client, peer } = await connected(t)
  for (let n = 0; n < 9_000; n++) client.publish(`topic/${n}`, `${n}`)
  for (let n = 0; n < 9_000; n++)
    await peer.expect('publish', { topic: `topic/${n}`, payload: `${n}` })
})

test('promises that nobody looks at do not end the process', async () => {
  const client = new Client('ws://127.0.0.1:1')
  client.publish('a', 'b', { qos: 1 })
  client.subscribe('a')
  client.connect()
  client.drain()
  await settle()
  await client.end()
})

/**
 * Plays a server that hangs up on some packets and answers all others, until the story is over.
 * @param {(packet: any) => boolean} poison
 */
async function hangUpOn(broker, peer, poison, isOver) {
  let hangsUp = 0
  for (;;) {
    await until(() => isOver() || broker.waiting > 0 || peer.pending.length > 0)
    if (isOver()) return hangsUp
    if (broker.waiting > 0) {
      peer = await broker.accept()
      await peer.welcome({ sessionPresent: true })
      continue
    }
    const [{ type }] = peer.pending
    const packet = await peer.expect(type)
    if (poison(packet)) {
      hangsUp++
      peer.drop()
      peer = await broker.accept()
      await peer.welcome({ sessionPresent: true })
    } else if (type === 'publish' && packet.qos) peer.send({ type: 'puback', id: packet.id })
    else if (type === 'pingreq') peer.send({ type: 'pingresp' })
    else if (type === 'subscribe') peer.send({ type: 'suback', id: packet.id, codes: [0] })
    else if (type === 'unsubscribe') peer.send({ type: 'unsuback', id: packet.id, codes: [0] })
  }
}

const quick = { minDelay: 5, maxDelay: 10 }

// Contract: A packet whose sending ends the connection three times in a row, with nothing acknowledged in between, is given up: its promise rejects
// (PublishError, SubscribeError, UnsubscribeError; `reasonCode` as far as the server gave one) and the client goes on without it.
test('a message that the server hangs up on is given up at the third time, and the client goes on', async (t) => {
  const { broker, client, peer } = await connected(t, { reconnect: quick })
  const poison = client.publish('poison', 'x', { qos: 1 })
  const behind = client.publish('a', 'behind', { qos: 1 })
  const settled = Promise.allSettled([poison, behind])
  let over = false
  settled.then(() => {
    over = true
  })
  const isPoison = (packet) => packet.type === 'publish' && packet.topic === 'poison'
  assert.equal(await hangUpOn(broker, peer, isPoison, () => over), 3)
  await assert.rejects(poison, {
    name: 'PublishError',
    code: 'PUBLISH_REFUSED',
    reasonCode: undefined,
    message:
      "The server ended the connection three times in a row because of the packet to 'poison'",
  })
  assert.deepEqual(await behind, { reasonCode: 0 })
  assert.equal(client.state, 'connected')
})

// Contract: A packet whose sending ends the connection three times in a row, with nothing acknowledged in between, is given up: its promise rejects
// (PublishError, SubscribeError, UnsubscribeError; `reasonCode` as far as the server gave one) and the client goes on without it.
test('a filter that the server hangs up on is given up at the third time, and the client goes on', async (t) => {
  const { broker, client, peer } = await connected(t, { reconnect: quick })
  const forbidden = client.subscribe('forbidden', () => {})
  const good = client.subscribe('good', () => {})
  const settled = Promise.allSettled([forbidden, good])
  let over = false
  settled.then(() => {
    over = true
  })
  const isPoison = (packet) =>
    packet.type === 'subscribe' && packet.filters.some(({ filter }) => filter === 'forbidden')
  assert.equal(await hangUpOn(broker, peer, isPoison, () => over), 3)
  await assert.rejects(forbidden, {
    name: 'SubscribeError',
    reasonCode: undefined,
    message: /three times in a row/,
  })
  assert.equal((await good).active, true)
})

test('a DISCONNECT that judges a message fails it alone', async (t) => {
  const { broker, client, peer } = await connected(t, { reconnect: quick })
  const large = client.publish('large', 'x', { qos: 1 })
  await peer.expect('publish')
  peer.send({ type: 'disconnect', reasonCode: 0x95 })
  await assert.rejects(large, { name: 'PublishError', reasonCode: 0x95 })
  const next = await broker.accept()
  await next.welcome({ sessionPresent: true })
  await until(() => client.connected)
  assert.deepEqual(next.pending, [])
})

// Contract: SessionLostError: `cause`: why the connection ended
test('a lost session tells why the connection had ended', async (t) => {
  const { broker, client, peer } = await connected(t, { reconnect: quick })
  const lost = client.publish('a', 'x', { qos: 2 })
  await peer.expect('publish')
  peer.close(1011)
  lost.catch(() => {})
  await (await broker.accept()).welcome()
  await assert.rejects(lost, (/** @type {any} */ error) => {
    assert.equal(error.code, 'SESSION_LOST')
    assert.equal(error.cause.name, 'ConnectionLostError')
    assert.equal(error.cause.closeCode, 1011)
    return true
  })
})
