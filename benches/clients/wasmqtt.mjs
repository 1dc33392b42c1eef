// The import map of the page makes it `index.js` there.
import { Client } from '../../pkg/node.js'
import { adapter } from './wasmqtt-api.mjs'

export const create = adapter(Client)
