// The instance traps, at every place where the application is called.
import { wreck } from './instance.mjs'
import { ALLOWED, live, PLACES } from './life.mjs'
import { connected, equal, ok, outcome } from './tools.mjs'

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

export const TRAPS = {
  async 'a trap in every callback: all clients end with INTERNAL, the next one works'(wasmqtt) {
    for (const place of PLACES) {
      await trapAt(wasmqtt, place).catch((error) => {
        throw new Error(`in '${place}': ${error?.stack ?? error}`)
      })
    }
    const { codes } = await live(wasmqtt)
    equal(codes, [], 'errors of the next client')
  },
}
