import assert from 'node:assert/strict'
import { test } from 'node:test'
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

/** Subscribes and has it granted. */
async function subscribe(client, peer, ...args) {
  const pending = client.subscribe(...args)
  await peer.grant()
  return pending
}

// Contract: The Subscriptions in force.
// Contract: Resolves when the server has answered, if it granted at least one filter; rejects with SubscribeError if none.
// Contract: In the record form each filter has options of its own: those that MQTT has per filter.
// Contract: MQTT 5, 1..268435455. By hand; without it the client assigns its own where the server supports them, for exact routing.
test('subscribe: filters in every form, options, grants', async (t) => {
  const { client, peer } = await connected(t)
  const first = client.subscribe('a/#')
  const packet = await peer.grant(undefined, { filters: [{ filter: 'a/#', options: 0 }] })
  assert.ok(packet.properties.subscriptionIdentifier > 0)
  const subscription = await first
  assert.deepEqual(subscription.grants, [{ filter: 'a/#', granted: true, qos: 0, reasonCode: 0 }])
  assert.equal(subscription.active, true)
  assert.ok(client.subscriptions.has(subscription))
  const second = client.subscribe(['b', 'c/+'], {
    qos: 2,
    noLocal: true,
    retainAsPublished: true,
    retainHandling: 2,
    subscriptionIdentifier: 99,
    userProperties: { a: 'b' },
  })
  const other = await peer.grant([1, 0x87], {
    filters: [
      { filter: 'b', options: 0x2e },
      { filter: 'c/+', options: 0x2e },
    ],
  })
  assert.deepEqual(other.properties, { subscriptionIdentifier: 99, userProperties: [['a', 'b']] })
  assert.deepEqual((await second).grants, [
    { filter: 'b', granted: true, qos: 1, reasonCode: 1 },
    { filter: 'c/+', granted: false, reasonCode: 0x87 },
  ])
  const third = client.subscribe({ d: { qos: 1 }, e: { retainHandling: 1 } }, { qos: 2 })
  await peer.grant(undefined, {
    filters: [
      { filter: 'd', options: 1 },
      { filter: 'e', options: 0x12 },
    ],
  })
  await third
  assert.equal(client.subscriptions.size, 3)
  assert.equal(client.stats().subscriptions, 3)
})

// Contract: Resolves when the server has answered, if it granted at least one filter; rejects with SubscribeError if none.
test('subscribe: refused', async (t) => {
  const { client, peer } = await connected(t)
  const pending = client.subscribe(['a', 'b']).catch((error) => error)
  await peer.grant([0x87, 0x8f])
  const error = await pending
  assert.equal(error.name, 'SubscribeError')
  assert.equal(error.code, 'SUBSCRIBE_REFUSED')
  assert.deepEqual(error.grants, [
    { filter: 'a', granted: false, reasonCode: 0x87 },
    { filter: 'b', granted: false, reasonCode: 0x8f },
  ])
  assert.match(error.message, /'a' not authorized \(0x87\)/)
  assert.equal(client.subscriptions.size, 0)
})

// Contract: A caller's mistake (bad topic, bad option, wrong type, unknown option name) is an InvalidArgumentError that names the argument; from a
// promise-returning method it is a rejection, from a constructor a throw. Nothing is sent.
test('subscribe: what is wrong is named', async (t) => {
  const { client, peer } = await connected(t)
  /** @type {[string, any[]][]} */
  const wrong = [
    ['filter', ['a/#/b']],
    ['filter', ['']],
    ['filter', [5]],
    ['filter', [[]]],
    ['filter', [{}]],
    ['filter', [['a', 5]]],
    ['filter', ['\ud800']],
    ['filter', [{ a: 5 }]],
    ['handler', ['a', {}, 5]],
    ['options', ['a', 5]],
    ['qos', ['a', { qos: 3 }]],
    ['noLocal', ['a', { noLocal: 1 }]],
    ['retainHandling', ['a', { retainHandling: 3 }]],
    ['ack', ['a', { ack: 'never' }]],
    ['ack', [{ a: { ack: 'manual' }, b: {} }]],
    ['conflate', ['a', { conflate: '1' }]],
    ['subscriptionIdentifier', ['a', { subscriptionIdentifier: 0 }]],
    ['userProperties', ['a', { userProperties: 5 }]],
    ['foo', ['a', { foo: 5 }]],
    ['foo', [{ a: { foo: 5 } }]],
    ['timeout', ['a', { timeout: 'x' }]],
  ]
  for (const [argument, args] of wrong) {
    const [filter, options, handler] = args
    const error = await client.subscribe(filter, options, handler).catch((error) => error)
    assert.equal(error.name, 'InvalidArgumentError', argument)
    assert.equal(error.argument, argument)
  }
  assert.equal((await client.unsubscribe([]).catch((error) => error)).argument, 'filter')
  assert.equal(
    (await client.unsubscribe('a', /** @type {any} */ ({ foo: 1 })).catch((error) => error))
      .argument,
    'foo',
  )
  assert.equal(peer.pending.length, 0)
})

// Contract: A function in second or third place is the handler; a callback is only the fourth.
test('subscribe: callback is the fourth', async (t) => {
  const { client, peer } = await connected(t)
  const result = new Promise((resolve) => {
    assert.equal(
      client.subscribe('a', undefined, undefined, (...args) => resolve(args)),
      undefined,
    )
  })
  await peer.grant()
  const [error, subscription] = await result
  assert.equal(error, null)
  assert.equal(subscription.grants[0].filter, 'a')
  const refused = new Promise((resolve) => client.subscribe('b', {}, () => {}, resolve))
  await peer.grant([0x80])
  assert.equal((await refused).code, 'SUBSCRIBE_REFUSED')
})

// Contract: Without a handler: 'message', or use messages().
// Contract: 'auto': when the handler has returned; 'settled': when the promise it returned has settled; 'manual': by message.ack(). Default 'auto'.
// Contract: message: Every message, whichever subscription it came from.
// Contract: MQTT 5; undefined where the message has none.
test('messages: fields, handlers, the message event', async (t) => {
  const { client, peer } = await connected(t)
  const got = []
  const events = record(client, 'message')
  const subscription = await subscribe(client, peer, 'a/#', (message, from) =>
    got.push([message, from]),
  )
  const large = 'x'.repeat(1_000)
  peer.send(
    { type: 'publish', topic: 'a/ä', payload: '{"n":1}', retain: true },
    { type: 'publish', topic: 'a/b', payload: large, qos: 1, id: 5, dup: true },
  )
  await peer.expect('puback', { id: 5, reasonCode: 0 })
  const [[first, from], [second]] = got
  assert.equal(from, subscription)
  assert.equal(first.topic, 'a/ä')
  assert.ok(first.payload instanceof Uint8Array && !Buffer.isBuffer(first.payload))
  assert.deepEqual(first.json(), { n: 1 })
  assert.deepEqual([first.qos, first.retain, first.dup], [0, true, false])
  assert.equal(first.properties, undefined)
  assert.equal(second.text(), large)
  assert.ok(!Buffer.isBuffer(second.payload))
  assert.deepEqual([second.qos, second.retain, second.dup], [1, false, true])
  assert.deepEqual(
    events.map(([, message]) => message),
    [first, second],
  )
  first.ack()
  second.ack()
})

test('messages: BOM kept, invalid UTF-8 of a payload replaced', async (t) => {
  const { client, peer } = await connected(t)
  const [message] = await Promise.all([
    event(client, 'message').then(([message]) => message),
    peer.send({
      type: 'publish',
      topic: '\ufeffa',
      payload: Buffer.from([0xef, 0xbb, 0xbf, 65, 0xff]),
    }),
  ])
  assert.equal(message.topic, '\ufeffa')
  assert.equal(message.text(), '\ufeffA\ufffd')
  assert.throws(() => message.json(), SyntaxError)
})

// Contract: It gets every message that matches this subscription, once, in order of arrival, also where filters of other Subscriptions overlap or are
// the same
test('overlapping Subscriptions each get every message once', async (t) => {
  const { client, peer } = await connected(t)
  const got = []
  const log = (name) => (message) => void got.push(`${name} ${message.text()}`)
  const ids = []
  for (const [name, filter] of [
    ['all', '#'],
    ['one', 'a'],
    ['same', 'a'],
  ]) {
    const pending = client.subscribe(filter, log(name))
    ids.push((await peer.grant()).properties.subscriptionIdentifier)
    await pending
  }
  peer.send(
    { type: 'publish', topic: 'a', payload: '1', properties: { subscriptionIdentifier: ids } },
    { type: 'publish', topic: 'b', payload: '2', properties: { subscriptionIdentifier: ids[0] } },
  )
  await settle()
  assert.deepEqual(got.sort(), ['all 1', 'all 2', 'one 1', 'same 1'])
})

for (const together of [false, true]) {
  // Contract: Stored copies that come for a later subscribe() to a filter go to that Subscription only, where the wire allows to tell (no
  // Subscription of the filter asked for retainAsPublished).
  test(`20 subscribers of a filter get what is stored once each${together ? ', all at once' : ''}`, async (t) => {
    const { client, peer } = await connected(t)
    const calls = Array.from({ length: 20 }, () => 0)
    const messages = record(client, 'message')
    const answer = async () => {
      const { properties } = await peer.grant()
      peer.send({ type: 'publish', topic: 'a/b', payload: '1', retain: true, properties })
    }
    const pending = []
    for (const subscriber of calls.keys()) {
      pending.push(client.subscribe('a/+', () => void calls[subscriber]++))
      if (together) continue
      await answer()
      await until(() => messages.length === subscriber + 1)
    }
    if (together) for (const _ of calls) await answer()
    await Promise.all(pending)
    await until(() => messages.length === 20)
    assert.deepEqual(new Set(calls), new Set([1]))
    peer.send({ type: 'publish', topic: 'a/b', payload: '2' })
    await until(() => messages.length === 21)
    assert.deepEqual(new Set(calls), new Set([2]))
  })
}

// Contract: A user callback that throws (or whose promise rejects) never disturbs the client: it surfaces as 'error', a HandlerError that names the
// topic and the filter.
// Contract: A handler that throws is reported and acknowledged all the same.
// Contract: HandlerError: `cause` is what the handler threw
test('a handler that throws or rejects is reported, and the message acknowledged', async (t) => {
  const { client, peer } = await connected(t)
  const errors = record(client, 'error')
  const cause = new Error('handler')
  await subscribe(client, peer, 'sync', { qos: 1 }, () => {
    throw cause
  })
  await subscribe(client, peer, 'async', { qos: 1, ack: 'settled' }, async () => {
    throw cause
  })
  await subscribe(client, peer, 'manual', { qos: 1, ack: 'manual' }, () => {
    throw cause
  })
  await subscribe(client, peer, 'later', { qos: 1, ack: 'manual' }, async () => {
    throw cause
  })
  client.on('message', () => {
    throw cause
  })
  const topics = ['sync', 'async', 'manual', 'later']
  peer.send(...topics.map((topic, index) => ({ type: 'publish', topic, qos: 1, id: index + 1 })))
  for (let id = 1; id <= 4; id++) await peer.expect('puback', { id })
  await settle()
  assert.equal(errors.length, 8)
  for (const [, error] of errors) assert.equal(error.cause, cause)
})

// Contract: error: What belongs to no call: a throwing handler, a peer's protocol error, a failed store. No listener: reported to the console, never
// thrown.
test('an error nobody listens to goes to the console', async (t) => {
  const { client, peer } = await connected(t)
  const shown = t.mock.method(console, 'error', () => {})
  await subscribe(client, peer, 'a', () => {
    throw new Error('handler')
  })
  peer.send({ type: 'publish', topic: 'a' })
  await settle()
  assert.equal(shown.mock.calls[0].arguments[0].code, 'HANDLER_FAILED')
  client.on('error', () => {
    throw new Error('listener')
  })
  peer.send({ type: 'publish', topic: 'a' })
  await settle()
  assert.equal(shown.mock.calls[1].arguments[0].cause.message, 'listener')
})

// Contract: 'auto': when the handler has returned; 'settled': when the promise it returned has settled; 'manual': by message.ack(). Default 'auto'.
// Contract: Acknowledgements leave in the order of arrival, as the specification asks, so a late one holds back those after it.
test('ack: settled waits for the promise, and holds back those after it', async (t) => {
  const { client, peer } = await connected(t)
  const releases = []
  await subscribe(
    client,
    peer,
    'slow',
    { qos: 1, ack: 'settled' },
    () => new Promise((resolve) => releases.push(resolve)),
  )
  await subscribe(client, peer, 'fast', { qos: 1 }, () => {})
  peer.send(
    { type: 'publish', topic: 'slow', qos: 1, id: 1 },
    { type: 'publish', topic: 'fast', qos: 1, id: 2 },
  )
  await settle()
  assert.equal(peer.pending.length, 0)
  releases[0]()
  await peer.expect('puback', { id: 1 })
  await peer.expect('puback', { id: 2 })
})

// Contract: 'auto': when the handler has returned; 'settled': when the promise it returned has settled; 'manual': by message.ack(). Default 'auto'.
// Contract: For ack: 'manual'. The order of acknowledgements on the wire is kept. A reason code ≥ 0x80 refuses the message (MQTT 5).
test('ack: manual, with a refusal, once, QoS 2 too', async (t) => {
  const { client, peer } = await connected(t)
  const got = []
  await subscribe(client, peer, '#', { qos: 2, ack: 'manual' }, (message) => void got.push(message))
  peer.send(
    { type: 'publish', topic: 'a', qos: 1, id: 1 },
    { type: 'publish', topic: 'b', qos: 2, id: 2 },
    { type: 'publish', topic: 'c' },
  )
  await settle()
  assert.equal(peer.pending.length, 0)
  assert.throws(() => got[0].ack(5), { argument: 'reasonCode' })
  assert.throws(() => got[0].ack('x'), { argument: 'reasonCode' })
  got[0].ack(0x97)
  got[0].ack()
  await peer.expect('puback', { id: 1, reasonCode: 0x97 })
  got[2].ack()
  got[1].ack()
  await peer.expect('pubrec', { id: 2, reasonCode: 0 })
  peer.send({ type: 'pubrel', id: 2 })
  await peer.expect('pubcomp', { id: 2 })
})

// Contract: A message of several Subscriptions is acknowledged when all have.
test('ack: a message of several Subscriptions when all have', async (t) => {
  const { client, peer } = await connected(t)
  const got = {}
  const ids = []
  const add = async (name, ack, handler) => {
    const pending = client.subscribe('a', { qos: 1, ack }, handler)
    ids.push((await peer.grant()).properties.subscriptionIdentifier)
    await pending
  }
  let settleIt
  await add('one', 'manual', (message) => (got.one = message))
  await add('two', 'manual', (message) => (got.two = message))
  await add('three', 'settled', () => new Promise((resolve) => (settleIt = resolve)))
  await add('four', 'auto', () => {})
  peer.send({
    type: 'publish',
    topic: 'a',
    qos: 1,
    id: 1,
    properties: { subscriptionIdentifier: ids },
  })
  await settle()
  got.one.ack()
  got.one.ack()
  settleIt()
  await settle()
  assert.equal(peer.pending.length, 0)
  got.two.ack()
  await peer.expect('puback', { id: 1 })
})

// Contract: Without a handler: 'message', or use messages().
test('ack: from the message event, where a manual Subscription has no handler', async (t) => {
  const { client, peer } = await connected(t)
  await subscribe(client, peer, 'a', { qos: 1, ack: 'manual' })
  peer.send({ type: 'publish', topic: 'a', qos: 1, id: 1 })
  const [message] = await event(client, 'message')
  await settle()
  assert.equal(peer.pending.length, 0)
  message.ack()
  await peer.expect('puback', { id: 1 })
})

// Contract: After the connection is gone ack() does nothing: the server sends the message again.
test('ack: after the connection is gone it does nothing', async (t) => {
  const { client, peer, broker } = await connected(t, { reconnect: { minDelay: 1 } })
  const got = []
  await subscribe(client, peer, 'a', { qos: 1, ack: 'manual' }, (message) => void got.push(message))
  peer.send({ type: 'publish', topic: 'a', qos: 1, id: 1 })
  await settle()
  peer.drop()
  const second = await broker.accept()
  await second.welcome({ sessionPresent: true })
  await settle()
  got[0].ack()
  second.send({ type: 'publish', topic: 'a', qos: 1, id: 1, dup: true })
  await settle()
  assert.equal(second.pending.length, 0)
  got[1].ack()
  await second.expect('puback', { id: 1 })
})

// Contract: On 3.1.1, MQTT 5 connect and publish properties and subscribe options are left out
// Contract: request, respond, reauthenticate and refusing acknowledgements reject with NotSupportedError.
test('3.1.1: options are left out, messages cannot be refused', async (t) => {
  const { client, peer } = await connected(t, { protocolVersion: 4 })
  const got = []
  const pending = client.subscribe(
    'a',
    {
      qos: 1,
      noLocal: true,
      retainHandling: 1,
      subscriptionIdentifier: 5,
      userProperties: { a: 'b' },
      ack: 'manual',
    },
    (message) => void got.push(message),
  )
  await peer.grant(undefined, { filters: [{ filter: 'a', options: 1 }] })
  await pending
  peer.send({ type: 'publish', topic: 'a', qos: 1, id: 1 })
  await settle()
  assert.throws(() => got[0].ack(0x80), { name: 'NotSupportedError' })
  got[0].ack()
  await peer.expect('puback', { id: 1 })
})

// Contract: A filter of several Subscriptions is one subscription on the server, at the highest QoS asked, gone with the last of them; each
// subscribe() sends SUBSCRIBE, so retained messages come again.
// Contract: Ends every Subscription to these filters and always sends UNSUBSCRIBE, known filter or not. Rejects with UnsubscribeError if the server
// refused all.
test('unsubscribe: by Subscription, by filter, unknown filters, refusals', async (t) => {
  const { client, peer } = await connected(t)
  const got = []
  const one = await subscribe(client, peer, 'a', (message) => got.push(message.text()))
  const two = await subscribe(client, peer, 'a')
  await assert.rejects(one.unsubscribe({ timeout: -1 }), { argument: 'timeout' })
  assert.equal(one.active, true)
  const first = one.unsubscribe()
  assert.equal(one.unsubscribe(), first)
  await first
  assert.equal(one.active, false)
  assert.equal(peer.pending.length, 0)
  peer.send({ type: 'publish', topic: 'a', payload: 'late' })
  await settle()
  assert.deepEqual(got, [])
  const second = two.unsubscribe()
  await peer.release({ filters: ['a'] })
  await second
  await two.unsubscribe()
  await one[Symbol.asyncDispose]()
  assert.equal(client.subscriptions.size, 0)
  const three = await subscribe(client, peer, ['b', 'c'])
  const result = client.unsubscribe(['b', 'c', 'unknown'], { userProperties: [['x', 'y']] })
  const packet = await peer.expect('unsubscribe', {
    filters: ['b', 'c', 'unknown'],
    properties: { userProperties: [['x', 'y']] },
  })
  peer.send({ type: 'unsuback', id: packet.id, codes: [0, 0, 0x11] })
  assert.deepEqual(await result, {
    reasonCodes: [
      { filter: 'b', reasonCode: 0 },
      { filter: 'c', reasonCode: 0 },
      { filter: 'unknown', reasonCode: 0x11 },
    ],
  })
  assert.equal(three.active, false)
  const refused = new Promise((resolve) =>
    assert.equal(client.unsubscribe('d', undefined, resolve), undefined),
  )
  const { id } = await peer.expect('unsubscribe')
  peer.send({ type: 'unsuback', id, codes: [0x87] })
  const error = await refused
  assert.equal(error.name, 'UnsubscribeError')
  assert.deepEqual(error.reasonCodes, [{ filter: 'd', reasonCode: 0x87 }])
})

test('a Subscription whose filter is left and then refused ends once', async (t) => {
  const { client, peer } = await connected(t)
  const refused = client.subscribe('a')
  const left = client.unsubscribe('a')
  const { id } = await peer.expect('subscribe')
  const other = await peer.expect('unsubscribe')
  peer.send({ type: 'suback', id, codes: [0x80] }, { type: 'unsuback', id: other.id, codes: [0] })
  await assert.rejects(refused, { code: 'SUBSCRIBE_REFUSED' })
  await left
  // Two Subscriptions that follow are two: each has its own messages.
  const got = []
  await subscribe(client, peer, 'b', (message) => got.push(['b', message.topic]))
  await subscribe(client, peer, 'c', (message) => got.push(['c', message.topic]))
  peer.send({ type: 'publish', topic: 'b' }, { type: 'publish', topic: 'c' })
  await until(() => got.length === 2)
  assert.deepEqual(got, [
    ['b', 'b'],
    ['c', 'c'],
  ])
  assert.equal(client.subscriptions.size, 2)
})

test('Subscriptions come and go', async (t) => {
  const { client, peer } = await connected(t)
  const got = []
  const serve = async () => {
    for (;;) {
      const packet = await peer.next()
      if (packet?.type === 'subscribe')
        peer.send(
          { type: 'suback', id: packet.id, codes: [0] },
          { type: 'publish', topic: 'a', payload: packet.filters[0].filter },
        )
      else if (packet?.type === 'unsubscribe')
        peer.send({ type: 'unsuback', id: packet.id, codes: [0] })
      else return
    }
  }
  serve()
  for (let round = 0; round < 100; round++) {
    const subscriptions = await Promise.all(
      ['a', '+', '#'].map((filter) =>
        client.subscribe(filter, (message) => void got.push([round, filter, message.text()])),
      ),
    )
    await until(() => subscriptions.every(({ active }) => active))
    await settle(2)
    await Promise.all(subscriptions.map((subscription) => subscription.unsubscribe()))
  }
  assert.equal(client.subscriptions.size, 0)
  assert.ok(got.length >= 300, String(got.length))
  for (const [round, index] of got.map(([round], index) => [round, index]))
    assert.ok(index === 0 || got[index - 1][0] <= round)
})

test('subscribe: timeout and signal', async (t) => {
  const { client, peer } = await connected(t)
  const got = []
  const timedOut = client
    .subscribe('a', { timeout: 10 }, (message) => void got.push(message))
    .catch((error) => error)
  const { id } = await peer.expect('subscribe')
  assert.equal((await timedOut).code, 'TIMEOUT')
  peer.send({ type: 'suback', id, codes: [0] })
  await peer.release({ filters: ['a'] })
  peer.send({ type: 'publish', topic: 'a' })
  await settle()
  assert.equal(got.length, 0)
  assert.equal(client.subscriptions.size, 0)
  const broker = await startBroker(t)
  const idle = makeClient(t, broker.url)
  const controller = new AbortController()
  const aborted = idle.subscribe('never', { signal: controller.signal }).catch((error) => error)
  controller.abort()
  assert.equal((await aborted).code, 'ABORTED')
  idle.connect()
  const other = await broker.accept()
  await other.welcome()
  await settle()
  assert.equal(other.pending.length, 0)
})

test('subscribe: withdrawn while its SUBACK is on its way to JavaScript: given back', async (t) => {
  const { client, peer } = await connected(t)
  const controller = new AbortController()
  const got = []
  await subscribe(client, peer, 'now', () => controller.abort())
  const withdrawn = client
    .subscribe('late', { signal: controller.signal }, (message) => void got.push(message.topic))
    .catch((error) => error)
  const { id } = await peer.expect('subscribe')
  // In one frame: the core has it granted before the handler withdraws it.
  peer.send({ type: 'publish', topic: 'now' }, { type: 'suback', id, codes: [0] })
  assert.equal((await withdrawn).code, 'ABORTED')
  await peer.release({ filters: ['late'] })
  await subscribe(client, peer, 'next', (message) => void got.push(message.topic))
  peer.send({ type: 'publish', topic: 'late' }, { type: 'publish', topic: 'next' })
  await until(() => got.length > 0)
  await settle()
  assert.deepEqual(got, ['next'])
  assert.equal(client.stats().subscriptions, 2)
})

// Contract: Restore subscriptions when the server has lost the session. Default true.
// Contract: A filter that is refused when restored: the Subscription is no longer active, and 'error' carries a SubscribeError.
test('restored after a lost session; refused then: inactive and reported', async (t) => {
  const { client, peer, broker } = await connected(t, { reconnect: { minDelay: 1 } })
  const errors = record(client, 'error')
  const got = []
  const kept = await subscribe(client, peer, 'kept', (message) => got.push(message.text()))
  const lost = await subscribe(client, peer, 'lost')
  peer.drop()
  const second = await broker.accept()
  await second.welcome({ sessionPresent: false })
  const seen = []
  while (seen.length < 2) {
    const packet = await second.expect('subscribe')
    seen.push(...packet.filters.map(({ filter }) => filter))
    second.send({
      type: 'suback',
      id: packet.id,
      codes: packet.filters.map(({ filter }) => (filter === 'lost' ? 0x87 : 0)),
    })
  }
  await settle()
  assert.deepEqual([kept.active, lost.active], [true, false])
  assert.equal(errors[0][1].code, 'SUBSCRIBE_REFUSED')
  second.send({ type: 'publish', topic: 'kept', payload: 'again' })
  await settle()
  assert.deepEqual(got, ['again'])
  await client.end()
  assert.equal(kept.active, false)
  assert.equal(client.subscriptions.size, 0)
})

// Contract: Validates everything, opens nothing. Publishes and subscribes before connect() are queued.
// Contract: One that was cut off is repeated on the next connection.
test('subscribe before connect; one that was cut off is repeated', async (t) => {
  const broker = await startBroker(t)
  const client = makeClient(t, broker.url, { reconnect: { minDelay: 1 } })
  const pending = client.subscribe('a')
  client.connect()
  const peer = await broker.accept()
  await peer.welcome()
  await peer.expect('subscribe', { filters: [{ filter: 'a', options: 0 }] })
  peer.drop()
  const second = await broker.accept()
  await second.welcome()
  await second.grant()
  assert.equal((await pending).active, true)
})

test('handlers call the client: publish, subscribe, unsubscribe, end', async (t) => {
  const { client, peer } = await connected(t)
  const order = []
  const subscription = await subscribe(client, peer, 'a', { qos: 1 }, (message) => {
    order.push(message.text())
    client.publish('echo', message.payload)
    if (message.text() === '1') client.subscribe('b', () => {})
    if (message.text() === '3') {
      subscription.unsubscribe()
      client.end()
    }
  })
  peer.send(
    ...['1', '2', '3', '4'].map((payload, index) => ({
      type: 'publish',
      topic: 'a',
      payload,
      qos: 1,
      id: index + 1,
    })),
  )
  const types = []
  for (let packet; (packet = await peer.next()); ) {
    types.push(packet.type)
    if (packet.type === 'subscribe') peer.send({ type: 'suback', id: packet.id, codes: [0] })
    if (packet.type === 'unsubscribe') peer.send({ type: 'unsuback', id: packet.id, codes: [0] })
  }
  assert.deepEqual(order, ['1', '2', '3'])
  assert.deepEqual(types.sort(), [
    'disconnect',
    'puback',
    'puback',
    'puback',
    'publish',
    'publish',
    'publish',
    'subscribe',
    'unsubscribe',
  ])
})

test('a large payload, and one that comes in pieces', async (t) => {
  const { client, peer } = await connected(t)
  const got = []
  client.on('message', (message) => got.push(message.payload))
  const payload = Buffer.alloc(300_000, 'abc')
  peer.send(
    { type: 'publish', topic: 'a', payload },
    { type: 'publish', topic: 'a', payload: Buffer.alloc(1_000, 'd') },
  )
  peer.sendPieces(
    encode({ type: 'publish', topic: 'a', payload, properties: { contentType: 'x' } }),
    7_000,
  )
  await until(() => got.length === 3)
  assert.ok(payload.equals(got[0]) && payload.equals(got[2]))
  assert.equal(got[1].length, 1_000)
  // A small part of a large frame does not keep all of it alive.
  assert.equal(got[1].buffer.byteLength, 1_000)
})

test('messages in frames of their own, small and large, cut anywhere: in order, up to the close', async (t) => {
  const { client, peer } = await connected(t, { reconnect: false })
  client.on('error', () => {})
  const got = []
  client.on('message', ({ topic, payload }) =>
    got.push([topic, payload.length, payload.every((byte) => byte === payload.length % 251)]),
  )
  const sizes = [0, 1, 5_000, 300, 300, 70_000, 2, 300_000, 4_096, 1_100, 900, 16_384, 3]
  const messages = sizes.map((size, number) =>
    encode({ type: 'publish', topic: `t/${number}`, payload: Buffer.alloc(size, size % 251) }),
  )
  const closed = event(client, 'close')
  for (const message of messages) peer.send(message)
  for (const piece of [1_000, 1, 4_095, 20_000, 700]) {
    // Byte by byte only where that ends.
    peer.sendPieces(
      piece === 1
        ? Buffer.concat(messages.filter(({ length }) => length < 6_000))
        : Buffer.concat(messages),
      piece,
    )
  }
  peer.close()
  await closed
  const all = sizes.map((size, number) => [`t/${number}`, size, true])
  const short = all.filter(([, size]) => Number(size) < 5_990)
  assert.deepEqual(got, [...all, ...all, ...short, ...all, ...all, ...all])
})

test('more topics than the table holds', async (t) => {
  const { client, peer } = await connected(t)
  const got = new Set()
  client.on('message', (message) => got.add(`${message.topic} ${message.text()}`))
  for (let round = 0; round < 2; round++) {
    for (let n = 0; n < 6_000; n += 500) {
      peer.send(
        ...Array.from({ length: 500 }, (_, index) => ({
          type: 'publish',
          topic: `t/${n + index}`,
          payload: `${round}`,
        })),
      )
    }
  }
  await until(() => got.size === 12_000)
})

// Contract: MQTT 5; undefined where the message has none.
test('topic aliases of the server', async (t) => {
  const { client, peer } = await connected(t)
  const got = []
  await subscribe(client, peer, '#', (message) => got.push([message.topic, message.properties]))
  peer.send(
    { type: 'publish', topic: 'a', properties: { topicAlias: 3 } },
    { type: 'publish', topic: '', properties: { topicAlias: 3 } },
    { type: 'publish', topic: '', properties: { topicAlias: 3, contentType: 'x' } },
  )
  await settle()
  assert.deepEqual(got, [
    ['a', undefined],
    ['a', undefined],
    ['a', { contentType: 'x' }],
  ])
})

test('once and off', async (t) => {
  const { client, peer } = await connected(t)
  const got = []
  const listener = (message) => got.push(message.text())
  client.once('message', listener).on('message', listener)
  peer.send({ type: 'publish', topic: 'a', payload: '1' })
  peer.send({ type: 'publish', topic: 'a', payload: '2' })
  await settle()
  client.off('message', listener).off('message', listener)
  client.once('message', listener).off('message', listener)
  peer.send({ type: 'publish', topic: 'a', payload: '3' })
  await settle()
  assert.deepEqual(got, ['1', '1', '2'])
  assert.throws(() => client.on('message', /** @type {any} */ (5)), { argument: 'listener' })
})
