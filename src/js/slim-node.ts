// The same with the WebAssembly apart, for Node, Deno and Bun.
import './platform-node.js'

export * from './slim.js'
