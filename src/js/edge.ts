// Runtimes that refuse to compile bytes, such as Cloudflare Workers: the module is imported, and the runtime or its bundler compiles it.
import module from '#module'
import { provide } from './core/instance.js'

provide(() => module)

export * from './api.js'
