import { useEffect, useState, useSyncExternalStore } from 'react'
import { createRoot } from 'react-dom/client'
import { Client } from 'wasmqtt'

const client = new Client('ws://localhost:9001', { reconnect: { initial: true } })
const nothing = { onChange: () => () => {}, version: 0, values: () => [] }

/** The latest messages of a filter. */
function useWatch(filter) {
  const [watch, setWatch] = useState(nothing)
  useEffect(() => {
    const made = client.watch(filter, { conflate: 100 })
    made.ready.catch(() => {})
    setWatch(made)
    return () => void made.end()
  }, [filter])
  useSyncExternalStore(watch.onChange, () => watch.version)
  return watch
}

function Rooms() {
  const rooms = useWatch('rooms/+')
  return (
    <ul>
      {[...rooms.values()].map((message) => (
        <li key={message.topic}>{`${message.topic}: ${message.text()}`}</li>
      ))}
    </ul>
  )
}

client.connect()
createRoot(document.getElementById('root')).render(<Rooms />)
