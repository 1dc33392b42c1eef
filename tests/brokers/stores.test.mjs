// A client with a FileStore whose process is killed at random moments, and a Mosquitto that keeps its session: QoS 1 loses nothing, QoS 2
// arrives exactly once, and the order is kept.

import { deepStrictEqual, equal, ok } from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join as path } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import mqtt from 'mqtt'
import { startMosquitto } from './mosquitto.mjs'
import { eventually } from './support.mjs'

/** Processes that are killed. `KILLS=500 node --test tests/brokers/stores.test.mjs` is the long run. */
const KILLS = Number(process.env.KILLS ?? 10)
const CHILD = fileURLToPath(new URL('store-child.mjs', import.meta.url))
// With a limit of messages in flight, Mosquitto 2.0.11 sends some before those that wait.
const CONFIG = 'max_queued_messages 0\nmax_inflight_messages 0'

function folderOf(t) {
  const folder = mkdtempSync(path(tmpdir(), 'wasmqtt-kill-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Starts the process, and collects what it says. */
function start(t, role, broker, folder, first, version) {
  const child = spawn(process.execPath, [CHILD, role, broker.url, folder, `${first}`, version], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => child.kill('SIGKILL'))
  const lines = []
  const read = createInterface(child.stdout)
  read.on('line', (line) => lines.push(line))
  // It may close its files some time before it is gone.
  const gone = Promise.all([once(read, 'close'), once(child, 'exit')])
  return {
    lines,
    said: (word) =>
      lines.flatMap((line) => (line.startsWith(`${word} `) ? [line.slice(word.length + 1)] : [])),
    async kill() {
      equal(child.exitCode, null, `the process ended by itself: ${lines.slice(-3)}`)
      child.kill('SIGKILL')
      await gone
    },
  }
}

/** A client of its own that is never killed. */
async function observer(t, broker, options) {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${broker.tcpPort}`, {
    protocolVersion: 5,
    ...options,
  })
  t.after(() => client.endAsync(true))
  return client
}

/** Numbers without those that came before. */
const fresh = (numbers) => [...new Set(numbers)]
const ascends = (numbers) => numbers.every((number, at) => at === 0 || numbers[at - 1] < number)

for (const version of ['5', '4']) {
  const title = version === '5' ? 'MQTT 5' : 'MQTT 3.1.1'

  test(`${title}: a process that publishes is killed ${KILLS} times`, async (t) => {
    const broker = await startMosquitto(t, { config: CONFIG })
    const folder = folderOf(t)
    const client = await observer(t, broker)
    const arrived = { 1: [], 2: [] }
    client.on('message', (topic, payload) => arrived[topic.slice(-1)].push(Number(payload)))
    await client.subscribeAsync('kill/#', { qos: 2 })

    let first = 0
    const done = []
    const errors = []
    for (let kills = 0; kills <= KILLS; kills++) {
      const child = start(t, 'send', broker, folder, first, version)
      await eventually(() => child.lines.includes('ready'), 'the process is ready')
      await sleep(randomInt(kills === KILLS ? 300 : 150))
      if (kills === KILLS) {
        // What was left is sent by the last one.
        const count = child.said('done').length
        await eventually(() => child.said('done').length > count + 64, 'it goes on')
      }
      await child.kill()
      done.push(...child.said('done').map(Number))
      errors.push(...child.said('error'))
      first = Math.max(first, ...child.said('taken').map((number) => Number(number) + 1))
    }
    await sleep(500)
    deepStrictEqual(errors, [])
    for (const qos of [1, 2]) {
      const numbers = arrived[qos]
      const unique = fresh(numbers)
      const missing = done.filter((each) => 1 + (each % 2) === qos && !numbers.includes(each))
      deepStrictEqual(missing, [], `QoS ${qos}: what publish() resolved for is lost`)
      ok(ascends(unique), `QoS ${qos}: the order is kept`)
      t.diagnostic(`QoS ${qos}: ${numbers.length} arrived, ${numbers.length - unique.length} twice`)
      if (qos === 2) equal(numbers.length, unique.length, 'QoS 2: a message arrived twice')
    }
  })

  test(`${title}: a process that receives is killed ${KILLS} times`, async (t) => {
    const broker = await startMosquitto(t, { config: CONFIG })
    const folder = folderOf(t)
    let publishing = true
    // A test that fails ends, too.
    t.after(() => (publishing = false))
    const client = await observer(t, broker)
    const sent = { 1: [], 2: [] }
    const got = { 1: [], 2: [] }
    const repeated = { 1: 0, 2: 0 }
    const recorded = new Set()
    let next = 0
    // What comes from others while it connects, Mosquitto 2.0.11 sends before what it has kept.
    let paused = false

    const publish = async () => {
      while (publishing) {
        if (paused) {
          await sleep(1)
          continue
        }
        const number = next++
        const qos = /** @type {1 | 2} */ (1 + (number % 2))
        sent[qos].push(number)
        await client.publishAsync(`kill/${qos}`, String(number), { qos })
        if (number % 8 === 0) await sleep(5)
      }
    }
    let work
    for (let kills = 0; kills <= KILLS; kills++) {
      const child = start(t, 'receive', broker, folder, 0, version)
      await eventually(() => child.lines.includes('ready'), 'the process is ready')
      paused = false
      work ??= Promise.all([publish(), publish(), publish(), publish()])
      await sleep(randomInt(150))
      const all = () => got[1].length + got[2].length + child.said('got').length
      if (kills === KILLS) {
        publishing = false
        await work
        const whole = () => child.said('got').at(-1) !== undefined && all() >= next
        await eventually(whole, () => `${all()} of ${next} messages`, 60_000)
        await sleep(500)
      }
      paused = true
      await child.kill()
      deepStrictEqual(child.said('error'), [])
      const before = { 1: new Set(got[1]), 2: new Set(got[2]) }
      for (const line of child.said('got')) {
        const [qos, number] = line.split(' ').map(Number)
        if (before[qos].has(number)) {
          repeated[qos]++
          ok(!recorded.has(number), `QoS 2: ${number} was recorded, and came again`)
        } else {
          // In one life, none comes twice.
          ok(qos === 1 || !got[qos].slice(before[qos].size).includes(number))
          got[qos].push(number)
        }
      }
      for (const number of child.said('recorded')) recorded.add(Number(number))
    }
    for (const qos of [1, 2]) {
      t.diagnostic(`QoS ${qos}: ${sent[qos].length} sent, ${repeated[qos]} again in the next life`)
      // As they were sent: none is lost, and the order is kept.
      deepStrictEqual(fresh(got[qos]), sent[qos])
    }
    ok(recorded.size > 0)
  })
}
