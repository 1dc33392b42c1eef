// `npm run test:brokers`: plays the same checks against every broker that is installed, and prints a table.
//
//   node tests/reliability/brokers-run.mjs [--write] [NAME…]    --write makes docs/brokers.md of it, NAME chooses brokers

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { main, Problem, root } from '../../scripts/tools.mjs'
import { checkBroker, page, summary } from './broker-table.mjs'
import { kinds } from './brokers.mjs'

main(async () => {
  const words = process.argv.slice(2).filter((word) => word !== '--write')
  const chosen = kinds.filter(
    ({ name }) => words.length === 0 || words.some((word) => name.toLowerCase().includes(word)),
  )
  for (const { name, install, present } of chosen)
    if (!present()) console.log(`${name} is not installed: ${install}`)
  // The checks mostly wait, so that some brokers can be checked at once.
  const reports = []
  const next = chosen.filter((kind) => kind.present()).entries()
  const worker = async () => {
    for (const [index, kind] of next) {
      reports[index] = await checkBroker(kind)
      console.log(summary(reports[index]))
    }
  }
  await Promise.all([worker(), worker(), worker()])
  if (process.argv.includes('--write'))
    writeFileSync(join(root, 'docs', 'brokers.md'), page(reports))
  const ours = reports.flatMap(({ outcomes }) => outcomes.filter(({ result }) => result === 'ours'))
  if (ours.length > 0) throw new Problem(`${ours.length} checks failed for no known reason.`)
  process.exit()
})
