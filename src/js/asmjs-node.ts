// The same for Node, as with `node --jitless`.
import './platform-node.js'

export * from './asmjs.js'
