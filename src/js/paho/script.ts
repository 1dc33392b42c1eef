// For a classic script: the same with the module inlined, as the global `Paho`.
import '../index.js'

export { Client, Message, MQTT } from './index.js'
