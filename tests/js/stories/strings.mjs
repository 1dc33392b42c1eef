// Strings that UTF-8 cannot encode do not cross.
import { connected, equal, makeClient, outcome } from './tools.mjs'

export const STRINGS = {
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
}
