/**
 * The scenarios that are measured. `target` is the goal for wasmqtt, in the unit of the scenario: CPU µs per message, unless `unit` says
 * otherwise. size: payload bytes · topics: distinct topics · filters: subscriptions, each with its own handler · single: one packet per
 * WebSocket frame · window: messages in flight at most · rate: messages a second · among: the clients that are measured, if
 * not all · repeats: measurements in each round · cycle: messages after which topics and payloads repeat.
 */

const KiB = 1024
const MiB = 1024 * KiB
const receive = (qos, size, more) => ({
  kind: 'receive',
  qos,
  size,
  window: qos ? 2_000 : 0,
  sends: qos > 0,
  ...more,
})
const publish = (qos, size, more) => ({
  kind: 'publish',
  qos,
  size,
  window: Math.min(1_000, Math.max(16, Math.floor((256 * KiB) / size))),
  sends: true,
  ...more,
})

/** Packets of this size take long, so that only some clients are measured. */
const large = { among: ['wasmqtt', 'mqttjs', 'sap', 'floor'] }

export const node = [
  { name: 'receive QoS 0, 16 B', target: 0.2, ...receive(0, 16) },
  { name: 'receive QoS 0, 256 B', target: 0.35, ...receive(0, 256) },
  { name: 'receive QoS 0, 4 KiB', target: 3.0, ...receive(0, 4 * KiB) },
  { name: 'receive QoS 0, 64 KiB', target: 48, ...receive(0, 64 * KiB) },
  {
    name: 'receive QoS 0, 256 B, one per frame',
    target: 0.9,
    ...receive(0, 256, { single: true }),
  },
  { name: 'receive QoS 0, 16 B, one per frame', ...receive(0, 16, { single: true }) },
  {
    name: 'receive QoS 0, 256 B, one per frame, 20,000 a second',
    ...receive(0, 256, { single: true, rate: 20_000 }),
  },
  {
    name: 'receive QoS 0, 256 B, 1,000 topics',
    target: 0.4,
    ...receive(0, 256, { topics: 1_000 }),
  },
  { name: 'receive QoS 1, 256 B', target: 0.5, ...receive(1, 256) },
  { name: 'receive QoS 2, 256 B', target: 0.75, ...receive(2, 256) },
  { name: 'receive QoS 1, 4 KiB', ...receive(1, 4 * KiB) },
  { name: 'receive QoS 2, 4 KiB', ...receive(2, 4 * KiB) },
  { name: 'receive QoS 1, 8 MiB', ...large, ...receive(1, 8 * MiB, { window: 4 }) },
  {
    name: 'receive QoS 1, 256 B, one per frame, window 20',
    target: 4.8,
    ...receive(1, 256, { single: true, window: 20 }),
  },
  {
    name: 'receive QoS 0, 256 B, 100 wildcard subscriptions',
    target: 0.45,
    ...receive(0, 256, { topics: 1_000, filters: 100 }),
  },
  { name: 'publish QoS 0, 16 B', target: 0.4, ...publish(0, 16) },
  { name: 'publish QoS 0, 256 B', target: 0.45, ...publish(0, 256) },
  { name: 'publish QoS 0, 4 KiB', target: 4, ...publish(0, 4 * KiB) },
  { name: 'publish QoS 1, 256 B', target: 0.8, ...publish(1, 256) },
  { name: 'publish QoS 1, 8 MiB', ...large, ...publish(1, 8 * MiB, { window: 4 }) },
  { name: 'publish QoS 1, 256 B, await each', target: 40, ...publish(1, 256, { kind: 'await' }) },
  { name: 'publish QoS 2, 256 B', target: 1.2, ...publish(2, 256) },
  {
    name: 'echo QoS 0, 256 B, best p50',
    target: 24,
    kind: 'echo',
    qos: 0,
    size: 256,
    single: true,
    sends: true,
    unit: 'µs',
    best: true,
  },
  {
    name: 'memory growth, 1 million × 16 B received',
    target: 10,
    kind: 'memory',
    qos: 0,
    size: 16,
    unit: 'MB',
  },
  { name: 'import to CONNACK', kind: 'start', size: 16, unit: 'ms', repeats: 5 },
]

export const browser = [
  { name: 'receive QoS 0, 256 B', target: 3.0, ...receive(0, 256) },
  { name: 'receive QoS 1, 256 B', target: 4.0, ...receive(1, 256) },
  { name: 'receive QoS 0, 4 KiB', target: 42, ...receive(0, 4 * KiB) },
  { name: 'publish QoS 0, 16 B', target: 1.0, ...publish(0, 16) },
  { name: 'publish QoS 0, 256 B', target: 3.5, ...publish(0, 256) },
  { name: 'publish QoS 1, 256 B', target: 3.5, ...publish(1, 256) },
  {
    name: '5,000 messages of 256 B a second for 50 handlers, main thread',
    ...receive(0, 256, { single: true, rate: 5_000, topics: 50, filters: 50 }),
    kind: 'load',
    unit: 'ms/s',
  },
  { name: 'import to CONNACK', kind: 'start', size: 16, unit: 'ms', repeats: 5 },
]

/** Through a real broker, to or from a process that is not measured; `paced` ones there and back. */
export const broker = ['WebSocket', 'TCP'].flatMap((transport) => [
  ...[0, 1, 2].flatMap((qos) => [
    // Mosquitto takes no more than 20 of QoS 2 at once. With more, runs of other clients failed their check of contents.
    {
      name: `publish QoS ${qos}, 256 B, ${transport}`,
      transport,
      ...publish(qos, 256, { cycle: 500, ...(qos === 2 && { window: 20 }) }),
    },
    {
      name: `receive QoS ${qos}, 256 B, ${transport}`,
      transport,
      ...receive(qos, 256, { cycle: 500 }),
    },
  ]),
  ...[0, 1, 2].map((qos) => ({
    name: `there and back QoS ${qos}, 256 B, 1,000 a second, ${transport}`,
    transport,
    kind: 'paced',
    qos,
    size: 256,
    rate: 1_000,
    unit: 'µs',
  })),
])
