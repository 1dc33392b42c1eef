// Runs Paho's own tests against the shim: node tests/paho/suite.mjs CHECKOUT [--own]
//
// CHECKOUT is a clone of paho.mqtt.javascript with jasmine-node 1.16, node-localstorage 1.3, websocket 1 and dotenv 4 installed. Nothing of
// it is copied or changed: a hook gives the package where the tests load their source. `--own` runs the same tests against Paho itself.
// The broker is a Mosquitto on loopback.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stripVTControlCharacters } from 'node:util'
import { startMosquitto } from '../brokers/mosquitto.mjs'

const SPECS = [
  'base-spec',
  'BasicTest-spec',
  'client-uris-spec',
  'send-receive-spec',
  'live-take-over-spec',
  'interops-spec',
]

const args = process.argv.slice(2)
const own = args.includes('--own')
const [checkout] = args.filter((arg) => !arg.startsWith('--'))
if (checkout === undefined || !existsSync(join(checkout, 'src', 'test', 'client-harness.js'))) {
  console.error('usage: node tests/paho/suite.mjs CHECKOUT [--own]')
  process.exit(2)
}

const cleanups = []
const broker = await startMosquitto({ after: (work) => cleanups.push(work) })
try {
  for (const spec of SPECS) {
    const output = await runSpec(spec)
    const [summary = 'no result'] = /^\d+ tests?, .*$/m.exec(output) ?? []
    console.log(`${spec}: ${summary}`)
    for (const [, name, message] of output.matchAll(/^ {2}\d+\) (.*)\n {3}Message:\n {5}(.*)$/gm))
      console.log(`  ${name}\n      ${stripVTControlCharacters(message)}`)
  }
} finally {
  for (const work of cleanups) await work()
}

async function runSpec(spec) {
  const folder = await mkdtemp(join(tmpdir(), 'paho-'))
  const hook = fileURLToPath(new URL('./suite/alias.cjs', import.meta.url))
  const server = { SERVER: '127.0.0.1', SERVER_PORT: broker.wsPort, SERVER_PATH: '/mqtt' }
  const interop = { INTEROPSERVER: '127.0.0.1', INTEROPPORT: broker.wsPort, INTEROPPATH: '/mqtt' }
  const settings = { ...server, ...interop, SERVER_MQTTVER: 4, USE_SSL: 'false' }
  const env = { ...process.env, ...(!own && { NODE_OPTIONS: `-r ${hook}` }) }
  for (const [name, value] of Object.entries(settings)) env[`TEST_${name}`] = String(value)
  const tests = join(resolve(checkout), 'src', 'test')
  const runner = join(resolve(checkout), 'node_modules', 'jasmine-node', 'bin', 'jasmine-node')
  const child = spawn(
    process.execPath,
    [runner, join(tests, `${spec}.js`), '--forceexit', '--noColor'],
    { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] },
  )
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text) => {
      output += text
    })
  await new Promise((done) => child.on('close', done))
  await rm(folder, { recursive: true })
  if (process.env.SUITE_LOG) console.log(output)
  return output
}
