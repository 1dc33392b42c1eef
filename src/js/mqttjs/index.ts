/**
 * MQTT.js' API on top of wasmqtt: `import mqtt from 'wasmqtt/mqttjs'` in place of `import mqtt from 'mqtt'`. What differs on purpose is in
 * docs/migrating-from-mqttjs.md.
 */
import * as mqtt from './exports.js'

export * from './exports.js'
export default mqtt
