// Asks the npm registry whether there are advisories for the packages of the lock file. The package itself depends on none of them but `ws`, but
// those who build and test it do. Without an answer of the registry, it says so and does not fail.
import { spawnSync } from 'node:child_process'
import { main, Problem, root } from './tools.mjs'

main(async () => {
  const { stdout } = spawnSync('npm', ['audit', '--json', '--package-lock-only'], {
    cwd: root,
    encoding: 'utf8',
    timeout: 60_000,
  })
  const counts = countsOf(stdout)
  if (counts === undefined)
    return console.log(
      'The registry does not answer questions about advisories. Nothing was checked.',
    )
  const { high, critical, total } = counts
  console.log(`Advisories: ${total}, of which ${high} are high and ${critical} critical.`)
  if (high + critical > 0) throw new Problem('Run `npm audit` to see them.')
})

/** The counts of a report, or undefined where there is none. */
function countsOf(text) {
  try {
    return JSON.parse(text).metadata?.vulnerabilities
  } catch {
    return undefined
  }
}
