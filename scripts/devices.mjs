// The simulated devices, for `npm start` and for the demo in the page. Each has a retained status with a last will, and readings.

export const DEVICES = {
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
/** The device that crashes now and then. */
export const CRASHES = 'garage/door'

/**
 * Runs a device with the client that `makeClient` makes of the options. Resolves with a function that says goodbye, and one that
 * does not, as when the power fails.
 *
 * @param {string} name
 * @param {(options: import('../pkg/index.js').ConnectOptions) => import('../pkg/index.js').Client} makeClient
 */
export async function startDevice(name, makeClient) {
  const topic = `home/${name}`
  const client = makeClient({
    clientId: name.replace('/', '-'),
    will: { topic: `${topic}/status`, payload: 'offline', qos: 1, retain: true },
    reconnect: { initial: true, maxDelay: 5_000 },
  })
  const announce = (payload) => client.publish(`${topic}/status`, payload, { qos: 1, retain: true })
  const quiet = () => {} // nobody needs a reading later that a cut connection has lost
  client.on('connect', () => announce('online').catch(quiet))
  client.on('error', (error) => console.error(`${name}: ${error.message}`))
  const timers = []
  const stop = async () => {
    timers.forEach(clearInterval)
    await Promise.race([announce('offline').catch(quiet), sleep(500)])
    await client.end({ timeout: 500 })
  }
  await client.connect()
  const every = (ms, work) =>
    timers.push(setInterval(() => client.connected && work().catch(quiet), ms))
  await DEVICES[name]({ client, topic, every })
  const crash = () => {
    timers.forEach(clearInterval)
    return client.end({ force: true })
  }
  return { stop, crash }
}

/** Returns a function that walks randomly between two bounds. */
function wander(value, step, low, high) {
  return () => (value = Math.min(high, Math.max(low, value + (Math.random() - 0.5) * 2 * step)))
}

const round = (value, digits) => Number(value.toFixed(digits))

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
