import { adapter } from './mqttjs-api.mjs'

const { default: mqtt } = await import(
  globalThis.process ? '../../pkg/mqttjs.node.js' : '../../pkg/mqttjs.js'
)

export const create = adapter(mqtt)
