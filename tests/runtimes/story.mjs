/** What every runtime must do: connect, subscribe, publish at QoS 2, hear the message, end. Resolves with the text of the message, `hello`. */
export const STORY = `
async function story({ connect }, url) {
  const client = await connect(url)
  let tell
  const heard = new Promise((resolve) => (tell = resolve))
  await client.subscribe('hello', { qos: 2 }, (message) => tell(message.text()))
  await client.publish('hello', 'hello', { qos: 2 })
  const text = await heard
  await client.end()
  return text
}`
