// Runs the story in every runtime, through every bundler and in every test environment. Those that are commands of the system are skipped where they are missing; npm
// installs the others, into target/runtimes. With WASMQTT_TABLES=path it writes the tables of what it saw.
import { execFile } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { promisify } from 'node:util'
import { findCommand, root } from '../../scripts/tools.mjs'
import { startEmbedded } from '../brokers/embedded.mjs'
import { makeProject } from '../packaging/project.mjs'
import { bundlers } from './bundlers.mjs'
import { environments } from './environments.mjs'
import { programs, runtimes } from './runtimes.mjs'

const execute = promisify(execFile)
const folder = join(root, 'target', 'runtimes')
const tools = (name) => join(folder, 'node_modules', name)
const tables = {
  runtimes: ['| runtime | version | how |', '|---|---|---|'],
  bundlers: ['| bundler | version | how | bytes: minified / gzip / brotli |', '|---|---|---|--:|'],
  environments: ['| test environment | version | how |', '|---|---|---|'],
}

const all = [...runtimes, ...bundlers, ...environments].map(({ packages }) => packages)
mkdirSync(folder, { recursive: true })
const manifest = { private: true, type: 'module', dependencies: Object.assign({}, ...all) }
writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest))
const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-package-lock']
await execute('npm', ['install', ...options], { cwd: folder })

for (const [kind, list] of Object.entries({ runtimes, bundlers, environments }))
  for (const { name, how, command, missing, run } of list) {
    const skip = (command !== undefined && !findCommand(command)) || missing
    test(name, { timeout: 300_000, skip }, async (t) => {
      const broker = await startEmbedded(t)
      const project = await makeProject(t, programs, folder)
      const urls = { ws: broker.url, mqtt: `mqtt://127.0.0.1:${broker.tcpPort}` }
      const seen = await run(project, urls, tools)
      const { version, size } = typeof seen === 'string' ? { version: seen } : seen
      tables[kind].push(`| ${[name, version, how, size].filter(Boolean).join(' | ')} |`)
    })
  }

after(() => {
  const { WASMQTT_TABLES: path } = process.env
  if (path === undefined) return
  const intro =
    '# Where it works\n\n`npm run runtimes` wrote these tables: it runs the same story (connect, subscribe, publish at QoS 2, hear the message, end) with the packed package.'
  writeFileSync(
    path,
    `${[intro, ...Object.values(tables).map((rows) => rows.join('\n'))].join('\n\n')}\n`,
  )
})
