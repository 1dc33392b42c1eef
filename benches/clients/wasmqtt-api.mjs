/** The adapter of an entry of wasmqtt. */
export const adapter =
  (Client) =>
  /** @param {{ url: string, version?: 4 | 5, clientId?: string, credentials?: object }} job */
  ({ url, version = 4, clientId = 'bench', credentials }, events) => {
    const client = new Client(url, {
      protocolVersion: version,
      clientId,
      ...credentials,
      reconnect: false,
      queue: { maxMessages: 2_000_000, maxBytes: 2 ** 30 },
    })
    client.on('error', events.fail)
    const options = [{ qos: 0 }, { qos: 1 }, { qos: 2 }]
    const done = (error) => (error ? events.fail(error) : events.done())
    return {
      connect: () => client.connect(),
      subscribe: (filters, qos, onMessage) =>
        client.subscribe(filters, options[qos], (message) =>
          onMessage(message.topic, message.payload),
        ),
      publish: (topic, payload, qos) => client.publish(topic, payload, options[qos], done),
      publishAsync: (topic, payload, qos) => client.publish(topic, payload, options[qos]),
      memory: () => client.stats().wasmMemoryBytes,
      end: () => client.end({ force: true }),
    }
  }
