/**
 * What a FileStore costs: QoS 1 with 64 messages in flight to Mosquitto over TCP, with and without one, in turn.
 *
 *   node benches/stores.mjs [rounds]
 *
 * Prints the time and the CPU time per message, and the ratio of the medians. The disk decides: each write is synced.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from '../pkg/node.js'
import { FileStore } from '../pkg/stores-node.js'
import { startMosquitto } from '../tests/brokers/mosquitto.mjs'

const ROUNDS = Number(process.argv[2] ?? 7)
const COUNT = 20_000
const IN_FLIGHT = 64
const PAYLOAD = new Uint8Array(256)

/** @type {(() => unknown)[]} */
const cleanups = []
const broker = await startMosquitto(
  { after: (work) => cleanups.push(work) },
  { config: 'max_inflight_messages 0' },
)
const folder = mkdtempSync(join(tmpdir(), 'wasmqtt-bench-'))
cleanups.push(() => rmSync(folder, { recursive: true, force: true }))

async function measure(store, count) {
  const url = `mqtt://127.0.0.1:${broker.tcpPort}`
  const client = await connect(url, { protocolVersion: 5, clientId: 'bench', store })
  const cpu = process.cpuUsage()
  const started = performance.now()
  let next = 0
  const work = async () => {
    while (next++ < count) await client.publish('bench', PAYLOAD, { qos: 1 })
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, work))
  const wall = ((performance.now() - started) * 1_000) / count
  const { user, system } = process.cpuUsage(cpu)
  await client.end()
  return [wall, (user + system) / count]
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1]
const results = { without: [], with: [] }
for (let round = -1; round < ROUNDS; round++) {
  for (const kind of /** @type {const} */ (['without', 'with'])) {
    const store = kind === 'with' ? new FileStore(folder) : undefined
    const result = await measure(store, round < 0 ? 2_000 : COUNT)
    if (round >= 0) results[kind].push(result)
  }
}
const [plain, stored] = [results.without, results.with].map((all) =>
  [0, 1].map((at) => median(all.map((each) => each[at]))),
)
/** @param {number[]} costs */
const shown = ([wall, cpu]) => `${wall.toFixed(1)} µs, CPU ${cpu.toFixed(1)} µs`
console.log(`without a store: ${shown(plain)} a message`)
console.log(`FileStore:       ${shown(stored)} a message`)
console.log(
  `ratio:           ${(stored[0] / plain[0]).toFixed(2)}, CPU ${(stored[1] / plain[1]).toFixed(2)}`,
)
for (const cleanup of cleanups.reverse()) await cleanup()
