import { createApp, h, onUnmounted, shallowRef } from 'vue'
import { Client } from 'wasmqtt'

const client = new Client('ws://localhost:9001', { reconnect: { initial: true } })

/** The latest messages of a filter, as a list that is new after each change. */
function useWatch(filter) {
  const list = shallowRef([])
  const watch = client.watch(filter, { conflate: 100 })
  watch.ready.catch(() => {})
  watch.onChange(() => {
    list.value = [...watch.values()]
  })
  onUnmounted(() => watch.end())
  return list
}

const Rooms = {
  setup() {
    const rooms = useWatch('rooms/+')
    const item = (message) => h('li', { key: message.topic }, `${message.topic}: ${message.text()}`)
    return () => h('ul', rooms.value.map(item))
  },
}

client.connect()
createApp(Rooms).mount('#root')
