// Runs MQTT.js' own tests of its client against the shim: node tests/mqttjs/suite.mjs CHECKOUT [--own] [FILE…]
//
// CHECKOUT is a clone of MQTT.js with its dependencies installed (npm install --ignore-scripts). Nothing of it is copied or changed: a hook
// gives the package wherever the tests import its sources. `--own` runs the same tests against MQTT.js itself. The files are those of
// test/node; by default the ones that run the tests of the abstract client over WebSocket and TCP.
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('./suite/', import.meta.url))
/** The groups of abstract_client.ts. */
const ABSTRACT = new Set([
  'closing',
  'connecting',
  'handling offline states',
  'topic validations when subscribing',
  'offline messages',
  'publishing',
  'unsubscribing',
  'keepalive',
  'pinging',
  'subscribing',
  'receiving messages',
  'qos handling',
  'auto reconnect',
  'message id to subscription topic mapping',
])

const args = process.argv.slice(2)
const own = args.includes('--own')
const [checkout, ...files] = args.filter((arg) => !arg.startsWith('--'))
if (checkout === undefined || !existsSync(join(checkout, 'test', 'node', 'abstract_client.ts'))) {
  console.error('usage: node tests/mqttjs/suite.mjs CHECKOUT [--own] [FILE…]')
  process.exit(2)
}

const names = files.length > 0 ? files : ['websocket_client.ts', 'client.ts']
for (const name of names) {
  // Servers of whole groups make assertions, too. One that fails ends the run: again without the test at fault, which counts as failed.
  const ended = []
  let tests
  do {
    const { results, last } = await runFile(name, ended)
    tests = results
    const isCut = results.some(({ why }) => /before its parent|cancelled/.test(why))
    if (!isCut || last === undefined || ended.includes(last)) break
    ended.push(last)
  } while (ended.length < 20)
  report(
    name,
    tests.map((each) =>
      ended.includes(each.test)
        ? { ...each, skipped: false, ok: false, why: 'an assertion of the server failed' }
        : each,
    ),
  )
}

/** The results of a file's tests, and the name of the test that began last. */
async function runFile(name, skip) {
  const folder = await mkdtemp(join(tmpdir(), 'suite-'))
  const progress = join(folder, 'progress')
  const options = [
    ...['-r', 'esbuild-register'],
    ...['-r', join(here, 'limit.cjs')],
    ...(own ? [] : ['-r', join(here, 'alias.cjs')]),
    ...['--test', `--test-reporter=${join(here, 'reporter.mjs')}`],
  ]
  const child = spawn(process.execPath, [...options, join('test', 'node', name)], {
    cwd: resolve(checkout),
    env: { ...process.env, SUITE_PROGRESS: progress, SUITE_SKIP: skip.join('\n') },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output += text
  })
  await new Promise((done) => child.on('close', done))
  const lines = output.split('\n').filter((line) => line.startsWith('{"test"'))
  const begun = existsSync(progress) ? readFileSync(progress, 'utf8').trim().split('\n') : []
  await rm(folder, { recursive: true })
  return { results: lines.map((line) => JSON.parse(line)), last: begun.at(-1) }
}

function report(name, tests) {
  const ran = tests.filter(({ skipped }) => !skipped)
  const failed = ran.filter(({ ok }) => !ok)
  const isAbstract = ({ path }) => ABSTRACT.has(path[1])
  const count = (list) => `${list.filter(({ ok }) => ok).length} of ${list.length} pass`
  console.log(`\n${name}: ${count(ran)}; of the abstract client: ${count(ran.filter(isAbstract))}`)
  for (const { path, why } of failed) console.log(`  ${path.slice(1).join(' › ')}\n      ${why}`)
}
