// Browsers and their workers, Deno, Bun and others with a global WebSocket; the module is inlined.
import wasm from '#wasm'
import { provide } from './core/instance.js'
import { needWebAssembly } from './platform.js'

provide(() => {
  needWebAssembly()
  return wasm()
})

export * from './api.js'
