// The short form of `npm run test:proxies`: all of its checks, for the proxies that are installed.

import { deepEqual } from 'node:assert/strict'
import { test } from 'node:test'
import { findCommand } from '../../scripts/tools.mjs'
import { checkProxy, checkSecure, proxies } from './proxies.mjs'

const noBroker =
  !findCommand('mosquitto') && 'Mosquitto is not installed: apt-get install mosquitto'

for (const proxy of proxies)
  test(`proxies: what the client says and does about the answers of ${proxy.name}`, {
    timeout: 90_000,
    skip: noBroker || (!proxy.present() && `${proxy.name} is not installed: ${proxy.install}`),
  }, async (t) => {
    const outcomes = await checkProxy(t, proxy)
    deepEqual(
      outcomes.filter(({ ok }) => !ok),
      [],
    )
  })

test('TLS: what the client says about the certificates of Mosquitto, and Mosquitto of its own', {
  timeout: 90_000,
  skip: noBroker,
}, async (t) => {
  const outcomes = await checkSecure(t)
  deepEqual(
    outcomes.filter(({ ok }) => !ok),
    [],
  )
})
