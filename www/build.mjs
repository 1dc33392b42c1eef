// Checks the types of the dashboard and builds it into target/dashboard, unless that was made from the same files before.
import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { bold, isMain, main, root, run } from '../scripts/tools.mjs'

/** ms after which a lock was left behind by a build that was ended. */
const LOCK_TIMEOUT = 120_000
/** The folder of static files. */
export const site = join(root, 'target', 'dashboard')

export async function buildDashboard() {
  if (isCurrent(digest())) return
  // Tests that run beside one another may all find it out of date: the first one builds, the others wait for it.
  const lock = `${site}.lock`
  const until = Date.now() + LOCK_TIMEOUT
  while (!take(lock)) {
    if (Date.now() > until) rmSync(lock, { recursive: true, force: true })
    await sleep(100)
  }
  try {
    const wanted = digest()
    if (isCurrent(wanted)) return
    console.log(bold('Building the dashboard'))
    await run(join(root, 'node_modules', '.bin', 'tsc'), ['-p', 'www/tsconfig.json'])
    const { build } = await import('vite')
    await build({ configFile: join(root, 'www', 'vite.config.mjs') })
    writeFileSync(record, wanted)
  } finally {
    rmSync(lock, { recursive: true, force: true })
  }
}

/** What the result depends on. */
function digest() {
  const own = readdirSync(join(root, 'www'), { recursive: true }).map((name) => `www/${name}`)
  const packaged = ['index', 'stores', 'testing'].map((name) => `pkg/${name}.js`)
  const inputs = ['package-lock.json', 'scripts/devices.mjs', ...packaged, ...own]
    .filter((name) => statSync(join(root, name)).isFile())
    .sort()
  const hash = createHash('sha256').update(process.version)
  for (const input of inputs) hash.update(`\0${input}\0`).update(readFileSync(join(root, input)))
  return hash.digest('hex')
}

const record = join(site, '.inputs')
const isCurrent = (wanted) => existsSync(record) && readFileSync(record, 'utf8') === wanted

/** Whether the lock was free; it is taken then. */
function take(lock) {
  mkdirSync(join(root, 'target'), { recursive: true })
  try {
    mkdirSync(lock)
    return true
  } catch (error) {
    if (error.code === 'EEXIST') return false
    throw error
  }
}

if (isMain(import.meta)) main(buildDashboard)
