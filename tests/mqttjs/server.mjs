// A server that answers as brokers do, unless a test says otherwise, and remembers the packets that came. Its codec is mqtt-packet's.
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { createWebSocketStream, WebSocketServer } from 'ws'

const { generate, parser } = createRequire(import.meta.url)('mqtt-packet')

/** Starts a server that goes with the test. `answers`: by packet, (connection, packet) => void in place of what brokers answer. */
export async function startServer(t, answers = {}, { ws = false } = {}) {
  const server = new Server(answers)
  if (ws) {
    server.listener = new WebSocketServer({ port: 0, host: '127.0.0.1' })
    server.listener.on('connection', (socket, request) => {
      server.requests.push(request)
      server.accept(createWebSocketStream(socket), socket.protocol)
    })
  } else {
    server.listener = createServer((socket) => server.accept(socket))
    server.listener.listen(0, '127.0.0.1')
  }
  await once(server.listener, 'listening')
  server.port = server.listener.address().port
  server.url = `${ws ? 'ws' : 'mqtt'}://127.0.0.1:${server.port}`
  t.after(() => server.close())
  return server
}

class Server {
  connections = []
  /** Of WebSocket servers: the requests that were upgraded. */
  requests = []
  listener = undefined
  port = 0
  url = ''
  #waiting = []

  constructor(answers) {
    this.answers = answers
  }

  accept(stream, protocol) {
    const connection = new Connection(this, stream)
    connection.protocol = protocol
    this.connections.push(connection)
  }

  /** All packets that came, of one kind. */
  packets(cmd) {
    return this.connections.flatMap(({ packets }) =>
      packets.filter((packet) => cmd === undefined || packet.cmd === cmd),
    )
  }

  /** The packet number `count` of a kind, as soon as it is there. */
  async packet(cmd, count = 1) {
    while (this.packets(cmd).length < count)
      await new Promise((resolve) => this.#waiting.push(resolve))
    return this.packets(cmd)[count - 1]
  }

  changed() {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  close() {
    for (const { stream } of this.connections) stream.destroy()
    this.listener.close()
  }
}

class Connection {
  /** The subprotocol of a WebSocket. */
  protocol = undefined
  packets = []
  version = 4

  constructor(server, stream) {
    this.server = server
    this.stream = stream
    const reader = parser()
    reader.on('packet', (packet) => this.#received(packet))
    stream.on('data', (bytes) => reader.parse(bytes))
    stream.on('error', () => {})
  }

  #received(packet) {
    if (packet.cmd === 'connect') this.version = packet.protocolVersion
    this.packets.push(packet)
    const answer = this.server.answers[packet.cmd] ?? ANSWERS[packet.cmd]
    answer?.(this, packet)
    this.server.changed()
  }

  send(packet) {
    if (this.stream.writable) this.stream.write(generate(packet, { protocolVersion: this.version }))
  }
}

/** An answer to CONNECT or AUTH of MQTT 5 that accepts, with these properties. */
export const accepting = (properties) => (connection) =>
  connection.send({ cmd: 'connack', reasonCode: 0, sessionPresent: false, properties })

const ANSWERS = {
  connect: (connection) =>
    connection.send({ cmd: 'connack', returnCode: 0, reasonCode: 0, sessionPresent: false }),
  publish: (connection, { qos, messageId }) => {
    if (qos === 1) connection.send({ cmd: 'puback', messageId })
    if (qos === 2) connection.send({ cmd: 'pubrec', messageId })
  },
  pubrel: (connection, { messageId }) => connection.send({ cmd: 'pubcomp', messageId }),
  pubrec: (connection, { messageId }) => connection.send({ cmd: 'pubrel', messageId }),
  subscribe: (connection, { messageId, subscriptions }) =>
    connection.send({ cmd: 'suback', messageId, granted: subscriptions.map(({ qos }) => qos) }),
  unsubscribe: (connection, { messageId, unsubscriptions }) =>
    connection.send({ cmd: 'unsuback', messageId, granted: unsubscriptions.map(() => 0) }),
  pingreq: (connection) => connection.send({ cmd: 'pingresp' }),
}
