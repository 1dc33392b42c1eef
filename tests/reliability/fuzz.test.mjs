// The short form of `npm run test:fuzz`.

import { deepEqual, ok } from 'node:assert/strict'
import { test } from 'node:test'
import { Client } from '../../pkg/node.js'
import { findChromium } from '../../scripts/commands.mjs'
import { fuzz } from './fuzz.mjs'
import { fuzzInPage } from './fuzz-page.mjs'

const MIB = 1_048_576

function check(t, result) {
  t.diagnostic(JSON.stringify(result))
  deepEqual(result.faults, [])
  // It has got as far as messages and answers.
  ok(result.messages > 0 && result.packets > result.connections)
  ok(result.wasm < 16 * MIB, `${result.wasm} bytes of WebAssembly memory`)
}

test('hostile server: 8 seconds of what a seed decides break nothing in Node', {
  timeout: 120_000,
}, async (t) => {
  const seed = 1
  check(t, await fuzz(Client, { seconds: 8, seed }))
})

test('hostile server: 5 seconds of what a seed decides break nothing in Chromium', {
  timeout: 120_000,
  skip: !findChromium() && 'Chromium is not installed: apt-get install chromium',
}, async (t) => {
  const seed = 1
  check(t, await fuzzInPage(t, { seconds: 5, seed }))
})
