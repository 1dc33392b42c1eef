// Browsers and their workers, Deno, Bun and others with a global WebSocket; the module is inlined.
import text, { OFFSET } from '#wasm'
import { provide } from './wasm.js'

provide(() => {
  const bytes = new Uint8Array(text.length)
  for (let at = 0; at < bytes.length; at++) bytes[at] = text.charCodeAt(at) - OFFSET
  return bytes
})

export * from './api.js'
