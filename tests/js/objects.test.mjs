// Public objects show what is public, under their public names, and nothing else.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import * as browser from '../../pkg/index.js'
import { Client, HandlerError, Message } from '../../pkg/node.js'
import { connected, event, settle } from './scripted-broker.mjs'

/** A Client, a Subscription, a MessageStream and a Message. */
async function objects(t) {
  const { client, peer } = await connected(t)
  const pending = client.subscribe(['a', 'b'], { qos: 1, ack: 'manual' }, () => {})
  await peer.grant([1, 0x87])
  const subscription = await pending
  const stream = client.messages('c')
  const arrived = event(client, 'message')
  peer.send({ type: 'publish', topic: 'a', payload: 'x', properties: { contentType: 'text' } })
  const [message] = await arrived
  return { client, peer, subscription, stream, message }
}

test('classes keep their names, though the package is minified', async (t) => {
  const { client, subscription, stream, message } = await objects(t)
  assert.equal(client.constructor.name, 'Client')
  assert.equal(subscription.constructor.name, 'Subscription')
  assert.equal(stream.constructor.name, 'MessageStream')
  assert.equal(message.constructor.name, 'Message')
  assert.ok(client instanceof Client && message instanceof Message)
  for (const [name, value] of Object.entries(browser))
    if (/^[A-Z]\w*(Error|Client|Message)$/.test(name)) assert.equal(Object(value).name, name)
})

test('nothing internal is enumerable, in JSON or in what console.log shows', async (t) => {
  const { client, subscription, stream, message } = await objects(t)
  for (const object of [client, subscription, stream]) {
    assert.deepEqual(Reflect.ownKeys(object), [])
    assert.equal(JSON.stringify(object), '{}')
    assert.equal(inspect(object), `${object.constructor.name} {}`)
  }
  assert.deepEqual(Reflect.ownKeys(message), ['topic', 'payload', 'qos', 'retain', 'dup'])
  assert.match(inspect(message), /^Message \{\s+topic: 'a',\s+payload: Uint8Array\(1\) \[ 120 \],/)
})

test('prototypes have the public methods and no others', async (t) => {
  const { client, subscription, stream, message } = await objects(t)
  const members = (object) =>
    Object.getOwnPropertyNames(Object.getPrototypeOf(object))
      .filter((name) => name !== 'constructor')
      .sort()
  assert.deepEqual(members(subscription), ['active', 'grants', 'unsubscribe'])
  assert.deepEqual(members(stream), ['dropped', 'next', 'return'])
  assert.deepEqual(members(message), ['ack', 'json', 'properties', 'text'])
  assert.deepEqual(members(client), [
    'clientId',
    'connect',
    'connected',
    'drain',
    'end',
    'messages',
    'off',
    'on',
    'once',
    'publish',
    'reauthenticate',
    'reconnect',
    'request',
    'respond',
    'server',
    'state',
    'stats',
    'subscribe',
    'subscriptions',
    'unsubscribe',
    'watch',
    'will',
  ])
})

// Contract: The Subscriptions in force.
test('client.subscriptions cannot be changed from outside', async (t) => {
  const { client, peer, subscription } = await objects(t)
  // The types do not allow it.
  const changeable = () => /** @type {Set<any>} */ (client.subscriptions)
  assert.deepEqual([...changeable()], [subscription])
  changeable().clear()
  changeable().add('something')
  assert.deepEqual([...client.subscriptions], [subscription])
  const ended = subscription.unsubscribe()
  await peer.release()
  await ended
  assert.equal(client.subscriptions.size, 0)
})

test('what a handler throws names the topic, the filter and what it was', async (t) => {
  const { client, peer } = await connected(t)
  const reported = []
  client.on('error', (error) => reported.push(error))
  const pending = client.subscribe(['a/#', 'b'], () => /** @type {any} */ (undefined).x)
  await peer.grant()
  await peer.grant()
  await pending
  client.on('state', () => {
    throw new Error('of the listener')
  })
  peer.send({ type: 'publish', topic: 'a/b' })
  await settle()
  await client.end()
  const [handler, listener] = reported
  assert.ok(handler instanceof HandlerError)
  assert.deepEqual([handler.topic, handler.filter], ['a/b', 'a/#, b'])
  assert.match(
    handler.message,
    /^The handler of subscription 'a\/#, b' threw: TypeError: Cannot read/,
  )
  assert.equal(listener.message, "The listener of 'state' threw: Error: of the listener")
  assert.deepEqual([listener.topic, listener.filter], [undefined, undefined])
})

// Contract: `message` is one line, shows the argument or topic, and says what to do; an unknown option names the nearest one, and the one that users
// of MQTT.js or Paho mean (reconnectPeriod: reconnect.minDelay).
test('an option that does not exist: the error names the one that was probably meant', async (t) => {
  const { client } = await connected(t)
  const message = (options) => client.publish('a', 'b', options).catch(({ message }) => message)
  assert.equal(await message({ Qos: 1 }), "Unknown option 'Qos'. Did you mean 'qos'?")
  assert.equal(await message({ retian: 1 }), "Unknown option 'retian'. Did you mean 'retain'?")
  assert.equal(await message({ foo: 1 }), "Unknown option 'foo'.")
  const will = /** @type {any} */ ({ topik: 'a' })
  assert.throws(() => new Client('ws://h', { will }), {
    message: "Unknown option 'will.topik'. Did you mean 'will.topic'?",
    argument: 'will.topik',
  })
})
