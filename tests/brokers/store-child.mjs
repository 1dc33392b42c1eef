// A process with a FileStore that publishes, or receives, until it is killed. It says on its standard output what it knows for certain.
//
//   node store-child.mjs ROLE URL FOLDER FIRST VERSION [PREFIX [OPTIONS]]    without a FOLDER: no store, and a new session each time
//
// `send`: publishes the numbers from the one it is given on, QoS 1 and 2 in turn, and prints each when its publish() has resolved.
// `receive`: prints the number of each message that its handler gets, before the handler returns, and that of each QoS 2 message whose PUBREC
// has left.
import { writeSync } from 'node:fs'
import { connect } from '../../pkg/node.js'
import { FileStore } from '../../pkg/stores-node.js'

const [, , role, url, folder, first, version, prefix = 'kill', more = '{}'] = process.argv

/** At once, so that a kill loses nothing that was said. */
const say = (text) => writeSync(1, `${text}\n`)

const client = await connect(url, {
  protocolVersion: /** @type {4 | 5} */ (Number(version)),
  clientId: `${prefix}-${role}`,
  clean: folder === '',
  ...(version === '5' && { properties: { sessionExpiryInterval: 3_600 } }),
  reconnect: { minDelay: 100, maxDelay: 500 },
  store: folder === '' ? undefined : new FileStore(folder),
  ...JSON.parse(more),
})
client.on('error', (error) => say(`error ${error.message}`))

if (role === 'receive') {
  /** The number of each QoS 2 message whose PUBREC has not left, by its packet identifier. */
  const owed = new Map()
  let id
  client.on('packet', ({ direction, type, packetId }) => {
    if (direction === 'in' && type === 'publish') id = packetId
    if (direction === 'out' && type === 'pubrec' && owed.has(packetId)) {
      say(`recorded ${owed.get(packetId)}`)
      owed.delete(packetId)
    }
  })
  client.on('message', (message) => {
    say(`got ${message.qos} ${message.text()}`)
    if (message.qos === 2) owed.set(id, message.text())
  })
  await client.subscribe(`${prefix}/#`, { qos: 2 })
  say('ready')
} else {
  say('ready')
  let next = Number(first)
  const work = async () => {
    for (;;) {
      const number = next++
      const qos = /** @type {1 | 2} */ (1 + (number % 2))
      say(`taken ${number}`)
      try {
        await client.publish(`${prefix}/${qos}`, String(number), { qos })
        say(`done ${number}`)
      } catch (error) {
        // With a new session at each connection, nobody knows whether a message of QoS 2 has arrived.
        if (folder !== '' || error.code !== 'SESSION_LOST') throw error
      }
    }
  }
  for (let each = 0; each < 16; each++) work()
}
