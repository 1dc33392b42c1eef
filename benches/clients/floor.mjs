/** The floor is not a client, but a raw WebSocket that counts bytes and sends prepared ones. It looks only at the first byte of a frame. */
import { encodeAcks, encodeCycle, traffic as trafficOf } from '../traffic.mjs'
import { HIGH_WATER } from './websocket.mjs'

export function create({ url, scenario }, events) {
  const { qos = 0, single } = scenario
  const traffic = trafficOf(scenario)
  const cycle = encodeCycle(traffic, qos, { single })
  const acks = Object.fromEntries(
    [
      [3, qos === 1 ? 0x40 : 0x50],
      [5, 0x62],
      [6, 0x70],
    ].map(([kind, first]) => [kind, encodeAcks(first, traffic.cycle)]),
  )
  const answered = { 3: 0, 5: 0, 6: 0 }
  const pending = { 3: 0, 5: 0, 6: 0 }
  let socket
  let tally
  let frame = 0

  /** The answers of one turn leave together. */
  const answer = (kind, count) => {
    if (!pending[kind]) queueMicrotask(() => flush(kind))
    pending[kind] += count
  }
  const flush = (kind) => {
    const from = answered[kind]
    const count = pending[kind]
    answered[kind] = (from + count) % traffic.cycle
    pending[kind] = 0
    socket.send(acks[kind].subarray(4 * from, 4 * (from + count)))
  }
  const received = (kind, length) => {
    if (kind === 3) {
      if (qos) answer(kind, length / cycle.length)
      tally.bytes(length)
    } else if (kind === 4 || kind === 7) events.done(length / 4)
    else answer(kind, length / 4)
  }

  return {
    connect: () =>
      new Promise((onopen, onerror) => {
        socket = Object.assign(new WebSocket(url), { onopen, onerror })
        if (globalThis.process) socket.on('message', (data) => received(data[0] >> 4, data.length))
        else {
          socket.binaryType = 'arraybuffer'
          socket.onmessage = ({ data }) =>
            received(qos ? new Uint8Array(data, 0, 1)[0] >> 4 : 3, data.byteLength)
        }
      }),
    subscribe: async (_filters, _qos, _onMessage, theTally) => {
      tally = theTally
      tally.packetLength = cycle.length
    },
    publish: () => {
      const before = cycle.frames[frame - 1] ?? { end: 0, count: 0 }
      const { end, count } = cycle.frames[frame]
      frame = (frame + 1) % cycle.frames.length
      socket.send(cycle.bytes.subarray(before.end, end))
      if (!qos) events.done(count - before.count)
      return count - before.count
    },
    congested: () => socket.bufferedAmount > HIGH_WATER,
    end: () => socket.close(),
  }
}
