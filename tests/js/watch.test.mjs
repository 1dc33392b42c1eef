// `watch()`: the latest message of every topic, in the words of the types.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect } from '../../pkg/node.js'
import { TestBroker } from '../../pkg/testing-node.js'
import { connected, event, makeClient, settle, until } from './scripted-broker.mjs'

const publish = (topic, payload, more) => ({ type: 'publish', topic, payload, ...more })
const texts = (watch) => [...watch].map(([topic, message]) => `${topic}=${message.text()}`)

const timer = setTimeout
/** As `settle`, while timers are mocked. */
const rest = () => new Promise((resolve) => timer(resolve, 30))

/** A watch whose SUBSCRIBE is answered, and what its listener was told. */
async function watching(t, options, filter = 'a/#') {
  const { client, peer } = await connected(t)
  const watch = client.watch(filter, options)
  const told = []
  watch.onChange((topics) => told.push(topics))
  await peer.grant()
  await watch.ready
  return { client, peer, watch, told }
}

test('it is a map of the latest messages, and tells what changed', async (t) => {
  const { peer, watch, told } = await watching(t)
  assert.equal(watch.version, 0)
  peer.send(publish('a/1', 'x'), publish('a/2', 'y'), publish('a/1', 'z'))
  await settle()
  assert.deepEqual(texts(watch), ['a/1=z', 'a/2=y'])
  assert.deepEqual(told, [['a/1', 'a/2']])
  assert.equal(watch.version, 3)
  assert.equal(watch.size, 2)
  assert.equal(watch.has('a/1'), true)
  assert.equal(watch.has('a/3'), false)
  assert.equal(watch.get('a/2').text(), 'y')
  assert.equal(watch.get('a/2'), watch.get('a/2'))
  assert.equal(watch.get('a/3'), undefined)
  assert.deepEqual([...watch.keys()], ['a/1', 'a/2'])
  assert.deepEqual(
    [...watch.values()].map((message) => message.text()),
    ['z', 'y'],
  )
  assert.deepEqual(
    [...watch.entries()].map(([topic]) => topic),
    ['a/1', 'a/2'],
  )
  const seen = []
  watch.forEach(
    /** @this {any} */
    function (message, topic, map) {
      seen.push([this.name, message.text(), topic, map === watch])
    },
    { name: 'this' },
  )
  assert.deepEqual(seen, [
    ['this', 'z', 'a/1', true],
    ['this', 'y', 'a/2', true],
  ])
  peer.send(publish('a/2', 'w'))
  await settle()
  assert.deepEqual(texts(watch), ['a/1=z', 'a/2=w'])
  assert.deepEqual(told[1], ['a/2'])
})

test('an empty payload takes the topic out of the map', async (t) => {
  const { peer, watch, told } = await watching(t)
  peer.send(publish('a/1', 'x', { retain: true }), publish('a/2', 'y', { retain: true }))
  await settle()
  peer.send(publish('a/1', ''), publish('a/3', ''))
  await settle()
  assert.deepEqual(texts(watch), ['a/2=y'])
  assert.deepEqual(told, [['a/1', 'a/2'], ['a/1']])
  assert.equal(watch.version, 3)
  peer.send(publish('a/1', 'again'))
  await settle()
  assert.deepEqual(texts(watch), ['a/2=y', 'a/1=again'])
  peer.send(publish('a/1', ''), publish('a/1', 'once more'))
  await settle()
  assert.deepEqual(told.slice(2), [['a/1'], ['a/1']])
})

test('watches of a filter share one subscription, and a late one knows all at once', async (t) => {
  const { client, peer, watch } = await watching(t, { conflate: 10_000 })
  peer.send(publish('a/1', 'x'))
  await settle()
  const late = client.watch('a/#', { conflate: 5 })
  const told = []
  late.onChange((topics) => told.push(topics))
  assert.deepEqual(texts(late), ['a/1=x'])
  await late.ready
  assert.equal(late.get('a/1'), watch.get('a/1'))
  await settle()
  assert.deepEqual(told, [])
  assert.equal(peer.pending.length, 0)
  assert.equal(client.subscriptions.size, 1)
  peer.send(publish('a/2', 'y'))
  await settle()
  assert.deepEqual(told, [['a/2']])
  await watch.end()
  assert.equal(peer.pending.length, 0)
  peer.send(publish('a/2', 'z'))
  await settle()
  assert.equal(late.get('a/2').text(), 'z')
  const ending = late.end()
  assert.equal(late.end(), ending)
  await peer.release({ filters: ['a/#'] })
  await ending
  assert.equal(client.subscriptions.size, 0)
  assert.equal(late.get('a/2').text(), 'z')
  // The next one begins anew.
  const next = client.watch('a/#')
  await peer.grant()
  await next.ready
  assert.equal(next.size, 0)
})

test('beyond the limit the topic that has not changed for longest gives way', async (t) => {
  const { peer, watch, told } = await watching(t, { limit: 2 })
  peer.send(publish('a/1', '1'), publish('a/2', '2'), publish('a/1', '3'))
  await settle()
  peer.send(publish('a/3', '4'))
  await settle()
  assert.deepEqual(texts(watch), ['a/1=3', 'a/3=4'])
  assert.deepEqual(told[1], ['a/2', 'a/3'])
  peer.send(publish('a/1', '5'), publish('a/4', '6'), publish('a/5', '7'))
  await settle()
  assert.deepEqual(texts(watch), ['a/4=6', 'a/5=7'])
})

test('the limit holds with more topics than the client remembers, at any order', async (t) => {
  const { peer, watch } = await watching(t, { limit: 50 })
  const order = new Map()
  let state = 7
  for (let round = 0; round < 40; round++) {
    const packets = []
    for (let n = 0; n < 250; n++) {
      state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
      const topic = `a/${(state >> 8) % 90}`
      const payload = n % 17 === 0 ? '' : `${round}.${n}`
      packets.push(publish(topic, payload))
      order.delete(topic)
      if (payload) order.set(topic, payload)
      if (order.size > 50) order.delete(order.keys().next().value)
    }
    peer.send(...packets)
  }
  await settle()
  const found = texts(watch).sort()
  assert.deepEqual(found, [...order].map(([topic, text]) => `${topic}=${text}`).sort())
})

test('conflate bounds how often listeners are called; the values are the latest', async (t) => {
  const { client, peer } = await connected(t, { keepalive: 0 })
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let now = 1_000
  t.mock.method(performance, 'now', () => now)
  const watch = client.watch('a/#', { conflate: 100 })
  const told = []
  watch.onChange((topics) => told.push(topics))
  await peer.grant()
  await watch.ready
  peer.send(publish('a/1', '1'))
  await rest()
  assert.deepEqual(told, [['a/1']])
  peer.send(publish('a/1', '2'))
  await rest()
  peer.send(publish('a/2', '3'), publish('a/1', '4'))
  await rest()
  assert.deepEqual(told, [['a/1']])
  assert.equal(watch.get('a/1').text(), '4')
  t.mock.timers.tick(99)
  assert.equal(told.length, 1)
  t.mock.timers.tick(1)
  assert.deepEqual(told[1], ['a/1', 'a/2'])
  // As in a hidden tab, where timers come late: a change that comes after the time does not wait for one.
  now += 50
  peer.send(publish('a/1', '5'))
  await rest()
  assert.equal(told.length, 2)
  now += 100
  peer.send(publish('a/2', '6'))
  await rest()
  assert.deepEqual(told[2], ['a/1', 'a/2'])
})

test('without conflate, listeners are called while timers are mocked', async (t) => {
  const { client, peer } = await connected(t, { keepalive: 0 })
  t.mock.timers.enable({ apis: ['setTimeout', 'setImmediate'] })
  const watch = client.watch('a/#')
  const told = []
  const stop = watch.onChange((topics) => told.push(topics))
  await peer.grant()
  peer.send(publish('a/1', '1'))
  await new Promise((resolve) => {
    watch.onChange(resolve)
  })
  assert.deepEqual(told, [['a/1']])
  stop()
  peer.send(publish('a/1', '2'))
  await new Promise((resolve) => {
    watch.onChange(resolve)
  })
  assert.equal(told.length, 1)
})

test('what a listener throws or rejects with is an error that names the filter, and disturbs nobody', async (t) => {
  const { client, peer, watch, told } = await watching(t)
  const oops = new Error('oops')
  watch.onChange(() => {
    throw oops
  })
  watch.onChange(/** @type {any} */ (() => Promise.reject(oops)))
  const after = []
  watch.onChange((topics) => after.push(...topics))
  const errors = []
  client.on('error', (error) =>
    errors.push([error.name, /** @type {any} */ (error).filter, error.cause, error.message]),
  )
  peer.send(publish('a/1', '1'))
  await until(() => errors.length === 2)
  const one = ['HandlerError', 'a/#', oops, "The listener of watch 'a/#' threw: Error: oops"]
  assert.deepEqual(errors, [one, one])
  await settle()
  assert.deepEqual([told, after], [[['a/1']], ['a/1']])
  assert.throws(() => watch.onChange(/** @type {any} */ ('x')), { argument: 'listener' })
})

test('ready rejects as subscribe() does', async (t) => {
  const { client, peer } = await connected(t)
  /** @type {[string, any, any][]} */
  const wrong = [
    ['filter', 'a/#/b', undefined],
    ['filter', '', undefined],
    ['options', 'a', 5],
    ['qos', 'a', { qos: 3 }],
    ['limit', 'a', { limit: 0 }],
    ['limit', 'a', { limit: '1' }],
    ['conflate', 'a', { conflate: -1 }],
    ['subscriptionIdentifier', 'a', { subscriptionIdentifier: 0 }],
    ['ack', 'a', { ack: 'auto' }],
    ['signal', 'a', { signal: 5 }],
  ]
  for (const [argument, filter, options] of wrong) {
    const watch = client.watch(filter, options)
    await assert.rejects(watch.ready, { name: 'InvalidArgumentError', argument })
    assert.equal(watch.size, 0)
    await watch.end()
  }
  assert.equal(peer.pending.length, 0)
  const refused = client.watch('b')
  const also = client.watch('b')
  await peer.grant([0x87])
  await assert.rejects(refused.ready, { name: 'SubscribeError' })
  await assert.rejects(also.ready, { name: 'SubscribeError' })
  // The next one asks again.
  const granted = client.watch('b')
  await peer.grant()
  await granted.ready
  await client.end({ force: true })
  await assert.rejects(client.watch('c').ready, { code: 'CLOSED' })
})

test('a failure that nobody looks at is an error event', async (t) => {
  const { client, peer } = await connected(t)
  const failed = event(client, 'error')
  client.watch('b')
  await peer.grant([0x87])
  assert.equal((await failed)[0].code, 'SUBSCRIBE_REFUSED')
})

test('signal ends one watch, before or after the answer', async (t) => {
  const { client, peer } = await connected(t)
  const [first, second] = [new AbortController(), new AbortController()]
  const one = client.watch('a', { signal: first.signal })
  const two = client.watch('a', { signal: second.signal })
  first.abort()
  await assert.rejects(one.ready, { name: 'AbortError' })
  await peer.grant()
  await two.ready
  assert.equal(peer.pending.length, 0)
  second.abort()
  await peer.release({ filters: ['a'] })
  await assert.rejects(client.watch('a', { signal: second.signal }).ready, { name: 'AbortError' })
  // Withdrawn before the answer: what was granted is given back.
  const third = new AbortController()
  const withdrawn = client.watch('b', { signal: third.signal })
  third.abort()
  await assert.rejects(withdrawn.ready, { name: 'AbortError' })
  await settle()
  for (const packet of peer.pending)
    assert.match(`${packet.type} ${JSON.stringify(packet.filters)}`, /subscribe .*"b"/)
})

test('what watches ask for: QoS, an identifier, and acknowledgements at once', async (t) => {
  const { client, peer } = await connected(t)
  const watch = client.watch('a', { qos: 1, subscriptionIdentifier: 7 })
  const { filters, properties } = await peer.grant()
  assert.deepEqual(filters, [{ filter: 'a', options: 1 }])
  assert.equal(properties.subscriptionIdentifier, 7)
  peer.send(publish('a', 'x', { qos: 1, id: 1, properties: { subscriptionIdentifier: 7 } }))
  await peer.expect('puback', { id: 1 })
  assert.equal(watch.get('a').qos, 1)
  assert.deepEqual(watch.get('a').properties.subscriptionIdentifiers, [7])
})

test('a handler and a watch of overlapping filters both get a message, as does the event', async (t) => {
  const { client, peer, watch } = await watching(t)
  const got = []
  const subscribing = client.subscribe('a/1', { qos: 1, ack: 'manual' }, (message) => {
    got.push(message)
  })
  await peer.grant()
  await subscribing
  const arrived = event(client, 'message')
  peer.send(publish('a/1', 'x', { qos: 1, id: 1, properties: { subscriptionIdentifier: [1, 2] } }))
  await arrived
  await settle()
  assert.equal(watch.get('a/1').text(), 'x')
  assert.equal(peer.pending.length, 0)
  got[0].ack()
  await peer.expect('puback', { id: 1 })
})

test('the last values stay when the client ends, and no timer is left', async (t) => {
  const { client, peer, watch, told } = await watching(t, { conflate: 60_000 })
  peer.send(publish('a/1', '1'))
  await settle()
  const timers = () => process.getActiveResourcesInfo().filter((each) => each === 'Timeout').length
  const before = timers()
  peer.send(publish('a/2', '2'))
  await settle()
  assert.equal(told.length, 1)
  assert.equal(timers(), before + 1)
  await client.end({ force: true })
  assert.deepEqual(told[1], ['a/2'])
  assert.deepEqual(texts(watch), ['a/1=1', 'a/2=2'])
  await watch.end()
  await settle()
  assert.ok(timers() <= before)
})

test('a value keeps no frame alive that is much larger than it', async (t) => {
  const { peer, watch } = await watching(t)
  peer.send(publish('a/1', 'x'.repeat(100)), publish('a/2', 'y'.repeat(2_000)))
  await settle()
  assert.equal(watch.get('a/1').payload.buffer.byteLength, 100)
  assert.equal(watch.get('a/1').text(), 'x'.repeat(100))
})

test('with the test broker: retained, live and deleted, over a reconnect, at both versions', async (t) => {
  for (const protocolVersion of /** @type {const} */ ([5, 4])) {
    const broker = new TestBroker()
    t.after(() => broker[Symbol.asyncDispose]())
    broker.publish('house/door', 'shut', { retain: true })
    const client = await connect('ws://broker', {
      transport: broker.transport,
      protocolVersion,
      clientId: 'me',
      reconnect: { minDelay: 1, jitter: 0 },
    })
    t.after(() => client.end({ force: true }))
    const watch = client.watch(['house/#', 'garden/+'])
    await watch.ready
    await until(() => watch.size === 1)
    assert.equal(watch.get('house/door').retain, true)
    broker.publish('garden/gate', 'open')
    await until(() => watch.has('garden/gate'))
    broker.publish('house/door', '', { retain: true })
    await until(() => !watch.has('house/door'))
    broker.loseSession()
    const again = event(client, 'connect')
    broker.drop()
    await again
    await until(() => client.stats().inFlightOut === 0)
    broker.publish('house/door', 'open', { retain: true })
    await until(() => watch.get('house/door')?.text() === 'open')
    assert.deepEqual([...watch.keys()].sort(), ['garden/gate', 'house/door'])
    await watch[Symbol.asyncDispose]()
    assert.equal(client.subscriptions.size, 0)
  }
})

test('before connect(), a watch waits for the connection', async (t) => {
  const broker = new TestBroker()
  t.after(() => broker[Symbol.asyncDispose]())
  const client = makeClient(t, 'ws://broker', { transport: broker.transport })
  const watch = client.watch('a')
  await client.connect()
  await watch.ready
  await client.publish('a', 'x')
  await until(() => watch.size === 1)
})
