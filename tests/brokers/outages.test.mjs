// Connections that are cut, and brokers that stop, freeze and start again.

import { deepStrictEqual, equal, ok } from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { KeepaliveTimeoutError } from '../../pkg/node.js'
import { startProxy } from './mosquitto.mjs'
import {
  eventually,
  exactly,
  join,
  lasting,
  next,
  numbered,
  observe,
  packets,
  qualities,
  quick,
  quiet,
  startBroker,
  story,
} from './support.mjs'

const will = { topic: 'will/device', payload: 'gone ☠', qos: 1 }

story('the will is published when the connection is killed', async (t, protocolVersion) => {
  const broker = await startBroker(t)
  const proxy = await startProxy(t, broker.wsPort)
  const observer = await observe(t, broker, 'will/#')
  await join(t, proxy.url, { protocolVersion, reconnect: false, will: { ...will, retain: true } })

  proxy.cut()

  deepStrictEqual(await observer.texts(1), ['gone ☠'])
  deepStrictEqual(
    observer.messages.map(({ topic, qos, retain }) => [topic, qos, retain]),
    [['will/device', 1, true]],
  )
})

story('end() publishes no will, end({ force: true }) does', async (t, protocolVersion) => {
  const broker = await startBroker(t)
  const observer = await observe(t, broker, 'will/#')

  const polite = await join(t, broker.url, { protocolVersion, will })
  await polite.end()
  await quiet()
  deepStrictEqual(observer.messages, [])

  const abrupt = await join(t, broker.url, { protocolVersion, will })
  await abrupt.end({ force: true })
  deepStrictEqual(await observer.texts(1), ['gone ☠'])
})

story('a changed will is valid from the next connection on', async (t, protocolVersion) => {
  const broker = await startBroker(t)
  const proxy = await startProxy(t, broker.wsPort)
  const observer = await observe(t, broker, 'will/#')
  const client = await join(t, proxy.url, { protocolVersion, will })

  client.will = { topic: 'will/other', payload: 'gone later' }
  const back = next(client, 'connect')
  client.reconnect()
  await back
  await quiet()
  const before = observer.messages.length
  const disconnected = next(client, 'disconnect')
  proxy.cut()
  await disconnected

  const texts = await observer.texts(before + 1)
  deepStrictEqual(texts.slice(before), ['gone later'])
})

story(
  'a will has properties, and DISCONNECT with reason 4 publishes it',
  async (t, protocolVersion) => {
    const broker = await startBroker(t)
    const observer = await observe(t, broker, 'will/#')
    const properties = {
      contentType: 'text/plain',
      responseTopic: 'r',
      correlationData: new Uint8Array([1]),
      userProperties: [
        ['a', '1'],
        ['a', '2'],
      ],
    }
    const client = await join(t, broker.url, { protocolVersion, will: { ...will, properties } })

    await client.end({ reasonCode: 4 })

    await observer.texts(1)
    const { contentType, responseTopic, correlationData, userProperties } =
      observer.messages[0].properties
    deepStrictEqual(
      [contentType, responseTopic, [...correlationData], { ...userProperties }],
      ['text/plain', 'r', [1], { a: ['1', '2'] }],
    )
  },
  [5],
)

story(
  'no will is published for a client that returns within the will delay',
  async (t, protocolVersion) => {
    const broker = await startBroker(t)
    const proxy = await startProxy(t, broker.wsPort)
    const observer = await observe(t, broker, 'will/#')
    const client = await join(t, proxy.url, {
      protocolVersion,
      will: { ...will, properties: { willDelayInterval: 2 } },
    })

    proxy.cut()
    await next(client, 'connect')
    await sleep(4_000)
    deepStrictEqual(observer.messages, [])

    proxy.open = false
    proxy.cut()
    deepStrictEqual(await observer.texts(1), ['gone ☠'])
  },
  [5],
)

story(
  'nothing is lost when the broker stops and starts again during traffic',
  async (t, protocolVersion) => {
    // Beyond its in-flight limit of 20, Mosquitto acknowledges 3.1.1 publishes of QoS 2 and loses them.
    const broker = await startBroker(t, {
      persistent: true,
      config: 'max_inflight_messages 1000\nmax_queued_messages 100000',
    })
    const publisher = await join(t, broker.url, lasting(protocolVersion, 'publisher'))
    const subscriber = await join(t, broker.url, lasting(protocolVersion, 'subscriber'))
    const received = { 1: [], 2: [] }
    await subscriber.subscribe(
      'traffic/#',
      { qos: 2 },
      (message) => void received[message.qos].push(message.text()),
    )

    const promises = []
    const publishSome = async (count) => {
      for (let index = 0; index < count; index++) {
        const qos = qualities[1 + (promises.length % 2)]
        promises.push(publisher.publish(`traffic/${qos}`, `${promises.length}`, { qos }))
        if (index % 4 === 3) await sleep(2)
      }
    }
    for (let outage = 0; outage < 3; outage++) {
      const stopped = sleep(30).then(() => broker.stop())
      await publishSome(120)
      await stopped
      await publishSome(40)
      const back = [next(publisher, 'connect'), next(subscriber, 'connect')]
      await broker.start()
      for (const [info] of await Promise.all(back)) equal(info.sessionPresent, true)
    }
    await publishSome(20)

    for (const { reasonCode } of await Promise.all(promises)) equal(reasonCode, 0)
    const texts = numbered(promises.length)
    const odd = texts.filter((text) => Number(text) % 2 === 1)
    const even = texts.filter((text) => Number(text) % 2 === 0)
    await eventually(
      () => new Set(received[1]).size === even.length,
      () => `QoS 1: ${new Set(received[1]).size} of ${even.length}`,
    )
    await exactly(received[2], odd)
    deepStrictEqual([...new Set(received[1])], even)
  },
)

story(
  'subscriptions work again after the broker was killed and has forgotten everything',
  async (t, protocolVersion) => {
    const broker = await startBroker(t)
    const client = await join(t, broker.url, lasting(protocolVersion, 'phoenix'))
    const received = []
    await client.subscribe('news/#', { qos: 1 }, (message) => void received.push(message.text()))
    await client.subscribe('news/+', { qos: 2 }, (message) => void received.push(message.text()))

    const disconnected = next(client, 'disconnect')
    await broker.kill()
    await disconnected
    const queued = client.publish('news/queued', 'published while it was dead', { qos: 1 })
    const back = next(client, 'connect')
    await broker.start()

    equal((await back)[0].sessionPresent, false)
    equal((await queued).reasonCode, 0)
    await client.publish('news/fresh', 'published after', { qos: 1 })
    await eventually(
      () => received.length >= 4,
      () => `4 messages: ${received}`,
    )
    await quiet()
    const [one, two] = ['published while it was dead', 'published after']
    deepStrictEqual(received.toSorted(), [one, one, two, two].toSorted())
  },
)

story(
  'the keep-alive notices a frozen broker, and the client reconnects when it runs again',
  async (t, protocolVersion) => {
    const broker = await startBroker(t)
    const client = await join(t, broker.url, {
      ...lasting(protocolVersion, 'watchful'),
      keepalive: 1,
      connectTimeout: 2_000,
    })
    const received = []
    await client.subscribe('pulse', { qos: 1 }, (message) => void received.push(message.text()))
    await sleep(3_000)
    ok(client.connected, 'a quiet connection stays')
    ok(client.stats().roundTrip !== undefined)

    broker.freeze()
    // Messages that are sent must not hide that nothing is received.
    const chatter = setInterval(() => client.publish('chatter', 'x').catch(() => {}), 100)
    t.after(() => clearInterval(chatter))
    const [cause, willReconnect] = await next(client, 'disconnect')
    ok(cause instanceof KeepaliveTimeoutError)
    deepStrictEqual([cause.code, willReconnect], ['KEEPALIVE_TIMEOUT', true])
    const beat = client.publish('pulse', 'beat', { qos: 1 })
    broker.thaw()

    await next(client, 'connect')
    clearInterval(chatter)
    await beat
    await exactly(received, ['beat'])
  },
)

story(
  'reconnect() drops the connection and keeps what is in flight',
  async (t, protocolVersion) => {
    const broker = await startBroker(t)
    const proxy = await startProxy(t, broker.wsPort)
    const observer = await observe(t, broker, 'flight/#')
    const client = await join(t, proxy.url, lasting(protocolVersion, 'pilot'))
    proxy.holdAnswers()
    const flights = qualities
      .slice(1)
      .map((qos) => numbered(5).map((text) => client.publish(`flight/${qos}`, text, { qos })))
    await eventually(
      () =>
        broker.log.filter((line) => line.startsWith('Received PUBLISH from pilot')).length === 10,
      '10 publishes at the broker',
    )
    equal(client.stats().inFlightOut, 10)

    const back = next(client, 'connect')
    client.reconnect()

    const [info] = await back
    deepStrictEqual([info.sessionPresent, info.reconnect], [true, true])
    for (const { reasonCode } of await Promise.all(flights.flat())) equal(reasonCode, 0)
    const texts = (qos) =>
      observer.messages.filter(({ topic }) => topic === `flight/${qos}`).map(({ text }) => text)
    await eventually(() => texts(2).length >= 5, 'the QoS 2 messages')
    await quiet()
    deepStrictEqual(texts(2), numbered(5), 'exactly once')
    deepStrictEqual([...new Set(texts(1))], numbered(5), 'at least once')
  },
)

story(
  'QoS 2 arrives exactly once in both directions while the connection is cut again and again',
  async (t, protocolVersion) => {
    const broker = await startBroker(t, {
      config: 'max_inflight_messages 1000\nmax_queued_messages 100000',
    })
    const proxy = await startProxy(t, broker.wsPort)
    const publisher = await join(t, proxy.url, {
      ...lasting(protocolVersion, 'publisher'),
      reconnect: { minDelay: 20, maxDelay: 50 },
    })
    const subscriber = await join(t, proxy.url, {
      ...lasting(protocolVersion, 'subscriber'),
      reconnect: { minDelay: 20, maxDelay: 50 },
    })
    const received = []
    await subscriber.subscribe(
      'traffic',
      { qos: 2 },
      (message) => void received.push(message.text()),
    )

    const promises = []
    for (let cut = 0; cut < 12; cut++) {
      for (let index = 0; index < 25; index++) {
        promises.push(publisher.publish('traffic', `${promises.length}`, { qos: 2 }))
        if (index % 5 === 4) await sleep(5)
      }
      if (cut % 3 === 0)
        await eventually(() => publisher.connected && subscriber.connected, 'both to be connected')
      // Cut at another moment of the exchange each time.
      await sleep(cut * 3)
      proxy.cut()
    }

    for (const { reasonCode } of await Promise.all(promises)) equal(reasonCode, 0)
    await exactly(received, numbered(promises.length))
  },
)

story(
  'a slow reader slows the broker down and loses nothing, also when the connection is cut',
  async (t, protocolVersion) => {
    const broker = await startBroker(t)
    const proxy = await startProxy(t, broker.wsPort)
    const observer = await observe(t, broker)
    const client = await join(t, proxy.url, lasting(protocolVersion, 'slow'))
    const texts = numbered(200)
    const published = (async () => {
      await eventually(
        () => broker.log.some((line) => line.startsWith('Sending SUBACK to slow')),
        'the subscription',
      )
      for (const text of texts) await observer.publish('stream', text, { qos: 2 })
    })()
    const received = []

    for await (const message of client.messages('stream', { qos: 2, buffer: 5 })) {
      received.push(message.text())
      if (received.length % 60 === 30) proxy.cut()
      if (received.length === texts.length) break
      await sleep(1)
    }

    await published
    deepStrictEqual(received, texts)
  },
)

story(
  'a subscribe that is cut off is repeated, and its promise resolves',
  async (t, protocolVersion) => {
    const broker = await startBroker(t)
    const proxy = await startProxy(t, broker.wsPort)
    const observer = await observe(t, broker)
    const client = await join(t, proxy.url, { protocolVersion, clientId: 'patient' })
    const received = []
    proxy.holdAnswers()
    const subscribed = client.subscribe(
      'news',
      { qos: 1 },
      (message) => void received.push(message.text()),
    )
    await eventually(
      () => broker.log.some((line) => line.startsWith('Received SUBSCRIBE from patient')),
      'the first SUBSCRIBE',
    )

    const outgoing = packets(client, 'out')
    proxy.cut()

    equal((await subscribed).active, true)
    ok(outgoing.includes('subscribe'), outgoing.join())
    await observer.publish('news', 'at last', { qos: 1 })
    await exactly(received, ['at last'])
  },
)

story(
  'the first connection to a broker that is not there yet is retried if asked for',
  async (t, protocolVersion) => {
    const broker = await startBroker(t)
    await broker.stop()

    const joined = join(t, broker.url, { protocolVersion, reconnect: { ...quick, initial: true } })
    await sleep(300)
    await broker.start()

    const client = await joined
    ok(client.connected)
    equal(client.stats().connections, 1)
  },
)
