// `npm test` runs every check, one after the other. `npm test -- WORD…` runs the steps whose names contain one of the words.
import { spawn } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { howToInstall, missing } from './commands.mjs'
import { setup } from './setup.mjs'
import { bold, dim, main, Problem, readOutcomes, results, root } from './tools.mjs'

const WASM_TESTS = 'CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=.tools/bin/wasm-bindgen-test-runner'
const DRIVER = 'WASM_BINDGEN_TEST_WEBDRIVER_JSON=tests/browser/webdriver.json'
const wasmTest = (...environment) =>
  [
    WASM_TESTS,
    ...environment,
    'cargo test --locked --target wasm32-unknown-unknown --test web',
  ].join(' ')

const BROWSER = ['chromium', 'chromedriver']
const BROKER = ['mosquitto', 'mosquitto_sub']
const SHELLS = ['zsh', 'fish']

/**
 * @typedef {object} Step
 * @property {string} name
 * @property {string} command
 * @property {'cargo' | 'node'} [tests]
 * @property {string[]} [needs]
 * @property {boolean} [judges]
 */

/**
 * `command` is a shell command that can also be run alone.
 * `tests` names the runner of a step that runs tests: 'cargo' or 'node'. Such a step must run at least one.
 * `needs` are commands of the system (see commands.mjs). A step that lacks one does not run.
 * `judges` marks the step that reads the outcome of all the others.
 * @type {Step[]}
 */
const STEPS = [
  { name: 'formatting and lint', command: 'cargo fmt --check && npm run lint' },
  { name: 'clippy for the host', command: 'cargo clippy --locked --all-targets -- -D warnings' },
  {
    name: 'clippy for the test broker',
    command:
      'cargo clippy --locked --all-targets --features broker -- -D warnings && cargo clippy --locked --target wasm32-unknown-unknown --lib --features broker -- -D warnings',
  },
  {
    name: 'clippy for wasm32',
    command:
      'cargo clippy --locked --target wasm32-unknown-unknown --lib --test web -- -D warnings',
  },
  { name: 'native Rust tests', command: 'cargo test --locked --features broker', tests: 'cargo' },
  { name: 'core in Node', command: wasmTest(), tests: 'cargo' },
  {
    name: 'core in a browser window',
    command: wasmTest(DRIVER, 'WASM_BINDGEN_USE_BROWSER=1'),
    tests: 'cargo',
    needs: BROWSER,
  },
  {
    name: 'core in a dedicated worker',
    command: wasmTest(DRIVER, 'WASM_BINDGEN_USE_DEDICATED_WORKER=1'),
    tests: 'cargo',
    needs: BROWSER,
  },
  {
    name: 'core in a shared worker',
    command: wasmTest(DRIVER, 'WASM_BINDGEN_USE_SHARED_WORKER=1'),
    tests: 'cargo',
    needs: BROWSER,
  },
  {
    name: 'core in a service worker',
    command: wasmTest(DRIVER, 'WASM_BINDGEN_USE_SERVICE_WORKER=1'),
    tests: 'cargo',
    needs: BROWSER,
  },
  { name: 'types', command: 'node_modules/.bin/tsc -p tsconfig.json' },
  { name: 'build', command: 'npm run build' },
  // The scripts and tests import the package, so their types can be checked only when it is built.
  {
    name: 'types of scripts, tests and pages',
    command: 'npm run build && node_modules/.bin/tsc -p tsconfig.checkjs.json',
  },
  { name: 'size', command: 'npm run size -- --check' },
  { name: 'API in Node', command: 'node --test tests/js/*.test.*js', tests: 'node' },
  {
    name: 'API without WebAssembly',
    command:
      'node --test --import ./tests/js/asmjs.mjs tests/js/connect.test.mjs tests/js/publish.test.mjs tests/js/requests.test.mjs tests/js/settings.test.mjs tests/js/storing.test.mjs tests/js/streams.test.mjs tests/js/subscribe.test.mjs',
    tests: 'node',
  },
  {
    name: 'other APIs and the command line',
    command: 'node --test tests/mqttjs/*.test.mjs tests/paho/*.test.mjs tests/cli/*.test.mjs',
    tests: 'node',
    needs: [...BROKER, ...SHELLS],
  },
  {
    name: 'packaging',
    command: 'node --test tests/packaging/*.test.mjs',
    tests: 'node',
    needs: [...BROWSER, ...BROKER],
  },
  { name: 'documentation', command: 'npm run docs -- --check' },
  {
    name: 'runtimes',
    command: 'node --test tests/runtimes/*.test.mjs',
    tests: 'node',
    needs: ['chromium'],
  },
  {
    name: 'brokers',
    command: 'node --test tests/brokers/*.test.mjs',
    tests: 'node',
    needs: BROKER,
  },
  {
    name: 'embedded broker',
    command:
      'BROKER=embedded node --test tests/brokers/access.test.mjs tests/brokers/endings.test.mjs tests/brokers/messages.test.mjs tests/brokers/outages.test.mjs tests/brokers/sessions.test.mjs tests/cli/mosquitto.test.mjs',
    tests: 'node',
    needs: BROKER,
  },
  {
    name: 'reliability',
    command: 'node --test tests/reliability/*.test.mjs',
    tests: 'node',
    needs: BROKER,
  },
  {
    name: 'advisories of dependencies',
    command: 'node scripts/advisories.mjs',
  },
  {
    name: 'dashboard in a browser',
    command: 'node --test tests/browser/*.test.mjs',
    tests: 'node',
    needs: [...BROWSER, ...BROKER],
  },
  {
    name: 'dashboard on the embedded broker',
    command:
      'BROKER=embedded node --test tests/browser/dashboard-features.test.mjs tests/browser/dashboard-faults.test.mjs',
    tests: 'node',
    needs: BROWSER,
  },
  {
    name: 'benchmark, a short form',
    command: 'npm run bench -- --short --clients wasmqtt,floor --out target/benchmark',
    needs: ['chromium'],
  },
  {
    name: 'benchmark through a broker, a short form',
    command:
      "npm run bench -- --short --broker testing --only 'QoS 2' --clients wasmqtt --out target/benchmark",
  },
  { name: 'conformance', command: 'node scripts/conformance.mjs', judges: true },
]

main(async () => {
  const steps = chosen(process.argv.slice(2))
  const absent = missing([...new Set(steps.flatMap(({ needs = [] }) => needs))])
  if (absent.length > 0) console.log(lacking(absent))
  await setup()

  // The step that judges must not see the outcomes of an earlier run.
  if (steps.length === STEPS.length) rmSync(join(root, results), { recursive: true, force: true })
  mkdirSync(join(root, results), { recursive: true })
  const failed = []
  const notRun = []
  const total = { passed: 0, failed: 0, skipped: 0 }
  for (const [index, step] of steps.entries()) {
    console.log(`\n${bold(`[${index + 1}/${steps.length}] ${step.name}`)}  ${dim(step.command)}`)
    const obstacle = whyNot(step, notRun)
    if (obstacle) {
      console.log(`${bold('NOT RUN')}: ${step.name}, because ${obstacle}`)
      notRun.push(step)
      continue
    }
    const began = Date.now()
    const { ok, counted } = await runStep(step)
    const seconds = ((Date.now() - began) / 1_000).toFixed(1)
    console.log(`${ok ? 'ok' : bold('FAILED')}: ${step.name}, ${seconds} s`)
    if (!ok) failed.push(step)
    for (const key of Object.keys(total)) total[key] += counted[key]
  }
  summarize(total, failed, notRun, absent)
  process.exitCode = failed.length > 0 || notRun.length > 0 ? 1 : 0
})

/** The steps whose names contain one of the words, or all of them if there are no words. */
function chosen(words) {
  const steps = STEPS.filter(
    ({ name }) => words.length === 0 || words.some((word) => name.includes(word)),
  )
  if (steps.length > 0) return steps
  const names = STEPS.map(({ name }) => `  ${name}`).join('\n')
  throw new Problem(`No step has such a name. The steps are:\n${names}`)
}

/**
 * Why a step cannot run, or undefined if it can.
 * @param {Step} step
 * @param {Step[]} notRun
 */
function whyNot({ needs = [], judges }, notRun) {
  const lacks = missing(needs)
  if (lacks.length > 0) return `these commands are missing: ${lacks.join(', ')}`
  return judges && notRun.length > 0 ? 'it reads the outcomes of all other steps' : undefined
}

function summarize(total, failed, notRun, absent) {
  for (const { name, command } of failed)
    console.log(`\n${bold(`Failed: ${name}`)}. To run it alone:\n  ${command}`)
  if (notRun.length > 0) {
    console.log(`\n${bold('Not run:')}\n${notRun.map(({ name }) => `  ${name}`).join('\n')}`)
    console.log(lacking(absent))
    if (failed.length === 0) console.log('All other steps passed.')
  }
  const parts = [`${total.passed} passed`, `${total.failed} failed`]
  if (total.skipped > 0) parts.push(`${total.skipped} skipped`)
  if (notRun.length > 0) parts.push(`${notRun.length} of the steps not run`)
  console.log(`\n${parts.join(', ')}`)
}

function lacking(commands) {
  return `These commands are missing: ${commands.join(', ')}. To install them:\n${howToInstall(commands)}`
}

/**
 * Runs one step. A step that runs no tests of its own counts as one test.
 * @param {Step} step
 */
async function runStep({ name, command, tests }) {
  if (tests === undefined) {
    const { code } = await shell(command)
    const ok = code === 0
    return { ok, counted: { passed: ok ? 1 : 0, failed: ok ? 0 : 1, skipped: 0 } }
  }
  const path = `${results}/${name}.ndjson`
  rmSync(join(root, path), { force: true })
  const { code, problem } = await (tests === 'node' ? runNode : runCargo)(command, path)
  const outcomes = readOutcomes(join(root, path))
  const count = (wanted) => outcomes.filter(({ outcome }) => outcome === wanted).length
  const counted = { passed: count('passed'), failed: count('failed'), skipped: count('skipped') }
  const complaint = problem ?? (counted.passed === 0 ? 'It ran no test.' : undefined)
  if (code === 0 && complaint) console.log(complaint)
  const ok = code === 0 && complaint === undefined && counted.failed === 0
  if (!ok && counted.failed === 0) counted.failed = 1
  return { ok, counted }
}

/** No test takes longer, in ms. One that waits for ever must not keep the others from being run. */
const LONGEST_TEST = 600_000

/** node:test prints its report, and writes the outcomes to `path` as well. */
function runNode(command, path) {
  const reporters =
    `--test-timeout=${LONGEST_TEST} ` +
    '--test-reporter=spec --test-reporter-destination=stdout' +
    ` --test-reporter=./scripts/reporter.mjs --test-reporter-destination='${path}'`
  return shell(command.replace('node --test', `node --test ${reporters}`))
}

/** Cargo has no stable form of its results but the text of libtest, which wasm-bindgen-test follows. */
async function runCargo(command, path) {
  const { code, output } = await shell(command, true)
  const outcomes = [
    ...output.matchAll(/^test (.+?)(?: - should panic)? \.\.\. (ok|FAILED|ignored)/gm),
  ].map(([, test, word]) => ({
    name: test,
    outcome: { ok: 'passed', FAILED: 'failed', ignored: 'skipped' }[word],
  }))
  writeFileSync(
    join(root, path),
    outcomes.map((outcome) => `${JSON.stringify(outcome)}\n`).join(''),
  )
  const closing = output.matchAll(/^test result: .*?(\d+) passed; (\d+) failed; (\d+) ignored/gm)
  const announced = [...closing].flatMap((numbers) => numbers.slice(1).map(Number))
  const sum = announced.reduce((all, number) => all + number, 0)
  const problem =
    sum === outcomes.length
      ? undefined
      : `It announced ${sum} tests, but printed the outcome of ${outcomes.length}.`
  return { code, problem }
}

/** Runs a shell command with its output shown; `keep` also returns what it wrote to standard output. */
function shell(command, keep = false) {
  return new Promise((resolve) => {
    const child = spawn('sh', ['-c', command], {
      cwd: root,
      stdio: ['ignore', keep ? 'pipe' : 'inherit', 'inherit'],
    })
    let output = ''
    child.stdout?.setEncoding('utf8').on('data', (text) => {
      output += text
      process.stdout.write(text)
    })
    child.on('close', (code) => resolve({ code, output }))
  })
}
