/**
 * The clients that are measured. adapter: the module in clients/ · version: of MQTT, by default 4 (3.1.1) · only: the runtime that it exists
 * for · qos: the highest that it supports · ws: sends through `ws` on Node · promises: publish() can be awaited · optional: runs only if named.
 */
export const clients = {
  wasmqtt: {
    label: 'wasmqtt',
    adapter: 'wasmqtt',
    ws: true,
    promises: true,
    ours: true,
    color: '#d9480f',
  },
  'wasmqtt-5': {
    label: 'wasmqtt, MQTT 5',
    adapter: 'wasmqtt',
    version: 5,
    ws: true,
    promises: true,
    ours: true,
    optional: true,
    color: '#f08c00',
  },
  mqttjs: {
    label: 'MQTT.js',
    package: 'mqtt',
    adapter: 'mqttjs',
    ws: true,
    promises: true,
    color: '#862e9c',
  },
  'mqttjs-5': {
    label: 'MQTT.js, MQTT 5',
    package: 'mqtt',
    adapter: 'mqttjs',
    version: 5,
    ws: true,
    promises: true,
    optional: true,
    color: '#cc5de8',
  },
  paho: { label: 'Paho', package: 'paho-mqtt', adapter: 'paho', ws: true, color: '#1971c2' },
  u8: {
    label: 'u8-mqtt',
    package: 'u8-mqtt',
    adapter: 'u8',
    ws: true,
    promises: true,
    qos: 1,
    color: '#2b8a3e',
  },
  sap: {
    label: 'SAP xb-msg-mqtt',
    package: '@sap/xb-msg-mqtt-v311',
    adapter: 'sap',
    only: 'node',
    color: '#0b7285',
  },
  floor: { label: 'floor', adapter: 'floor', ws: true, floor: true, color: '#868e96' },
  'floor-frames': {
    label: 'floor, one per frame',
    adapter: 'floor',
    single: true,
    ws: true,
    floor: true,
    color: '#adb5bd',
  },
}
