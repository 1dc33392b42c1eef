/** Measures in Node how the cost grows with the amount of work. A flat curve is good. */

const decades = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => 10 ** (from + i))
const small = { qos: 0, size: 16 }
const inFlight = [10, 100, 1_000, 10_000, 65_535]

/** Each point is one measurement with the scenario of its x. After a client has failed at a point, it is not measured at further points. */
const curves = [
  {
    name: 'receive QoS 0, 1,000 topics',
    x: 'subscriptions',
    at: decades(0, 5),
    scenario: (filters) => ({ kind: 'receive', ...small, topics: 1_000, filters }),
  },
  {
    name: 'receive QoS 0, 100,000 topics',
    x: 'subscriptions',
    at: decades(0, 5),
    scenario: (filters) => ({ kind: 'receive', ...small, topics: 100_000, filters }),
  },
  {
    name: 'receive QoS 0',
    x: 'distinct topics',
    at: decades(0, 6),
    scenario: (topics) => ({ kind: 'receive', ...small, topics }),
  },
  {
    name: 'publish QoS 0',
    x: 'distinct topics',
    at: decades(0, 6),
    scenario: (topics) => ({ kind: 'publish', ...small, topics, window: 1_000 }),
  },
  {
    name: 'publish QoS 1',
    x: 'in flight',
    at: inFlight,
    scenario: (window) => ({ kind: 'publish', ...small, qos: 1, window, hold: window }),
  },
  {
    name: 'publish QoS 2',
    x: 'in flight',
    at: inFlight,
    scenario: (window) => ({ kind: 'publish', ...small, qos: 2, window, hold: window }),
  },
  {
    name: 'receive QoS 2',
    x: 'in flight',
    at: inFlight,
    scenario: (window) => ({ kind: 'receive', ...small, qos: 2, window }),
  },
  {
    name: 'publish QoS 1 offline',
    x: 'queued messages',
    at: decades(3, 6),
    scenario: (count) => ({ kind: 'queue', ...small, qos: 1, count, warm: 10_000 }),
  },
]

const SOAK_SAMPLE = 10 // seconds

export async function growth(host, { wanted, named, timing, minutes }) {
  const results = { meta: await host.describe(), curves: [], soak: [] }
  for (const curve of curves.filter(({ name, x }) => named({ name: `${name}, ${x}` }))) {
    const points = []
    for (const x of curve.at) {
      for (const client of wanted.filter(
        (name) => !points.some((point) => point.client === name && point.error),
      )) {
        points.push({
          x,
          client,
          ...(await attempt(host, `${curve.name}, ${x} ${curve.x}`, {
            client,
            scenario: curve.scenario(x),
            timing,
          })),
        })
      }
    }
    results.curves.push({ name: curve.name, x: curve.x, points })
  }
  if (minutes) {
    const scenario = { kind: 'soak', qos: 2, size: 64, topics: 20_000, window: 1_000 }
    const seconds = minutes * 60
    for (const client of wanted) {
      const result = await attempt(host, `${minutes} minutes`, {
        client,
        scenario,
        timing: { seconds, every: Math.min(SOAK_SAMPLE, seconds / 6) },
        timeout: (seconds + 120) * 1_000,
      })
      results.soak.push({ client, ...result })
    }
  }
  return results
}

async function attempt(host, what, job) {
  let result
  try {
    result = await host.run({ runtime: 'node', ...job })
  } catch (error) {
    result = { error: error.message }
  }
  console.error(
    `${what.padEnd(60)}  ${job.client.padEnd(12)}  ${result.error?.split('\n')[0] ?? `${result.value.toFixed(2)} µs`}`,
  )
  return result
}
