// The short form of `npm run test:endurance`.

import { deepEqual, ok } from 'node:assert/strict'
import { test } from 'node:test'
import { findChromium } from '../../scripts/commands.mjs'
import { endure } from './endurance.mjs'

const none = !findChromium() && 'Chromium is not installed: apt-get install chromium'

for (const [where, seconds, skip] of /** @type {const} */ ([
  ['Node', 8, false],
  ['tab', 6, none],
  ['worker', 6, none],
]))
  test(`endurance, ${where}: ${seconds} seconds of traffic with faults leave no socket, timer or listener`, {
    timeout: 90_000,
    skip,
  }, async (t) => {
    const { samples, before, after, ...result } = await endure({ seconds, where })
    t.diagnostic(JSON.stringify({ ...result, before, after, samples }))
    const { lost, repeated, failed, open } = result
    deepEqual({ lost, repeated, failed, open }, { lost: 0, repeated: 0, failed: 0, open: 0 })
    ok(samples.length > 1 && samples.at(-1).rss > 0)
    for (const kind of ['sockets', 'servers', 'timers', 'listeners'])
      ok(after[kind] <= before[kind], `${kind}: ${before[kind]}, then ${after[kind]}`)
  })
