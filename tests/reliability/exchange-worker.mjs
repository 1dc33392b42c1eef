// The clients of the endurance run in a worker.

import { connect } from '../../pkg/index.js'
import { exchange } from './exchange.mjs'

addEventListener('message', async ({ data }) => {
  const total = await exchange(connect, data, (client) => {
    setInterval(() => postMessage({ wasm: client.stats().wasmMemoryBytes }), 1_000)
  })
  postMessage({ total })
})
