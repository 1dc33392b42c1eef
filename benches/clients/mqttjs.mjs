import mqtt from 'mqtt'
import { adapter } from './mqttjs-api.mjs'

export const create = adapter(mqtt)
