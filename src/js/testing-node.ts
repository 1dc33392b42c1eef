// 'wasmqtt/testing' for Node, Deno and Bun: the same, and connections from outside the process.
import './testing/listen.js'

export * from './testing.js'
