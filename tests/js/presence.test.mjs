// @ts-nocheck: mistakes that the types refuse are tested here.
// The option `presence`: what the client says when it comes and goes, and what the server says for it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Client, connect } from '../../pkg/node.js'
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

const PRESENCE = { topic: 'me/status' }
const ONLINE = { topic: 'me/status', payload: 'online', qos: 1, retain: true }
const OFFLINE = { ...ONLINE, payload: 'offline' }

// Contract: Presence, instead of `will`: `online` is published after every connect, `offline` is the will and is published before a graceful end().
// Defaults: 'online', 'offline', QoS 1, retained.
test('presence: online after every connect, offline before the end', async (t) => {
  const reconnect = { minDelay: 1, maxDelay: 1 }
  for (const protocolVersion of [5, 4]) {
    const { client, peer, broker } = await connected(t, {
      protocolVersion,
      presence: PRESENCE,
      reconnect,
    })
    const { id } = await peer.expect('publish', ONLINE)
    peer.send({ type: 'puback', id })
    peer.drop()
    const second = await broker.accept()
    const { will } = await second.welcome()
    assert.deepEqual(will, { ...OFFLINE, properties: {} })
    const again = await second.expect('publish', { ...ONLINE, dup: false })
    second.send({ type: 'puback', id: again.id })
    const ended = client.end()
    const last = await second.expect('publish', OFFLINE)
    await settle()
    assert.deepEqual(second.pending, [], 'DISCONNECT waits for the acknowledgement')
    second.send({ type: 'puback', id: last.id })
    await second.expect('disconnect', { reasonCode: 0 })
    await ended
  }
})

test('presence: payloads, QoS and retain of ones own; what is given is not kept', async (t) => {
  const online = Buffer.from('here')
  const presence = { topic: 'p', online, offline: null, qos: 0, retain: false }
  const broker = await startBroker(t)
  const client = makeClient(t, broker.url, { presence })
  online.fill(0)
  client.connect()
  const peer = await broker.accept()
  const { will } = await peer.welcome()
  assert.deepEqual(will, { topic: 'p', payload: '', qos: 0, retain: false, properties: {} })
  await peer.expect('publish', { topic: 'p', payload: 'here', qos: 0, retain: false })
  await client.end()
  await peer.expect('publish', { topic: 'p', payload: '', qos: 0, retain: false })
  await peer.expect('disconnect')
})

test('presence: it comes before what listeners of connect publish', async (t) => {
  const broker = await startBroker(t)
  const client = makeClient(t, broker.url, { presence: PRESENCE })
  client.on('connect', () => client.publish('first'))
  client.connect()
  const peer = await broker.accept()
  await peer.welcome()
  await peer.expect('publish', ONLINE)
  await peer.expect('publish', { topic: 'first' })
})

test('presence: a connection that is lost before the acknowledgement', async (t) => {
  const reconnect = { minDelay: 1, maxDelay: 1 }
  const { peer, broker, client } = await connected(t, { presence: PRESENCE, reconnect })
  const errors = record(client, 'error')
  await peer.expect('publish', ONLINE)
  peer.drop()
  const second = await broker.accept()
  await second.welcome({ sessionPresent: true })
  await until(() => second.pending.length > 0)
  await settle()
  const { payload, dup } = second.pending.at(-1)
  assert.deepEqual([payload.toString(), dup], ['online', false])
  assert.deepEqual(errors, [])
})

// Contract: Presence, instead of `will`: `online` is published after every connect, `offline` is the will and is published before a graceful end().
// Defaults: 'online', 'offline', QoS 1, retained.
test('presence: every graceful end says offline, the others leave it to the will', async (t) => {
  for (const [end, packets] of [
    [(client) => client.end({ timeout: 0 }), ['publish', 'disconnect']],
    [(client) => (client.end({ timeout: 0 }), client.end()), ['publish', 'disconnect']],
    [(_, controller) => controller.abort(), ['publish', 'disconnect']],
    [(client) => client.end({ timeout: 0, reasonCode: 0x04 }), ['disconnect']],
    [(client) => client.end({ force: true }), []],
  ]) {
    const controller = new AbortController()
    const { client, peer } = await connected(t, { presence: PRESENCE, signal: controller.signal })
    const errors = record(client, 'error')
    await peer.expect('publish', ONLINE)
    end(client, controller)
    await peer.closed
    assert.deepEqual(
      peer.pending.map(({ type }) => type),
      packets,
    )
    if (packets.length > 1) assert.equal(peer.pending[0].payload.toString(), 'offline')
    await settle()
    assert.deepEqual(errors, [])
  }
})

test('presence: an end that is refused leaves the client online', async (t) => {
  const { client, peer } = await connected(t, { presence: PRESENCE })
  await peer.expect('publish', ONLINE)
  await assert.rejects(client.end({ reasonCode: 0x01 }), { code: 'INVALID_ARGUMENT' })
  await assert.rejects(client.end({ timeout: -1 }), { code: 'INVALID_ARGUMENT' })
  await settle()
  const said = peer.pending.map(({ payload }) => payload.toString())
  assert.ok(said.length === 0 || said.at(-1) === 'online', `${said}`)
  assert.equal(client.connected, true)
})

test('presence: offline there is nothing to say', async (t) => {
  const { client, peer } = await connected(t, {
    presence: PRESENCE,
    reconnect: { minDelay: 60_000 },
  })
  const errors = record(client, 'error')
  await peer.expect('publish', ONLINE)
  peer.drop()
  await event(client, 'reconnecting')
  await client.end()
  await settle()
  assert.deepEqual(errors, [])
})

test("presence: a server that refuses it: an 'error'", async (t) => {
  const { client, peer } = await connected(t, { presence: PRESENCE })
  const errors = record(client, 'error')
  const { id } = await peer.expect('publish', ONLINE)
  peer.send({ type: 'puback', id, reasonCode: 0x87 })
  await until(() => errors.length > 0)
  assert.equal(errors[0][1].code, 'PUBLISH_REFUSED')
  assert.equal(client.connected, true)
})

test('presence: what is wrong is named', () => {
  const make = (options) => new Client('ws://h', options)
  for (const [presence, argument] of [
    [5, 'presence'],
    [{}, 'presence.topic'],
    [{ topic: '' }, 'presence.topic'],
    [{ topic: 'a/#' }, 'presence.topic'],
    [{ topic: '\ud800' }, 'presence.topic'],
    [{ topic: 5 }, 'presence.topic'],
    [{ topic: 'a', online: 5 }, 'presence.online'],
    [{ topic: 'a', offline: {} }, 'presence.offline'],
    [{ topic: 'a', offline: 'x'.repeat(65_536) }, 'presence.offline'],
    [{ topic: 'a', qos: 3 }, 'presence.qos'],
    [{ topic: 'a', retain: 1 }, 'presence.retain'],
    [{ topic: 'a', payload: '' }, 'presence.payload'],
  ])
    assert.throws(() => make({ presence }), { name: 'InvalidArgumentError', argument })
  const both = { presence: PRESENCE, will: { topic: 'w' } }
  assert.throws(() => make(both), { name: 'InvalidArgumentError', argument: 'presence' })
  assert.doesNotThrow(() => make({ presence: PRESENCE, will: undefined }))
  const client = make({ presence: PRESENCE })
  assert.equal(client.will, undefined)
  for (const will of [undefined, { topic: 'w' }])
    assert.throws(() => (client.will = will), { name: 'InvalidArgumentError', argument: 'will' })
})

test('presence: what others see', async (t) => {
  const broker = new TestBroker()
  t.after(() => broker[Symbol.asyncDispose]())
  const seen = () => broker.retained.get('me/status')?.text()
  const options = { transport: broker.transport, presence: PRESENCE }
  const reconnect = { minDelay: 1, maxDelay: 1 }
  const client = await connect('ws://broker', { ...options, reconnect, clientId: 'me' })
  t.after(() => client.end({ force: true }))
  await until(() => seen() === 'online')
  client.publish('seen/before')
  const back = event(client, 'connect')
  broker.drop('me')
  await until(() => seen() === 'offline')
  await back
  await until(() => seen() === 'online')
  await client.end()
  assert.equal(seen(), 'offline')
})
