// Checks the types of the dashboard and builds it into target/dashboard, unless that was made from the same files before.
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bold, isMain, main, root, run } from '../scripts/tools.mjs'

/** The folder of static files. */
export const site = join(root, 'target', 'dashboard')

export async function buildDashboard() {
  const own = readdirSync(join(root, 'www'), { recursive: true }).map((name) => `www/${name}`)
  const inputs = ['package-lock.json', 'pkg/index.js', ...own]
    .filter((name) => statSync(join(root, name)).isFile())
    .sort()
  const hash = createHash('sha256').update(process.version)
  for (const input of inputs) hash.update(`\0${input}\0`).update(readFileSync(join(root, input)))
  const digest = hash.digest('hex')
  const record = join(site, '.inputs')
  if (existsSync(record) && readFileSync(record, 'utf8') === digest) return
  console.log(bold('Building the dashboard'))
  await run(join(root, 'node_modules', '.bin', 'tsc'), ['-p', 'www/tsconfig.json'])
  const { build } = await import('vite')
  await build({ configFile: join(root, 'www', 'vite.config.mjs') })
  writeFileSync(record, digest)
}

if (isMain(import.meta)) main(buildDashboard)
