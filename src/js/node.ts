// Node, Deno and Bun; the module is inlined.
import './platform-node.js'

export * from './index.js'
