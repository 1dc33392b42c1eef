// What handlers may do without disturbing anything else.
import { concat, publish } from '../loopback.mjs'
import { connected, equal, ok, outcome, turns } from './tools.mjs'

export const HANDLERS = {
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

  async 'a message that comes while others are read leaves them whole'(wasmqtt) {
    const { client, broker } = await connected(wasmqtt)
    const sizes = []
    await client.subscribe('a', ({ payload }) => {
      sizes.push([payload.length, payload[0], payload.at(-1)])
      if (sizes.length < 3)
        broker.socket.onmessage({ data: publish('b', new Uint8Array(5)).buffer })
    })
    await client.subscribe('b', ({ payload }) => void sizes.push([payload.length]))
    // More than the core looks at at once.
    const payloads = Array.from({ length: 400 }, (_, n) => new Uint8Array(1_000).fill(n & 255))
    const chunk = concat(payloads.map((payload) => publish('a', payload)))
    broker.socket.onmessage({ data: chunk.buffer })
    const whole = payloads.map((payload) => [1_000, payload[0], payload[0]])
    equal(sizes, [...whole, [5], [5]], 'what came')
    await client.end()
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
}
