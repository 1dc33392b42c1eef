// A request and its response: what the client's own `request()` is going to offer, in the same form. A page that uses this function changes
// over by calling `client.request(topic, payload, options)` instead.
import type { Client, Message, Payload, PublishOptions } from 'wasmqtt'

/**
 * Publishes with a response topic and correlation data of its own, and resolves with the response. Needs MQTT 5.0. Rejects after `timeout` ms
 * without one (default 30,000).
 */
export async function request(
  client: Client,
  topic: string,
  payload: Payload,
  { timeout = 30_000, properties, ...options }: PublishOptions = {},
): Promise<Message> {
  const correlationData = crypto.getRandomValues(new Uint8Array(16))
  const responseTopic = `${client.server?.responseInformation ?? 'responses/'}${client.clientId}`
  const answer: { resolve: (message: Message) => void; reject: (error: Error) => void } =
    {} as never
  const answered = new Promise<Message>((resolve, reject) =>
    Object.assign(answer, { resolve, reject }),
  )
  answered.catch(() => {}) // where the publish fails first
  const subscription = await client.subscribe(responseTopic, { qos: 1, timeout }, (message) => {
    const data = message.properties?.correlationData
    if (data?.length === 16 && data.every((byte, at) => byte === correlationData[at]))
      answer.resolve(message)
  })
  const timer = setTimeout(
    () => answer.reject(new Error(`No response to ${topic} within ${timeout} ms.`)),
    timeout,
  )
  try {
    await client.publish(topic, payload, {
      ...options,
      timeout,
      properties: { ...properties, responseTopic, correlationData },
    })
    return await answered
  } finally {
    clearTimeout(timer)
    subscription.unsubscribe().catch(() => {}) // the connection may be gone
  }
}
