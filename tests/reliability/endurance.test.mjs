// The short form of `npm run test:endurance`.

import { deepEqual, ok } from 'node:assert/strict'
import { test } from 'node:test'
import { endure } from './endurance.mjs'

test('endurance: 15 seconds of traffic with faults leave no socket, timer or listener', {
  timeout: 90_000,
}, async (t) => {
  const { before, after, lost, repeated, failed, sent, faults, samples } = await endure({
    seconds: 15,
  })
  t.diagnostic(JSON.stringify({ sent, faults, before, after, samples }))
  deepEqual({ lost, repeated, failed }, { lost: 0, repeated: 0, failed: 0 })
  for (const kind of ['sockets', 'servers', 'timers', 'listeners'])
    ok(after[kind] <= before[kind], `${kind}: ${before[kind]}, then ${after[kind]}`)
})
