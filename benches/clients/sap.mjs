import mqtt from '@sap/xb-msg-mqtt-v311'

export function create({ url, credentials }, events) {
  const { protocol, hostname, port, pathname } = new URL(url)
  const address = { host: hostname, port: Number(port) }
  const client = new mqtt.Client({
    ...(protocol === 'mqtt:' ? { net: address } : { ws: { ...address, path: pathname } }),
    ...(credentials && {
      credentials: { user: credentials.username, password: credentials.password },
    }),
    mqtt: { clientID: 'bench', cleanSession: true, keepAlive: 60 },
  })
  client.on('error', events.fail)
  const done = () => events.done()
  return {
    connect: () =>
      new Promise((resolve) => {
        client.once('connected', resolve)
        client.connect()
      }),
    subscribe: (filters, qos, onMessage) =>
      new Promise((resolve, reject) => {
        const handler = (topic, payload) =>
          onMessage(topic, payload.chunks.length === 1 ? payload.chunks[0] : payload.toBuffer())
        client.subscribe(filters, qos, handler, resolve, reject)
      }),
    // The client masks payloads of more than 1 KiB in place, so that such a payload can be used only once.
    publish: (topic, payload, qos) =>
      void client.publish(
        topic,
        payload.length > 1_024 ? Buffer.from(payload) : payload,
        qos,
        false,
        done,
        events.fail,
      ),
    end: () => client.disconnect(),
  }
}
