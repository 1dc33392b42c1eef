// Browsers and their workers, Deno, Bun and others with a global WebSocket; the module is inlined.
import base64 from '#wasm'
import { provide } from './wasm.js'

provide(() => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)))

export * from './api.js'
