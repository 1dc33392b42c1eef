// `npm run test:proxies`: what the client says and does about the answers of nginx and HAProxy, and about certificates.
//
//   node tests/reliability/proxies-run.mjs [--write]

import { parseArgs } from 'node:util'
import { main, Problem } from '../../scripts/tools.mjs'
import { figures } from './figures.mjs'
import { checkProxy, checkSecure, proxies } from './proxies.mjs'

main(async () => {
  const { values } = parseArgs({ options: { write: { type: 'boolean', default: false } } })
  const ends = []
  const t = { after: (end) => ends.push(end) }
  const outcomes = []
  try {
    for (const proxy of proxies)
      if (proxy.present()) outcomes.push(...(await checkProxy(t, proxy)))
      else console.log(`${proxy.name} is not installed: ${proxy.install}`)
    outcomes.push(...(await checkSecure(t)))
  } finally {
    for (const end of ends.reverse()) await end()
  }
  // Where two say the same of a check, it is one row.
  const table = (names) => {
    const rows = /** @type {Record<string, string[]>} */ ({})
    for (const { name, where, got, ok } of outcomes)
      if (names.includes(where)) {
        const key = `${name}\0${ok ? '' : '**wrong** '}${said(got)}`
        ;(rows[key] ??= []).push(where)
      }
    return Object.fromEntries(
      Object.entries(rows).map(([key, where]) => {
        const [name, words] = key.split('\0')
        return [where.length === names.length ? name : `${name} (${where.join()})`, words]
      }),
    )
  }
  const command = 'npm run test:proxies'
  const shown = {
    proxies: { command, ...table(proxies.map(({ name }) => name)) },
    certificates: { command, ...table(['mqtts', 'wss']) },
  }
  console.log(shown)
  if (values.write) for (const [name, rows] of Object.entries(shown)) figures(name, rows)
  const wrong = outcomes.filter(({ ok }) => !ok)
  if (wrong.length > 0) throw new Problem(`${wrong.length} checks did not end as they should.`)
  process.exit()
})

/** What came of a check, as one line. Ports are different each time. */
function said({ result, losses, message, retryable }) {
  if (losses !== undefined) return losses ? `${losses}, and back again` : 'stays connected'
  if (message === undefined) return result
  const words = message.replace(/Cannot connect to \S+: /, '').replace(/:\d{4,5}\b/g, '')
  return `${result}, ${retryable ? 'retried' : 'for good'}: ${words}`
}
