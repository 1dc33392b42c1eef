// How a client ends: it loses nothing and leaves nothing running.

import { deepStrictEqual, equal, ok, rejects } from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { Client, connect } from '../../pkg/node.js'
import { cert, key } from '../js/certificate.mjs'
import { freePort, startMosquitto } from './mosquitto.mjs'
import {
  eventually,
  join,
  next,
  numbered,
  observe,
  qualities,
  quick,
  quiet,
  startBroker,
  story,
} from './support.mjs'

/** How often what must never be lost is sent. */
const RUNS = Number(process.env.RUNS ?? 3)

const library = new URL('../../pkg/node.js', import.meta.url).href

story(
  'end() clears the timer of a pending reconnect, so the process exits by itself',
  async (t, protocolVersion) => {
    const broker = await startBroker(t)
    const output = run(`
    import { connect } from ${JSON.stringify(library)}
    const client = await connect(${JSON.stringify(broker.url)}, {
      protocolVersion: ${protocolVersion}, keepalive: 600, reconnect: { minDelay: 3_600_000, maxDelay: 3_600_000 },
    })
    client.once('reconnecting', async () => {
      await client.end()
      console.log(client.state)
    })
    console.log('connected')
  `)
    await eventually(
      () => broker.log.some((line) => line.startsWith('Sending CONNACK')),
      'the child to connect',
    )
    await broker.kill()
    equal(await output, 'connected\nclosed\n')
  },
)

story('a process that has ended its client exits by itself', async (t, protocolVersion) => {
  const broker = await startBroker(t)
  equal(
    await run(`
    import { connect } from ${JSON.stringify(library)}
    const client = await connect(${JSON.stringify(broker.url)}, { protocolVersion: ${protocolVersion} })
    await client.subscribe('a/#', { qos: 2 }, () => {})
    await client.publish('a/b', 'x', { qos: 2, timeout: 3_600_000 })
    await client.end()
    console.log('done')
  `),
    'done\n',
  )
})

story('a process whose first connection fails exits by itself', async (t, protocolVersion) => {
  const broker = await startBroker(t)
  await broker.stop()
  equal(
    await run(`
    import { connect } from ${JSON.stringify(library)}
    await connect(${JSON.stringify(broker.url)}, { protocolVersion: ${protocolVersion} }).catch((error) => console.log(error.name, error.code, error.phase))
  `),
    'ConnectError CONNECTION_FAILED transport\n',
  )
})

story(
  'messages published just before end() are sent before the connection closes',
  async (t, protocolVersion) => {
    // Beyond its in-flight limit of 20, Mosquitto acknowledges 3.1.1 publishes of QoS 2 and loses them.
    const broker = await startBroker(t, { config: 'max_inflight_messages 1000' })
    const observer = await observe(t, broker, 'last/#')
    const client = await join(t, broker.url, { protocolVersion })

    const words = numbered(150).map((text, index) =>
      client.publish(`last/${index % 3}`, text, { qos: qualities[index % 3] }),
    )
    await client.end()

    for (const { reasonCode } of await Promise.all(words)) equal(reasonCode, 0)
    deepStrictEqual(
      (await observer.texts(150)).toSorted((a, b) => a - b),
      numbered(150),
    )
    equal(client.state, 'closed')
  },
)

story('drain() works with a Receive Maximum of 1', async (t, protocolVersion) => {
  const broker = await startBroker(t, { config: 'max_inflight_messages 1' })
  const observer = await observe(t, broker, 'drop')
  const client = await join(t, broker.url, { protocolVersion })
  if (protocolVersion === 5) equal(client.server.receiveMaximum, 1)
  let acknowledged = 0
  // 3.1.1 has no such limit, and Mosquitto loses QoS 2 messages that exceed its own.
  const qos = (index) => qualities[protocolVersion === 5 ? 1 + (index % 2) : 1]

  for (const [index, text] of numbered(40).entries())
    client.publish('drop', text, { qos: qos(index) }).then(() => acknowledged++)
  await client.drain()

  equal(acknowledged, 40)
  const { inFlightOut, queuedMessages } = client.stats()
  deepStrictEqual([inFlightOut, queuedMessages], [0, 0])
  deepStrictEqual(await observer.texts(40), numbered(40))
})

story(
  'end() ends in time even if the broker is frozen, and rejects what is pending',
  async (t, protocolVersion) => {
    const broker = await startBroker(t)
    const client = await join(t, broker.url, { protocolVersion })
    broker.freeze()
    const pending = [
      client.publish('a', 'x', { qos: 1 }),
      client.publish('a', 'x', { qos: 2 }),
      client.subscribe('a', () => {}),
      client.drain(),
    ]
    const refused = Promise.all(
      pending.map((promise) => rejects(promise, { name: 'ClosedError', code: 'CLOSED' })),
    )
    const closed = next(client, 'close')

    await client.end({ timeout: 500 })

    await refused
    deepStrictEqual(await closed, [undefined])
    equal(client.state, 'closed')
  },
)

story(
  'end() while offline rejects what is queued, and emits nothing more',
  async (t, protocolVersion) => {
    const broker = await startBroker(t)
    const client = await join(t, broker.url, { protocolVersion })
    const disconnected = next(client, 'disconnect')
    await broker.kill()
    await disconnected
    const queued = rejects(client.publish('a', 'x', { qos: 1 }), {
      name: 'ClosedError',
      code: 'CLOSED',
    })
    const events = []
    for (const event of /** @type {const} */ (['connect', 'disconnect', 'reconnecting', 'error']))
      client.on(event, () => events.push(event))

    const ended = client.end()
    equal(client.end(), ended, 'a second call gets the first promise')
    await ended

    await queued
    await broker.start()
    deepStrictEqual(events, [])
  },
)

story('end() stops a connection that is being opened', async (t, protocolVersion) => {
  const broker = await startBroker(t)
  broker.freeze()
  const client = new Client(broker.url, { protocolVersion, reconnect: quick })
  const connected = rejects(client.connect(), { name: 'ClosedError', code: 'CLOSED' })

  await client.end({ timeout: 500 })

  await connected
  equal(client.state, 'closed')
  broker.thaw()
})

story('an aborted signal ends the client with DISCONNECT', async (t, protocolVersion) => {
  const broker = await startBroker(t)
  const observer = await observe(t, broker, 'will')
  const controller = new AbortController()
  const client = await connect(broker.url, {
    protocolVersion,
    clientId: 'mayfly',
    signal: controller.signal,
    will: { topic: 'will', payload: 'x' },
  })
  const closed = next(client, 'close')

  controller.abort()

  await closed
  await eventually(
    () => broker.log.some((line) => line.startsWith('Received DISCONNECT from mayfly')),
    'the DISCONNECT',
  )
  ok(!client.connected)
  deepStrictEqual(observer.messages, [])
})

story(
  'wss: end() and then process.exit() lose nothing, and no will is published',
  async (t, protocolVersion) => {
    const port = await freePort()
    const listener = [
      `listener ${port} 127.0.0.1`,
      'protocol websockets',
      'certfile {dir}/cert.pem',
      'keyfile {dir}/key.pem',
    ]
    const broker = await startMosquitto(t, {
      config: ['max_queued_messages 0', ...listener].join('\n'),
      files: { 'cert.pem': cert, 'key.pem': key },
    })
    const observer = await observe(t, broker, '#')
    for (let time = 1; time <= RUNS; time++) {
      observer.messages.length = 0
      await run(`
        import { connect } from ${JSON.stringify(library)}
        const client = await connect('wss://127.0.0.1:${port}', {
          protocolVersion: ${protocolVersion}, clientId: 'run${time}', tls: { ca: ${JSON.stringify(cert)} },
          will: { topic: 'will', payload: 'x' },
        })
        for (let n = 0; n < 1_000; n++) client.publish('a', String(n))
        client.publish('large', new Uint8Array(8_000_000))
        await client.end()
        process.exit()
      `)
      await eventually(() => observer.messages.length >= 1_001, `run ${time}`)
      const large = observer.messages.pop()
      deepStrictEqual(
        observer.messages.map(({ text }) => text),
        numbered(1_000),
      )
      deepStrictEqual([large.topic, large.payload.length], ['large', 8_000_000])
      await eventually(
        () => broker.log.includes(`Received DISCONNECT from run${time}`),
        `the DISCONNECT of run ${time}`,
      )
    }
    await quiet()
    equal(observer.messages.length, 1_000)
  },
)

/** Runs a script in its own process, and resolves with what it printed when it has exited by itself. */
function run(script) {
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      ['--input-type=module', '--eval', script],
      { timeout: 30_000 },
      (error, stdout, stderr) => {
        if (error)
          reject(new Error(error.killed ? `did not exit by itself: ${stdout}${stderr}` : stderr))
        else resolve(stdout)
      },
    )
  })
}
