// TCP, TLS and Unix sockets to Mosquitto.

import { deepEqual, equal, match, rejects } from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { cert, key } from '../js/certificate.mjs'
import { freePort, startMosquitto, startProxy } from './mosquitto.mjs'
import { eventually, join, next, qualities, quick, story } from './support.mjs'

/** Publishes at each QoS, small and large, and checks what comes back. */
async function exchange(client) {
  const sizes = [0, 1, 1_000, 1_000_000]
  const sent = qualities.flatMap((qos) =>
    sizes.map((size) => ({ qos, payload: randomBytes(size) })),
  )
  const received = []
  await client.subscribe('exchange/#', { qos: 2 }, ({ qos, payload }) => {
    received.push({ qos, payload: Buffer.from(payload) })
  })
  await Promise.all(
    sent.map(({ qos, payload }) => client.publish(`exchange/${qos}`, payload, { qos })),
  )
  await eventually(() => received.length === sent.length, 'all messages come back')
  for (const quality of qualities) {
    const of = (list) => list.filter(({ qos }) => qos === quality)
    deepEqual(of(received), of(sent))
  }
}

story('mqtt: and unix: at each QoS', async (t, protocolVersion) => {
  const broker = await startMosquitto(t, { config: 'listener 0 {dir}/socket' })
  await exchange(await join(t, `mqtt://127.0.0.1:${broker.tcpPort}`, { protocolVersion }))
  await exchange(await join(t, `unix:${broker.dir}/socket`, { protocolVersion }))
})

story('mqtts: with a client certificate', async (t, protocolVersion) => {
  const port = await freePort()
  const tls = ['cafile', 'certfile'].map((name) => `${name} {dir}/cert.pem`)
  const rules = [
    'keyfile {dir}/key.pem',
    'require_certificate true',
    'use_identity_as_username true',
  ]
  const broker = await startMosquitto(t, {
    config: [`listener ${port} 127.0.0.1`, ...tls, ...rules].join('\n'),
    files: { 'cert.pem': cert, 'key.pem': key },
  })
  const url = `mqtts://127.0.0.1:${port}`
  const client = await join(t, url, { protocolVersion, tls: { ca: cert, cert, key } })
  await exchange(client)
  await eventually(
    () => broker.log.some((line) => / u'localhost'/.test(line)),
    'the name of the certificate in the log',
  )
  await rejects(
    join(t, url, { protocolVersion, tls: { ca: cert } }),
    (/** @type {any} */ error) => {
      match(error.message, /the server wants a client certificate: set tls.cert and tls.key/)
      equal(error.retryable, false)
      return true
    },
  )
})

story('mqtt: a cut connection is made again, and nothing is lost', async (t, protocolVersion) => {
  const broker = await startMosquitto(t)
  const proxy = await startProxy(t, broker.tcpPort)
  const url = proxy.url.replace(/^ws/, 'mqtt').replace('/mqtt', '')
  const client = await join(t, url, { protocolVersion, reconnect: quick })
  const received = new Set()
  await client.subscribe('a', { qos: 1 }, (message) => {
    received.add(message.text())
  })
  const published = []
  for (let index = 0; index < 300; index++) {
    published.push(client.publish('a', `${index}`, { qos: 1 }))
    if (index % 100 === 50) {
      const back = next(client, 'connect')
      proxy.cut()
      await back
    }
  }
  await Promise.all(published)
  await eventually(() => received.size === 300, 'all messages come')
})

story(
  'first contact: the wrong scheme for the port of a broker',
  async (t) => {
    const broker = await startMosquitto(t)
    const refused = async (url, expected) =>
      rejects(join(t, url, { reconnect: false }), (/** @type {any} */ error) => {
        equal(error.code, 'CONNECTION_FAILED')
        match(error.message, expected)
        return true
      })
    await refused(
      `ws://127.0.0.1:${broker.tcpPort}`,
      /is (a|no) WebSocket port. MQTT over TCP has mqtt:/,
    )
    await refused(
      `wss://127.0.0.1:${broker.tcpPort}`,
      /is a (WebSocket|TLS) port|does not speak TLS/,
    )
    await refused(`mqtt://127.0.0.1:${broker.wsPort}`, /use ws:|is not for MQTT without TLS/)
    await refused(`mqtts://127.0.0.1:${broker.tcpPort}`, /in the TLS handshake|does not speak TLS/)
  },
  [5],
)
