// Statements of the specifications that need a socket or JavaScript's strings to be shown: see tests/conformance.md.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { WebSocketServer } from 'ws'
import { Client } from '../../pkg/node.js'
import { portOf } from '../../scripts/tools.mjs'
import {
  connected,
  encode,
  event,
  makeClient,
  Peer,
  record,
  settle,
  startBroker,
  until,
} from './scripted-broker.mjs'

/** Strings that no packet may hold. */
const BAD = ['\ud800', 'a\udc00b', '\udbff', 'a\u0000', 'x'.repeat(65_536), 'ä'.repeat(32_768)]

for (const protocolVersion of /** @type {const} */ ([5, 4])) {
  /** A test of this version, and the statements of its specification that it shows. */
  const show = (title, ids, tell) => {
    const [name, spec] = protocolVersion === 5 ? ['MQTT 5', 'MQTT5'] : ['MQTT 3.1.1', 'MQTT3']
    test(`${name}: ${title} ${ids[spec].map((id) => `[${spec}-${id}]`).join(' ')}`, tell)
  }

  const strings = {
    MQTT5: ['1.5.4-1', '1.5.4-2', '3.1.3-12'],
    MQTT3: ['1.5.3-1', '1.5.3-2', '3.1.3-11'],
  }
  show(
    'no string with half a surrogate pair, with U+0000, or of more than 65,535 bytes is sent',
    strings,
    async (t) => {
      const { broker, client, peer } = await connected(t, { protocolVersion })
      for (const bad of BAD) {
        /** @type {any[]} */
        const wrong = [
          { clientId: bad },
          { username: bad },
          { will: { topic: bad } },
          { properties: { userProperties: [['a', bad]] } },
          { properties: { userProperties: { [bad]: 'a' } } },
        ]
        for (const options of wrong) {
          const refusal = { name: 'InvalidArgumentError' }
          assert.throws(
            () => new Client(broker.url, { protocolVersion, ...options }),
            refusal,
            JSON.stringify(options).slice(0, 40),
          )
        }
        const refused = [
          client.publish(bad),
          client.publish('a', 'b', { properties: { contentType: bad } }),
          client.publish('a', 'b', { properties: { responseTopic: bad } }),
          client.publish('a', 'b', { properties: { userProperties: [[bad, 'a']] } }),
          client.subscribe(bad),
          client.subscribe(['a', bad]),
          client.unsubscribe(bad),
          client.unsubscribe('a', { userProperties: [['a', bad]] }),
        ]
        for (const promise of refused)
          assert.equal((await promise.catch((error) => error)).name, 'InvalidArgumentError')
        // What a function yields comes too late for a throw: the attempt fails.
        await assert.rejects(
          makeClient(t, broker.url, { protocolVersion, username: () => bad }).connect(),
        )
      }
      // In a URL, too.
      await assert.rejects(
        makeClient(t, broker.url.replace('//', '//a%00b@'), { protocolVersion }).connect(),
      )
      await settle()
      assert.deepEqual(peer.pending, [])
      assert.equal(broker.waiting, 0)
      // Whole pairs are fine.
      client.publish('😀', '😀')
      await peer.expect('publish', { topic: '😀', payload: '😀' })
    },
  )

  show(
    'a text frame ends the connection, and what is in it is not read',
    { MQTT5: ['6.0.0-1'], MQTT3: ['6.0.0-1'] },
    async (t) => {
      const { client, peer } = await connected(t, { protocolVersion, reconnect: false })
      const events = record(client, 'message', 'error')
      // PUBLISH of QoS 0 to `a`, well formed, in characters.
      peer.sendText(
        encode({ type: 'publish', topic: 'a', payload: 'x' }, protocolVersion).toString('latin1'),
      )
      const [error] = await event(client, 'close')
      assert.equal(error.code, 'PROTOCOL_ERROR')
      assert.deepEqual(
        events.map(([event]) => event),
        ['error'],
      )
      if (protocolVersion === 5) await peer.expect('disconnect', { reasonCode: 0x82 })
      assert.equal(await peer.next(), undefined)
      await peer.closed
    },
  )

  show(
    'the edges of frames and of their fragments mean nothing',
    { MQTT5: ['6.0.0-2'], MQTT3: ['6.0.0-2'] },
    async (t) => {
      const server = new WebSocketServer({
        host: '127.0.0.1',
        port: 0,
        handleProtocols: () => 'mqtt',
      })
      t.after(() => server.close())
      await once(server, 'listening')
      const client = makeClient(t, `ws://127.0.0.1:${portOf(server)}`, { protocolVersion })
      const pending = client.connect()
      const [socket, request] = await once(server, 'connection')
      t.after(() => socket.terminate())
      const peer = new Peer(socket, request)
      await peer.welcome()
      await pending
      const got = []
      client.on('message', (message) => got.push(message.text()))
      const numbers = Array.from({ length: 1_000 }, (_, index) => index + 1)
      const many = Buffer.concat(
        numbers.map((id) =>
          encode({ type: 'publish', topic: 'a', qos: 1, id, payload: `${id}` }, protocolVersion),
        ),
      )
      peer.sendPieces(many.subarray(0, 2_000), 1)
      // The rest in one WebSocket message, in fragments that are cut anywhere.
      for (let at = 2_000; at < many.length; at += 777)
        socket.send(many.subarray(at, at + 777), { fin: at + 777 >= many.length })
      await until(() => got.length === numbers.length)
      assert.deepEqual(got, numbers.map(String))
      for (const id of numbers) await peer.expect('puback', { id })
    },
  )

  show(
    '"mqtt" is the subprotocol that is offered',
    { MQTT5: ['6.0.0-3'], MQTT3: ['6.0.0-3'] },
    async (t) => {
      const { peer } = await connected(t, { protocolVersion })
      assert.equal(peer.request.headers['sec-websocket-protocol'], 'mqtt')
    },
  )

  show(
    'a server that chooses no subprotocol, or another, is not spoken to',
    { MQTT5: ['6.0.0-4'], MQTT3: ['6.0.0-4'] },
    async (t) => {
      for (const protocol of [false, 'mqttv3.1', 'other']) {
        const broker = await startBroker(t, { handleProtocols: () => protocol })
        const client = makeClient(t, broker.url, { protocolVersion })
        const error = await client.connect().catch((error) => error)
        assert.equal(error.code, 'CONNECTION_FAILED')
        assert.equal(error.phase, 'transport')
        assert.equal(await (await broker.accept()).next(), undefined)
      }
      // The same where the runtime does not look after it.
      const socket = {
        readyState: 1,
        protocol: 'other',
        bufferedAmount: 0,
        sent: 0,
        send: () => socket.sent++,
        close: () => (socket.closed = true),
      }
      const client = makeClient(t, 'x://y', { protocolVersion, transport: () => socket })
      const error = await client.connect().catch((error) => error)
      assert.equal(error.code, 'CONNECTION_FAILED')
      assert.deepEqual([socket.sent, socket.closed], [0, true])
    },
  )

  const goodbye = ['3.14.4-1', '3.14.4-2']
  show(
    'after DISCONNECT the connection is closed, though the peer does not listen',
    { MQTT5: goodbye, MQTT3: goodbye },
    async (t) => {
      const { client, peer } = await connected(t, { protocolVersion })
      peer.pause()
      const began = Date.now()
      await client.end()
      assert.ok(Date.now() - began < 500)
      peer.resume()
      await peer.expect('disconnect')
      assert.equal(await peer.next(), undefined)
      await peer.closed
    },
  )
}
