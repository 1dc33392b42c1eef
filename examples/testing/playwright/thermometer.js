import { connect } from 'wasmqtt'

/** Milliseconds after which a temperature is old. */
export const OLD = 30_000

/** Shows the temperature in an element, until the client that this resolves with ends. */
export async function showTemperature(element, url, options) {
  const client = await connect(url, options)
  let old
  client.on('disconnect', () => (element.textContent = 'offline'))
  client.on('close', () => clearTimeout(old))
  await client.subscribe('temperature', { qos: 1 }, (message) => {
    clearTimeout(old)
    old = setTimeout(() => (element.textContent += ' (old)'), OLD)
    element.textContent = `${message.text()} °C`
  })
  return client
}
