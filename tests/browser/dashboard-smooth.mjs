// How smooth the dashboard stays while messages pour in: `npm run bench:dashboard`. A source of its own sends messages at a steady rate over
// one WebSocket; a person, played by the browser's own input, clicks, types and scrolls. Says how long it took from the input to the paint,
// what the heap did, and whether anything was lost. Fails where a limit is broken.
//   --rate N      messages a second (5000)     --topics N  topics (2000)
//   --minutes N   how long (10)                --p95 MS    limit of the 95th percentile (100)     --worst MS  (250)
import { once } from 'node:events'
import { createServer } from 'node:http'
import { loadavg } from 'node:os'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { WebSocketServer } from 'ws'
import { main, Problem, portOf } from '../../scripts/tools.mjs'
import { buildDashboard } from '../../www/build.mjs'
import { openPage, startChromium } from './chromium.mjs'
import { staticHost } from './dashboard-harness.mjs'

const { values } = parseArgs({
  options: Object.fromEntries(
    Object.entries({ rate: '5000', topics: '2000', minutes: '10', p95: '100', worst: '250' }).map(
      ([name, standard]) => [name, { type: 'string', default: standard }],
    ),
  ),
})
const [rate, topics, minutes, p95Limit, worstLimit] = [
  'rate',
  'topics',
  'minutes',
  'p95',
  'worst',
].map((name) => Number(values[name]))

/** A PUBLISH of version 5 with QoS 0. */
function publish(topic, payload) {
  const name = Buffer.from(topic)
  const body = Buffer.concat([
    Buffer.from([name.length >> 8, name.length & 255]),
    name,
    Buffer.from([0]),
    Buffer.from(payload),
  ])
  if (body.length > 127) throw new Error('the length would need two bytes')
  return Buffer.concat([Buffer.from([0x30, body.length]), body])
}

/** Answers CONNECT, SUBSCRIBE and PINGREQ; sends what it is told. */
async function source() {
  const http = createServer().listen(0, '127.0.0.1')
  await once(http, 'listening')
  const server = new WebSocketServer({
    server: http,
    handleProtocols: () => 'mqtt',
    perMessageDeflate: false,
  })
  const subscribed = new Promise((resolve) => {
    server.on('connection', (socket) =>
      socket.on('message', (data) => {
        const type = data[0] >> 4
        if (type === 1) socket.send(Buffer.from([0x20, 3, 0, 0, 0]))
        if (type === 8) {
          socket.send(Buffer.from([0x90, 4, data[2], data[3], 0, 0]))
          resolve(socket)
        }
        if (type === 12) socket.send(Buffer.from([0xd0, 0]))
      }),
    )
  })
  return { url: `ws://127.0.0.1:${portOf(http)}/mqtt`, subscribed, stop: () => http.close() }
}

main(async () => {
  await buildDashboard()
  const ends = []
  const [host, broker] = await Promise.all([staticHost(), source()])
  const browser = await startChromium({ after: (end) => ends.push(end) })
  try {
    const nameOf = (n) => `plant/line-${n % 40}/machine-${Math.floor(n / 40)}/value`
    const address = new URLSearchParams([
      ['url', broker.url],
      ['sub', '0:#'],
      ['topic', nameOf(0)],
      ['chart', `${nameOf(0)}\n`],
      ['chart', `${nameOf(1)}\n`],
      ['panel', 'charts'],
    ])
    const { page, problems } = await openPage(browser, `${host.url}#${address}`, {
      viewport: { width: 1440, height: 900 },
    })
    const socket = await broker.subscribed
    await page.evaluate(() => {
      globalThis.inputs = new Map()
      new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) {
          const {
            interactionId,
            duration,
            name,
            startTime,
            processingStart,
            processingEnd,
            target,
          } = /** @type {any} */ (entry)
          if (!interactionId || duration <= (inputs.get(interactionId)?.duration ?? 0)) continue
          // Waiting for the page, its own work, and the rest until the paint.
          const parts = [processingStart - startTime, processingEnd - processingStart]
          parts.push(startTime + duration - processingEnd)
          const where = target?.id || target?.className?.baseVal || target?.className || ''
          inputs.set(interactionId, { duration, name, where, parts: parts.map(Math.round) })
        }
      }).observe(
        /** @type {PerformanceObserverInit} */ ({
          type: 'event',
          durationThreshold: 16,
          buffered: true,
        }),
      )
    })
    // What the page did in its longest frames: by whom it was called, and how long styles and layout took.
    await page.evaluate(() => {
      const kept = (globalThis.longFrames = [])
      new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) {
          const { startTime, duration, styleAndLayoutStart, scripts } = /** @type {any} */ (entry)
          const end = startTime + duration
          const layout = styleAndLayoutStart ? Math.round(end - styleAndLayoutStart) : 0
          const said = scripts
            .filter((script) => script.duration >= 5)
            .map((script) => `${script.invoker} ${Math.round(script.duration)}`)
          kept.push({ startTime, duration, layout, said })
          kept.sort((a, b) => b.duration - a.duration)
          kept.length = Math.min(kept.length, 6)
        }
      }).observe({ type: 'long-animation-frame' })
    })
    const devtools = await page.context().newCDPSession(page)
    const heap = async () => {
      await devtools.send('HeapProfiler.collectGarbage')
      return (await devtools.send('Runtime.getHeapUsage')).usedSize / 2 ** 20
    }

    let sent = 0
    const began = performance.now()
    const end = began + minutes * 60_000
    const pump = setInterval(() => {
      const due = Math.floor(((Math.min(performance.now(), end) - began) / 1_000) * rate)
      const packets = []
      for (; sent < due; sent++)
        packets.push(
          publish(
            nameOf(sent % topics),
            (20 + 5 * Math.sin(sent / 9_973) + Math.random()).toFixed(3),
          ),
        )
      if (packets.length) socket.send(Buffer.concat(packets))
    }, 10)

    const heaps = []
    let did = 0
    const doOne = [
      () => page.mouse.click(160, 130 + 26 * (did % 20)),
      () => page.keyboard.press('ArrowDown'),
      () => page.mouse.click(700, 640 + 27 * (did % 6)),
      () => page.getByRole('tab', { name: did % 2 ? 'Charts' : 'Messages' }).click(),
      async () => {
        // A branch has no payload.
        const form = page.getByRole('tab', { name: did % 2 ? 'History' : 'Text' })
        if (await form.count()) await form.click()
      },
      async () => {
        await page.fill('#search', '')
        await page.locator('#search').pressSequentially(`line-${did % 40}`)
      },
      async () => {
        await page.fill('#search', '')
        await page.mouse.move(160, 400)
        await page.mouse.wheel(0, did % 3 ? 900 : -1_500)
      },
    ]
    // The histories fill first: that is no growth.
    const warm = began + Math.min(minutes * 50_000, (1.3 * 100 * topics * 1_000) / rate)
    let nextHeap = warm
    while (performance.now() < end) {
      await doOne[did++ % doOne.length]()
      await sleep(300)
      if (performance.now() > nextHeap) {
        heaps.push(await heap())
        // A collection that was asked for stops the page, as none of its own does: what has piled up meanwhile is not measured.
        await sleep(500)
        nextHeap += Math.max(10_000, (end - warm) / 8)
      }
    }
    clearInterval(pump)
    await sleep(1_000)
    heaps.push(await heap())
    const shown = Number(await page.getAttribute('#tree-count', 'data-total'))
    const inputs = (await page.evaluate(() => [...inputs.values()])).sort(
      (a, b) => a.duration - b.duration,
    )
    const durations = inputs.map(({ duration }) => duration)
    // Faster ones than the observer reports count as its threshold.
    const all = [...new Array(Math.max(0, did - durations.length)).fill(16), ...durations]
    const at = (share) => all[Math.min(all.length - 1, Math.floor(share * all.length))]
    const round = (value) => Math.round(value * 10) / 10
    const load = loadavg()[1].toFixed(1)
    console.log(
      `${rate} messages a second over ${topics} topics for ${minutes} min, ${all.length} inputs, load of the machine ${load}`,
    )
    console.log(
      `input to paint: median ${at(0.5)} ms, p95 ${at(0.95)} ms, worst ${at(1)} ms (${inputs.at(-1)?.name ?? '-'})`,
    )
    for (const { duration, name, where, parts } of inputs.slice(-4).reverse())
      console.log(
        `  ${duration} ms: ${name} ${where}, waited ${parts[0]}, handled ${parts[1]}, painted ${parts[2]}`,
      )
    const longest = await page.evaluate(() => globalThis.longFrames)
    for (const { startTime, duration, layout, said } of longest)
      console.log(
        `  frame of ${Math.round(duration)} ms after ${Math.round(startTime / 1_000)} s: ${[...said, `layout and paint ${layout}`].join(', ')}`,
      )
    console.log(`heap after a collection, MiB: ${heaps.map(round).join(' ')}`)
    console.log(`sent ${sent}, shown ${shown}, lost ${sent - shown}`)
    if (sent !== shown) throw new Problem(`${sent - shown} messages were lost.`)
    if (at(0.95) > p95Limit || at(1) > worstLimit)
      throw new Problem(
        `Input took longer than ${p95Limit} ms at p95 or ${worstLimit} ms at worst.`,
      )
    if (heaps.at(-1) > heaps[0] * 1.15 + 3) throw new Problem('The heap grows.')
    if (problems.length) throw new Problem(problems.join('\n'))
  } finally {
    for (const stop of ends) await stop()
    host.stop()
    broker.stop()
  }
  process.exit()
})
