/** Runs one measurement in a fresh Node process: bench.mjs starts it and sends the job, and it sends the result. */
import { measure } from './measure.mjs'

let finished
const runtime = {
  cpu: () => {
    const { user, system } = process.cpuUsage()
    return user + system
  },
  burst: (count, sending) => {
    process.send({ burst: { count, sending } })
    return new Promise((resolve) => (finished = resolve))
  },
  later: setImmediate,
  rss: process.memoryUsage.rss,
  heap: () => process.memoryUsage().heapUsed,
}

process.on('message', ({ job }) => {
  if (!job) return finished()
  measure(job, runtime).then(
    (result) => process.send({ result }),
    (error) => process.send({ error: error.stack ?? String(error) }),
  )
})
process.on('disconnect', () => process.exit())
