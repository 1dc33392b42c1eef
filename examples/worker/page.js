const list = document.getElementById('root').appendChild(document.createElement('ul'))
const items = new Map()

const worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' })
worker.onmessage = ({ data }) => {
  for (const [topic, text] of data) {
    if (!items.has(topic)) items.set(topic, list.appendChild(document.createElement('li')))
    items.get(topic).textContent = `${topic}: ${text}`
  }
}
