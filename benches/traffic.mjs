/** The messages of a scenario and their bytes, the same in the broker and in the clients. Runs in Node and in pages. */

/** A packed WebSocket frame holds as many whole packets as fit into this many bytes, but at least one. */
const FRAME = 16 * 1024
const PAYLOADS = 50
/** So that large payloads take no more than this many bytes. */
const MEMORY = 2 ** 25

/**
 * Message number `i` of a run has `topic(i)` and `payload(i)`; both repeat after `cycle` messages, and so do packet ids (from 1).
 * Every run is a whole number of cycles, so that each starts with message 0. All packets of one scenario have the same length.
 */
export function traffic({ size, topics = 1, filters = 1, window = 0, cycle: asked }) {
  const names =
    topics === 1
      ? ['bench/sensor/temperature']
      : Array.from({ length: topics }, (_, i) => `bench/${digits(i % filters)}/${digits(i)}/value`)
  const distinct = Math.max(1, Math.min(PAYLOADS, Math.floor(MEMORY / size)))
  const payloads = Array.from({ length: distinct }, (_, k) => payload(size, k))
  const fitting = Math.floor(2 ** 20 / (size + 32))
  const cycle = asked ?? Math.max(topics, window, Math.min(4_000, Math.max(distinct, fitting)))
  return {
    cycle,
    filters:
      filters > 1
        ? Array.from({ length: filters }, (_, k) => `bench/${digits(k)}/+/value`)
        : [topics === 1 ? names[0] : 'bench/#'],
    topic: (i) => names[(i % cycle) % topics],
    payload: (i) => payloads[(i % cycle) % distinct],
  }
}

const digits = (n) => String(n).padStart(7, '0')

/** Returns a payload that starts with its own number, by which it can be recognised. */
function payload(size, k) {
  const bytes = globalThis.Buffer ? Buffer.alloc(size) : new Uint8Array(size)
  for (let j = 0; j < size; j++) bytes[j] = (k + 31 * j) & 255
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(0, k)
  return bytes
}

export function equal(a, b) {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

const text = new TextEncoder()

/** Encodes a PUBLISH. `properties` is the block without its length, and only for MQTT 5. */
export function encodePublish(topic, payload, qos, id, properties) {
  const name = text.encode(topic)
  const body =
    2 + name.length + (qos ? 2 : 0) + (properties ? 1 + properties.length : 0) + payload.length
  const bytes = [0x30 | (qos << 1)]
  for (let rest = body; ; rest >>>= 7) {
    bytes.push((rest & 127) | (rest > 127 ? 128 : 0))
    if (rest <= 127) break
  }
  bytes.push(name.length >> 8, name.length & 255, ...name)
  if (qos) bytes.push(id >> 8, id & 255)
  if (properties) bytes.push(properties.length, ...properties)
  const packet = new Uint8Array(bytes.length + payload.length)
  packet.set(bytes)
  packet.set(payload, bytes.length)
  return packet
}

/**
 * Encodes one cycle of PUBLISH packets as one array. `frames` has the end of each frame and the number of messages up to there. `most` limits
 * the messages of a frame.
 * @param {{ cycle: number, topic: (i: number) => string, payload: (i: number) => Uint8Array }} traffic
 * @param {number} qos
 * @param {{ single?: boolean, most?: number, properties?: (i: number) => number[] | undefined }} [options]
 */
export function encodeCycle(
  traffic,
  qos,
  { single = false, most = Infinity, properties = () => undefined } = {},
) {
  const packets = Array.from({ length: traffic.cycle }, (_, i) =>
    encodePublish(traffic.topic(i), traffic.payload(i), qos, i + 1, properties(i)),
  )
  const bytes = new Uint8Array(packets.reduce((sum, packet) => sum + packet.length, 0))
  const frames = []
  let start = 0
  let first = 0
  let at = 0
  packets.forEach((packet, i) => {
    const full = i > first && (single || at - start + packet.length > FRAME || i - first >= most)
    if (full) {
      frames.push({ end: at, count: i })
      start = at
      first = i
    }
    bytes.set(packet, at)
    at += packet.length
  })
  frames.push({ end: at, count: packets.length })
  return { bytes, frames, length: packets[0].length }
}

/** Encodes acknowledgements of four bytes each with the ids of two cycles, so that any part of up to one cycle is one slice. */
export function encodeAcks(first, cycle) {
  const bytes = new Uint8Array(8 * cycle)
  for (let i = 0; i < 2 * cycle; i++)
    bytes.set([first, 2, ((i % cycle) + 1) >> 8, ((i % cycle) + 1) & 255], 4 * i)
  return bytes
}
