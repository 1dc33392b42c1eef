// The connection lives here, away from a busy page, which gets the latest values twenty times a second at most.
import { Client } from 'wasmqtt'

const client = new Client('ws://localhost:9001', { reconnect: { initial: true } })
const rooms = client.watch('rooms/+', { conflate: 50 })
rooms.onChange((topics) => {
  postMessage(topics.map((topic) => [topic, rooms.get(topic)?.text()]))
})
client.connect()
