import { Routes } from './routes.mjs'

/** The adapter of a library with the API of MQTT.js. */
export const adapter =
  (mqtt) =>
  /** @param {{ url: string, version?: 4 | 5, clientId?: string, credentials?: { username: string, password: string } }} job */
  ({ url, version = 4, clientId = 'bench', credentials }, events) => {
    const client = mqtt.connect(url, {
      protocolVersion: version,
      clientId,
      ...credentials,
      reconnectPeriod: 0,
      manualConnect: true,
    })
    const routes = new Routes()
    client.on('message', (topic, payload) => routes.deliver(topic, payload))
    client.on('error', events.fail)
    /** @type {{ qos: 0 | 1 | 2 }[]} */
    const options = [{ qos: 0 }, { qos: 1 }, { qos: 2 }]
    const done = (error) => (error ? events.fail(error) : events.done())
    return {
      connect: () =>
        new Promise((resolve) => {
          client.once('connect', resolve)
          client.connect()
        }),
      subscribe: (filters, qos, onMessage) => {
        routes.add(filters, onMessage)
        return client.subscribeAsync(filters, options[qos])
      },
      publish: (topic, payload, qos) => void client.publish(topic, payload, options[qos], done),
      publishAsync: (topic, payload, qos) => client.publishAsync(topic, payload, options[qos]),
      end: () => client.end(true),
    }
  }
