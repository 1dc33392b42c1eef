// The short form of `npm run test:networks`.

import { deepEqual, ok } from 'node:assert/strict'
import { test } from 'node:test'
import { kinds } from './brokers.mjs'
import { runManyKilled } from './killed.mjs'
import { faultsOf, runMany } from './networks.mjs'

test('bad networks: 20 seeds lose, repeat, disorder and forget nothing', {
  timeout: 120_000,
}, async (t) => {
  const kind = kinds.find(({ name }) => name === 'wasmqtt/testing')
  const broker = await kind.run(t)
  const total = await runMany(broker, {
    from: 1,
    seeds: 20,
    messages: 130,
    atOnce: 10,
    tell: (seed, result) => t.diagnostic(`seed ${seed}: ${JSON.stringify(result)}`),
  })
  t.diagnostic(JSON.stringify(total))
  const { lost, duplicates, disordered, unsettled, failed } = total
  deepEqual(
    { lost, duplicates, disordered, unsettled, failed },
    { lost: 0, duplicates: 0, disordered: 0, unsettled: 0, failed: 0 },
  )
  ok(faultsOf(total) >= 60, `${faultsOf(total)} faults`)
})

for (const store of [true, false])
  test(`bad networks: processes that publish ${store ? 'with a FileStore' : 'without a store'} are killed`, {
    timeout: 120_000,
  }, async (t) => {
    const kind = kinds.find(({ name }) => name === 'wasmqtt/testing')
    const total = await runManyKilled(await kind.run(t), {
      from: 1,
      seeds: 3,
      kills: 2,
      store,
      atOnce: 3,
      tell: (seed, result) => t.diagnostic(`seed ${seed}: ${JSON.stringify(result)}`),
    })
    t.diagnostic(JSON.stringify(total))
    const { lost, duplicates, disordered } = total
    deepEqual({ lost, duplicates, disordered }, { lost: 0, duplicates: 0, disordered: 0 })
    ok(total.messages > 100 && total.faults > 0)
  })
