/**
 * A broker for a fleet of clients, in a process of its own. It accepts whoever comes, grants what is asked for, and acknowledges. fleet.mjs
 * controls it with messages:
 *   { outage: ms }   cuts all connections and accepts none for so long; when all are back, it answers { returns }, the times at which each
 *                    client sent CONNECT again, in ms since the end of the outage
 */
import { createHash } from 'node:crypto'
import { createServer } from 'node:http'

const sockets = new Set()
/** Of the time after an outage. */
let since = 0
let expected = 0
let returns = []

function accept(request, socket) {
  const key = `${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`
  const answer = createHash('sha1').update(key).digest('base64')
  socket.setNoDelay(true)
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${answer}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n`,
  )
  sockets.add(socket)
  const connection = { socket, frames: Buffer.alloc(0), packets: Buffer.alloc(0) }
  socket.on('data', (chunk) => frames(connection, Buffer.concat([connection.frames, chunk])))
  socket.on('error', () => {})
  socket.on('close', () => sockets.delete(socket))
}

/** Reads the masked frames that have come, of fewer than 64 KiB. */
function frames(connection, bytes) {
  for (;;) {
    const length = (bytes[1] ?? 0) & 127
    const start = length === 126 ? 8 : 6
    const size = length === 126 && bytes.length >= 4 ? bytes.readUInt16BE(2) : length
    if (bytes.length < 6 || bytes.length < start + size) break
    const payload = bytes.subarray(start, start + size)
    for (let at = 0; at < size; at++) payload[at] ^= bytes[start - 4 + (at & 3)]
    if ((bytes[0] & 15) === 8) connection.socket.end()
    else packets(connection, Buffer.concat([connection.packets, payload]))
    bytes = bytes.subarray(start + size)
  }
  connection.frames = bytes
}

/** Answers the packets that have come, of fewer than 128 bytes. */
function packets(connection, bytes) {
  const { socket } = connection
  let at = 0
  for (
    ;
    at + 2 <= bytes.length && at + 2 + bytes[at + 1] <= bytes.length;
    at += 2 + bytes[at + 1]
  ) {
    const packet = bytes.subarray(at + 2, at + 2 + bytes[at + 1])
    switch (bytes[at] >> 4) {
      case 1:
        if (expected > 0) back()
        socket.write(Buffer.from([0x82, 4, 0x20, 2, 0, 0]))
        break
      case 3: {
        const id = 2 + packet.readUInt16BE(0)
        socket.write(Buffer.from([0x82, 4, 0x40, 2, packet[id], packet[id + 1]]))
        break
      }
      case 8:
        socket.write(Buffer.from([0x82, 5, 0x90, 3, packet[0], packet[1], packet.at(-1)]))
        break
      case 12:
        socket.write(Buffer.from([0x82, 2, 0xd0, 0]))
    }
  }
  connection.packets = bytes.subarray(at)
}

function back() {
  returns.push(performance.now() - since)
  if (returns.length < expected) return
  process.send({ returns })
  returns = []
  expected = 0
}

const server = createServer()
server.on('upgrade', accept)
server.listen({ port: 0, host: '127.0.0.1', backlog: 8_192 }, () => {
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  process.send({ port })
  process.on('message', ({ outage }) => {
    expected = sockets.size
    server.close()
    for (const socket of sockets) socket.destroy()
    setTimeout(() => {
      server.listen({ port, host: '127.0.0.1', backlog: 8_192 }, () => {
        since = performance.now()
      })
    }, outage)
  })
})
process.on('disconnect', () => process.exit())
