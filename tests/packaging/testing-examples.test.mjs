// The examples of examples/testing, as a user has them: copied into a folder of their own, with the packed package and the tools of the npm
// registry.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { findChromium } from '../../scripts/commands.mjs'
import { root } from '../../scripts/tools.mjs'
import { packed } from './project.mjs'

const execute = promisify(execFile)
const examples = join(root, 'examples', 'testing')

/** What each prints when all its tests have passed. */
const PASSED = {
  'node-test': /^# pass 3$/m,
  jest: /^Tests: +4 passed, 4 total$/m,
  vitest: /^ *Tests +8 passed \(8\)$/m,
  react: /^ *Tests +2 passed \(2\)$/m,
  playwright: /^ *2 passed/m,
}

test('every example is run', async () => {
  const folders = (await readdir(examples, { withFileTypes: true })).filter((entry) =>
    entry.isDirectory(),
  )
  assert.deepEqual(folders.map(({ name }) => name).sort(), Object.keys(PASSED).sort())
})

for (const [name, passed] of Object.entries(PASSED)) {
  test(`the example ${name} passes`, { timeout: 300_000 }, async (t) => {
    const folder = await mkdtemp(join(tmpdir(), `wasmqtt-${name}-`))
    t.after(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }))
    await cp(join(examples, name), folder, { recursive: true })
    const path = join(folder, 'package.json')
    const manifest = JSON.parse(await readFile(path, 'utf8'))
    manifest.dependencies.wasmqtt = `file:${await packed}`
    await writeFile(path, JSON.stringify(manifest))
    const options = { cwd: folder, env: environment(), maxBuffer: 1 << 26 }
    const install = ['install', '--no-audit', '--no-fund', '--prefer-offline']
    await execute('npm', install, options)
    const { stdout, stderr } = await execute('npm', ['test'], options).catch((failure) => failure)
    const said = `${stdout}${stderr}`
    assert.match(said, passed, said)
  })
}

/** That of a shell of its own: what node:test tells its children would change what they print. */
function environment() {
  const { NODE_TEST_CONTEXT: _, FORCE_COLOR: __, ...own } = process.env
  return { ...own, NO_COLOR: '1', CI: '1', CHROMIUM: findChromium() }
}
