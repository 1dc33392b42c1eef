// What a client wants of a broker: one check for each thing. A check runs in each version over each transport, with topics and clients of its own.

import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, NotSupportedError } from '../../pkg/node.js'
import { startProxy } from '../brokers/mosquitto.mjs'
import { credentials } from './brokers.mjs'

/** The broker does not have what the check is about, and says so. */
export class NotOffered extends Error {}

/** ms to wait for what must come. */
const PATIENCE = 8_000
/** ms to wait for what must not come. */
const QUIET = 400

/** Where and how one check runs. Everything that it opens ends with it. */
export class Bench {
  #ends = []
  #count = 0

  /**
   * @param {import('./brokers.mjs').Running} broker
   * @param {'WebSocket' | 'TCP'} transport
   * @param {4 | 5} version
   * @param {string} id Unique among all checks of a broker.
   */
  constructor(broker, transport, version, id) {
    this.broker = broker
    this.transport = transport
    this.version = version
    this.id = id
    this.url = broker.url(transport, version)
  }

  after(end) {
    this.#ends.push(end)
  }

  async end() {
    for (const end of this.#ends.reverse()) await end()
  }

  topic(name = 'a') {
    return `${this.id}/${name}`
  }

  /** Connects a client. */
  async join(options = {}, url = this.url) {
    this.#count++
    const client = await connect(url, {
      clientId: `${this.id}-${this.#count}`,
      protocolVersion: this.version,
      reconnect: { minDelay: 50, maxDelay: 300 },
      connectTimeout: 5_000,
      ...credentials,
      ...options,
    })
    client.on('error', () => {})
    this.after(() => client.end({ force: true, timeout: 500 }))
    return client
  }

  /** Options for a session that stays. */
  lasting(name = 'lasting', seconds = 60) {
    return {
      clientId: `${this.id}-${name}`,
      clean: false,
      ...(this.version === 5 && { properties: { sessionExpiryInterval: seconds } }),
    }
  }

  /** A proxy in front of the broker, and the URL through it. */
  async proxy() {
    const url = new URL(this.url)
    const proxy = await startProxy(this, Number(url.port))
    url.port = new URL(proxy.url).port
    return { proxy, url: url.href }
  }
}

/** Subscribes, and collects what comes. */
async function collect(client, filter, options = {}) {
  const messages = []
  await client.subscribe(filter, { qos: 2, ...options }, (message) => void messages.push(message))
  return messages
}

/** Publishes numbers in bursts while the connections of both sides are cut. Resolves when all are acknowledged. */
async function publishOverCuts(bench, qos) {
  const { proxy, url } = await bench.proxy()
  const publisher = await bench.join(bench.lasting('publisher'), url)
  const subscriber = await bench.join(bench.lasting('subscriber'), url)
  const messages = await collect(subscriber, bench.topic(), { qos })
  const results = []
  for (let cut = 0; cut < 5; cut++) {
    for (let index = 0; index < 10; index++)
      results.push(publisher.publish(bench.topic(), `${results.length}`, { qos }))
    await sleep(10 + cut * 7)
    proxy.cut()
    await until(
      () => publisher.connected && subscriber.connected,
      () => 'connections',
    )
    // A packet at which the connection ends three times in a row, with nothing acknowledged in between, would be given up.
    await Promise.race(results.slice(-10))
  }
  await Promise.all(results)
  return { messages, count: results.length }
}

const texts = (messages) => messages.map((message) => message.text())

async function until(isSo, what, patience = PATIENCE) {
  const deadline = Date.now() + patience
  while (!isSo()) {
    if (Date.now() > deadline) throw new Error(`It did not come in time: ${what()}`)
    await sleep(5)
  }
}

/** Waits for these texts in this order, and then for a while that nothing else comes. */
async function come(messages, expected, patience) {
  await until(
    () => messages.length >= expected.length,
    () => `${messages.length} of ${expected.length} messages`,
    patience,
  )
  await sleep(QUIET)
  deepEqual(texts(messages), expected)
}

/** The same for messages to several topics, whose order is free. */
async function comeInAnyOrder(messages, expected) {
  await until(
    () => messages.length >= expected.length,
    () => `${messages.length} of ${expected.length} messages`,
  )
  await sleep(QUIET)
  deepEqual(texts(messages).toSorted(), expected.toSorted())
}

async function nothing(messages) {
  await sleep(QUIET)
  deepEqual(texts(messages), [])
}

/** Resolves with the arguments of an event, or fails in time. */
const event = (client, name, timeout = PATIENCE) => client.once(name, { timeout })

const numbers = (count) => Array.from({ length: count }, (_, index) => `${index}`)

/**
 * @typedef {object} Check
 * @property {string} name
 * @property {ReadonlyArray<4 | 5>} [only] The versions that have it. Default: both.
 * @property {true} [alone] Nothing else may use the broker at that time.
 * @property {(bench: Bench) => Promise<void>} run
 */

/** @type {Check[]} */
export const checks = []
const check = (name, run, options = {}) => checks.push({ name, run, ...options })
const FIVE = /** @type {const} */ ({ only: [5] })

// Connections and sessions

check('connects and says that the session is new', async (bench) => {
  const client = await bench.join()
  ok(client.connected)
  equal(client.server.protocolVersion, bench.version)
})

check('gives a client without a name one', async (bench) => {
  const client = await bench.join({ clientId: '' })
  if (bench.version === 5) ok(client.clientId.length > 0)
  const messages = await collect(client, bench.topic())
  await client.publish(bench.topic(), 'x', { qos: 1 })
  await come(messages, ['x'])
})

check('refuses a wrong password', async (bench) => {
  await rejects(bench.join({ password: 'wrong', reconnect: false }), (/** @type {any} */ error) => {
    equal(error.code, 'CONNECTION_REFUSED')
    ok([0x86, 0x87].includes(error.reasonCode), `reason code ${error.reasonCode}`)
    return true
  })
})

check('keeps a session, with its subscriptions', async (bench) => {
  const first = await bench.join(bench.lasting())
  await first.subscribe(bench.topic(), { qos: 1 })
  await first.end({ properties: undefined })
  const again = await bench.join({ ...bench.lasting(), resubscribe: false })
  const messages = []
  again.on('message', (message) => messages.push(message))
  await (await bench.join()).publish(bench.topic(), 'x', { qos: 1 })
  await come(messages, ['x'])
})

check('says that a session is there', async (bench) => {
  const first = await bench.join(bench.lasting())
  await first.subscribe(bench.topic(), { qos: 1 })
  await first.end()
  const again = await bench.join(bench.lasting())
  equal((await again.connect()).sessionPresent, true)
})

check('drops a session for a clean start', async (bench) => {
  const first = await bench.join(bench.lasting())
  await first.subscribe(bench.topic(), { qos: 1 })
  await first.end()
  const clean = await bench.join({ ...bench.lasting(), clean: true })
  equal((await clean.connect()).sessionPresent, false)
  const messages = []
  clean.on('message', (message) => messages.push(message))
  await (await bench.join()).publish(bench.topic(), 'x', { qos: 1 })
  await nothing(messages)
})

for (const qos of /** @type {const} */ ([1, 2]))
  check(`keeps QoS ${qos} messages for a client that is away, in order`, async (bench) => {
    const first = await bench.join(bench.lasting())
    await first.subscribe(bench.topic(), { qos })
    await first.end()
    const publisher = await bench.join()
    for (const text of numbers(30)) await publisher.publish(bench.topic(), text, { qos })
    const messages = []
    const again = await bench.join({ ...bench.lasting(), resubscribe: false })
    again.on('message', (message) => messages.push(message))
    await come(messages, numbers(30))
  })

check(
  'ends a session when its expiry interval is over',
  async (bench) => {
    const first = await bench.join(bench.lasting('short', 1))
    await first.subscribe(bench.topic(), { qos: 1 })
    await first.end({ properties: { sessionExpiryInterval: 1 } })
    await sleep(3_000)
    const again = await bench.join(bench.lasting('short', 1))
    equal((await again.connect()).sessionPresent, false)
  },
  FIVE,
)

check('takes over from a client of the same name', async (bench) => {
  const first = await bench.join({ clientId: `${bench.id}-same`, reconnect: false })
  const closed = event(first, 'close')
  await bench.join({ clientId: `${bench.id}-same`, reconnect: false })
  const [error] = await closed
  if (bench.version === 5) equal(/** @type {any} */ (error).reasonCode, 0x8e)
})

check('answers PINGREQ', async (bench) => {
  const client = await bench.join({ keepalive: 1 })
  await sleep(2_500)
  ok(client.connected)
  ok(client.stats().roundTrip !== undefined)
  equal(client.stats().connections, 1)
})

check('ends a connection that is silent for one and a half times the keep-alive', async (bench) => {
  const { proxy, url } = await bench.proxy()
  const watcher = await bench.join()
  const wills = await collect(watcher, bench.topic('will'))
  await bench.join(
    { keepalive: 1, reconnect: false, will: { topic: bench.topic('will'), payload: 'gone' } },
    url,
  )
  proxy.holdRequests()
  await come(wills, ['gone'])
})

check('takes back a client after its connection was reset', async (bench) => {
  const { proxy, url } = await bench.proxy()
  const client = await bench.join(bench.lasting(), url)
  const messages = await collect(client, bench.topic())
  const back = event(client, 'connect')
  proxy.cut()
  await back
  await client.publish(bench.topic(), 'x', { qos: 1 })
  await come(messages, ['x'])
})

check(
  'takes a connection with a reason string and user properties',
  async (bench) => {
    const client = await bench.join({
      properties: { userProperties: [['a', 'b']], requestProblemInformation: true },
    })
    await client.publish(bench.topic(), 'x', { qos: 1 })
    await client.end({ properties: { reasonString: 'done', userProperties: [['a', 'b']] } })
  },
  FIVE,
)

// Messages

for (const published of /** @type {const} */ ([0, 1, 2]))
  for (const subscribed of /** @type {const} */ ([0, 1, 2]))
    check(`delivers QoS ${published} to a subscription of QoS ${subscribed}`, async (bench) => {
      const [publisher, subscriber] = [await bench.join(), await bench.join()]
      const messages = []
      const subscription = await subscriber.subscribe(
        bench.topic(),
        { qos: subscribed },
        (message) => void messages.push(message),
      )
      const [grant] = subscription.grants
      if (subscribed === 2 && grant.qos < 2) throw new NotOffered('It grants QoS 1 instead of 2.')
      await publisher.publish(bench.topic(), 'x', { qos: published })
      await come(messages, ['x'])
      equal(messages[0].qos, Math.min(published, subscribed))
    })

for (const qos of /** @type {const} */ ([0, 1, 2]))
  check(`keeps the order of 200 messages of QoS ${qos}`, async (bench) => {
    const [publisher, subscriber] = [await bench.join(), await bench.join()]
    const messages = await collect(subscriber, bench.topic(), { qos })
    await Promise.all(numbers(200).map((text) => publisher.publish(bench.topic(), text, { qos })))
    await come(messages, numbers(200), 20_000)
  })

check('takes 60 QoS 2 messages in flight at once, as far as it allows', async (bench) => {
  const [publisher, subscriber] = [await bench.join(), await bench.join()]
  const messages = await collect(subscriber, bench.topic())
  const results = numbers(60).map((text) => publisher.publish(bench.topic(), text, { qos: 2 }))
  for (const { reasonCode } of await Promise.all(results)) ok(reasonCode < 0x80)
  await come(messages, numbers(60))
  equal(publisher.stats().connections, 1)
})

check('delivers QoS 2 exactly once while connections are cut', async (bench) => {
  const { messages, count } = await publishOverCuts(bench, 2)
  await come(messages, numbers(count))
})

check('delivers QoS 1 at least once while connections are cut', async (bench) => {
  const { messages, count } = await publishOverCuts(bench, 1)
  await until(
    () => new Set(texts(messages)).size === count,
    () => `${new Set(texts(messages)).size} of ${count} messages`,
  )
})

for (const [size, name] of /** @type {const} */ ([
  [0, 'an empty payload'],
  [65_536, '64 KiB'],
  [1_000_000, '1 MB'],
]))
  check(`carries ${name}`, async (bench) => {
    const [publisher, subscriber] = [await bench.join(), await bench.join()]
    const messages = await collect(subscriber, bench.topic(), { qos: 1 })
    const payload = randomBytes(size)
    await publisher.publish(bench.topic(), payload, { qos: 1 })
    await until(
      () => messages.length === 1,
      () => 'the message',
    )
    ok(payload.equals(messages[0].payload))
  })

check('carries any topic of UTF-8, with spaces and empty levels', async (bench) => {
  const client = await bench.join()
  const messages = await collect(client, `${bench.id}/#`, { qos: 1 })
  const topics = [`${bench.id}/ü/☠/日本`, `${bench.id}/a b/c`, `${bench.id}//x/`, `${bench.id}/𝄞`]
  for (const topic of topics) await client.publish(topic, topic, { qos: 1 })
  await comeInAnyOrder(messages, topics)
  deepEqual(
    messages.map(({ topic }) => topic),
    texts(messages),
  )
})

check(
  'carries the properties of a message',
  async (bench) => {
    const client = await bench.join()
    const messages = await collect(client, bench.topic(), { qos: 1 })
    const properties = {
      payloadFormatIndicator: /** @type {const} */ (1),
      contentType: 'text/plain',
      responseTopic: bench.topic('response'),
      correlationData: new Uint8Array([0, 1, 255]),
      userProperties: /** @type {[string, string][]} */ ([
        ['a', '1'],
        ['b', '2'],
        ['a', '3'],
      ]),
    }
    await client.publish(bench.topic(), 'x', { qos: 1, properties })
    await come(messages, ['x'])
    const got = messages[0].properties
    equal(got.payloadFormatIndicator, 1)
    equal(got.contentType, 'text/plain')
    equal(got.responseTopic, bench.topic('response'))
    deepEqual([...got.correlationData], [0, 1, 255])
    deepEqual([...got.userProperties], properties.userProperties)
  },
  FIVE,
)

check(
  'drops a message when its expiry interval is over',
  async (bench) => {
    const first = await bench.join(bench.lasting())
    await first.subscribe(bench.topic(), { qos: 1 })
    await first.end()
    const publisher = await bench.join()
    await publisher.publish(bench.topic(), 'short', {
      qos: 1,
      properties: { messageExpiryInterval: 1 },
    })
    await publisher.publish(bench.topic(), 'long', {
      qos: 1,
      properties: { messageExpiryInterval: 60 },
    })
    await sleep(2_500)
    const messages = []
    const again = await bench.join({ ...bench.lasting(), resubscribe: false })
    again.on('message', (message) => messages.push(message))
    await come(messages, ['long'])
    ok(messages[0].properties.messageExpiryInterval < 60, 'the time that it waited is subtracted')
  },
  FIVE,
)

check(
  'takes topic aliases',
  async (bench) => {
    const [publisher, subscriber] = [await bench.join(), await bench.join()]
    if (publisher.server.topicAliasMaximum === 0) throw new NotOffered('Its maximum is 0.')
    const messages = await collect(subscriber, bench.topic('#'), { qos: 1 })
    for (const text of numbers(20))
      await publisher.publish(bench.topic(`t${Number(text) % 3}`), text, { qos: 1 })
    await comeInAnyOrder(messages, numbers(20))
    deepEqual(
      messages.map(({ topic }) => topic),
      texts(messages).map((text) => bench.topic(`t${Number(text) % 3}`)),
    )
  },
  FIVE,
)

check(
  'keeps to the Receive Maximum of the client',
  async (bench) => {
    const first = await bench.join({
      ...bench.lasting(),
      properties: { receiveMaximum: 3, sessionExpiryInterval: 60 },
    })
    const publisher = await bench.join()
    let most = 0
    let now = 0
    const messages = []
    await first.subscribe(bench.topic(), { qos: 1, ack: 'settled' }, async (message) => {
      most = Math.max(most, ++now)
      await sleep(5)
      now--
      messages.push(message)
    })
    await Promise.all(numbers(30).map((text) => publisher.publish(bench.topic(), text, { qos: 1 })))
    await come(messages, numbers(30))
    ok(most <= 3, `${most} at once`)
    equal(first.stats().connections, 1)
  },
  FIVE,
)

check(
  'keeps to the Maximum Packet Size of the client',
  async (bench) => {
    const small = await bench.join({ properties: { maximumPacketSize: 1_000 } })
    const messages = await collect(small, bench.topic(), { qos: 1 })
    const publisher = await bench.join()
    await publisher.publish(bench.topic(), 'x'.repeat(5_000), { qos: 1 })
    await publisher.publish(bench.topic(), 'fits', { qos: 1 })
    await come(messages, ['fits'])
    equal(small.stats().connections, 1)
  },
  FIVE,
)

// Retained messages

check('keeps the retained message of a topic', async (bench) => {
  const publisher = await bench.join()
  await publisher.publish(bench.topic(), 'old', { qos: 1, retain: true })
  await publisher.publish(bench.topic(), 'new', { qos: 1, retain: true })
  await sleep(100)
  const messages = await collect(await bench.join(), bench.topic(), { qos: 1 })
  await come(messages, ['new'])
  equal(messages[0].retain, true)
})

check('sends retained messages to filters with wildcards', async (bench) => {
  const publisher = await bench.join()
  for (const name of ['a/1', 'a/2', 'b/1'])
    await publisher.publish(bench.topic(name), name, { qos: 1, retain: true })
  await sleep(100)
  const messages = await collect(await bench.join(), bench.topic('a/+'), { qos: 1 })
  await until(
    () => messages.length === 2,
    () => `${messages.length} messages`,
  )
  await sleep(QUIET)
  deepEqual(texts(messages).toSorted(), ['a/1', 'a/2'])
})

check('deletes a retained message for an empty payload', async (bench) => {
  const publisher = await bench.join()
  await publisher.publish(bench.topic(), 'old', { qos: 1, retain: true })
  await publisher.publish(bench.topic(), '', { qos: 1, retain: true })
  await sleep(100)
  await nothing(await collect(await bench.join(), bench.topic(), { qos: 1 }))
})

check('sends a message that is not from the store without the retain flag', async (bench) => {
  const [publisher, subscriber] = [await bench.join(), await bench.join()]
  const messages = await collect(subscriber, bench.topic(), { qos: 1 })
  await publisher.publish(bench.topic(), 'x', { qos: 1, retain: true })
  await come(messages, ['x'])
  equal(messages[0].retain, false)
})

check('sends retained messages again for a second SUBSCRIBE', async (bench) => {
  const client = await bench.join()
  await client.publish(bench.topic(), 'kept', { qos: 1, retain: true })
  await sleep(100)
  const messages = []
  client.on('message', (message) => messages.push(message))
  await client.subscribe(bench.topic(), { qos: 1 })
  await sleep(QUIET)
  await client.subscribe(bench.topic(), { qos: 1 })
  await come(messages, ['kept', 'kept'])
})

for (const [retainHandling, expected] of /** @type {const} */ ([
  [0, ['kept', 'kept']],
  [1, ['kept']],
  [2, []],
]))
  check(
    `keeps to Retain Handling ${retainHandling}`,
    async (bench) => {
      const client = await bench.join()
      await client.publish(bench.topic(), 'kept', { qos: 1, retain: true })
      await sleep(100)
      const messages = []
      client.on('message', (message) => messages.push(message))
      await client.subscribe(bench.topic(), { qos: 1, retainHandling })
      await sleep(QUIET)
      await client.subscribe(bench.topic(), { qos: 1, retainHandling })
      await come(messages, expected)
    },
    FIVE,
  )

check(
  'keeps to Retain As Published',
  async (bench) => {
    const [publisher, subscriber] = [await bench.join(), await bench.join()]
    const messages = await collect(subscriber, bench.topic(), { qos: 1, retainAsPublished: true })
    await publisher.publish(bench.topic(), 'kept', { qos: 1, retain: true })
    await publisher.publish(bench.topic(), 'passing', { qos: 1 })
    await come(messages, ['kept', 'passing'])
    deepEqual(
      messages.map(({ retain }) => retain),
      [true, false],
    )
  },
  FIVE,
)

// Wills

for (const qos of /** @type {const} */ ([0, 1, 2]))
  check(`publishes a will of QoS ${qos} for a client that is gone`, async (bench) => {
    const wills = await collect(await bench.join(), bench.topic('will'))
    const { proxy, url } = await bench.proxy()
    await bench.join(
      { will: { topic: bench.topic('will'), payload: 'gone', qos }, reconnect: false },
      url,
    )
    proxy.cut()
    await come(wills, ['gone'])
  })

check('keeps a retained will', async (bench) => {
  const { proxy, url } = await bench.proxy()
  const wills = await collect(await bench.join(), bench.topic('will'), { qos: 1 })
  await bench.join(
    {
      will: { topic: bench.topic('will'), payload: 'gone', qos: 1, retain: true },
      reconnect: false,
    },
    url,
  )
  proxy.cut()
  await come(wills, ['gone'])
  await sleep(100)
  await come(await collect(await bench.join(), bench.topic('will'), { qos: 1 }), ['gone'])
})

check('publishes no will after DISCONNECT', async (bench) => {
  const wills = await collect(await bench.join(), bench.topic('will'), { qos: 1 })
  const client = await bench.join({ will: { topic: bench.topic('will'), payload: 'gone', qos: 1 } })
  await client.end()
  await nothing(wills)
})

check(
  'publishes the will after DISCONNECT with reason code 4',
  async (bench) => {
    const wills = await collect(await bench.join(), bench.topic('will'), { qos: 1 })
    const client = await bench.join({
      will: { topic: bench.topic('will'), payload: 'gone', qos: 1 },
    })
    await client.end({ reasonCode: 4 })
    await come(wills, ['gone'])
  },
  FIVE,
)

check(
  'waits for the will delay, and forgets the will of a client that returns',
  async (bench) => {
    const wills = await collect(await bench.join(), bench.topic('will'), { qos: 1 })
    const { proxy, url } = await bench.proxy()
    const client = await bench.join(
      {
        ...bench.lasting('willing'),
        will: {
          topic: bench.topic('will'),
          payload: 'gone',
          qos: 1,
          properties: { willDelayInterval: 1 },
        },
      },
      url,
    )
    const back = event(client, 'connect')
    proxy.cut()
    await back
    await sleep(2_500)
    deepEqual(texts(wills), [])
    proxy.open = false
    proxy.cut()
    await come(wills, ['gone'])
  },
  FIVE,
)

// Subscriptions

check('matches + and #', async (bench) => {
  const client = await bench.join()
  const plus = await collect(client, bench.topic('+/end'), { qos: 1 })
  const hash = await collect(await bench.join(), bench.topic('one/#'), { qos: 1 })
  for (const name of ['one/end', 'one', 'one/two/three', 'two/end', 'two/x/end'])
    await client.publish(bench.topic(name), name, { qos: 1 })
  await comeInAnyOrder(plus, ['one/end', 'two/end'])
  await comeInAnyOrder(hash, ['one/end', 'one', 'one/two/three'])
})

check('delivers to overlapping subscriptions of one client', async (bench) => {
  const client = await bench.join()
  const wide = await collect(client, bench.topic('#'), { qos: 1 })
  const narrow = await collect(client, bench.topic('a/+'), { qos: 2 })
  const publisher = await bench.join()
  for (const text of numbers(5)) await publisher.publish(bench.topic('a/b'), text, { qos: 1 })
  await until(
    () => wide.length >= 5 && narrow.length >= 5,
    () => `${wide.length} and ${narrow.length} of 5 messages`,
  )
  await sleep(QUIET)
  deepEqual([...new Set(texts(wide))], numbers(5))
  deepEqual([...new Set(texts(narrow))], numbers(5))
})

check('takes one SUBSCRIBE with 50 filters', async (bench) => {
  const client = await bench.join()
  const filters = numbers(50).map((text) => bench.topic(text))
  const messages = await collect(client, filters, { qos: 1 })
  for (const [index, topic] of filters.entries())
    await client.publish(topic, `${index}`, { qos: 1 })
  await comeInAnyOrder(messages, numbers(50))
})

check('changes the QoS of a subscription', async (bench) => {
  const client = await bench.join()
  const messages = []
  client.on('message', (message) => messages.push(message))
  await client.subscribe(bench.topic(), { qos: 0 })
  await client.subscribe(bench.topic(), { qos: 1 })
  await client.publish(bench.topic(), 'x', { qos: 1 })
  await come(messages, ['x'])
  equal(messages[0].qos, 1)
})

check('ends a subscription', async (bench) => {
  const client = await bench.join()
  const messages = []
  const subscription = await client.subscribe(
    bench.topic(),
    { qos: 1 },
    (message) => void messages.push(message),
  )
  await client.publish(bench.topic(), 'before', { qos: 1 })
  await come(messages, ['before'])
  await subscription.unsubscribe()
  await client.publish(bench.topic(), 'after', { qos: 1 })
  await come(messages, ['before'])
})

check('answers UNSUBSCRIBE for a filter that it does not know', async (bench) => {
  const client = await bench.join()
  const { reasonCodes } = await client.unsubscribe(bench.topic('unknown'), { timeout: PATIENCE })
  if (bench.version === 5)
    deepEqual(reasonCodes, [{ filter: bench.topic('unknown'), reasonCode: 0x11 }])
})

check('shares a subscription among clients', async (bench) => {
  const filter = `$share/${bench.id}/${bench.topic()}`
  const members = [await bench.join(), await bench.join()]
  const all = []
  for (const member of members) all.push(await collect(member, filter, { qos: 1 }))
  const publisher = await bench.join()
  for (const text of numbers(20)) await publisher.publish(bench.topic(), text, { qos: 1 })
  await sleep(2 * QUIET)
  const got = all.flatMap(texts).map(Number)
  if (got.length === 0 && bench.version === 4)
    throw new NotOffered('MQTT 3.1.1 has no shared subscriptions.')
  deepEqual(got.toSorted((a, b) => a - b).map(String), numbers(20))
  ok(
    all.every((messages) => messages.length > 0),
    'each member has its share',
  )
})

check(
  'keeps to No Local',
  async (bench) => {
    const client = await bench.join()
    const messages = await collect(client, bench.topic(), { qos: 1, noLocal: true })
    await client.publish(bench.topic(), 'own', { qos: 1 })
    await (await bench.join()).publish(bench.topic(), 'of another', { qos: 1 })
    await come(messages, ['of another'])
  },
  FIVE,
)

check(
  'says which subscription a message is for',
  async (bench) => {
    const client = await bench.join()
    if (!client.server.subscriptionIdentifiersAvailable)
      throw new NotOffered('It has no subscription identifiers.')
    const messages = await collect(client, bench.topic(), { qos: 1, subscriptionIdentifier: 4_711 })
    await client.publish(bench.topic(), 'x', { qos: 1 })
    await come(messages, ['x'])
    deepEqual([...messages[0].properties.subscriptionIdentifiers], [4_711])
  },
  FIVE,
)

check('keeps topics that begin with $ from filters that begin with a wildcard', async (bench) => {
  const client = await bench.join()
  const messages = []
  await client.subscribe('+/broker/#', { qos: 0 }, (message) => void messages.push(message))
  await client.subscribe('#', { qos: 0 }, (message) => void messages.push(message))
  await sleep(1_500)
  deepEqual(
    messages.filter(({ topic }) => topic.startsWith('$')).map(({ topic }) => topic),
    [],
  )
})

check('publishes its own state under $SYS', async (bench) => {
  const client = await bench.join()
  const messages = []
  await client
    .subscribe('$SYS/#', { qos: 0 }, (message) => void messages.push(message))
    .catch((error) => {
      throw new NotOffered(error.message)
    })
  await sleep(2_000)
  if (messages.length === 0) throw new NotOffered('Nothing is published there.')
})

// Requests

check(
  'carries a request and its response',
  async (bench) => {
    const [server, client] = [await bench.join(), await bench.join()]
    await server.respond(bench.topic('double'), (message) => `${2 * Number(message.text())}`, {
      qos: 1,
    })
    const response = await client.request(bench.topic('double'), '21', {
      qos: 1,
      timeout: PATIENCE,
    })
    equal(response.text(), '42')
  },
  FIVE,
)

// Strict servers

check('ends a connection whose first packet is not CONNECT', async (bench) => {
  if (bench.transport !== 'TCP') return
  const socket = net.connect(Number(new URL(bench.url).port), '127.0.0.1')
  bench.after(() => socket.destroy())
  socket.on('error', () => {})
  socket.on('data', () => {})
  let closed = false
  socket.on('close', () => {
    closed = true
  })
  socket.write(Buffer.from([0xc0, 0]))
  await until(
    () => closed,
    () => 'the end of the connection',
  )
})

check('takes 40 clients at once', async (bench) => {
  const clients = await Promise.all(Array.from({ length: 40 }, () => bench.join()))
  const all = await Promise.all(clients.map((client) => collect(client, bench.topic(), { qos: 1 })))
  await clients[0].publish(bench.topic(), 'x', { qos: 1 })
  for (const messages of all) await come(messages, ['x'])
})

// The last one: it ends the broker.

check(
  'comes back after it was killed, and the client with it',
  async (bench) => {
    const client = await bench.join(bench.lasting())
    const messages = await collect(client, bench.topic(), { qos: 1 })
    const gone = event(client, 'disconnect', 20_000)
    const back = event(client, 'connect', 120_000)
    await bench.broker.kill()
    await gone
    const queued = client.publish(bench.topic(), 'while it was dead', { qos: 1 })
    await bench.broker.start()
    await back
    await queued
    await client.publish(bench.topic(), 'after', { qos: 1 })
    await come(messages, ['while it was dead', 'after'])
  },
  { alone: true },
)

/**
 * Runs one check.
 * @returns {Promise<{ result: 'passed' | 'not offered' | 'failed', reason?: string }>}
 */
export async function runCheck(check, bench) {
  try {
    await within(check.run(bench), check.alone ? 180_000 : 40_000)
    return { result: 'passed' }
  } catch (error) {
    if (error instanceof NotOffered || error instanceof NotSupportedError)
      return { result: 'not offered', reason: error.message }
    return {
      result: 'failed',
      reason: `${error?.message ?? error}`.replace(/\s+/g, ' ').trim().slice(0, 300),
    }
  } finally {
    await bench.end().catch(() => {})
  }
}

async function within(promise, ms) {
  const timer = new AbortController()
  const late = sleep(ms, undefined, { signal: timer.signal }).then(
    () => {
      throw new Error(`It was not done after ${ms} ms.`)
    },
    () => {},
  )
  try {
    await Promise.race([promise, late])
  } finally {
    timer.abort()
  }
}
