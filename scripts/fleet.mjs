// Runs simulated devices. Each has its own client, a retained status with a last will, and readings. One of them crashes now and then.
// start.mjs runs this: fleet.mjs <broker url> <seconds between crashes> [the name of a single device]
import { fork } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Client } from '../pkg/node.js'
import { stopChild } from './tools.mjs'

const [url, crashEvery, only] = process.argv.slice(2)
const stops = []

const DEVICES = {
  'living-room/climate': async ({ client, topic, every }) => {
    let temperature = 21.5
    let target = 21.5
    const draught = wander(0, 0.08, -0.4, 0.4)
    const humidity = wander(46, 0.5, 35, 60)
    const keep = () =>
      client.publish(`${topic}/target`, target.toFixed(1), { qos: 1, retain: true })
    every(1_000, () => {
      temperature += (target - temperature) * 0.06
      return client.publish(`${topic}/temperature`, (temperature + draught()).toFixed(2))
    })
    every(4_000, () => client.publish(`${topic}/humidity`, humidity().toFixed(1)))
    await keep()
    await client.subscribe(`${topic}/target/set`, { qos: 1 }, async (message) => {
      const wanted = Number(message.text())
      if (!(wanted >= 15 && wanted <= 26)) return
      target = wanted
      await keep()
    })
  },
  'utility/meter': async ({ client, topic, every }) => {
    const watts = wander(740, 35, 180, 2_600)
    const volts = wander(230, 0.4, 225, 235)
    let kWh = 4_211.37
    every(500, () => {
      const now = watts()
      kWh += (now / 1_000) * (0.5 / 3_600)
      const reading = { watts: Math.round(now), volts: round(volts(), 1), kWh: round(kWh, 4) }
      return client.publish(`${topic}/power`, JSON.stringify(reading), {
        properties: { contentType: 'application/json' },
      })
    })
  },
  'garden/weather': async ({ client, topic, every }) => {
    const wind = wander(3.2, 0.4, 0, 14)
    const temperature = wander(12, 0.1, 4, 22)
    every(2_000, () =>
      client.publish(
        topic,
        JSON.stringify({
          wind: round(wind(), 1),
          temperature: round(temperature(), 1),
          rain: wind() > 8,
        }),
        { retain: true },
      ),
    )
  },
  'kitchen/lamp': async ({ client, topic }) => {
    const state = (value) => client.publish(`${topic}/state`, value, { qos: 1, retain: true })
    await state('on')
    const brightness = (value) =>
      client.publish(`${topic}/brightness`, String(value), { qos: 1, retain: true })
    await brightness(70)
    await client.subscribe(`${topic}/set`, { qos: 1 }, async (message) => {
      if (['on', 'off'].includes(message.text())) await state(message.text())
    })
    await client.subscribe(`${topic}/brightness/set`, { qos: 1 }, async (message) => {
      const wanted = Number(message.text())
      if (Number.isInteger(wanted) && wanted >= 1 && wanted <= 100) await brightness(wanted)
    })
  },
  'garage/door': async ({ client, topic, every }) => {
    let position = 0
    let step = 10
    every(1_500, () => {
      position = Math.min(100, Math.max(0, position + step))
      if (step !== 0 && (position === 0 || position === 100)) step = -step
      return client.publish(`${topic}/position`, String(position), { qos: 1 })
    })
    await client.subscribe(`${topic}/set`, { qos: 1 }, (message) => {
      step = { open: 10, close: -10, stop: 0 }[message.text()] ?? step
    })
  },
}
const CRASHES = 'garage/door'

async function run(name) {
  const topic = `home/${name}`
  /** @returns {import('../pkg/node.js').Will} */
  const status = (payload) => ({ topic: `${topic}/status`, payload, qos: 1, retain: true })
  const client = new Client(url, {
    clientId: name.replace('/', '-'),
    will: status('offline'),
    reconnect: { initial: true, maxDelay: 5_000 },
  })
  const announce = (payload) => client.publish(`${topic}/status`, payload, { qos: 1, retain: true })
  const quiet = () => {} // nobody needs a reading later that a cut connection has lost
  client.on('connect', () => announce('online').catch(quiet))
  client.on('error', (error) => console.error(`${name}: ${error.message}`))
  await client.connect()
  const timers = []
  const every = (ms, work) =>
    timers.push(setInterval(() => client.connected && work().catch(quiet), ms))
  stops.push(async () => {
    timers.forEach(clearInterval)
    await Promise.race([announce('offline').catch(quiet), sleep(500)])
    await client.end({ timeout: 500 })
  })
  await DEVICES[name]({ client, topic, every })
}

/** Runs a device in its own process and kills it, so that the broker publishes the will. */
async function runAndCrash(name) {
  for (;;) {
    const child = fork(fileURLToPath(import.meta.url), [url, crashEvery, name])
    stops.push(() => stopChild(child))
    await sleep(Number(crashEvery) * 1_000)
    if (stopping) return
    stops.pop()
    child.kill('SIGKILL')
    await sleep(Math.min(8, Number(crashEvery) / 2) * 1_000)
  }
}

/** Returns a function that walks randomly between two bounds. */
function wander(value, step, low, high) {
  return () => (value = Math.min(high, Math.max(low, value + (Math.random() - 0.5) * 2 * step)))
}

const round = (value, digits) => Number(value.toFixed(digits))

let stopping = false
async function stop() {
  if (stopping) return
  stopping = true
  await Promise.allSettled(stops.map((step) => step()))
  process.exit(0)
}

// Ctrl-C reaches the whole process group, but the parent decides when this ends. If the channel to it closes, the parent is gone.
process.on('SIGINT', () => {})
process.on('SIGTERM', stop)
process.on('disconnect', stop)

if (only) run(only)
else for (const name of Object.keys(DEVICES)) name === CRASHES ? runAndCrash(name) : run(name)
