// `watch()` and `fromMessagePort()` in headless Chromium: what a draw costs, a hidden page's view of it, and a client in a worker.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { openPage, serveScripts, startChromium } from './chromium.mjs'

let server
before(async () => {
  server = await serveScripts()
})
after(() => server.close())

const open = (browser) => openPage(browser, server.url)

/** Milliseconds of a CPU profile, by what ran. */
function times({ nodes, samples, timeDeltas }) {
  const kinds = new Map(
    nodes.map(({ id, callFrame: { url, functionName } }) => [
      id,
      functionName === '(garbage collector)'
        ? 'garbage'
        : url.startsWith('wasm:')
          ? 'wasm'
          : url.includes('/pkg/')
            ? 'js'
            : 'other',
    ]),
  )
  const sums = { garbage: 0, wasm: 0, js: 0, other: 0 }
  for (const [at, id] of samples.entries()) sums[kinds.get(id)] += timeDeltas[at] / 1_000
  return sums
}

const DRAWS = 30

test('100,000 topics at 10,000 messages a second, for a page that draws 10 times a second', async (t) => {
  const browser = await startChromium(t)
  const { page, problems } = await open(browser)
  await page.evaluate(async (draws) => {
    const { Client } = await import('/pkg/index.js')
    const { Loopback, concat, publish } = await import('/tests/js/loopback.mjs')
    const broker = new Loopback()
    const client = new Client('x://y', { transport: broker.transport, keepalive: 0 })
    await client.connect()
    const watch = client.watch('plant/#', { conflate: 100, limit: 100_000 })
    await watch.ready
    const encoder = new TextEncoder()
    const topic = (n) => `plant/line${n % 100}/machine${Math.floor(n / 100)}/temperature`
    let sent = 0
    /** Frames of 100 messages. */
    const frames = (count, pick) =>
      Array.from({ length: count }, () =>
        concat(
          Array.from({ length: 100 }, () =>
            publish(topic(pick()), encoder.encode(`{"value":${sent++},"unit":"celsius"}`)),
          ),
        ),
      )
    let drawn = 0
    const scope = /** @type {any} */ (globalThis)
    Object.assign(scope, { watch })
    watch.onChange((topics) => {
      // A page draws what it shows of it.
      for (const each of topics.slice(0, 50)) drawn += watch.get(each).payload.length
    })
    let next = 0
    for (const frame of frames(1_000, () => next++)) broker.socket.onmessage({ data: frame.buffer })
    const random = () => Math.floor(Math.random() * 100_000)
    const due = Array.from({ length: draws }, () => frames(10, random))
    scope.draw = async () => {
      for (const frames of due) {
        for (const frame of frames) broker.socket.onmessage({ data: frame.buffer })
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      return { size: watch.size, drawn, last: sent - 1 }
    }
  }, DRAWS)
  const session = await page.context().newCDPSession(page)
  await session.send('Profiler.enable')
  await session.send('Profiler.setSamplingInterval', { interval: 100 })
  await session.send('Profiler.start')
  const { size, drawn } = await page.evaluate(() => /** @type {any} */ (globalThis).draw())
  const { profile } = await session.send('Profiler.stop')
  const { js, wasm, garbage } = times(profile)
  const per = (time) => `${(time / DRAWS).toFixed(2)} ms`
  t.diagnostic(
    `a draw: ${per(js)} of JavaScript, ${per(wasm)} of wasm, ${per(garbage)} of garbage collection`,
  )
  assert.equal(size, 100_000)
  assert.ok(drawn > 0)
  assert.deepEqual(problems, [])
  await page.close()
})

test('fromMessagePort: a client in a worker, whose page has the connection', async (t) => {
  const browser = await startChromium(t)
  const { page, problems } = await open(browser)
  const got = await page.evaluate(async () => {
    const { TestBroker } = await import('/pkg/testing.js')
    const broker = new TestBroker()
    const { port1, port2 } = new MessageChannel()
    const socket = await broker.transport(new URL('ws://broker'), {
      protocols: ['mqtt'],
      signal: new AbortController().signal,
    })
    const opened = new Promise((resolve) => (socket.onopen = resolve))
    socket.binaryType = 'arraybuffer'
    socket.onmessage = ({ data }) => port1.postMessage(data)
    socket.onclose = () => port1.postMessage(null)
    await opened
    port1.onmessage = ({ data }) => (data === null ? socket.close() : socket.send(data))
    const code = `
      onmessage = async ({ data }) => {
        const { Client, fromMessagePort } = await import('${location.origin}/pkg/index.js')
        const client = new Client('port://page', { transport: () => fromMessagePort(data) })
        await client.connect()
        const watch = client.watch('a/#', { qos: 1 })
        await watch.ready
        watch.onChange(async ([topic]) => {
          await client.publish('answer', topic + watch.get(topic).text(), { qos: 2 })
          await client.end()
          postMessage(client.state)
        })
      }`
    const url = URL.createObjectURL(new Blob([code], { type: 'text/javascript' }))
    const worker = new Worker(url, { type: 'module' })
    worker.postMessage(port2, [port2])
    await broker.expect({ type: 'subscribe' })
    await broker.expect({ type: 'suback' })
    broker.publish('a/b', 'c', { qos: 1 })
    const answer = await broker.expect({ type: 'publish', topic: 'answer' })
    const state = await new Promise((resolve) => (worker.onmessage = ({ data }) => resolve(data)))
    return [
      new TextDecoder().decode(/** @type {any} */ (answer.payload)),
      state,
      broker.clients.length,
    ]
  })
  assert.deepEqual(got, ['a/bc', 'closed', 0])
  assert.deepEqual(problems, [])
  await page.close()
})
