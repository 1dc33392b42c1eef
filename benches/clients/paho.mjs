import { Routes } from './routes.mjs'
import { HIGH_WATER } from './websocket.mjs'

/** Paho does not give access to its socket. */
let socket
globalThis.WebSocket = class extends WebSocket {
  constructor(url, protocols) {
    super(url, protocols)
    socket = this
  }
}
const Paho = globalThis.process
  ? (await import('paho-mqtt')).default
  : await script('/benches/node_modules/paho-mqtt/paho-mqtt-min.js')

export function create({ url, credentials }, events) {
  const client = new Paho.Client(url, 'bench')
  const routes = new Routes()
  client.onMessageArrived = (message) =>
    routes.deliver(message.destinationName, message.payloadBytes)
  client.onMessageDelivered = () => events.done()
  client.onConnectionLost = ({ errorCode, errorMessage }) =>
    errorCode && events.fail(new Error(errorMessage))
  return {
    connect: () =>
      new Promise((onSuccess, onFailure) =>
        client.connect({
          onSuccess,
          onFailure,
          mqttVersion: 4,
          ...(credentials && { userName: credentials.username, password: credentials.password }),
        }),
      ),
    subscribe: (filters, qos, onMessage) => {
      routes.add(filters, onMessage)
      return Promise.all(
        filters.map(
          (filter) =>
            new Promise((onSuccess, onFailure) =>
              client.subscribe(filter, { qos, onSuccess, onFailure }),
            ),
        ),
      )
    },
    publish: (topic, payload, qos) => client.send(topic, payload, qos, false),
    congested: () => socket.bufferedAmount > HIGH_WATER,
    end: () => client.disconnect(),
  }
}

/** In a page, Paho is a classic script. */
async function script(src) {
  await new Promise((onload, onerror) =>
    document.head.append(Object.assign(document.createElement('script'), { src, onload, onerror })),
  )
  return globalThis.Paho
}
