// Runs the story in every runtime. Those that are commands of the system are skipped where they are missing; npm installs the others, into
// target/runtimes. With WASMQTT_TABLE=path it writes the table of what it saw.
import { execFile } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { findCommand, root } from '../../scripts/tools.mjs'
import { startEmbedded } from '../brokers/embedded.mjs'
import { makeProject } from '../packaging/project.mjs'
import { programs, runtimes } from './runtimes.mjs'

const execute = promisify(execFile)
const folder = join(root, 'target', 'runtimes')
const tools = (name) => join(folder, 'node_modules', name)
const rows = []

before(async () => {
  const dependencies = Object.assign({}, ...runtimes.map(({ packages }) => packages))
  const manifest = JSON.stringify({ private: true, dependencies })
  const path = join(folder, 'package.json')
  mkdirSync(folder, { recursive: true })
  writeFileSync(path, manifest)
  await execute(
    'npm',
    ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--no-package-lock'],
    {
      cwd: folder,
    },
  )
})

for (const { name, how, command, run } of runtimes)
  test(name, {
    timeout: 180_000,
    skip: command !== undefined && !findCommand(command),
  }, async (t) => {
    const broker = await startEmbedded(t)
    const project = await makeProject(t, programs)
    const urls = { ws: broker.url, mqtt: `mqtt://127.0.0.1:${broker.tcpPort}` }
    const version = await run(project, urls, tools)
    rows.push(`| ${name} | ${version} | ${how} |`)
  })

after(() => {
  const { WASMQTT_TABLE: path } = process.env
  if (path !== undefined)
    writeFileSync(path, ['| runtime | version | how |', '|---|---|---|', ...rows, ''].join('\n'))
})
