// Who may connect, publish and subscribe, with the password file, the access control list and the dynamic-security plugin of Mosquitto, or with
// the users and the denied topics of the test broker.

import { deepStrictEqual, equal, ok, rejects } from 'node:assert/strict'
import { ConnectError, connect, PublishError, SubscribeError } from '../../pkg/node.js'
import { onlySubscribesTo, passwordFile } from './mosquitto.mjs'
import {
  exactly,
  join,
  next,
  observe,
  qualities,
  quick,
  quiet,
  startBroker,
  story,
} from './support.mjs'

const NOT_AUTHORIZED = 0x87
const anna = { username: 'anna', password: 'geheim & grün' }

function startGuarded(t) {
  const users = { anna: anna.password, root: 'root' }
  return startBroker(t, {
    config: 'allow_anonymous false\npassword_file {dir}/passwords\nacl_file {dir}/acl',
    files: {
      passwords: passwordFile(users),
      acl: 'user anna\ntopic readwrite open/#\ntopic read closed/#\nuser root\ntopic readwrite #\n',
    },
    embedded: { users, deny: { publish: 'closed/#' } },
  })
}

story('user name and password are accepted in every form', async (t, protocolVersion) => {
  const broker = await startGuarded(t)
  /** @type {[string, object][]} */
  const forms = [
    [broker.url, anna],
    [broker.url, { username: 'anna', password: new TextEncoder().encode(anna.password) }],
    [broker.url, { username: () => 'anna', password: async () => anna.password }],
    [broker.url.replace('//', `//anna:${encodeURIComponent(anna.password)}@`), {}],
  ]

  for (const [url, credentials] of forms) {
    const client = await join(t, url, { protocolVersion, ...credentials })
    await client.publish('open/door', 'knock', { qos: 1 })
    const { url: shown } = await client.connect()
    equal(shown, broker.url)
    await client.end()
  }
})

story(
  'a wrong password is refused with a typed error, and not tried again',
  async (t, protocolVersion) => {
    const broker = await startGuarded(t)
    const options = {
      protocolVersion,
      username: 'anna',
      password: 'falsch',
      reconnect: { ...quick, initial: true },
    }

    await rejects(connect(broker.url, options), (error) => {
      ok(error instanceof ConnectError)
      const { name, code, reasonCode, phase, retryable, url } = error
      deepStrictEqual(
        { name, code, reasonCode, phase, retryable, url },
        {
          name: 'ConnectError',
          code: 'CONNECTION_REFUSED',
          reasonCode: broker.wrongPassword,
          phase: 'mqtt',
          retryable: false,
          url: broker.url,
        },
      )
      ok(!`${error.stack}${JSON.stringify(error)}`.includes('falsch'), 'no password in an error')
      return true
    })

    await quiet()
    equal(refusals(broker), 1)
  },
)

story('a client without credentials is refused if some are needed', async (t, protocolVersion) => {
  const broker = await startGuarded(t)
  await rejects(connect(broker.url, { protocolVersion }), {
    name: 'ConnectError',
    code: 'CONNECTION_REFUSED',
    reasonCode: NOT_AUTHORIZED,
  })
})

story(
  'a function for credentials is called once more before a refusal is final',
  async (t, protocolVersion) => {
    const broker = await startGuarded(t)
    const tokens = ['stale', anna.password]
    const client = await join(t, broker.url, {
      protocolVersion,
      username: 'anna',
      password: () => tokens.shift(),
    })
    ok(client.connected)
    deepStrictEqual(tokens, [])
    await client.end()

    let asked = 0
    const password = () => `stale ${++asked}`
    await rejects(connect(broker.url, { protocolVersion, username: 'anna', password }), {
      code: 'CONNECTION_REFUSED',
      reasonCode: broker.wrongPassword,
    })
    await quiet()
    equal(asked, 2)
  },
)

story(
  'credentials that are revoked while connected end the client at the next connection',
  async (t, protocolVersion) => {
    const broker = await startGuarded(t)
    const client = await join(t, broker.url, { protocolVersion, ...anna })
    const closed = next(client, 'close')

    await broker.setUsers({ somebody: 'else' })
    await broker.restart()

    const [error] = await closed
    deepStrictEqual(
      [error.name, error.code, error.reasonCode],
      ['ConnectError', 'CONNECTION_REFUSED', broker.wrongPassword],
    )
    equal(client.state, 'closed')
    await rejects(client.publish('open/later', 'x'), { name: 'ClosedError', code: 'CLOSED' })
  },
)

story(
  'a publish that the access control list forbids is refused',
  async (t, protocolVersion) => {
    const broker = await startGuarded(t)
    const observer = await observe(t, broker, '#', { username: 'root', password: 'root' })
    const client = await join(t, broker.url, { protocolVersion, ...anna })

    for (const qos of qualities.slice(1)) {
      await rejects(client.publish('closed/door', 'x', { qos }), (error) => {
        ok(error instanceof PublishError)
        const { name, code, reasonCode, retryable } = error
        deepStrictEqual(
          { name, code, reasonCode, retryable },
          {
            name: 'PublishError',
            code: 'PUBLISH_REFUSED',
            reasonCode: NOT_AUTHORIZED,
            retryable: false,
          },
        )
        return true
      })
    }
    await client.publish('closed/door', 'nobody answers at QoS 0', { qos: 0 })

    ok(client.connected)
    await client.publish('open/door', 'still there', { qos: 2 })
    deepStrictEqual(await observer.texts(1), ['still there'])
  },
  [5],
)

story(
  'a publish that the access control list forbids is dropped, and 3.1.1 has no way to report it',
  async (t, protocolVersion) => {
    const broker = await startGuarded(t)
    const observer = await observe(t, broker, '#', { username: 'root', password: 'root' })
    const client = await join(t, broker.url, { protocolVersion, ...anna })

    for (const qos of qualities) await client.publish('closed/door', 'x', { qos })

    ok(client.connected)
    await client.publish('open/door', 'still there', { qos: 2 })
    await quiet()
    deepStrictEqual(await observer.texts(1), ['still there'])
  },
  [4],
)

story(
  'a subscribe that the dynamic-security plugin forbids is refused',
  async (t, protocolVersion) => {
    const broker = await startBroker(t, {
      ...(await onlySubscribesTo('open/#', anna)),
      embedded: { users: { anna: anna.password }, deny: { subscribe: 'closed/#' } },
    })
    const client = await join(t, broker.url, { protocolVersion, ...anna })
    const refusal = protocolVersion === 5 ? NOT_AUTHORIZED : 0x80
    const received = []

    await rejects(
      client.subscribe('closed/#', { qos: 1 }, () => {}),
      (error) => {
        ok(error instanceof SubscribeError)
        const { name, code, reasonCode, grants } = error
        deepStrictEqual(
          { name, code, reasonCode, grants },
          {
            name: 'SubscribeError',
            code: 'SUBSCRIBE_REFUSED',
            reasonCode: refusal,
            grants: [{ filter: 'closed/#', granted: false, reasonCode: refusal }],
          },
        )
        return true
      },
    )
    equal(client.subscriptions.size, 0)

    const subscription = await client.subscribe(
      ['closed/a', 'open/a'],
      { qos: 1 },
      (message) => void received.push(message.topic),
    )
    deepStrictEqual(subscription.grants, [
      { filter: 'closed/a', granted: false, reasonCode: refusal },
      { filter: 'open/a', granted: true, qos: 1, reasonCode: 1 },
    ])
    await client.publish('closed/a', 'x', { qos: 1 })
    await client.publish('open/a', 'x', { qos: 1 })
    await exactly(received, ['open/a'])
  },
)

/** The CONNACKs that refused. */
function refusals(broker) {
  return broker.log.filter((line) => /^Sending CONNACK to .* \(0, (4|5|134|135)\)/.test(line))
    .length
}
