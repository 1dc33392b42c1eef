// @ts-nocheck: mistakes that the types refuse are tested here.
// request() and respond(), against a scripted broker that plays the other side, and between clients of the test broker.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect, HandlerError } from '../../pkg/node.js'
import { TestBroker } from '../../pkg/testing-node.js'
import {
  connected,
  event,
  makeClient,
  record,
  settle,
  startBroker,
  until,
} from './scripted-broker.mjs'

/** A request that has arrived at the broker. The first one of a client subscribes to the response topic. */
async function requested(peer, filter) {
  if (filter !== undefined) {
    const { filters } = await peer.grant()
    assert.equal(filters[0].filter, filter)
  }
  return peer.expect('publish')
}

/** Answers a request, as some other responder would. */
function answer(peer, { properties }, payload, more) {
  const { responseTopic, correlationData } = properties
  peer.send({
    type: 'publish',
    topic: responseTopic,
    payload,
    properties: { ...(correlationData && { correlationData }), ...more },
  })
}

/** Clients of one test broker. */
function house(t, options) {
  const broker = new TestBroker()
  t.after(() => broker[Symbol.asyncDispose]())
  return async (clientId, more) => {
    const client = await connect('ws://broker', {
      transport: broker.transport,
      clientId,
      ...options,
      ...more,
    })
    t.after(() => client.end({ force: true }))
    return client
  }
}

// Contract: Publishes with a response topic and correlation data of its own and resolves with the response. Needs MQTT 5. Default timeout 30_000.
test('request: a response topic and correlation data of its own, one subscription for all', async (t) => {
  const { client, peer } = await connected(t, { clientId: 'me+#/' })
  const first = client.request('ask', 'one', {
    qos: 1,
    retain: true,
    properties: { contentType: 'x', responseTopic: 'not/this', correlationData: new Uint8Array(3) },
  })
  const subscribe = await peer.grant()
  assert.deepEqual(subscribe.filters, [{ filter: 'response/me%2B%23%2F', options: 0x21 }])
  const one = await peer.expect('publish', { topic: 'ask', payload: 'one', qos: 1, retain: true })
  assert.equal(one.properties.contentType, 'x')
  assert.equal(one.properties.responseTopic, 'response/me%2B%23%2F')
  const second = client.request('ask', new Uint8Array([50]))
  const two = await peer.expect('publish', { payload: '2', qos: 0 })
  assert.notDeepEqual(two.properties.correlationData, one.properties.correlationData)
  answer(peer, two, 'for two', { userProperties: [['a', 'b']] })
  answer(peer, one, 'for one')
  assert.equal((await first).text(), 'for one')
  const message = await second
  assert.equal(message.text(), 'for two')
  assert.deepEqual(message.properties.userProperties, [['a', 'b']])
  assert.equal(client.subscriptions.size, 1)
})

test('request: the Response Information of the server comes first in the response topic', async (t) => {
  const { client, peer } = await connected(
    t,
    { clientId: 'me', properties: { requestResponseInformation: true } },
    { properties: { responseInformation: 'answers/7' } },
  )
  const response = client.request('ask')
  const request = await requested(peer, 'answers/7/me')
  assert.equal(request.payload.length, 0)
  answer(peer, request, '')
  assert.equal((await response).payload.length, 0)
})

test('request: Response Information that can begin no topic is left out', async (t) => {
  for (const responseInformation of ['#', 'answers/+', '']) {
    const { client, peer } = await connected(
      t,
      { clientId: 'me', properties: { requestResponseInformation: true } },
      { properties: { responseInformation } },
    )
    const response = client.request('ask')
    answer(peer, await requested(peer, 'response/me'), 'yes')
    assert.equal((await response).text(), 'yes')
  }
})

test('request: the first response counts, later and foreign ones are dropped', async (t) => {
  const { client, peer } = await connected(t, { clientId: 'me' })
  const events = record(client, 'error')
  const response = client.request('ask')
  const request = await requested(peer, 'response/me')
  const foreign = { properties: { responseTopic: 'response/me' } }
  answer(peer, foreign, 'no correlation')
  answer(peer, foreign, 'another', { correlationData: Buffer.from([0xff, 0xfe]) })
  answer(peer, request, 'first')
  answer(peer, request, 'second')
  answer(peer, request, 'third', { userProperties: [['error', 'late']] })
  assert.equal((await response).text(), 'first')
  await settle()
  assert.deepEqual(events, [])
})

test('request: payload and options are taken when it is called', async (t) => {
  const broker = await startBroker(t)
  const client = makeClient(t, broker.url, { clientId: 'me' })
  const payload = Buffer.from('before')
  const options = { qos: 1, properties: { contentType: 'before' } }
  const response = client.request('ask', payload, options)
  payload.fill(0)
  options.properties.contentType = 'after'
  client.connect()
  const peer = await broker.accept()
  await peer.welcome()
  const request = await requested(peer, 'response/me')
  assert.equal(request.payload.toString(), 'before')
  assert.equal(request.properties.contentType, 'before')
  answer(peer, request, 'x')
  await response
})

test('request: timeout and signal; what was not sent is dropped', async (t) => {
  const { client, peer, broker } = await connected(t, {
    clientId: 'me',
    reconnect: { minDelay: 60_000 },
  })
  const late = client.request('ask', 'late', { timeout: 500 })
  const request = await requested(peer, 'response/me')
  await assert.rejects(late, { code: 'TIMEOUT', message: /500 ms/ })
  answer(peer, request, 'too late')
  const controller = new AbortController()
  const aborted = client.request('ask', 'aborted', { signal: controller.signal })
  await peer.expect('publish', { payload: 'aborted' })
  controller.abort()
  await assert.rejects(aborted, { code: 'ABORTED' })
  await assert.rejects(client.request('ask', '', { signal: AbortSignal.abort() }), {
    code: 'ABORTED',
  })
  peer.drop()
  await event(client, 'disconnect')
  await assert.rejects(client.request('ask', 'unsent', { qos: 1, timeout: 5 }), { code: 'TIMEOUT' })
  assert.equal(client.stats().queuedMessages, 0)
  client.connect()
  const second = await broker.accept()
  await second.welcome({ sessionPresent: true })
  await client.publish('after')
  await second.expect('publish', { topic: 'after' })
})

// Contract: Publishes with a response topic and correlation data of its own and resolves with the response. Needs MQTT 5. Default timeout 30_000.
test('request: the default timeout is 30 seconds', async (t) => {
  const { client, peer } = await connected(t, { clientId: 'me' })
  const waits = []
  const { setTimeout } = globalThis
  t.mock.method(globalThis, 'setTimeout', (work, ms, ...rest) => {
    waits.push(ms)
    return setTimeout(work, ms, ...rest)
  })
  const response = client.request('ask')
  assert.ok(waits.includes(30_000), `${waits}`)
  answer(peer, await requested(peer, 'response/me'), 'x')
  await response
})

test('request: what goes wrong with its publish or its subscription', async (t) => {
  const { client, peer } = await connected(t, { clientId: 'me' })
  for (const [call, argument] of [
    [() => client.request('a/#'), 'topic'],
    [() => client.request('a', 5), 'payload'],
    [() => client.request('a', '', { qos: 3 }), 'qos'],
    [() => client.request('a', '', { nonsense: 1 }), 'nonsense'],
    [() => client.request('a', '', { timeout: 'x' }), 'timeout'],
    [() => client.respond(['a'], () => ''), 'filter'],
    [() => client.respond('a#', () => ''), 'filter'],
    [() => client.respond('a'), 'handler'],
    [() => client.respond('a', () => '', { qos: 5 }), 'qos'],
  ])
    await assert.rejects(call(), { name: 'InvalidArgumentError', argument })
  assert.deepEqual(peer.pending, [])
  const denied = client.request('ask')
  await peer.grant([0x87])
  await assert.rejects(denied, { code: 'SUBSCRIBE_REFUSED' })
  const refused = client.request('ask', '', { qos: 1 })
  const { id } = await requested(peer, 'response/me')
  peer.send({ type: 'puback', id, reasonCode: 0x87 })
  await assert.rejects(refused, { code: 'PUBLISH_REFUSED', reasonCode: 0x87 })
  const closed = client.request('ask')
  await peer.expect('publish')
  client.end({ timeout: 0 })
  await assert.rejects(closed, { code: 'CLOSED' })
  await assert.rejects(client.request('ask'), { code: 'CLOSED' })
  await assert.rejects(
    client.respond('ask', () => ''),
    { code: 'CLOSED' },
  )
})

test('request: a connection that is lost in between, with the session and without', async (t) => {
  for (const sessionPresent of [true, false]) {
    const { client, peer, broker } = await connected(t, {
      clientId: 'me',
      reconnect: { minDelay: 1, maxDelay: 1 },
    })
    const response = client.request('ask', 'x')
    const request = await requested(peer, 'response/me')
    peer.drop()
    const second = await broker.accept()
    await second.welcome({ sessionPresent })
    // It is restored by the client where the server has lost it.
    if (!sessionPresent) await second.grant(undefined, {})
    answer(second, request, 'in the end')
    assert.equal((await response).text(), 'in the end')
  }
})

test('request: a subscription that somebody ended is made again', async (t) => {
  const { client, peer } = await connected(t, { clientId: 'me' })
  const first = client.request('ask')
  answer(peer, await requested(peer, 'response/me'), '1')
  await first
  const ended = client.unsubscribe('response/me')
  await peer.release()
  await ended
  const second = client.request('ask')
  answer(peer, await requested(peer, 'response/me'), '2')
  assert.equal((await second).text(), '2')
})

// Contract: request, respond, reauthenticate and refusing acknowledgements reject with NotSupportedError.
// Contract: Publishes with a response topic and correlation data of its own and resolves with the response. Needs MQTT 5. Default timeout 30_000.
// Contract: Answers requests on a filter; what the handler returns is published to the request's response topic. Needs MQTT 5.
test('3.1.1: neither of them, whenever that turns out', async (t) => {
  const broker = await startBroker(t)
  const client = makeClient(t, broker.url, { protocolVersion: 'auto' })
  const early = [client.request('ask'), client.respond('ask', () => '')]
  const outcomes = Promise.allSettled(early)
  const connecting = client.connect()
  const first = await broker.accept()
  await first.expect('connect')
  first.send({ type: 'connack', reasonCode: 0x84 })
  const peer = await broker.accept()
  await peer.welcome()
  await connecting
  await peer.grant()
  await peer.release()
  for (const { reason } of await outcomes) assert.equal(reason.code, 'NOT_SUPPORTED')
  await assert.rejects(client.request('ask'), { code: 'NOT_SUPPORTED', message: /MQTT 5/ })
  await assert.rejects(
    client.respond('ask', () => ''),
    { code: 'NOT_SUPPORTED' },
  )
  assert.deepEqual(peer.pending, [])
})

// Contract: Answers requests on a filter; what the handler returns is published to the request's response topic. Needs MQTT 5.
test('respond: at the QoS of the request, with its correlation data', async (t) => {
  const { client, peer } = await connected(t)
  const seen = []
  const responding = client.respond('ask/+', async (message) => {
    seen.push(message.topic)
    return `${message.text()}!`
  })
  await peer.grant()
  const subscription = await responding
  assert.equal(subscription.active, true)
  const properties = { responseTopic: 'r', correlationData: Buffer.from([0, 255]) }
  peer.send({ type: 'publish', topic: 'ask/a', payload: 'hi', properties })
  const response = await peer.expect('publish', { topic: 'r', payload: 'hi!', qos: 0 })
  assert.deepEqual([...response.properties.correlationData], [0, 255])
  peer.send({ type: 'publish', topic: 'ask/a', qos: 1, id: 9, properties: { responseTopic: 'r' } })
  await peer.expect('puback', { id: 9 })
  const second = await peer.expect('publish', { topic: 'r', payload: '!', qos: 1 })
  assert.deepEqual(second.properties, {})
  // A message that is no request is handled, and nothing is published.
  peer.send({ type: 'publish', topic: 'ask/b' })
  await until(() => seen.includes('ask/b'))
  await client.publish('after')
  await peer.expect('publish', { topic: 'after' })
})

test('respond: an empty response, and payloads of every kind', async (t) => {
  const { client, peer } = await connected(t)
  const answers = [undefined, null, '', new Uint8Array([65]), new Uint8Array([66]).buffer, 'C']
  const responding = client.respond('ask', (message) => answers[Number(message.text())])
  await peer.grant()
  await responding
  for (const [number, payload] of [...'   ABC'].map((text) => text.trim()).entries()) {
    const properties = { responseTopic: 'r' }
    peer.send({ type: 'publish', topic: 'ask', payload: `${number}`, properties })
    await peer.expect('publish', { topic: 'r', payload })
  }
})

test('respond: a handler that fails tells the requester, and is reported', async (t) => {
  const join = house(t)
  const server = await join('server')
  const errors = []
  server.on('error', (error) => errors.push(error))
  const thrown = [
    new Error('no such room'),
    'just text',
    undefined,
    new Error('\0\ud800'),
    new Error('x'.repeat(100_000)),
    null,
  ]
  await server.respond('ask', async (message) => {
    const number = message.json()
    if (number === thrown.length) return 5
    throw thrown[number]
  })
  const client = await join('client')
  const messages = []
  for (let number = 0; number <= thrown.length; number++) {
    const error = await client.request('ask', `${number}`).catch((error) => error)
    assert.ok(error instanceof HandlerError)
    assert.equal(error.topic, 'ask')
    assert.equal(error.cause.payload.length, 0)
    messages.push([error.message, error.userProperties[0][1].length])
  }
  assert.deepEqual(messages[0], ['The responder failed: no such room', 12])
  assert.equal(messages[1][0], 'The responder failed: just text')
  assert.equal(messages[2][0], 'The responder failed: undefined')
  assert.equal(messages[3][0], 'The responder failed: \ufffd')
  assert.equal(messages[4][1], 1_000)
  assert.match(messages[6][0], /response: must be a string/)
  await until(() => errors.length === 7)
  for (const error of errors) {
    assert.equal(error.code, 'HANDLER_FAILED')
    assert.deepEqual([error.topic, error.filter], ['ask', 'ask'])
  }
  assert.equal(errors[0].cause, thrown[0])
  assert.equal(errors[6].cause.argument, 'response')
})

test("respond: with ack 'settled' a request is acknowledged after its response", async (t) => {
  const { client, peer } = await connected(t)
  const responding = client.respond('ask', () => 'x', { qos: 1, ack: 'settled' })
  await peer.grant()
  await responding
  peer.send({ type: 'publish', topic: 'ask', qos: 1, id: 9, properties: { responseTopic: 'r' } })
  const { id } = await peer.expect('publish', { topic: 'r', qos: 1 })
  await settle()
  assert.deepEqual(peer.pending, [])
  peer.send({ type: 'puback', id })
  await peer.expect('puback', { id: 9 })
})

test("respond: a response that the server refuses is an 'error', not a failure of the handler", async (t) => {
  const { client, peer } = await connected(t)
  const responding = client.respond('ask', () => 'x')
  await peer.grant()
  await responding
  const errors = record(client, 'error')
  peer.send({ type: 'publish', topic: 'ask', qos: 1, id: 9, properties: { responseTopic: 'r' } })
  await peer.expect('puback', { id: 9 })
  const { id } = await peer.expect('publish', { topic: 'r' })
  peer.send({ type: 'puback', id, reasonCode: 0x87 })
  await until(() => errors.length > 0)
  assert.equal(errors[0][1].code, 'PUBLISH_REFUSED')
})

test('several responders, many requests at once, a client that asks itself', async (t) => {
  const join = house(t)
  const servers = [await join('one'), await join('two')]
  for (const [number, server] of servers.entries())
    await server.respond('ask/#', (message) => `${number}:${message.topic}`)
  const client = await join('client')
  await client.respond('self', (message) => message.payload)
  const errors = record(client, 'error')
  const topics = Array.from({ length: 200 }, (_, number) => `ask/${number}`)
  const responses = await Promise.all(
    topics.map((topic, number) => client.request(topic, '', { qos: number % 3 })),
  )
  assert.deepEqual(
    responses.map((message) => message.text().slice(2)),
    topics,
  )
  assert.equal((await client.request('self', 'me')).text(), 'me')
  assert.deepEqual(errors, [])
})

test('a request that nobody observes fails by the event, not by the process', async (t) => {
  const { client, peer } = await connected(t, { clientId: 'me' })
  const errors = record(client, 'error')
  client.request('ask', '', { timeout: 5 })
  await requested(peer, 'response/me')
  await until(() => errors.length > 0)
  assert.equal(errors[0][1].code, 'TIMEOUT')
})
