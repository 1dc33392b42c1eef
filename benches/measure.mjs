/**
 * Plays one scenario with one client and measures what it costs. Runs in a fresh Node process (node-client.mjs) or page (page.html).
 *
 * An adapter exports `create(job, events)`, which returns a client that is not connected yet:
 *   connect()                                   promise
 *   subscribe(filters, qos, onMessage, tally)   promise; onMessage(topic, payload). The raw floors call tally.bytes(length) instead
 *   publish(topic, payload, qos)                returns the number of messages, if not one, and calls events.done(count) as they complete
 *   publishAsync(topic, payload, qos)           promise; only clients that have promises
 *   congested()                                 whether too much is buffered; only clients that leave back pressure to the user
 *   memory()                                    bytes of memory outside the JavaScript heap, if the client knows
 *   end()
 *
 * The runtime has cpu(), the CPU µs that the process or page has used so far, and in a page main(), those of its main thread; burst(count,
 * sending), which tells the broker and resolves when the broker has sent and received everything; later(callback), which runs a new task
 * without the delay of timers; and in Node rss() and heap(), in bytes.
 *
 * The null broker goes no faster than the client. A real one queues or drops, so that there the receiver says how far it is, tell(seen), and
 * the publisher listens, onSeen. The other side of a real broker is a process that serves bursts: it receives them or sends them.
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
  if (job.serves) return serve(client, scenario, runtime, events)
  const another = () => create(job, events)
  const result = await Promise.race([
    failed,
    kinds[scenario.kind](client, scenario, job.timing, runtime, events, another),
  ])
  client.end()
  return result
}

/** Plays the other side of a real broker: receives what the measured client sends, or sends what it receives, until the process is ended. */
async function serve(client, scenario, runtime, events) {
  const own = { ...runtime, burst: async () => {} }
  if (scenario.kind === 'publish') {
    const receive = await receiver(client, scenario, own)
    runtime.serve((count) => receive(count, true))
  } else {
    await client.connect()
    runtime.serve(publisher(client, { ...scenario, window: SERVED }, own, events, AHEAD))
  }
  return new Promise((_, reject) => (events.fail = reject))
}

/** Through a real broker, a publisher may be this many messages ahead of the receiver, which says so each TELL messages. */
const AHEAD = 2_000
const TELL = 250
/** What the other side of a real broker has in flight at most. */
const SERVED = 1_000

const kinds = {
  async receive(client, scenario, timing, runtime) {
    const receive = await receiver(client, scenario, runtime)
    return { ...(await perMessage(receive, scenario, timing, runtime)), ...memory(client, runtime) }
  },

  async publish(client, scenario, timing, runtime, events) {
    await client.connect()
    return {
      ...(await perMessage(
        publisher(client, scenario, runtime, events, runtime.onSeen && 0),
        scenario,
        timing,
        runtime,
      )),
      ...memory(client, runtime),
    }
  },

  /** Sends one message at a time. */
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

  /** Makes round trips, one at a time. */
  async echo(client, scenario, timing) {
    const trips = await echoer(client, scenario)
    const medians = []
    for (let batch = 0; batch < timing.batches; batch++) medians.push(await trips())
    return { value: Math.min(...medians) }
  },

  /** Sends messages to itself through a real broker at a steady rate, and measures how long each takes. */
  async paced(client, { traffic, qos, rate }, timing, runtime) {
    await client.connect()
    const sent = []
    const took = []
    let wrong
    let arrived = () => {}
    const check = (topic, payload) => {
      const number = took.length
      took.push((performance.now() - sent[number]) * 1_000)
      if (topic !== traffic.topic(number) || !equal(payload, traffic.payload(number)))
        wrong ??= new Error(`message ${number} is wrong`)
      arrived()
    }
    await client.subscribe(traffic.filters, qos, check)
    const run = async (ms) => {
      const count = sent.length + Math.ceil((ms * rate) / 1_000)
      const began = performance.now() - (sent.length / rate) * 1_000
      while (sent.length < count) {
        const due = Math.min(count, ((performance.now() - began) * rate) / 1_000)
        while (sent.length < due) {
          const number = sent.length
          sent.push(performance.now())
          client.publish(traffic.topic(number), traffic.payload(number), qos)
        }
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
      if (took.length < count)
        await new Promise((resolve) => {
          arrived = () => took.length >= count && resolve(undefined)
        })
    }
    await run(timing.warm)
    const warm = took.length
    const cpu = runtime.cpu()
    await run(4 * timing.target)
    const used = runtime.cpu() - cpu
    await new Promise((resolve) => setTimeout(resolve, timing.settle))
    if (wrong) throw wrong
    if (took.length !== sent.length) throw new Error('there are too many messages')
    const measured = took.slice(warm).toSorted((a, b) => a - b)
    const at = (share) => measured[Math.floor(measured.length * share)]
    return { value: at(0.5), tail: at(0.99), cpu: used / measured.length }
  },

  /** Receives at a steady rate, and measures how many ms of each second the main thread of the page is busy. */
  async load(client, scenario, timing, runtime) {
    const { rate, traffic } = scenario
    const receive = await receiver(client, scenario, runtime)
    const during = (ms) => Math.ceil((ms * rate) / 1_000 / traffic.cycle) * traffic.cycle
    await receive(during(timing.warm), true)
    await receive(during(timing.warm), false)
    await new Promise((resolve) => setTimeout(resolve, timing.settle))
    const busy = await (runtime.main ?? runtime.cpu)()
    const start = performance.now()
    await receive(during(4 * timing.target), false)
    const took = performance.now() - start
    return { value: ((await (runtime.main ?? runtime.cpu)()) - busy) / took }
  },

  /** Measures how much the resident set of a fresh process grows. */
  async memory(client, scenario, timing, runtime) {
    const receive = await receiver(client, scenario, runtime)
    const before = runtime.rss()
    await receive(timing.messages)
    return { value: (runtime.rss() - before) / 1e6 }
  },

  /** Fills the queue without a connection, then connects and drains it. Warms up with a smaller queue of another client. */
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

  /** Sends bursts in both directions on one connection, and takes a sample every few seconds. */
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

/** Measures the time from the import of the library, nothing of which is loaded before, to CONNACK. */
async function start(job, runtime) {
  const began = performance.now()
  const { create } = await import(`./clients/${job.client}.mjs`)
  const client = await create(job, { done() {}, fail() {} })
  await client.connect()
  const now = performance.now()
  client.end()
  // In a page, zero is the navigation. A process in Node has started before it got the job.
  return { value: now - began, ...(runtime.main && { tail: now }) }
}

/**
 * Warms up with bursts of growing size, and then measures a burst that lasts about `timing.target` ms. In the first burst, every message is
 * compared. The last is like the one that is measured, only shorter.
 */
async function perMessage(run, { traffic }, timing, runtime) {
  const cycles = (count) => Math.ceil(count / traffic.cycle) * traffic.cycle
  let count = traffic.cycle
  for (let warm = 0; ; ) {
    const checkAll = warm < timing.warm / 2
    const { cpu, wall } = await timed(() => run(count, checkAll), runtime)
    // On a busy machine, the client has had less time than passed, and is not yet compiled when enough has passed. A client that waits for its
    // broker never has much.
    const took = Math.max(cpu, wall / 2)
    warm += took
    if (warm >= timing.warm && !checkAll) {
      count = cycles((count * timing.target) / took)
      break
    }
    if (took < timing.warm / 2)
      count = cycles(count * Math.min(8, Math.max(1.5, timing.warm / 2 / took)))
  }
  await new Promise((resolve) => setTimeout(resolve, timing.settle))
  const { cpu, wall } = await timed(() => run(count, false), runtime)
  return { value: (cpu / count) * 1_000, rate: (count / wall) * 1_000, messages: count }
}

/** Returns how many ms of CPU time some work takes, and how many ms pass. */
async function timed(work, runtime) {
  const cpu = await runtime.cpu()
  const start = performance.now()
  await work()
  const wall = performance.now() - start
  return { cpu: ((await runtime.cpu()) - cpu) / 1_000, wall }
}

/** Connects, subscribes, and returns a function that receives `count` messages. It compares all messages during the warm-up, and later one of 1,024. */
export async function receiver(client, { traffic, qos }, runtime) {
  const tally = new Tally(traffic, runtime.tell)
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

  /** @param {(seen: number) => void} [tell] Through a real broker, is called from time to time. */
  constructor(traffic, tell) {
    this.traffic = traffic
    this.tell = tell
    this.size = traffic.topic(0).length + traffic.payload(0).length
    this.total = this.next = this.count = this.lengths = 0
  }

  expect(count, checkAll) {
    this.total = count
    this.count = this.lengths = 0
    this.next = this.tell ? Math.min(TELL, count) : count
    this.tell?.(0)
    this.mask = checkAll ? 0 : 1_023
    return new Promise((resolve, reject) => Object.assign(this, { resolve, reject }))
  }

  message(topic, payload) {
    this.lengths += topic.length + payload.length
    if ((this.count & this.mask) === 0) this.compare(topic, payload)
    if (++this.count === this.next) this.reached()
  }

  reached() {
    if (this.count === this.total) return this.resolve()
    this.tell(this.count)
    this.next = Math.min(this.count + TELL, this.total)
  }

  /** The raw floors report the bytes that they received. All packets have the same length. */
  bytes(length) {
    this.lengths += length
    if (this.lengths === this.total * this.packetLength) this.resolve()
  }

  compare(topic, payload) {
    const number = this.count % this.traffic.cycle
    if (topic !== this.traffic.topic(number) || !equal(payload, this.traffic.payload(number)))
      this.reject(
        new Error(`message ${this.count} is wrong: ${payload.subarray(0, 4)} of ${payload.length}`),
      )
  }

  check() {
    if (this.lengths !== this.total * (this.packetLength ?? this.size))
      throw new Error('a message is wrong, or there are too many')
  }
}

/** Connects, subscribes, and returns a function that makes a thousand round trips, one at a time, and returns the median of their times in µs. */
export async function echoer(client, { traffic }) {
  await client.connect()
  const payload = traffic.payload(0)
  let arrived
  const check = (topic, bytes) => {
    if (topic !== traffic.topic(0) || !equal(bytes, payload)) throw new Error('the echo is wrong')
    arrived()
  }
  await client.subscribe(traffic.filters, 0, check, { bytes: () => arrived() })
  return async () => {
    const times = []
    while (times.length < 1_000) {
      const start = performance.now()
      await new Promise((resolve) => {
        arrived = resolve
        client.publish(traffic.topic(0), payload, 0)
      })
      times.push((performance.now() - start) * 1_000)
    }
    return median(times)
  }
}

/**
 * Returns a function that publishes `count` messages, with `window` in flight, and refills once per turn of the event loop. The first `start` go
 * before the receiver has said how far it is.
 */
export function publisher(client, { traffic, qos, window }, runtime, events, start = Infinity) {
  return async (count) => {
    let sent = 0
    let completed = 0
    let ahead = start
    let scheduled = false
    let resolve
    const published = new Promise((settle) => (resolve = settle))
    const turn = () => {
      scheduled = false
      const most = Math.min(count, ahead, sent + window)
      while (sent < most && sent - completed < window)
        sent += client.publish(traffic.topic(sent), traffic.payload(sent), qos) ?? 1
      if (sent - completed < window && sent < ahead) schedule()
    }
    runtime.onSeen?.((seen) => {
      ahead = seen + AHEAD
      schedule()
    })
    const schedule = () => {
      if (scheduled || sent >= count) return
      scheduled = true
      if (client.congested?.()) setTimeout(turn, 1)
      else runtime.later(turn)
    }
    events.done = (n = 1) => {
      completed += n
      if (completed === count) resolve()
      else if (sent < ahead) schedule()
    }
    const finished = runtime.burst(count, false)
    turn()
    await Promise.all([finished, published])
  }
}

export function median(values) {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[sorted.length >> 1]
}
