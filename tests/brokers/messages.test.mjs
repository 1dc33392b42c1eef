// Messages through Mosquitto: every quality of service, every kind of topic, payload and subscription.

import { deepEqual, deepStrictEqual, equal, ok, rejects } from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { startProxy } from './mosquitto.mjs'
import {
  eventually,
  exactly,
  isEmbedded,
  join,
  next,
  numbered,
  observe,
  packets,
  qualities,
  quiet,
  startBroker,
  story,
} from './support.mjs'

// Beyond its in-flight limit of 20, Mosquitto acknowledges 3.1.1 publishes of QoS 2 and loses them.
const roomy = 'max_inflight_messages 1000'

story('each QoS of a publish meets each QoS of a subscription', async (t, protocolVersion) => {
  const broker = await startBroker(t)
  const publisher = await join(t, broker.url, { protocolVersion })
  const subscriber = await join(t, broker.url, { protocolVersion })
  const pairs = qualities.flatMap((published) =>
    qualities.map((subscribed) => ({ published, subscribed })),
  )
  const received = []

  for (const { published, subscribed } of pairs) {
    const topic = `from/${published}/to/${subscribed}`
    const subscription = await subscriber.subscribe(
      topic,
      { qos: subscribed },
      ({ topic, qos, retain, dup }) => {
        received.push({ topic, qos, retain, dup })
      },
    )
    deepStrictEqual(subscription.grants, [
      { filter: topic, granted: true, qos: subscribed, reasonCode: subscribed },
    ])
    const { reasonCode } = await publisher.publish(topic, 'x', { qos: published })
    equal(reasonCode, 0)
    await eventually(() => received.at(-1)?.topic === topic, topic)
  }

  await exactly(
    received,
    pairs.map(({ published, subscribed }) => {
      return {
        topic: `from/${published}/to/${subscribed}`,
        qos: Math.min(published, subscribed),
        retain: false,
        dup: false,
      }
    }),
  )
})

story(
  'a burst arrives complete and in order, at each QoS [MQTT5-4.2-1] [MQTT3-7.1.2-1]',
  async (t, protocolVersion) => {
    const broker = await startBroker(t, { config: roomy })
    const publisher = await join(t, broker.url, { protocolVersion })
    const subscriber = await join(t, broker.url, { protocolVersion })
    for (const qos of qualities) {
      const received = []
      await subscriber.subscribe(
        `burst/${qos}`,
        { qos },
        (message) => void received.push(message.text()),
      )
      const texts = numbered(500)

      await Promise.all(texts.map((text) => publisher.publish(`burst/${qos}`, text, { qos })))

      await exactly(received, texts)
    }
  },
)

story(
  'an independent client receives what it sends, and the other way round [MQTT3-7.0.0-2]',
  async (t, protocolVersion) => {
    const broker = await startBroker(t)
    const observer = await observe(t, broker, 'to/observer')
    const client = await join(t, broker.url, { protocolVersion })
    const received = []
    await client.subscribe(
      'to/client',
      { qos: 2 },
      (message) => void received.push([message.text(), message.qos]),
    )

    for (const qos of qualities) {
      await client.publish('to/observer', `QoS ${qos}`, { qos })
      await observer.publish('to/client', `QoS ${qos}`, { qos })
    }

    deepStrictEqual(await observer.texts(3), ['QoS 0', 'QoS 1', 'QoS 2'])
    deepStrictEqual(
      observer.messages.map(({ qos }) => qos),
      qualities,
    )
    await exactly(received, [
      ['QoS 0', 0],
      ['QoS 1', 1],
      ['QoS 2', 2],
    ])
  },
)

story('every kind of payload arrives unchanged', async (t, protocolVersion) => {
  const broker = await startBroker(t)
  const observer = await observe(t, broker, 'payload')
  const client = await join(t, broker.url, { protocolVersion })
  const bytes = Uint8Array.from({ length: 256 }, (_, index) => index)
  const payloads = [
    undefined,
    '',
    'text',
    bytes,
    bytes.buffer,
    new DataView(bytes.buffer, 10, 20),
    new Uint16Array([1, 2]),
    Buffer.from('buffer'),
  ]

  for (const payload of payloads) await client.publish('payload', payload, { qos: 1 })

  await observer.texts(payloads.length)
  deepStrictEqual(
    observer.messages.map(({ payload }) => payload.toString('hex')),
    [
      '',
      '',
      Buffer.from('text').toString('hex'),
      Buffer.from(bytes).toString('hex'),
      Buffer.from(bytes).toString('hex'),
      Buffer.from(bytes.subarray(10, 30)).toString('hex'),
      '01000200',
      Buffer.from('buffer').toString('hex'),
    ],
  )
})

story(
  'later subscribers get a retained message until it is deleted',
  async (t, protocolVersion) => {
    const broker = await startBroker(t)
    const client = await join(t, broker.url, { protocolVersion })
    const watch = async () => {
      const received = []
      await client.subscribe(
        'state/#',
        { qos: 1 },
        (message) => void received.push([message.topic, message.text(), message.retain]),
      )
      return received
    }

    const early = await watch()
    await client.publish('state/door', 'open', { qos: 1, retain: true })
    await exactly(early, [['state/door', 'open', false]])

    const observer = await observe(t, broker, 'state/#')
    await observer.texts(1)
    equal(observer.messages[0].retain, true)
    const other = await join(t, broker.url, { protocolVersion })
    const late = []
    await other.subscribe(
      'state/#',
      { qos: 1 },
      (message) => void late.push([message.topic, message.text(), message.retain]),
    )
    await exactly(late, [['state/door', 'open', true]])

    await client.publish('state/door', '', { qos: 1, retain: true })
    await eventually(() => late.length === 2, 'the deletion at the subscriber')
    deepStrictEqual(late[1], ['state/door', '', false])
    const last = await observe(t, broker, 'state/#')
    await quiet()
    deepStrictEqual(last.messages, [])
  },
)

story(
  'the subscriber chooses retain handling and retain as published',
  async (t, protocolVersion) => {
    const broker = await startBroker(t)
    const client = await join(t, broker.url, { protocolVersion })
    await client.publish('state/door', 'open', { qos: 1, retain: true })
    const received = []

    await client.subscribe(
      'state/door',
      { qos: 1, retainHandling: 2, retainAsPublished: true },
      (message) => {
        received.push([message.text(), message.retain])
      },
    )
    await quiet()
    await client.publish('state/door', 'closed', { qos: 1, retain: true })

    await exactly(received, [['closed', true]])
  },
  [5],
)

story(
  'with noLocal, a client does not receive its own messages',
  async (t, protocolVersion) => {
    const broker = await startBroker(t)
    const [one, other] = [
      await join(t, broker.url, { protocolVersion }),
      await join(t, broker.url, { protocolVersion }),
    ]
    const received = []
    await one.subscribe(
      'chat',
      { qos: 1, noLocal: true },
      (message) => void received.push(message.text()),
    )

    await one.publish('chat', 'from one', { qos: 1 })
    await other.publish('chat', 'from the other', { qos: 1 })

    await exactly(received, ['from the other'])
  },
  [5],
)

story('10 MB are sent and received', async (t, protocolVersion) => {
  const broker = await startBroker(t, { config: 'max_packet_size 20000000' })
  await broker.hurry(t)
  const client = await join(t, broker.url, { protocolVersion })
  const payload = Buffer.alloc(10_000_000, 'the quick brown fox jumps over the lazy dog ')
  const received = []
  await client.subscribe(
    'big',
    { qos: 1 },
    (message) => void received.push(sha256(message.payload)),
  )

  await client.publish('big', payload, { qos: 1 })
  await client.publish('big', 'and a small one', { qos: 1 })

  await exactly(received, [sha256(payload), sha256('and a small one')])
})

story(
  '1,000 subscriptions each have their handler, also after the broker lost them',
  async (t, protocolVersion) => {
    const broker = await startBroker(t)
    const client = await join(t, broker.url, { protocolVersion })
    let received = []
    const topics = numbered(1_000, 'sensor/')
    await Promise.all(
      topics.map((topic) =>
        client.subscribe(
          `${topic}/#`,
          { qos: 1 },
          (message) => void received.push([topic, message.topic]),
        ),
      ),
    )
    equal(client.stats().subscriptions, 1_000)
    const expected = topics.map((topic) => [topic, `${topic}/value`])

    const publishAll = async () => {
      const observer = await observe(t, broker)
      await Promise.all(topics.map((topic) => observer.publish(`${topic}/value`, 'x')))
      await eventually(
        () => received.length >= topics.length,
        () => `1,000 messages: ${received.length}`,
      )
      await quiet()
      deepEqual(received.sort(byTopic), expected.sort(byTopic))
    }
    await publishAll()

    received = []
    const restored = next(client, 'connect')
    await broker.restart()
    equal((await restored)[0].sessionPresent, false)
    await eventually(
      () => restoredFilters(broker).size === 1_000,
      () => `1,000 subscriptions: ${restoredFilters(broker).size}`,
    )
    await publishAll()

    function restoredFilters(broker) {
      const start = broker.log.findLastIndex((line) => line.includes('starting'))
      return new Set(broker.log.slice(start).filter((line) => /^\tsensor\/\d+\/# /.test(line)))
    }
  },
)

story(
  '1,000 filters of one subscription are restored in few packets',
  async (t, protocolVersion) => {
    const broker = await startBroker(t)
    const client = await join(t, broker.url, { protocolVersion })
    const received = []
    const filters = numbered(1_000, 'sensor/')
    const { grants } = await client.subscribe(
      filters,
      { qos: 1 },
      (message) => void received.push(message.topic),
    )
    deepStrictEqual(
      grants.map(({ filter }) => filter),
      filters,
    )
    ok(grants.every(({ granted, qos }) => granted && qos === 1))

    const outgoing = packets(client, 'out')
    await broker.restart()
    await eventually(
      () => broker.log.filter((line) => line === '\tsensor/999 (QoS 1)').length === 2,
      'the last filter at the broker',
    )
    ok(outgoing.filter((type) => type === 'subscribe').length <= 20, outgoing.join())
    const observer = await observe(t, broker)
    for (const topic of ['sensor/0', 'sensor/500', 'sensor/999']) await observer.publish(topic, 'x')

    await exactly(received, ['sensor/0', 'sensor/500', 'sensor/999'])
  },
)

story('topics and payloads may hold any Unicode', async (t, protocolVersion) => {
  const broker = await startBroker(t)
  const observer = await observe(t, broker, 'world/#')
  const client = await join(t, broker.url, { protocolVersion })
  const received = []
  await client.subscribe(
    'world/+',
    { qos: 1 },
    (message) => void received.push([message.topic, message.text()]),
  )
  const texts = [
    'Grüße, ß und ẞ',
    '日本語',
    'हिन्दी',
    'مرحبا بالعالم',
    'שלום',
    'e\u0301 is not é',
    '👩‍👩‍👧‍👦 🌡️ 🇩🇪',
    '𝒳𐍈𠮷',
    '\uFEFFafter a byte order mark',
    'replacement \uFFFD',
    'private \uE000\u{10FFFD}',
    ' blanks\u00A0\u2003\u200B',
    '"quotes" \\ \' & <tags>',
    '__proto__',
    'constructor',
  ]

  for (const text of texts) await client.publish(`world/${text}`, text, { qos: 1 })

  await exactly(
    received,
    texts.map((text) => [`world/${text}`, text]),
  )
  deepStrictEqual(await observer.texts(texts.length), texts)
  deepStrictEqual(
    observer.messages.map(({ topic }) => topic),
    texts.map((text) => `world/${text}`),
  )
  for (const text of texts) {
    const exact = []
    const subscription = await client.subscribe(
      `world/${text}`,
      { qos: 1 },
      (message) => void exact.push(message.topic),
    )
    await observer.publish(`world/${text}`, text, { qos: 1 })
    await eventually(() => exact.length === 1, `a message on world/${text}`)
    deepStrictEqual(exact, [`world/${text}`])
    await subscription.unsubscribe()
  }
})

story(
  'with overlapping filters, each handler gets each message once',
  async (t, protocolVersion) => {
    const broker = await startBroker(t)
    const observer = await observe(t, broker)
    const client = await join(t, broker.url, { protocolVersion })
    const heard = { all: [], level: [], exact: [], again: [], pair: [] }
    const to = (name) => (message) => void heard[name].push(message.text())
    await client.subscribe('a/#', { qos: 0 }, to('all'))
    await client.subscribe('a/+', { qos: 1 }, to('level'))
    await client.subscribe('a/b', { qos: 2 }, to('exact'))
    await client.subscribe('a/b', { qos: 2 }, to('again'))
    await client.subscribe(['+/b', 'a/b/#'], { qos: 1 }, to('pair'))
    const texts = numbered(5)

    for (const text of texts) await observer.publish('a/b', text, { qos: 2 })

    for (const name of Object.keys(heard))
      await eventually(
        () => heard[name].length >= texts.length,
        () => `${name}: ${heard[name]}`,
      )
    await quiet()
    deepStrictEqual(heard, { all: texts, level: texts, exact: texts, again: texts, pair: texts })
  },
)

story(
  'while overlapping filters come and go, the one that stays misses and repeats nothing',
  async (t, protocolVersion) => {
    const broker = await startBroker(t, { config: roomy })
    const observer = await observe(t, broker)
    const client = await join(t, broker.url, { protocolVersion })
    const received = []
    await client.subscribe('a/#', { qos: 1 }, (message) => void received.push(message.text()))
    const texts = numbered(2_000)
    let done = false

    const published = Promise.all(
      texts.map((text) => observer.publish('a/b', text, { qos: 1 })),
    ).then(() => (done = true))
    while (!done) {
      const passing = await client.subscribe('a/b', { qos: 1 }, () => {})
      await passing.unsubscribe()
    }
    await published

    await eventually(
      () => new Set(received).size === texts.length,
      () => `2,000 messages: ${new Set(received).size}`,
    )
    await quiet()
    equal(received.length, texts.length, 'none twice')
    deepStrictEqual(received, texts)
  },
)

story(
  'UNSUBSCRIBE is sent when the last handler of a filter is gone, not before',
  async (t, protocolVersion) => {
    const broker = await startBroker(t)
    const observer = await observe(t, broker)
    const client = await join(t, broker.url, { protocolVersion, clientId: 'fickle' })
    const [first, second] = [[], []]
    const one = await client.subscribe(
      'news',
      { qos: 1 },
      (message) => void first.push(message.text()),
    )
    const two = await client.subscribe(
      'news',
      { qos: 1 },
      (message) => void second.push(message.text()),
    )
    const unsubscribes = () =>
      broker.log.filter((line) => line.startsWith('Received UNSUBSCRIBE from fickle')).length

    await one.unsubscribe()
    equal(one.active, false)
    equal(two.active, true)
    await observer.publish('news', 'for the second', { qos: 1 })
    await exactly(second, ['for the second'])
    deepStrictEqual(first, [])
    equal(unsubscribes(), 0)

    await two.unsubscribe()
    equal(client.subscriptions.size, 0)
    await eventually(() => unsubscribes() === 1, 'the UNSUBSCRIBE in the log')
    await observer.publish('news', 'for nobody', { qos: 1 })
    await quiet()
    equal(unsubscribes(), 1)
    deepStrictEqual([first, second], [[], ['for the second']])

    await client.unsubscribe('news')
    equal(unsubscribes(), 2, 'unsubscribe(filter) always asks the server')
  },
)

story(
  'an iterator gets every message, and leaving the loop unsubscribes',
  async (t, protocolVersion) => {
    const broker = await startBroker(t)
    const observer = await observe(t, broker)
    const client = await join(t, broker.url, { protocolVersion, clientId: 'reader' })
    const texts = numbered(50)
    const asked = eventually(
      () => broker.log.some((line) => line.startsWith('Sending SUBACK to reader')),
      'the subscription',
    )
    const published = asked.then(() =>
      Promise.all(texts.map((text) => observer.publish('stream', text, { qos: 1 }))),
    )
    const received = []

    for await (const message of client.messages('stream', { qos: 1 })) {
      received.push(message.text())
      if (received.length === texts.length) break
    }

    await published
    deepStrictEqual(received, texts)
    await eventually(
      () => broker.log.some((line) => line.startsWith('Received UNSUBSCRIBE from reader')),
      'the UNSUBSCRIBE',
    )
  },
)

story('a shared subscription distributes its messages', async (t, protocolVersion) => {
  const broker = await startBroker(t)
  const observer = await observe(t, broker)
  const crews = { one: [], two: [] }
  for (const name of Object.keys(crews)) {
    const worker = await join(t, broker.url, { protocolVersion })
    await worker.subscribe(
      '$share/crew/jobs/#',
      { qos: 1 },
      (message) => void crews[name].push(message.text()),
    )
  }
  const jobs = numbered(100)

  for (const job of jobs) await observer.publish(`jobs/${job}`, job, { qos: 1 })

  const done = () => [...crews.one, ...crews.two].sort((a, b) => a - b)
  await eventually(
    () => done().length >= jobs.length,
    () => `100 jobs: ${done().length}`,
  )
  await quiet()
  deepStrictEqual(done(), jobs)
  ok(crews.one.length > 0 && crews.two.length > 0)
})

story(
  'topic aliases make messages smaller and change nothing else, also on the next connection',
  async (t, protocolVersion) => {
    const broker = await startBroker(t)
    const proxy = await startProxy(t, broker.wsPort)
    const observer = await observe(t, broker, 'a/rather/long/topic/#')
    const client = await join(t, proxy.url, { protocolVersion })
    equal(client.server.topicAliasMaximum, 10) // Mosquitto's default
    const sizes = []
    client.on(
      'packet',
      ({ direction, type, bytes }) =>
        direction === 'out' && type === 'publish' && sizes.push(bytes),
    )
    const topics = numbered(25, 'a/rather/long/topic/that/takes/its/room/number/')
    const publishAll = async (topics) => {
      for (const topic of topics) await client.publish(topic, topic.slice(-2), { qos: 1 })
    }
    const [few, many] = [topics.slice(0, 10), [...topics, ...topics, ...topics]]

    for (let connection = 0; connection < 2; connection++) {
      sizes.length = 0
      await publishAll(few)
      ok(
        sizes.every((size) => size > topics[0].length),
        `${sizes}`,
      )
      sizes.length = 0
      await publishAll(few)
      ok(
        sizes.every((size) => size < topics[0].length),
        `${sizes}`,
      )
      await publishAll(many)
      const back = next(client, 'connect')
      proxy.cut()
      await back
    }

    await observer.texts((few.length * 2 + many.length) * 2)
    const expected = [...few, ...few, ...many]
    deepStrictEqual(
      observer.messages.map(({ topic }) => topic),
      [...expected, ...expected],
    )
    ok(observer.messages.every(({ topic, text }) => topic.slice(-2) === text))
  },
  [5],
)

story(
  'message properties arrive unchanged, and can be passed on',
  async (t, protocolVersion) => {
    const broker = await startBroker(t)
    const client = await join(t, broker.url, { protocolVersion })
    const received = []
    await client.subscribe('letter/#', { qos: 2 }, (message) => void received.push(message))
    /** @type {import('../../pkg/node.js').MessageProperties} */
    const properties = {
      payloadFormatIndicator: 1,
      messageExpiryInterval: 3_600,
      contentType: 'text/plain; charset=utf-8',
      responseTopic: 'letter/answer/ü',
      correlationData: new Uint8Array([0, 1, 254, 255]),
      userProperties: [
        ['b', '1'],
        ['a', '2'],
        ['b', '3'],
        ['__proto__', 'ü'],
        ['', ''],
      ],
    }

    await client.publish('letter/1', 'hello', { qos: 2, properties })
    await eventually(() => received.length === 1, 'the message')
    await client.publish('letter/2', 'hello', { qos: 2, properties: received[0].properties })
    await eventually(() => received.length === 2, 'the message that was passed on')

    for (const {
      properties: { subscriptionIdentifiers, messageExpiryInterval, ...rest },
    } of received) {
      const { messageExpiryInterval: sentInterval, ...expected } = properties
      deepEqual({ ...rest, correlationData: new Uint8Array(rest.correlationData) }, expected)
      ok(messageExpiryInterval > sentInterval - 60 && messageExpiryInterval <= sentInterval)
    }
  },
  [5],
)

story(
  'message properties are left out if the protocol has none',
  async (t, protocolVersion) => {
    const broker = await startBroker(t)
    const client = await join(t, broker.url, { protocolVersion })
    const received = []
    await client.subscribe(
      'letter',
      { qos: 1, noLocal: true },
      (message) => void received.push([message.text(), message.properties]),
    )

    await client.publish('letter', 'hello', {
      qos: 1,
      properties: { contentType: 'text/plain', userProperties: { a: '1' } },
    })

    await exactly(received, [['hello', undefined]])
  },
  [4],
)

story(
  'the broker sends messages up to the size that the client asked for, and none beyond',
  async (t, protocolVersion) => {
    const broker = await startBroker(t)
    const observer = await observe(t, broker)
    const client = await join(t, broker.url, {
      protocolVersion,
      properties: { maximumPacketSize: 1_000 },
    })
    const received = []
    await client.subscribe(
      'size',
      { qos: 1 },
      (message) => void received.push(message.payload.length),
    )

    for (const size of [900, 2_000, 10])
      await observer.publish('size', Buffer.alloc(size), { qos: 1 })

    await exactly(received, [900, 10])
  },
  [5],
)

story(
  'a message beyond the limits of the server is refused before it is sent',
  async (t, protocolVersion) => {
    const config = 'max_packet_size 1000\nmax_keepalive 20\nretain_available false'
    const embedded = { maximumPacketSize: 1_000, retainAvailable: false }
    const broker = await startBroker(t, { config, embedded })
    const client = await join(t, broker.url, { protocolVersion, clientId: 'modest' })
    const { maximumPacketSize, keepalive, retainAvailable } = client.server
    deepStrictEqual(
      { maximumPacketSize, keepalive, retainAvailable },
      // The test broker takes every Keep Alive.
      { maximumPacketSize: 1_000, keepalive: isEmbedded ? 60 : 20, retainAvailable: false },
    )

    await rejects(client.publish('big', Buffer.alloc(1_000), { qos: 1 }), {
      name: 'PacketTooLargeError',
      code: 'PACKET_TOO_LARGE',
      limit: 1_000,
    })
    await rejects(client.publish('kept', 'x', { qos: 1, retain: true }), {
      name: 'NotSupportedError',
      code: 'NOT_SUPPORTED',
    })

    await client.publish('small', 'x', { qos: 1 })
    const publishes = () =>
      broker.log.filter((line) => line.startsWith('Received PUBLISH from modest'))
    // The log comes through a pipe, which may be read later than the PUBACK.
    await eventually(() => publishes().length > 0, 'the small message in the log')
    await quiet()
    equal(publishes().length, 1, publishes().join('\n'))
  },
  [5],
)

story('several clients in one process do not disturb each other', async (t, protocolVersion) => {
  const broker = await startBroker(t)
  const clients = []
  for (let index = 0; index < 8; index++) {
    // Half of them speak the other version.
    const client = await join(t, broker.url, {
      protocolVersion: index % 2 ? protocolVersion : 9 - protocolVersion,
    })
    const received = []
    await client.subscribe(
      [`to/${index}`, 'to/all'],
      { qos: 1 },
      (message) => void received.push(message.text()),
    )
    clients.push({ client, received })
  }
  equal(new Set(clients.map(({ client }) => client.clientId)).size, 8)

  await Promise.all(
    clients.map(({ client }, index) =>
      client.publish(`to/${(index + 1) % 8}`, `from ${index}`, { qos: 2 }),
    ),
  )
  await clients[3].client.end()
  await clients[0].client.publish('to/all', 'who is there?', { qos: 1 })

  await Promise.all(
    clients.map(({ received }, index) => {
      return exactly(received, [
        `from ${(index + 7) % 8}`,
        ...(index === 3 ? [] : ['who is there?']),
      ])
    }),
  )
})

function sha256(data) {
  return createHash('sha256').update(data).digest('hex')
}

/** @type {(one: string[], other: string[]) => number} */
function byTopic([one], [other]) {
  return one < other ? -1 : Number(one > other)
}
