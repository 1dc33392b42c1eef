// What only WebAssembly under JavaScript brings with it, told once for Node and for pages: boundary.test.mjs and tests/browser/boundary.test.mjs run it.
// Nothing here needs a network: see loopback.mjs. Each story is a function of the module under test.
import { concat, Loopback, PACES, publish, task } from './loopback.mjs'

// Every instance that is made: its memory, for a test to break, and the table of JavaScript objects that it holds.
const instances = []
const { Instance } = WebAssembly
function RecordedInstance(module, imports) {
  const instance = new Instance(module, imports)
  instances.push(instance)
  return instance
}
WebAssembly.Instance = /** @type {any} */ (RecordedInstance)

const memory = () =>
  Object.values(instances.at(-1).exports).find((value) => value instanceof WebAssembly.Memory)
const heldObjects = () =>
  Object.values(instances.at(-1).exports).find(
    (each) => each instanceof WebAssembly.Table && each.length > 4,
  )?.length

/** Makes the instance's next call trap. */
const wreck = () => new Uint8Array(memory().buffer).fill(0xff)

// ------------------------------------------------------------------------------------------------ small tools

function ok(condition, what) {
  if (!condition) throw new Error(what)
}

function equal(found, expected, what) {
  const [one, two] = [found, expected].map((value) => JSON.stringify(value))
  ok(one === two, `${what}: ${one}, not ${two}`)
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const turn = () => new Promise(task)

async function turns(count) {
  for (let n = 0; n < count; n++) await turn()
}

async function until(condition, what) {
  for (let waited = 0; !condition(); waited++) {
    ok(waited < 3_000, `not in time: ${what ?? condition}`)
    await (waited < 50 ? turn() : sleep(1))
  }
}

/** The outcome of a promise, which has to come. */
async function outcome(promise, what) {
  const wedged = {}
  let timer
  const late = new Promise((resolve) => (timer = setTimeout(resolve, 20_000, wedged)))
  const result = await Promise.race([
    Promise.resolve(promise).then(
      (value) => ({ value }),
      (error) => ({ error }),
    ),
    late,
  ])
  clearTimeout(timer)
  ok(result !== wedged, `${what} never settles`)
  return result
}

function bytesOf(length, seed) {
  const bytes = new Uint8Array(length)
  for (let index = 0; index < length; index++) bytes[index] = index * 31 + seed * 7 + (index >>> 8)
  return bytes
}

function same(one, two) {
  if (one.length !== two.length) return false
  for (let index = 0; index < one.length; index++) if (one[index] !== two[index]) return false
  return true
}

/** @type {(wasmqtt: any, broker: any, options?: any, url?: any) => any} */
function makeClient(wasmqtt, broker, options, url = 'mem://broker') {
  return new wasmqtt.Client(url, {
    protocolVersion: 5,
    transport: broker.transport,
    reconnect: { minDelay: 1, maxDelay: 2 },
    ...options,
  })
}

async function connected(wasmqtt, options, pace) {
  const broker = new Loopback(pace)
  const client = makeClient(wasmqtt, broker, options)
  await client.connect()
  // What comes is delivered from a task of its own on.
  await sleep(5)
  return { broker, client }
}

// ------------------------------------------------------------------------------------------------ a life, with something done somewhere in it

/** Public methods, called with the client and, where there is one, a message and a Subscription. Some are used wrongly, or with evil arguments. */
const ACTIONS = {
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
  request: (client) => client.request('z', 'z'),
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
const ALLOWED = new Set([...MISTAKES, ...ENDINGS, ...CUTS])

/** Aborts while the call is under way. */
function withdrawn(call) {
  const controller = new AbortController()
  const result = call(controller.signal)
  queueMicrotask(() => controller.abort())
  return result
}

/** A life in which everything that calls the application calls it. */
const PLACES = [
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
async function live(wasmqtt, place, action, options = {}) {
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

/** Every action at every place; `pace`: how soon the broker answers. */
async function matrix(wasmqtt, places, pace) {
  // Listeners of 'error' that throw are reported there.
  const { error } = console
  console.error = () => {}
  const failures = []
  const lives = places.flatMap((place) => Object.keys(ACTIONS).map((action) => [place, action]))
  const run = async ([place, action]) =>
    live(wasmqtt, place, ACTIONS[action], { pace }).catch((error) =>
      failures.push([place, action, error]),
    )
  const queue = [...lives]
  await Promise.all(
    Array.from({ length: 32 }, async () => {
      while (queue.length > 0) await run(queue.shift())
    }),
  )
  // A trap takes its neighbours along: which of them was it?
  const suspects = failures.splice(0)
  for (const [place, action] of suspects) await run([place, action])
  console.error = error
  const guilty = failures.length > 0 ? failures : suspects
  ok(
    guilty.length === 0,
    `${guilty.length} of ${lives.length}:\n${guilty.map(([place, action, error]) => `'${action}' in '${place}': ${error?.stack ?? error}`).join('\n')}`,
  )
  return `${lives.length} lives`
}

/** Broken on purpose, at every place that calls the application: nothing of the instance is used after that. */
async function trapAt(wasmqtt, place) {
  let broken
  const action = (client) => {
    wreck()
    broken = client
    return client.publish('z', 'z', { qos: 1 })
  }
  const bystander = await connected(wasmqtt)
  const waiting = bystander.client.messages('never').next()
  const closed = new Promise((resolve) => bystander.client.once('close', resolve))
  await live(wasmqtt, place, action, { times: 1, allowed: new Set([...ALLOWED, 'INTERNAL']) })
  equal((await outcome(closed, 'the close of a bystander')).value.code, 'INTERNAL', 'its error')
  equal((await outcome(waiting, 'the stream of a bystander')).error?.code, 'INTERNAL', 'its error')
  equal([...bystander.broker.open].length, 0, 'its sockets')
  const { error } = await outcome(broken.publish('a'), 'publish()')
  // At some places the life was over already.
  ok(['INTERNAL', 'CLOSED'].includes(error?.code), `a call after the trap: ${error?.code}`)
}

/** Everything that keeps a client or a page busy, counted: timers, and listeners of `signal`. */
function watchTimers() {
  const { setTimeout: set, clearTimeout: clear } = globalThis
  const timers = new Set()
  // @ts-expect-error: nothing here asks for the promise form.
  globalThis.setTimeout = (work, ms, ...args) => {
    const timer = set(() => (timers.delete(timer), work(...args)), ms)
    timers.add(timer)
    return timer
  }
  globalThis.clearTimeout = (timer) => (timers.delete(timer), clear(timer))
  return {
    timers,
    restore: () => Object.assign(globalThis, { setTimeout: set, clearTimeout: clear }),
  }
}

function watchListeners(signal) {
  const listeners = []
  const { addEventListener, removeEventListener } = signal
  const forget = (listener) => {
    const at = listeners.indexOf(listener)
    if (at >= 0) listeners.splice(at, 1)
  }
  signal.addEventListener = (...args) => {
    const [, listener, options] = args
    listeners.push(listener)
    options?.signal?.addEventListener('abort', () => forget(listener))
    addEventListener.apply(signal, args)
  }
  signal.removeEventListener = (...args) => {
    forget(args[1])
    removeEventListener.apply(signal, args)
  }
  return listeners
}

/** Where it matters how soon the broker answers. */
const SOME_PLACES = [
  'handler',
  'event connect',
  'callback of publish',
  'socket.send',
  'authentication.continue',
]

/** Title and story. A story may return what is worth saying about it. `collect` collects garbage. */
export const STORIES = {
  async 'a life without incident brings every message to its place'(wasmqtt) {
    for (const pace of Object.values(PACES)) {
      const { got, codes, fatal } = await live(wasmqtt, undefined, undefined, { pace })
      equal(got, { handler: 10, 'handler, settled': 6, 'handler, manual': 6 }, 'messages')
      equal(codes, [], 'errors')
      equal(fatal, undefined, 'the end')
    }
  },

  'every method in every callback': (wasmqtt) => matrix(wasmqtt, PLACES, PACES['after the turn']),
  'every method in some callbacks, with a broker that answers before send() returns': (wasmqtt) =>
    matrix(wasmqtt, SOME_PLACES, PACES['at once']),
  'every method in some callbacks, with a broker that answers in another task': (wasmqtt) =>
    matrix(wasmqtt, SOME_PLACES, PACES['in a new task']),

  async 'a trap in every callback: all clients end with INTERNAL, the next one works'(wasmqtt) {
    for (const place of PLACES) {
      await trapAt(wasmqtt, place).catch((error) => {
        throw new Error(`in '${place}': ${error?.stack ?? error}`)
      })
    }
    const { codes } = await live(wasmqtt)
    equal(codes, [], 'errors of the next client')
  },

  async 'what a handler does never keeps the next message from the next handler'(wasmqtt) {
    const evil = {
      throws: () => {
        throw new Error('evil')
      },
      'throws undefined': () => {
        throw undefined
      },
      'throws what cannot be shown': () => {
        throw {
          get message() {
            throw new Error('evil')
          },
          toString() {
            throw new Error('evil')
          },
        }
      },
      rejects: () => Promise.reject(new Error('evil')),
      'rejects with nothing': () => Promise.reject(),
      'returns a thenable that throws': () => ({
        then() {
          throw new Error('evil')
        },
      }),
      'returns a thenable whose then cannot be read': () => ({
        get then() {
          throw new Error('evil')
        },
      }),
      'returns a thenable that settles twice': () => ({
        then(resolve, reject) {
          resolve()
          reject(new Error('evil'))
          resolve()
          throw new Error('evil')
        },
      }),
      'returns a function': () => () => {},
      'subscribes again': (client) => client.subscribe('a', { qos: 2 }, () => {}),
      'unsubscribes itself': (client, subscription) => subscription.unsubscribe(),
      'unsubscribes by filter': (client) => client.unsubscribe('other'),
      'breaks the connection': (client) => client.reconnect(),
    }
    for (const [what, act] of Object.entries(evil)) {
      for (const ack of ['auto', 'settled', 'manual']) {
        const { client } = await connected(wasmqtt)
        client.on('error', (error) =>
          ok(error.code === 'HANDLER_FAILED', `${what}: ${error.stack}`),
        )
        const got = []
        let acted = 0
        await client.subscribe('a', { qos: 2, ack }, (message, subscription) => {
          if (ack === 'manual') queueMicrotask(() => message.ack())
          if (acted++ < 3) return act(client, subscription)
        })
        await client.subscribe('a', { qos: 2 }, (message) => void got.push(message.text()))
        for (let n = 0; n < 5; n++)
          equal(
            (await outcome(client.publish('a', `${n}`, { qos: 2 }), `${what}, ${ack}: publish`))
              .error?.code,
            undefined,
            `${what}, ${ack}`,
          )
        await turns(5)
        equal(got, ['0', '1', '2', '3', '4'], `${what}, ${ack}: messages`)
        await outcome(client.drain(), `${what}, ${ack}: drain`)
        await outcome(client.end(), `${what}, ${ack}: end`)
      }
    }
  },

  async 'a handler that ends the client is the last one that is called'(wasmqtt) {
    for (const options of [{}, { force: true }, { timeout: 0 }]) {
      const { broker, client } = await connected(wasmqtt)
      const got = []
      await client.subscribe('a', (message) => {
        got.push(message.text())
        client.end(options)
      })
      const closed = new Promise((resolve) => client.once('close', resolve))
      broker.socket.onmessage({
        data: concat(['1', '2', '3'].map((text) => publish('a', new TextEncoder().encode(text))))
          .buffer,
      })
      await outcome(closed, 'the end')
      if (options.force) equal(got[0], '1', 'messages')
      equal(broker.open.size, 0, 'sockets')
    }
  },

  async 'payloads that are kept stay as they came, whatever comes later and however memory grows'(
    wasmqtt,
  ) {
    const { broker, client } = await connected(wasmqtt)
    const kept = []
    let others = 0
    client.on('message', (message) =>
      message.topic === 'keep' ? kept.push(message.payload) : (others += message.payload.length),
    )
    const lengths = [0, 1, 63, 64, 65, 4_000, 4_096, 32_700, 32_768, 65_536, 1_000_000, 5_000_000]
    const deliver = (bytes) => broker.socket.onmessage({ data: bytes.buffer })
    // In a frame each, all in one, and cut into pieces of any length.
    const packets = () => lengths.map((length, seed) => publish('keep', bytesOf(length, seed)))
    for (const each of packets()) deliver(each)
    deliver(concat(packets()))
    const all = concat(packets())
    for (let at = 0, n = 1; at < all.length; at += n, n = (n * 7 + 3) % 100_000)
      deliver(all.slice(at, at + n))
    equal(kept.length, 3 * lengths.length, 'messages')
    const before = memory().buffer.byteLength
    const noise = publish('noise', new Uint8Array(1_000_000).fill(255))
    const small = concat(
      Array.from({ length: 10_000 }, () => publish('noise', new Uint8Array(90).fill(255))),
    )
    for (let n = 0; n < 200; n++) deliver(noise.slice())
    for (let n = 0; n < 50; n++) deliver(small.slice())
    for (let n = 0; n < 50; n++) {
      const copy = noise.slice()
      for (let at = 0; at < copy.length; at += 300_000) deliver(copy.slice(at, at + 300_000))
    }
    await client.publish('grow', new Uint8Array(32_000_000).fill(255))
    ok(memory().buffer.byteLength > before, 'memory has not grown')
    await client.end()
    for (const [index, payload] of kept.entries()) {
      const seed = index % lengths.length
      ok(
        same(payload, bytesOf(lengths[seed], seed)),
        `payload ${index}, of ${lengths[seed]} bytes, has changed`,
      )
    }
    return `${Math.round(others / 1e6)} MB of others`
  },

  async 'half a surrogate pair is refused wherever there is a string'(wasmqtt) {
    const { client, broker } = await connected(wasmqtt)
    const sockets = broker.made
    for (const bad of [
      '\ud800',
      'a\udc00',
      '\udbffb',
      `${'x'.repeat(100)}\ud83d`,
      `${'y'.repeat(20_000)}\ud800`,
    ]) {
      const pairs = [[['a', bad]], [[bad, 'a']], { a: bad }, { [bad]: 'a' }, { a: ['b', bad] }]
      const calls = {
        topic: () => client.publish(bad),
        payload: () => client.publish('a', bad),
        'payload, called back': () =>
          new Promise((resolve, reject) =>
            client.publish('a', bad, (error) => (error ? reject(error) : resolve(undefined))),
          ),
        contentType: () => client.publish('a', 'b', { properties: { contentType: bad } }),
        responseTopic: () => client.publish('a', 'b', { properties: { responseTopic: bad } }),
        filter: () => client.subscribe(bad),
        filters: () => client.subscribe(['a', bad]),
        'a record of filters': () => client.subscribe({ a: {}, [bad]: { qos: 1 } }),
        messages: () => client.messages(bad).next(),
        unsubscribe: () => client.unsubscribe(bad),
        'unsubscribe from several': () => client.unsubscribe(['a', bad]),
        reasonString: () => client.end({ properties: { reasonString: bad } }),
        will: () => {
          client.will = { topic: bad }
        },
        'payload of a will': () => {
          client.will = { topic: 'a', payload: bad }
        },
        matches: () => wasmqtt.matches(bad, 'a'),
        'matches, topic': () => wasmqtt.matches('a', bad),
      }
      for (const [index, userProperties] of pairs.entries()) {
        calls[`publish, user properties ${index}`] = () =>
          client.publish('a', 'b', { properties: { userProperties } })
        calls[`subscribe, user properties ${index}`] = () =>
          client.subscribe('a', { userProperties })
        calls[`unsubscribe, user properties ${index}`] = () =>
          client.unsubscribe('a', { userProperties })
        calls[`end, user properties ${index}`] = () =>
          client.end({ properties: { userProperties } })
      }
      const options = [
        { clientId: bad },
        { username: bad },
        { password: bad },
        { websocket: { protocols: [bad] } },
        { will: { topic: bad } },
        { will: { topic: 'a', payload: bad } },
        { will: { topic: 'a', properties: { contentType: bad } } },
        { will: { topic: 'a', properties: { responseTopic: bad } } },
        { authentication: { method: bad, start() {}, continue() {} } },
        ...pairs.flatMap((userProperties) => [
          { properties: { userProperties } },
          { will: { topic: 'a', properties: { userProperties } } },
        ]),
      ]
      for (const [index, each] of options.entries())
        calls[`option ${index}`] = () => makeClient(wasmqtt, broker, each)
      for (const [what, call] of Object.entries(calls)) {
        const { error } = await outcome((async () => call())(), what)
        equal(error?.code, 'INVALID_ARGUMENT', `${what}: ${error?.stack ?? 'no error'}, the code`)
      }
      for (const each of [
        { username: () => bad },
        { password: () => bad },
        { password: async () => bad },
      ]) {
        const other = makeClient(wasmqtt, broker, { reconnect: false, ...each })
        const { error } = await outcome(other.connect(), Object.keys(each)[0])
        equal(
          [error?.code, error?.cause?.code],
          ['CONNECTION_FAILED', 'INVALID_ARGUMENT'],
          Object.keys(each)[0],
        )
        await other.end()
      }
    }
    equal(broker.made, sockets, 'sockets')
    equal(client.connected, true, 'connected')
    await client.end()
  },

  async 'ten thousand clients made and ended leave nothing'(wasmqtt, { collect }) {
    const { signal } = new AbortController()
    const listeners = watchListeners(signal)
    const { timers, restore } = watchTimers()
    const broker = new Loopback()
    const refs = []
    const live = async (n) => {
      const client = makeClient(wasmqtt, broker, { signal, keepalive: 60 })
      if (n % 50 === 0) refs.push(new WeakRef(client))
      if (n % 4 === 0) return client.end()
      await client.connect({ timeout: 60_000 })
      const heard = new Promise((resolve) => client.once('message', resolve))
      await client.subscribe('a', { qos: 1 }, () => {})
      await client.publish('a', 'b', { qos: 1, signal })
      await heard
      if (n % 4 === 1) broker.socket.lost(1006)
      else if (n % 4 === 2) void client.messages('x', { signal }).next()
      await client.end(n % 8 < 4 ? {} : { force: true })
    }
    const measure = () => ({
      memory: memory().buffer.byteLength,
      objects: heldObjects(),
      timers: timers.size,
      listeners: listeners.length,
      sockets: broker.open.size,
    })
    try {
      for (let n = 0; n < 1_000; n++) await live(n)
      await turns(5)
      const early = measure()
      for (let n = 1_000; n < 10_000; n++) await live(n)
      await turns(5)
      const late = measure()
      equal(late, early, 'after 10,000, as after 1,000')
      equal([late.timers, late.listeners, late.sockets], [0, 0, 0], 'timers, listeners, sockets')
      for (let n = 0; n < 20 && refs.some((ref) => ref.deref()); n++) {
        await sleep(5)
        await collect()
      }
      const left = refs.filter((ref) => ref.deref()).length
      ok(left <= 2, `${left} of ${refs.length} clients were not collected`)
      return JSON.stringify(late)
    } finally {
      restore()
    }
  },

  async 'options that are refused leave nothing'(wasmqtt) {
    const broker = new Loopback()
    const refuse = () => {
      try {
        makeClient(wasmqtt, broker, {
          will: { topic: 'a', payload: new Uint8Array(10_000) },
          keepalive: -1,
        })
      } catch (error) {
        return equal(error.code, 'INVALID_ARGUMENT', 'the code')
      }
      ok(false, 'not refused')
    }
    const measure = async () => (await turns(3), [memory().buffer.byteLength, heldObjects()])
    for (let n = 0; n < 500; n++) refuse()
    const early = await measure()
    for (let n = 0; n < 5; n++) {
      for (let m = 0; m < 500; m++) refuse()
      await measure()
    }
    equal(await measure(), early, 'memory, objects')
  },

  async 'every call that is withdrawn or late leaves nothing'(wasmqtt) {
    const { client, broker } = await connected(wasmqtt)
    const { timers, restore } = watchTimers()
    const { signal } = new AbortController()
    const listeners = watchListeners(signal)
    broker.receive = () => {}
    const calls = async () => {
      const options = { timeout: 0, signal }
      const results = [
        client.publish('a', 'b', { qos: 1, ...options }),
        client.subscribe('a', options),
        client.unsubscribe('a', options),
        client.drain(options),
      ]
      for (const result of results)
        equal((await outcome(result, 'a call')).error?.code, 'TIMEOUT', 'the code')
    }
    try {
      for (let n = 0; n < 100; n++) await calls()
      equal(listeners.length, 0, 'listeners')
      client.end({ force: true })
      await turns(3)
      equal(timers.size, 0, 'timers')
    } finally {
      restore()
    }
  },
}
