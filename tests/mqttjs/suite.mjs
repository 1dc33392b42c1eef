// Runs MQTT.js' own tests of its client against the shim: node tests/mqttjs/suite.mjs CHECKOUT [--own] [FILE…]
//
// CHECKOUT is a clone of MQTT.js with its dependencies installed (npm install --ignore-scripts). Nothing of it is copied or changed: a hook
// gives the package wherever the tests import its sources. `--own` runs the same tests against MQTT.js itself. The files are those of
// test/node; by default the ones that run the tests of the abstract client over WebSocket and TCP.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
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
  const tests = await runFile(name)
  report(name, tests)
}

function runFile(name) {
  const options = [
    ...['-r', 'esbuild-register'],
    ...['-r', join(here, 'limit.cjs')],
    ...(own ? [] : ['-r', join(here, 'alias.cjs')]),
    ...['--test', `--test-reporter=${join(here, 'reporter.mjs')}`],
  ]
  const child = spawn(process.execPath, [...options, join('test', 'node', name)], {
    cwd: resolve(checkout),
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output += text
  })
  return new Promise((resolve) => {
    child.on('close', () => {
      const lines = output.split('\n').filter((line) => line.startsWith('{"test"'))
      resolve(lines.map((line) => JSON.parse(line)))
    })
  })
}

function report(name, tests) {
  const ran = tests.filter(({ skipped }) => !skipped)
  const failed = ran.filter(({ ok }) => !ok)
  const isAbstract = ({ path }) => ABSTRACT.has(path[1])
  const count = (list) => `${list.filter(({ ok }) => ok).length} of ${list.length} pass`
  console.log(`\n${name}: ${count(ran)}; of the abstract client: ${count(ran.filter(isAbstract))}`)
  for (const { path, why } of failed) console.log(`  ${path.slice(1).join(' › ')}\n      ${why}`)
}
