// Runtimes without WebAssembly, as React Native's Hermes: the core is JavaScript. The build puts web-assembly.ts in the place of the global.
import instantiate from '#core'
import { provide } from './core/instance.js'

provide(() => new WebAssembly.Module(instantiate as never))

export * from './api.js'
