// Where a client connects to: lists of servers, functions, Server References, and authenticating again; through the package.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  connected,
  event,
  makeClient,
  record,
  settle,
  startBroker,
  until,
} from './scripted-broker.mjs'

const QUICK = { minDelay: 1, maxDelay: 1 }
/** The port of a URL, by which servers on one machine differ. */
const reference = (broker) => new URL(broker.url).host

/** Brokers whose next connection is welcomed. */
const brokers = (t, count) => Promise.all(Array.from({ length: count }, () => startBroker(t)))

// Contract: A list means failover: the attempts go through it in order, and stay with a server while it works.
test('failover: in order, and back to the server that works', async (t) => {
  const [gone, one, two] = await brokers(t, 3)
  await gone.stop()
  const client = makeClient(t, [gone.url, one.url, new URL(two.url)], { reconnect: QUICK })
  const connecting = client.connect()
  const first = await one.accept()
  await first.welcome()
  assert.equal((await connecting).url, `${one.url}/mqtt`)
  // It has worked for longer than the last delay.
  await settle()
  first.drop()
  const second = await one.accept()
  await second.welcome()
  await event(client, 'connect')
  // To accept and to drop is not to work.
  const waits = record(client, 'reconnecting')
  await settle(50)
  await one.stop()
  const third = await two.accept()
  await third.welcome()
  const [info] = await event(client, 'connect')
  assert.equal(info.url, `${two.url}/mqtt`)
  assert.deepEqual(
    waits.map(([, { url }]) => url),
    [one, two].map(({ url }) => `${url}/mqtt`),
  )
})

test('failover: the first connect() fails when all servers have', async (t) => {
  const [one, two] = await brokers(t, 2)
  for (const broker of [one, two])
    broker.accept().then((peer) => peer.welcome({ reasonCode: 0x88 }))
  const error = await makeClient(t, [one.url, two.url])
    .connect()
    .catch((error) => error)
  assert.deepEqual([error.code, error.reasonCode], ['CONNECTION_REFUSED', 0x88])
  assert.equal(error.url, `${two.url}/mqtt`)
})

// Contract: A value, or a function that yields it; the function is called (and awaited) before every connection attempt.
test('a function may give a list, and is told about the attempt', async (t) => {
  const [gone, broker] = await brokers(t, 2)
  await gone.stop()
  const contexts = []
  const tell = (value) => (context) => (contexts.push(context), value)
  const client = makeClient(t, tell([gone.url, broker.url]), {
    username: tell('user'),
    password: tell('secret'),
    websocket: { headers: tell({ 'x-token': '1' }) },
    reconnect: QUICK,
  })
  const connecting = client.connect()
  const peer = await broker.accept()
  assert.equal(peer.request.headers['x-token'], '1')
  const { username, password } = await peer.welcome()
  assert.deepEqual([username, password], ['user', 'secret'])
  await connecting
  assert.equal(contexts.length, 8)
  const [early] = contexts
  const late = contexts.at(-1)
  assert.deepEqual([early.attempt, early.lastError], [1, undefined])
  assert.equal(late.lastError.code, 'CONNECTION_FAILED')
  assert.equal(new Set(contexts.slice(0, 4).map(({ signal }) => signal)).size, 1)
  assert.deepEqual([early.signal.aborted, late.signal.aborted], [true, false])
  peer.drop()
  await until(() => late.signal.aborted)
  const again = await broker.accept()
  await again.welcome()
  await event(client, 'connect')
  const { attempt, lastError } = contexts.at(-1)
  assert.deepEqual([attempt, lastError.code], [1, 'CONNECTION_LOST'])
})

// Contract: A value, or a function that yields it; the function is called (and awaited) before every connection attempt.
test('a function that fails is asked again at the next attempt', async (t) => {
  const broker = await startBroker(t)
  const errors = []
  const password = async ({ attempt, lastError }) => {
    errors.push(lastError?.cause?.message)
    if (attempt < 3) throw new Error(`no token ${attempt}`)
    return 'secret'
  }
  const client = makeClient(t, broker.url, {
    username: 'user',
    password,
    reconnect: { ...QUICK, initial: true },
  })
  const connecting = client.connect()
  const peer = await broker.accept()
  assert.equal((await peer.welcome()).password, 'secret')
  await connecting
  assert.deepEqual(errors, [undefined, 'no token 1', 'no token 2'])
})

// Contract: its Server Reference is a space-separated list of host[:port]; the first whose host (and port, if given) is among the configured URLs is
// tried next; if none is, the client ends with the error.
test('Server Reference: to the first that is one of ours, from CONNACK and from DISCONNECT', async (t) => {
  const [one, two, three] = await brokers(t, 3)
  const client = makeClient(t, [one.url, two.url, three.url], { reconnect: QUICK })
  const connecting = client.connect()
  const serverReference = `elsewhere.example:1 ${reference(three)} ${reference(two)}`
  const first = await one.accept()
  await first.welcome({ reasonCode: 0x9c, properties: { serverReference } })
  const second = await three.accept()
  await second.welcome()
  assert.equal((await connecting).url, `${three.url}/mqtt`)
  const lost = event(client, 'disconnect')
  second.send({
    type: 'disconnect',
    reasonCode: 0x9d,
    properties: { serverReference: reference(one) },
  })
  const [error, willReconnect] = await lost
  assert.deepEqual([error.reasonCode, error.serverReference], [0x9d, reference(one)])
  assert.equal(willReconnect, true)
  const third = await one.accept()
  await third.welcome()
})

// Contract: its Server Reference is a space-separated list of host[:port]; the first whose host (and port, if given) is among the configured URLs is
// tried next; if none is, the client ends with the error.
test('Server Reference: to none of ours is the end, with the error', async (t) => {
  for (const reasonCode of [0x9c, 0x9d]) {
    const { client, peer } = await connected(t, { reconnect: QUICK })
    const closed = event(client, 'close')
    const properties = { serverReference: 'elsewhere.example' }
    peer.send({ type: 'disconnect', reasonCode, properties })
    const [error] = await closed
    assert.equal(error.code, 'SERVER_DISCONNECTED')
    assert.equal(error.reasonCode, reasonCode)
    assert.equal(error.serverReference, 'elsewhere.example')
    assert.equal(error.retryable, false)
  }
  const broker = await startBroker(t)
  const connecting = makeClient(t, broker.url).connect()
  const peer = await broker.accept()
  await peer.welcome({ reasonCode: 0x9c, properties: { serverReference: 'elsewhere.example' } })
  const error = await connecting.catch((error) => error)
  assert.deepEqual([error.code, error.serverReference], ['CONNECTION_REFUSED', 'elsewhere.example'])
})

// ------------------------------------------------------------------------------------------------ re-authentication

const METHOD = { authenticationMethod: 'X' }

/** A client that has authenticated, and whose Authenticator answers with what it was asked. */
async function authenticated(t, authenticator) {
  const authentication = {
    method: 'X',
    start: () => undefined,
    continue: (challenge) => challenge,
    ...authenticator,
  }
  return connected(t, { authentication, reconnect: QUICK }, { properties: METHOD })
}

// Contract: Answer to a server challenge. Throwing or rejecting ends the attempt with AuthenticationError.
// Contract: MQTT 5 re-authentication with the Authenticator of the options.
test('reauthenticate: challenges, while messages come and go', async (t) => {
  const { client, peer } = await authenticated(t)
  const done = client.reauthenticate()
  assert.deepEqual((await peer.expect('auth', { reasonCode: 0x19 })).properties, METHOD)
  await assert.rejects(client.reauthenticate(), { code: 'AUTHENTICATION_FAILED', retryable: true })
  for (const text of ['one', 'two']) {
    const authenticationData = Buffer.from(text)
    peer.send({ type: 'auth', reasonCode: 0x18, properties: { ...METHOD, authenticationData } })
    const { properties } = await peer.expect('auth', { reasonCode: 0x18 })
    assert.equal(properties.authenticationData.toString(), text)
    client.publish('a', text)
    await peer.expect('publish', { payload: text })
  }
  peer.send({ type: 'auth', reasonCode: 0, properties: METHOD })
  assert.equal(await done, undefined)
  const again = client.reauthenticate()
  await peer.expect('auth', { reasonCode: 0x19 })
  peer.send({ type: 'auth', properties: METHOD })
  await again
})

test('reauthenticate: a server that refuses ends the connection', async (t) => {
  const { client, peer } = await authenticated(t)
  const done = client.reauthenticate()
  await peer.expect('auth', { reasonCode: 0x19 })
  const closed = event(client, 'close')
  peer.send({ type: 'disconnect', reasonCode: 0x87 })
  await assert.rejects(done, { code: 'SERVER_DISCONNECTED', reasonCode: 0x87 })
  assert.equal((await closed)[0].reasonCode, 0x87)
})

test('reauthenticate: an Authenticator that fails, a connection that is lost, a call that is late', async (t) => {
  const cause = new Error('no key')
  let fails = false
  const start = () => {
    if (fails) throw cause
  }
  const { client, peer, broker } = await authenticated(t, { start })
  await assert.rejects(client.reauthenticate({ timeout: 20 }), { code: 'TIMEOUT' })
  await peer.expect('auth', { reasonCode: 0x19 })
  peer.send({ type: 'auth', properties: METHOD })
  await settle()
  const lost = client.reauthenticate()
  await peer.expect('auth', { reasonCode: 0x19 })
  peer.drop()
  await assert.rejects(lost, { code: 'CONNECTION_LOST' })
  const second = await broker.accept()
  await second.welcome({ properties: METHOD })
  await until(() => client.connected)
  fails = true
  const error = await client.reauthenticate().catch((error) => error)
  assert.deepEqual([error.name, error.cause], ['AuthenticationError', cause])
  await second.expect('disconnect', { reasonCode: 0x80 })
})

test('reauthenticate: without an Authenticator, and without a connection', async (t) => {
  const { client } = await connected(t)
  await assert.rejects(client.reauthenticate(), { code: 'NOT_SUPPORTED' })
  const authentication = { method: 'X', start: () => undefined, continue: () => undefined }
  const idle = makeClient(t, 'ws://127.0.0.1:1', { authentication })
  await assert.rejects(idle.reauthenticate(), { code: 'CONNECTION_LOST' })
  await idle.end()
  await assert.rejects(idle.reauthenticate(), { code: 'CLOSED' })
})

// ------------------------------------------------------------------------------------------------ topic aliases by hand

// Contract: topicAlias: by hand; usually left to topicAliases
test('topic aliases by hand: the topic and the alias are both sent, and automatic ones stop', async (t) => {
  const connack = { properties: { topicAliasMaximum: 2 } }
  const { client, peer, broker } = await connected(t, { reconnect: QUICK }, connack)
  client.publish('a', '', { properties: { topicAlias: 2 } })
  client.publish('a', '', { properties: { topicAlias: 2 } })
  client.publish('b')
  client.publish('b')
  for (const [topic, topicAlias] of [
    ['a', 2],
    ['a', 2],
    ['b', undefined],
    ['b', undefined],
  ]) {
    const { properties } = await peer.expect('publish', { topic })
    assert.equal(properties.topicAlias, topicAlias)
  }
  await assert.rejects(client.publish('a', '', { properties: { topicAlias: 3 } }), {
    code: 'NOT_SUPPORTED',
  })
  await assert.rejects(client.publish('a', '', { properties: { topicAlias: 0 } }), {
    code: 'INVALID_ARGUMENT',
    argument: 'properties.topicAlias',
  })
  // An alias belongs to a connection, and what waits may meet a server that takes none.
  peer.drop()
  await event(client, 'disconnect')
  const queued = client.publish('c', '', { qos: 1, properties: { topicAlias: 1 } })
  const refusal = assert.rejects(queued, { code: 'NOT_SUPPORTED' })
  const second = await broker.accept()
  await second.welcome()
  await refusal
})

// Contract: A received message's `properties` may be passed on as they are: its subscription identifiers and alias are dropped.
test('the properties of a message that came with an alias can be passed on', async (t) => {
  const { client, peer } = await connected(t)
  const arrived = event(client, 'message')
  peer.send({
    type: 'publish',
    topic: 'in',
    properties: { topicAlias: 3, contentType: 'x', subscriptionIdentifier: [4, 5] },
  })
  const [message] = await arrived
  client.publish('out', message.payload, { properties: message.properties })
  const { properties } = await peer.expect('publish', { topic: 'out' })
  assert.deepEqual(properties, { contentType: 'x' })
})
