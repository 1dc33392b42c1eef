import { Client, init } from '../../pkg/slim.js'
import { adapter } from './wasmqtt-api.mjs'

await init('/pkg/wasmqtt.wasm')

export const create = adapter(Client)
