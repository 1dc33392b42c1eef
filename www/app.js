// The dashboard. Messages go into the model, and each panel shows its part of it, at most once per animation frame.
import { version } from '/pkg/index.js'
import { Chart } from './chart.js'
import { Connection } from './connection.js'
import { Devices } from './devices.js'
import { asText } from './format.js'
import { Inspector } from './inspector.js'
import { Messages } from './messages.js'
import { Model } from './model.js'
import { Publisher } from './publish.js'
import { Tree } from './tree.js'

/** @returns {any} The elements have many types. */
const part = (id) => document.getElementById(id)
const model = new Model()

const connection = new Connection(
  {
    form: part('connection'),
    connect: part('connect'),
    disconnect: part('disconnect'),
    drop: part('drop'),
    retry: part('retry'),
    chip: part('state'),
    text: part('state-text'),
    log: part('log'),
    stats: part('stats'),
  },
  (message) => model.add(message),
)
const publisher = new Publisher({
  form: part('publish'),
  said: part('published'),
  client: () => connection.client,
})
const inspector = new Inspector(model, {
  topic: part('inspected'),
  facts: part('facts'),
  payload: part('payload'),
  views: part('views'),
  reuse: part('reuse'),
  unretain: part('unretain'),
  onReuse: ({ topic, payload }) => publisher.fill(topic, asText(payload) ?? ''),
  onUnretain: (topic) => publisher.publish(topic, '', { qos: 1, retain: true }),
})
const chart = new Chart(model, {
  canvas: part('canvas'),
  series: part('series'),
  window: part('window'),
  readout: part('readout'),
  tip: part('tip'),
})
const messages = new Messages(model, {
  box: part('messages'),
  pause: part('pause'),
  clear: part('clear'),
  branch: part('branch'),
  total: part('messages-count'),
  onSelect: (entry) => inspector.show(entry),
})
new Devices(model, { list: part('devices'), total: part('devices-count') })
new Tree(model, {
  box: part('tree'),
  search: part('search'),
  total: part('tree-count'),
  onSelect: (node) => {
    inspector.show(node.entry, node)
    messages.showBranch(node.path)
    if (node.entry) chart.showTopic(node.path)
  },
})

part('version').textContent = version
const { url, name, speaks, limits, series } = await (await fetch('/config.json')).json()
chart.preferred = series
part('connection').elements.url.value = url
const notice = part('notice')
notice.textContent = [`Broker: ${name}, ${speaks}.`, ...limits].join(' ')
notice.hidden = false
connection.connect()
