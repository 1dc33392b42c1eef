import mqtt from 'u8-mqtt'
import { HIGH_WATER } from './websocket.mjs'

export function create({ url, clientId = 'bench', credentials }, events) {
  let socket
  const client = mqtt({ log_conn() {}, on_error: events.fail })
  const done = () => events.done()
  return {
    connect: () => {
      socket = new WebSocket(url, ['mqtt'])
      return client.with_websock(socket).connect({ client_id: clientId, ...credentials })
    },
    subscribe: (filters, qos, onMessage) => {
      for (const filter of filters)
        client.subscribe_topic(filter, { qos }, (packet) => onMessage(packet.topic, packet.payload))
      return client.subs_settled()
    },
    // post(), the publish of QoS 0, throws in 0.6.7. This is what it tries to do.
    publish: (topic, payload, qos) =>
      void (
        qos ? client.pub({ topic, payload, qos }) : client._send('publish', { topic, payload, qos })
      ).then(done, events.fail),
    publishAsync: (topic, payload, qos) => client.pub({ topic, payload, qos }),
    congested: () => socket.bufferedAmount > HIGH_WATER,
    end: () => client.disconnect(),
  }
}
