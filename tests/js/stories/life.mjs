// A life in which everything that calls the application calls it.
import { Loopback } from '../loopback.mjs'
import { ACTIONS } from './actions.mjs'
import { equal, makeClient, ok, outcome, turns, until } from './tools.mjs'

/** What these may leave behind: the errors of their calls and of those of the life around them. */
const MISTAKES = ['INVALID_ARGUMENT', 'NOT_SUPPORTED']
const ENDINGS = ['CLOSED', 'ABORTED', 'TIMEOUT']
const CUTS = [
  'CONNECTION_LOST',
  'CONNECTION_FAILED',
  'UNSUBSCRIBE_REFUSED',
  'SESSION_LOST',
  'AUTHENTICATION_FAILED',
]

/** The codes that the promises of a life may reject with. */
export const ALLOWED = new Set([...MISTAKES, ...ENDINGS, ...CUTS])

/** A life in which everything that calls the application calls it. */
export const PLACES = [
  'handler',
  'handler, settled',
  'handler, manual',
  'iterator',
  'a thenable of a handler',
  'event connect',
  'event disconnect',
  'event reconnecting',
  'event message',
  'event error',
  'event close',
  'event state',
  'event packet',
  'callback of publish',
  'callback of publish QoS 0',
  'callback of subscribe',
  'callback of unsubscribe',
  'callback of end',
  'url',
  'username',
  'password',
  'authentication.start',
  'authentication.continue',
  'shouldRetry',
  'transport',
  'socket.send',
  'socket.close',
  'socket.bufferedAmount',
  'socket.onmessage',
  'abort of an attempt',
  'then of a promise',
]

/**
 * Lives, with `action` at `place` the first `times` times that it comes to that. Throws where something is not as it should be.
 * @type {(wasmqtt: any, place?: string, action?: any, options?: { pace?: any, times?: number, allowed?: Set<string> }) => any}
 */
export async function live(wasmqtt, place, action, options = {}) {
  const { pace, times = 2, allowed = ALLOWED } = options
  const broker = new Loopback(pace)
  const controller = new AbortController()
  const calls = []
  const listeners = []
  let acted = 0

  const keep = (what, promise) => (calls.push([what, promise]), promise.catch?.(() => {}), promise)
  /** A call that calls back: a promise for its answer. */
  const back = (call) =>
    new Promise((resolve, reject) =>
      call((error, result) => (error ? reject(error) : resolve(result))),
    )

  const at = (name, message, own) => {
    if (name !== place || acted >= times) return
    acted++
    let result
    try {
      result = action(client, { wasmqtt, broker, controller, listeners, back, message })
    } catch (thrown) {
      if (!(thrown instanceof wasmqtt.MqttError)) throw thrown
      ok(MISTAKES.includes(thrown.code) || thrown.code === 'CLOSED', `threw ${thrown.stack}`)
      return
    }
    if (typeof result?.then !== 'function') return
    if (action === ACTIONS.reject) return (result.catch(() => {}), result)
    keep('the action', result)
    // A promise that a handler or a provider returns is waited for: not for one that waits for it.
    if (own) return result.catch(() => {})
  }
  const provider = (name, value) => () => (at(name), value)

  const client = makeClient(
    wasmqtt,
    broker,
    {
      clientId: 'me',
      // For sockets that throw instead of sending.
      connectTimeout: 1_000,
      signal: controller.signal,
      username: provider('username', 'user'),
      password: provider('password', 'secret'),
      reconnect: {
        minDelay: 1,
        maxDelay: 2,
        initial: true,
        shouldRetry: () => (at('shouldRetry'), true),
      },
      authentication: {
        method: 'method',
        start: () => (at('authentication.start'), new Uint8Array(1)),
        continue: async () => (at('authentication.continue'), new Uint8Array(1)),
      },
      transport(_, { signal }) {
        // What a listener of the platform's own throws is the platform's to report.
        signal.addEventListener(
          'abort',
          () => place === 'abort of an attempt' && unharmed(() => at(place)),
        )
        at('transport')
        return hooked(broker.transport(), at)
      },
    },
    provider('url', 'mem://broker'),
  )
  const closes = []
  for (const name of [
    'connect',
    'disconnect',
    'reconnecting',
    'message',
    'error',
    'close',
    'state',
    'packet',
  ]) {
    const listener = (argument) => {
      if (name === 'close') closes.push(argument)
      if (name === 'error')
        ok(
          argument instanceof wasmqtt.MqttError &&
            (allowed.has('INTERNAL') || argument.code !== 'INTERNAL') &&
            argument.code !== 'PROTOCOL_ERROR',
          `an 'error' event of ${argument.stack}`,
        )
      return at(`event ${name}`, name === 'message' ? argument : undefined)
    }
    listeners.push([name, listener])
    client.on(name, listener)
  }

  const got = {}
  const handler = (name) => (message) => {
    got[name] = (got[name] ?? 0) + 1
    if (name === 'handler, manual') queueMicrotask(() => message.ack())
    return at(name, message)
  }
  const thenable = () => ({
    then: (resolve) => {
      at('a thenable of a handler')
      resolve()
    },
  })

  keep('connect', client.connect()).then(
    () => unharmed(() => at('then of a promise')),
    () => {},
  )
  for (const [filter, ack, name] of [
    ['a/#', 'auto', 'handler'],
    ['b/#', 'settled', 'handler, settled'],
    ['c/#', 'manual', 'handler, manual'],
  ]) {
    keep(`subscribe ${filter}`, client.subscribe(filter, { qos: 2, ack }, handler(name)))
  }
  keep('subscribe a/b', client.subscribe(['a/b', 'c/d'], { ack: 'settled' }, thenable))
  keep(
    'subscribe d',
    back((callback) =>
      client.subscribe(
        'd',
        undefined,
        () => {
          throw new Error('as it is')
        },
        (...answer) => (callback(...answer), at('callback of subscribe')),
      ),
    ),
  )
  const stream = client.messages('e/#', { qos: 1 })
  const reading = (async () => {
    for await (const message of stream) {
      // What the body of the loop throws ends the loop, as it should.
      await unharmed(() => at('iterator', message, true))
      if (message.text() === 'last') break
    }
  })()
  keep('the stream', reading)
  await turns(3)

  const round = async () => {
    for (const topic of ['a/b', 'b/c', 'c/d', 'd', 'e/f']) {
      for (const qos of [0, 1, 2])
        keep(`publish ${topic} ${qos}`, client.publish(topic, 'x', { qos }))
    }
    keep(
      'publish, called back',
      back((callback) =>
        client.publish(
          'a/b',
          'x',
          { qos: 2 },
          (...answer) => (callback(...answer), at('callback of publish')),
        ),
      ),
    )
    keep(
      'publish QoS 0, called back',
      back((callback) =>
        client.publish(
          'a/b',
          'x',
          (...answer) => (callback(...answer), at('callback of publish QoS 0')),
        ),
      ),
    )
    await calm()
  }
  /** All that is under way has come to rest: at most the reading goes on. */
  const calm = async () => {
    for (const [what, promise] of calls.slice())
      if (promise !== reading) await outcome(promise, what)
    await turns(3)
  }

  await round()
  broker.drop()
  await turns(3)
  await round()
  if (client.state !== 'closed')
    await until(
      () => client.connected || client.state === 'closed' || client.state === 'idle',
      `connected again, not ${client.state}`,
    )
  keep('publish last', client.publish('e/f', 'last', { qos: 1 }))
  keep(
    'unsubscribe',
    back((callback) =>
      client.unsubscribe(
        'c/#',
        undefined,
        (...answer) => (callback(...answer), at('callback of unsubscribe')),
      ),
    ),
  )
  await calm()
  keep(
    'end',
    back((callback) =>
      client.end({ timeout: 1_000 }, (...answer) => (callback(...answer), at('callback of end'))),
    ),
  )
  await calm()
  await calm()
  await outcome(reading, 'the stream')

  ok(acted > 0 || place === undefined, 'it never came to that')
  equal(client.state, 'closed', 'the state at last')
  equal(closes.length, 1, "'close' events")
  equal([...broker.open].length, 0, 'sockets left open')
  const codes = []
  for (const [what, promise] of calls) {
    const { error } = await outcome(promise, what)
    if (error === undefined) continue
    ok(
      error instanceof wasmqtt.MqttError && allowed.has(error.code),
      `${what}: ${error?.stack ?? error}`,
    )
    codes.push(error.code)
  }
  return { got, codes, fatal: closes[0] }
}

async function unharmed(work) {
  try {
    await work()
  } catch {}
}

/** A socket that tells of what the client does with it. */
function hooked(socket, at) {
  const { send, close } = socket
  socket.send = (data) => (at('socket.send'), send.call(socket, data))
  socket.close = () => (at('socket.close'), close.call(socket))
  Object.defineProperty(socket, 'bufferedAmount', { get: () => (at('socket.bufferedAmount'), 0) })
  let handler = null
  Object.defineProperty(socket, 'onmessage', {
    get: () => handler,
    set: (value) => (at('socket.onmessage'), (handler = value)),
  })
  return socket
}
