// The short form of `npm run test:storms`.

import { deepEqual, ok } from 'node:assert/strict'
import { test } from 'node:test'
import { kinds } from './brokers.mjs'
import { storm } from './storms.mjs'

for (const name of ['wasmqtt/testing', 'Mosquitto']) {
  const kind = kinds.find((each) => each.name === name)
  test(`storms: 300 clients come back to ${name}, not at once, and lose nothing`, {
    timeout: 150_000,
    skip: !kind.present() && `${name} is not installed: ${kind.install}`,
  }, async (t) => {
    const result = await storm(await kind.run(t), { clients: 300, outage: 500 })
    t.diagnostic(JSON.stringify(result))
    const { lost, unsettled, rejected } = result
    deepEqual({ lost, unsettled, rejected }, { lost: 0, unsettled: 0, rejected: 0 })
    ok(result.attempts >= 300)
    // Planned evenly over a second, about a tenth of them are within 100 ms.
    ok(result.peakPlanned <= 90, `${result.peakPlanned} first attempts within 100 ms`)
  })
}
