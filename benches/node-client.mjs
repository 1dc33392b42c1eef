/**
 * Runs one measurement in a fresh Node process, or the other side of a real broker: bench.mjs starts it and sends the job, and it sends the
 * result.
 */
import { measure } from './measure.mjs'

let finished
let serving
let heard = (_seen) => {}
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
const throughBroker = {
  tell: (seen) => process.send({ seen }),
  onSeen: (listener) => (heard = listener),
  serve: (serves) => {
    serving = serves
    process.send({ ready: true })
  },
}
const failed = (error) => process.send({ error: error.stack ?? String(error) })

process.on('message', ({ job, burst, seen }) => {
  if (seen !== undefined) return heard(seen)
  if (burst) return serving(burst.count).then(() => process.send({ finished: true }), failed)
  if (!job) return finished()
  measure(job, job.real ? { ...runtime, ...throughBroker } : runtime).then(
    (result) => process.send({ result }),
    failed,
  )
})
process.on('disconnect', () => process.exit())
