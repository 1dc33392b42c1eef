import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { WebSocket, WebSocketServer } from 'ws'
import { makeConnection, qosOf, targetOf } from './connection.js'
import { checkWords, countOf, type Given, listOf } from './options.js'
import { withConnection } from './run.js'

/** Messages under way at once. */
const WINDOW = 1_000

/** `wasmqtt bench`: messages there and back, beside what a raw WebSocket on this machine does. Resolves with what the process ends with. */
export async function bench(given: Given): Promise<number> {
  checkWords(given)
  const target = targetOf(given)
  const count = countOf(given, 'messages') ?? 100_000
  const size = countOf(given, 'size', 0) ?? 256
  const qos = qosOf(given)
  const topic = listOf(given, 'topic').at(-1) ?? target.topic ?? `wasmqtt/bench/${process.pid}`
  const connection = makeConnection(given, target)
  return withConnection(given, connection, async (client, stop) => {
    const payload = new Uint8Array(Math.max(size, 8))
    const view = new DataView(payload.buffer)
    const latencies = new Float64Array(count)
    let received = 0
    let isWaiting: (() => void) | undefined
    stop.addEventListener('abort', () => isWaiting?.())
    const arrival = async (): Promise<void> => {
      await new Promise<void>((resolve) => {
        isWaiting = resolve
      })
      stop.throwIfAborted()
    }
    await client.subscribe(topic, { qos }, ({ payload: bytes }) => {
      const sent = new DataView(bytes.buffer, bytes.byteOffset).getFloat64(0)
      latencies[received++] = performance.now() - sent
      isWaiting?.()
    })
    const began = performance.now()
    for (let sent = 0; sent < count; sent++) {
      while (sent - received >= WINDOW) await arrival()
      view.setFloat64(0, performance.now())
      client.publish(topic, payload, { qos }, () => {})
      progress(received, count)
    }
    while (received < count) await arrival()
    const seconds = (performance.now() - began) / 1000
    progress(count, count)
    latencies.sort()
    const at = (share: number): string => latencies[Math.floor((count - 1) * share)]!.toFixed(2)
    const raw = await rawWebSocket(count, Math.max(size, 8))
    const rows = [
      ['messages', `${count} of ${Math.max(size, 8)} bytes, QoS ${qos}`],
      ['server', target.url],
      ['there and back', `${rate(count / seconds)} messages/s`],
      ['latency', `median ${at(0.5)} ms, 99 % ${at(0.99)} ms, at most ${WINDOW} under way`],
      ['raw WebSocket', `${rate(raw)} messages/s on loopback, without a broker or protocol`],
    ]
    for (const [name, value] of rows) console.log(`${name!.padEnd(16)}${value}`)
    return undefined
  })
}

const rate = (perSecond: number): string => Math.round(perSecond).toLocaleString('en')

/** On a terminal only. */
function progress(done: number, count: number): void {
  if (!process.stderr.isTTY || (done % 1_000 !== 0 && done !== count)) return
  process.stderr.write(done === count ? '\r\x1b[K' : `\r${Math.floor((100 * done) / count)} %`)
}

/** Messages a second that an echo of this machine's WebSocket makes. */
async function rawWebSocket(count: number, size: number): Promise<number> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false })
  await once(server, 'listening')
  server.on('connection', (socket) => socket.on('message', (data) => socket.send(data)))
  const { port } = server.address() as AddressInfo
  const socket = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: false })
  await once(socket, 'open')
  const payload = new Uint8Array(size)
  let sent = 0
  let received = 0
  const began = performance.now()
  await new Promise<void>((resolve) => {
    const fill = (): void => {
      for (; sent < count && sent - received < WINDOW; sent++) socket.send(payload)
    }
    socket.on('message', () => {
      received++
      if (received === count) resolve()
      else fill()
    })
    fill()
  })
  const seconds = (performance.now() - began) / 1000
  socket.terminate()
  server.close()
  return count / seconds
}
