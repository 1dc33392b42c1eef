// What only WebAssembly under JavaScript brings with it, told once for Node and for pages: boundary.test.mjs and tests/browser/boundary.test.mjs.
// Nothing here needs a network: see loopback.mjs.
import { CALLS } from './calls.mjs'
import { HANDLERS } from './handlers.mjs'
import { LEFTOVERS } from './leftovers.mjs'
import { PAYLOADS } from './payloads.mjs'
import { STRINGS } from './strings.mjs'
import { TRAPS } from './traps.mjs'

/** Title and story, which is a function of the module under test. It may return what is worth saying. `collect` collects garbage. */
export const STORIES = { ...CALLS, ...TRAPS, ...HANDLERS, ...PAYLOADS, ...STRINGS, ...LEFTOVERS }
