// A service that adds numbers: node service.js [url]. It tells whether it is there, and says goodbye on Ctrl-C.
import { connect } from 'wasmqtt'

const client = await connect(process.argv[2] ?? 'ws://localhost:9001', {
  presence: { topic: 'services/adder' },
  reconnect: { maxDelay: 10_000 },
})
client.on('reconnecting', ({ error, delay }) =>
  console.error(`${error.message}; again in ${delay} ms`),
)
client.on('close', (error) => {
  if (error) process.exitCode = 1
})

// Several of these services divide the requests among themselves.
await client.respond('$share/adders/sums/add', (request) => {
  const numbers = request.json()
  if (!Array.isArray(numbers)) throw new TypeError('give a list of numbers')
  return String(numbers.reduce((sum, number) => sum + Number(number), 0))
})
console.log('ready')

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => client.end())
