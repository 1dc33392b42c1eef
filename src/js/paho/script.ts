// For a classic script: the same with the module inlined, as the global `Paho`.
import '../index.js'

export { Client, MQTT, Message } from './index.js'
