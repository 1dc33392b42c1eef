/**
 * Plays one scenario with one client and tells what it cost. Runs in a fresh Node process (node-client.mjs) or page (page.html).
 *
 * An adapter exports `create(job, events)`, which gives a client, not yet connected:
 *   connect()                                   promise
 *   subscribe(filters, qos, onMessage, tally)   promise; onMessage(topic, payload). The raw floors call tally.bytes(length) instead
 *   publish(topic, payload, qos)                how many messages that was, if not one; then events.done(count) as they complete
 *   publishAsync(topic, payload, qos)           promise; only clients that have promises
 *   congested()                                 only clients that leave back pressure to the user: too much is buffered
 *   memory()                                    bytes of memory outside of the JavaScript heap, if the client knows
 *   end()
 *
 * The runtime gives cpu(): CPU µs used so far by the process or page; burst(count, sending): tells the broker, resolves when it has
 * sent and got everything; later(callback): a new task, without the clamping of timers; in Node also rss() and heap(): bytes.
 */
import { equal, traffic as trafficOf } from './traffic.mjs'

export async function measure(job, runtime) {
  const scenario = { ...job.scenario, traffic: trafficOf(job.scenario) }
  if (scenario.kind === 'start') return start(job, runtime)
  const { create } = await import(`./clients/${job.client}.mjs`)
  const events = { done: () => {} }
  const failed = new Promise((_, reject) => (events.fail = reject))
  failed.catch(() => {})
  const client = await create(job, events)
  const another = () => create(job, events)
  const result = await Promise.race([
    failed,
    kinds[scenario.kind](client, scenario, job.timing, runtime, events, another),
  ])
  client.end()
  return result
}

const kinds = {
  async receive(client, scenario, timing, runtime) {
    const receive = await receiver(client, scenario, runtime)
    return { ...(await perMessage(receive, scenario, timing, runtime)), ...memory(client, runtime) }
  },

  async publish(client, scenario, timing, runtime, events) {
    await client.connect()
    return {
      ...(await perMessage(
        publisher(client, scenario, runtime, events),
        scenario,
        timing,
        runtime,
      )),
      ...memory(client, runtime),
    }
  },

  /** One message at a time. */
  async await(client, scenario, timing, runtime) {
    await client.connect()
    const { traffic, qos } = scenario
    const run = async (count) => {
      const finished = runtime.burst(count, false)
      for (let i = 0; i < count; i++)
        await client.publishAsync(traffic.topic(i), traffic.payload(i), qos)
      await finished
    }
    return perMessage(run, scenario, timing, runtime)
  },

  /** Round trips, one at a time. */
  async echo(client, { traffic }, timing) {
    await client.connect()
    const payload = traffic.payload(0)
    let arrived
    const check = (topic, bytes) => {
      if (topic !== traffic.topic(0) || !equal(bytes, payload)) throw new Error('the echo is wrong')
      arrived()
    }
    await client.subscribe(traffic.filters, 0, check, { bytes: () => arrived() })
    const medians = []
    for (let batch = 0; batch < timing.batches; batch++) {
      const times = []
      while (times.length < 1_000) {
        const start = performance.now()
        await new Promise((resolve) => {
          arrived = resolve
          client.publish(traffic.topic(0), payload, 0)
        })
        times.push((performance.now() - start) * 1_000)
      }
      medians.push(median(times))
    }
    return { value: Math.min(...medians) }
  },

  /** What the resident set of a fresh process grows by. */
  async memory(client, scenario, timing, runtime) {
    const receive = await receiver(client, scenario, runtime)
    const before = runtime.rss()
    await receive(timing.messages)
    return { value: (runtime.rss() - before) / 1e6 }
  },

  /** Fills the queue without a connection, then connects and drains it: first a small one with another client to warm up. */
  async queue(client, scenario, timing, runtime, events, another) {
    const { traffic, qos, count, warm } = scenario
    if (warm) {
      const first = await another()
      await kinds.queue(first, { ...scenario, count: warm, warm: 0 }, timing, runtime, events)
      first.end()
    }
    let rest = count
    const drained = new Promise((resolve) => (events.done = () => --rest || resolve(undefined)))
    const rss = runtime.rss()
    const start = runtime.cpu()
    for (let i = 0; i < count; i++) client.publish(traffic.topic(i), traffic.payload(i), qos)
    const filled = runtime.cpu()
    const bytes = (runtime.rss() - rss) / count
    await client.connect()
    await Promise.all([runtime.burst(count, false), drained])
    return { value: (filled - start) / count, drain: (runtime.cpu() - filled) / count, bytes }
  },

  /** Bursts in both directions on one connection; a sample every so many seconds. */
  async soak(client, scenario, { seconds, every }, runtime, events) {
    const receive = await receiver(client, scenario, runtime)
    const publish = publisher(client, scenario, runtime, events)
    const samples = []
    const began = performance.now()
    for (;;) {
      const start = performance.now()
      const cpu = runtime.cpu()
      let messages = 0
      while (performance.now() - start < every * 1_000) {
        await receive(scenario.traffic.cycle)
        await publish(scenario.traffic.cycle)
        messages += 2 * scenario.traffic.cycle
      }
      const at = (performance.now() - began) / 1_000
      samples.push({
        at,
        value: (runtime.cpu() - cpu) / messages,
        messages,
        ...memory(client, runtime),
      })
      if (at >= seconds) return { value: median(samples.map(({ value }) => value)), samples }
    }
  },
}

const memory = (client, runtime) => ({
  rss: runtime.rss?.(),
  heap: runtime.heap?.(),
  wasm: client.memory?.(),
})

/** From the import of the library to CONNACK: nothing of it is loaded before. */
async function start(job, runtime) {
  const cpu = await runtime.cpu()
  const began = performance.now()
  const { create } = await import(`./clients/${job.client}.mjs`)
  const client = await create(job, { done() {}, fail() {} })
  await client.connect()
  const value = performance.now() - began
  const used = (await runtime.cpu()) - cpu
  client.end()
  return { value, cpu: used / 1_000 }
}

/**
 * Warms up by bursts of growing size, in the first of which every message is compared: the last is what is measured then, only shorter.
 * Then measures one that lasts about `timing.target` ms.
 */
async function perMessage(run, { traffic }, timing, runtime) {
  const cycles = (count) => Math.ceil(count / traffic.cycle) * traffic.cycle
  let count = traffic.cycle
  for (let warm = 0; ; ) {
    const start = performance.now()
    const checkAll = warm < timing.warm / 2
    await run(count, checkAll)
    const took = performance.now() - start
    warm += took
    if (warm >= timing.warm && !checkAll) {
      count = cycles((count * timing.target) / took)
      break
    }
    if (took < timing.warm / 2)
      count = cycles(count * Math.min(8, Math.max(1.5, timing.warm / 2 / took)))
  }
  await new Promise((resolve) => setTimeout(resolve, timing.settle))
  const cpu = await runtime.cpu()
  const start = performance.now()
  await run(count, false)
  const took = performance.now() - start
  return {
    value: ((await runtime.cpu()) - cpu) / count,
    rate: (count / took) * 1_000,
    messages: count,
  }
}

/** Connects, subscribes, and gives a function that receives `count` messages. Every message is compared while warming up, later one of 1,024. */
async function receiver(client, { traffic, qos }, runtime) {
  const tally = new Tally(traffic)
  await client.connect()
  const subscribe = (filter) =>
    client.subscribe([filter], qos, (topic, payload) => tally.message(topic, payload), tally)
  for (let i = 0; i < traffic.filters.length; i += 500)
    await Promise.all(traffic.filters.slice(i, i + 500).map(subscribe))
  return async (count, checkAll) => {
    const received = tally.expect(count, checkAll)
    await Promise.all([runtime.burst(count, true), received])
    tally.check()
  }
}

class Tally {
  /** The length of a packet, for the raw floors. */
  packetLength
  resolve
  reject

  constructor(traffic) {
    this.traffic = traffic
    this.size = traffic.topic(0).length + traffic.payload(0).length
    this.total = this.count = this.lengths = 0
  }

  expect(count, checkAll) {
    this.total = count
    this.count = this.lengths = 0
    this.mask = checkAll ? 0 : 1_023
    return new Promise((resolve, reject) => Object.assign(this, { resolve, reject }))
  }

  message(topic, payload) {
    this.lengths += topic.length + payload.length
    if ((this.count & this.mask) === 0) this.compare(topic, payload)
    if (++this.count === this.total) this.resolve()
  }

  /** For the raw floors: so many bytes came. Every packet has the same length. */
  bytes(length) {
    this.lengths += length
    if (this.lengths === this.total * this.packetLength) this.resolve()
  }

  compare(topic, payload) {
    const number = this.count % this.traffic.cycle
    if (topic !== this.traffic.topic(number) || !equal(payload, this.traffic.payload(number)))
      this.reject(new Error(`message ${this.count} is wrong`))
  }

  check() {
    if (this.lengths !== this.total * (this.packetLength ?? this.size))
      throw new Error('a message is wrong, or there are too many')
  }
}

/** A function that publishes `count` messages, `window` in flight, refilled once in a turn of the event loop. */
function publisher(client, { traffic, qos, window }, runtime, events) {
  return async (count) => {
    let sent = 0
    let completed = 0
    let scheduled = false
    let resolve
    const published = new Promise((settle) => (resolve = settle))
    const turn = () => {
      scheduled = false
      const most = Math.min(count, sent + window)
      while (sent < most && sent - completed < window)
        sent += client.publish(traffic.topic(sent), traffic.payload(sent), qos) ?? 1
      if (sent - completed < window) schedule()
    }
    const schedule = () => {
      if (scheduled || sent >= count) return
      scheduled = true
      if (client.congested?.()) setTimeout(turn, 1)
      else runtime.later(turn)
    }
    events.done = (n = 1) => {
      completed += n
      if (completed === count) resolve()
      else schedule()
    }
    const finished = runtime.burst(count, false)
    turn()
    await Promise.all([finished, published])
  }
}

function median(values) {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[sorted.length >> 1]
}
