// What an application can do with a client: rightly, wrongly, and with evil arguments.
import { Loopback } from '../loopback.mjs'
import { makeClient, turns } from './tools.mjs'

/** Public methods, called with the client and, where there is one, a message and a Subscription. Some are used wrongly, or with evil arguments. */
export const ACTIONS = {
  nothing() {},
  connect: (client) => client.connect(),
  'connect, withdrawn': (client) => client.connect({ signal: AbortSignal.abort() }),
  'connect, too late': (client) => client.connect({ timeout: 0 }),
  'publish QoS 0': (client) => client.publish('z', 'z'),
  'publish QoS 1': (client) => client.publish('z', 'z', { qos: 1 }),
  'publish QoS 2': (client) =>
    client.publish('a/z', new Uint8Array(300), { qos: 2, properties: { contentType: 'x' } }),
  'publish much': (client) => client.publish('z', new Uint8Array(2_000_000), { qos: 1 }),
  'publish, called back': (client, { back }) =>
    back((callback) => client.publish('z', 'z', { qos: 1 }, callback)),
  'publish, withdrawn': (client) =>
    withdrawn((signal) => client.publish('z', 'z', { qos: 2, signal })),
  'publish to no topic': (client) => client.publish('#'),
  'publish with getters that publish': (client) =>
    client.publish('z', 'z', {
      get qos() {
        client.publish('y', 'y', { qos: 1 }).catch(() => {})
        return 1
      },
    }),
  'publish with getters that throw': (client) =>
    client.publish('z', 'z', {
      get qos() {
        throw new Error('evil')
      },
    }),
  'publish with getters that end': (client) =>
    client.publish('z', 'z', {
      qos: 1,
      properties: {
        get contentType() {
          client.end().catch(() => {})
          return 'x'
        },
      },
    }),
  subscribe: (client) => client.subscribe('s', () => {}),
  'subscribe to what is there': (client) => client.subscribe('a/#', { qos: 2 }, () => {}),
  'subscribe to much': (client) =>
    client.subscribe(Array.from({ length: 300 }, (_, n) => `much/${n}`)),
  'subscribe, called back': (client, { back }) =>
    back((callback) => client.subscribe('s', undefined, undefined, callback)),
  'subscribe, withdrawn': (client) => withdrawn((signal) => client.subscribe('s', { signal })),
  'subscribe to no filter': (client) => client.subscribe('#/a'),
  'subscribe and leave': (client) =>
    client.subscribe('s').then((subscription) => subscription.unsubscribe()),
  'subscribe and unsubscribe at once': (client) =>
    Promise.all([client.subscribe('s', () => {}), client.unsubscribe('s')]),
  'messages().next': (client) => {
    const stream = client.messages('m')
    return Promise.all([stream.next(), stream.return()])
  },
  'messages().return': (client) => client.messages('m').return(),
  'a stream that is left to itself': (client) =>
    void client
      .messages('m')
      .next()
      .catch(() => {}),
  unsubscribe: (client) => client.unsubscribe('a/#'),
  'unsubscribe from what is not there': (client) =>
    client.unsubscribe(['n', 'o']).catch((error) => {
      if (error.code !== 'UNSUBSCRIBE_REFUSED') throw error
    }),
  'unsubscribe, called back': (client, { back }) =>
    back((callback) => client.unsubscribe('b/#', undefined, callback)),
  'subscription.unsubscribe': (client) =>
    Promise.all([...client.subscriptions].map((subscription) => subscription.unsubscribe())),
  'subscription.unsubscribe, withdrawn': (client) =>
    Promise.all(
      [...client.subscriptions].map((subscription) =>
        withdrawn((signal) => subscription.unsubscribe({ signal })),
      ),
    ),
  request: (client) =>
    client.request('z', 'z', { timeout: 20 }).catch((error) => {
      if (error.code !== 'TIMEOUT') throw error
    }),
  respond: (client) => client.respond('z', () => 'z'),
  reauthenticate: (client) => client.reauthenticate(),
  reconnect: (client) => client.reconnect(),
  'reconnect, twice': (client) => {
    client.reconnect()
    client.reconnect()
  },
  drain: (client) => client.drain(),
  'drain, too late': (client) => client.drain({ timeout: 0 }),
  end: (client) => client.end(),
  'end, by force': (client) => client.end({ force: true }),
  'end, twice': (client) => Promise.all([client.end({ timeout: 1 }), client.end({ force: true })]),
  'end, called back': (client, { back }) => back((callback) => client.end(undefined, callback)),
  'end, wrongly': (client) => client.end({ properties: { reasonString: '\ud800' } }),
  'Symbol.asyncDispose': (client) =>
    client[Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')](),
  'abort the signal of the options': (client, { controller }) =>
    controller.abort(new Error('enough')),
  stats: (client) => void client.stats(),
  'on, once, off': (client) => {
    const listener = () => {}
    for (const event of ['packet', 'message', 'state', 'error', 'close'])
      client.on(event, listener).once(event, listener).off(event, listener).off(event, listener)
  },
  'off, all': (client, { listeners }) => {
    for (const [event, listener] of listeners)
      if (!['close', 'error'].includes(event)) client.off(event, listener)
  },
  will: (client) => {
    client.will = { topic: 'w', payload: 'gone' }
  },
  'no will': (client) => {
    client.will = undefined
  },
  'will, wrongly': (client) => {
    client.will = { topic: '#' }
  },
  getters: (client) =>
    void [
      client.state,
      client.connected,
      client.clientId,
      client.server,
      client.will,
      [...client.subscriptions].map(({ grants, active }) => [grants, active]),
    ],
  matches: (client, { wasmqtt }) => void wasmqtt.matches('a/+', 'a/b'),
  'message.ack': (client, { message }) => message?.ack(),
  'message.ack, twice and later': (client, { message }) => {
    message?.ack()
    return turns(3).then(() => message?.ack())
  },
  'message.ack, a refusal': (client, { message }) => message?.ack(0x80),
  'message.ack, wrongly': (client, { message }) => message?.ack(5),
  'message: properties, text, json': (client, { message }) => {
    if (message) {
      void message.properties
      message.text()
      try {
        message.json()
      } catch {}
    }
  },
  'another Client': (client, { wasmqtt }) => {
    const other = makeClient(wasmqtt, new Loopback())
    return other.connect().then(() => other.end())
  },
  'connect()': (client, { wasmqtt }) =>
    wasmqtt
      .connect('mem://x', { transport: new Loopback().transport, protocolVersion: 5 })
      .then((other) => other.end()),
  'a Client that is none': (client, { wasmqtt }) =>
    new wasmqtt.Client('mem://x', { keepalive: -1 }),
  'the connection breaks': (client, { broker }) => broker.drop(),
  throw: () => {
    throw new Error('evil')
  },
  'throw null': () => {
    throw null
  },
  reject: () => Promise.reject(new Error('evil')),
}

/** Aborts while the call is under way. */
function withdrawn(call) {
  const controller = new AbortController()
  const result = call(controller.signal)
  queueMicrotask(() => controller.abort())
  return result
}
