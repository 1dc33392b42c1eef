// The short form of `npm run test:brokers`: all checks of the brokers that are here, one test for each broker.

import { deepEqual, ok } from 'node:assert/strict'
import { test } from 'node:test'
import { checkBroker, summary } from './broker-table.mjs'
import { kinds } from './brokers.mjs'

for (const kind of kinds)
  test(`every check of ${kind.name} ends as expected, or for a known reason`, {
    timeout: 300_000,
    skip: !kind.present() && `it is not installed: ${kind.install}`,
  }, async (t) => {
    const report = await checkBroker(kind)
    t.diagnostic(summary(report))
    deepEqual(
      report.outcomes.filter(({ result }) => result === 'ours'),
      [],
    )
    ok(report.outcomes.length >= 100)
  })
