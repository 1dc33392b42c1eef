// `npm test`: every check there is, one after the other. `npm test -- WORD…` runs the steps whose names contain one of the words.
import { spawn } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setup, setupLinters } from './setup.mjs'
import { bold, capture, dim, findCommand, main, Problem, results, root, run } from './tools.mjs'

const WASM_TESTS = 'CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=.tools/bin/wasm-bindgen-test-runner'
const DRIVER = 'WASM_BINDGEN_TEST_WEBDRIVER_JSON=tests/browser/webdriver.json'
const wasmTest = (...environment) =>
  [
    WASM_TESTS,
    ...environment,
    'cargo test --locked --target wasm32-unknown-unknown --test web',
  ].join(' ')
const nodeTest = (files) => `node --test --test-reporter=spec ${files}`

const BROWSER = ['chromium', 'chromedriver']
const BROKER = ['mosquitto', 'mosquitto_sub']
/** Command, and the Debian package that has it. */
const PACKAGES = {
  mosquitto: 'mosquitto',
  mosquitto_sub: 'mosquitto-clients',
  chromium: 'chromium',
  chromedriver: 'chromium-driver',
}

// Each is a shell command that can be run alone. `counts`: it says how many tests it ran, and none would be a mistake. `needs`: commands.
const STEPS = [
  { name: 'formatting', command: 'cargo fmt --check' },
  { name: 'clippy for the host', command: 'cargo clippy --locked --all-targets -- -D warnings' },
  {
    name: 'clippy for wasm32',
    command:
      'cargo clippy --locked --target wasm32-unknown-unknown --lib --test web -- -D warnings',
  },
  { name: 'native Rust tests', command: 'cargo test --locked', counts: true },
  { name: 'core in Node', command: wasmTest(), counts: true },
  {
    name: 'core in a browser window',
    command: wasmTest(DRIVER, 'WASM_BINDGEN_USE_BROWSER=1'),
    counts: true,
    needs: BROWSER,
  },
  {
    name: 'core in a dedicated worker',
    command: wasmTest(DRIVER, 'WASM_BINDGEN_USE_DEDICATED_WORKER=1'),
    counts: true,
    needs: BROWSER,
  },
  {
    name: 'core in a shared worker',
    command: wasmTest(DRIVER, 'WASM_BINDGEN_USE_SHARED_WORKER=1'),
    counts: true,
    needs: BROWSER,
  },
  {
    name: 'core in a service worker',
    command: wasmTest(DRIVER, 'WASM_BINDGEN_USE_SERVICE_WORKER=1'),
    counts: true,
    needs: BROWSER,
  },
  { name: 'types', command: 'node_modules/.bin/tsc -p tsconfig.json' },
  { name: 'build', command: 'npm run build' },
  { name: 'size', command: 'npm run size -- --check' },
  { name: 'API in Node', command: nodeTest('tests/js/*.test.*js'), counts: true },
  {
    name: 'packaging',
    command: nodeTest('tests/packaging/*.test.mjs'),
    counts: true,
    needs: [...BROWSER, ...BROKER],
  },
  { name: 'brokers', command: nodeTest('tests/brokers/*.test.mjs'), counts: true, needs: BROKER },
  {
    name: 'dashboard in a browser',
    command: nodeTest('tests/browser/*.test.mjs'),
    counts: true,
    needs: [...BROWSER, ...BROKER],
  },
  {
    name: 'benchmark, a short form',
    command: 'npm run bench -- --short --clients wasmqtt,floor --out target/benchmark',
    needs: ['chromium'],
  },
  { name: 'conformance', command: 'node scripts/conformance.mjs' },
]

main(async () => {
  const words = process.argv.slice(2)
  const steps = STEPS.filter(
    ({ name }) => words.length === 0 || words.some((word) => name.includes(word)),
  )
  if (steps.length === 0)
    throw new Problem(
      `No step is called so. There are:\n${STEPS.map(({ name }) => `  ${name}`).join('\n')}`,
    )
  await setup()
  await setupLinters()
  await installPackages(new Set(steps.flatMap(({ needs = [] }) => needs)))

  // The last step judges by what the others print.
  if (steps.length === STEPS.length) rmSync(results, { recursive: true, force: true })
  mkdirSync(results, { recursive: true })
  const failures = []
  const total = { passed: 0, failed: 0, skipped: 0 }
  for (const [index, step] of steps.entries()) {
    console.log(`\n${bold(`[${index + 1}/${steps.length}] ${step.name}`)}  ${dim(step.command)}`)
    const began = Date.now()
    const { ok, counted } = await runStep(step)
    if (!ok) failures.push(step)
    for (const key of Object.keys(total)) total[key] += counted[key]
    console.log(
      `${ok ? 'ok' : bold('FAILED')}: ${step.name}, ${((Date.now() - began) / 1_000).toFixed(1)} s`,
    )
  }
  for (const { name, command } of failures)
    console.log(`\n${bold(`Failed: ${name}`)}. Alone:\n  ${command}`)
  console.log(
    `\n${total.passed} passed, ${total.failed} failed${total.skipped ? `, ${total.skipped} skipped` : ''}`,
  )
  process.exitCode = failures.length ? 1 : 0
})

/** A step that counts no tests of its own is one. */
function runStep({ name, command, counts }) {
  return new Promise((resolve) => {
    const child = spawn('sh', ['-c', command], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    child.stdout.setEncoding('utf8')
    child.stdout.on('data', (text) => {
      output += text
      process.stdout.write(text)
    })
    child.stderr.pipe(process.stderr, { end: false })
    child.on('close', (code) => {
      if (counts) writeFileSync(join(results, `${name}.txt`), output)
      const counted = counts ? count(output) : { passed: code === 0 ? 1 : 0, failed: 0, skipped: 0 }
      const none = counts && code === 0 && counted.passed === 0
      if (none) console.log('It ran no test.')
      const ok = code === 0 && !none
      if (!ok && counted.failed === 0) counted.failed = 1
      resolve({ ok, counted })
    })
  })
}

/** Adds up the closing lines of cargo test, wasm-bindgen-test and node:test. */
function count(output) {
  const sum = (...patterns) =>
    patterns
      .flatMap((pattern) => [...output.matchAll(pattern)])
      .reduce((all, [, number]) => all + Number(number), 0)
  return {
    passed: sum(/^test result: .*?(\d+) passed/gm, /^ℹ pass (\d+)/gm),
    failed: sum(/^test result: .*?(\d+) failed/gm, /^ℹ fail (\d+)/gm),
    skipped: sum(/^test result: .*?(\d+) ignored/gm, /^ℹ skipped (\d+)/gm),
  }
}

async function installPackages(commands) {
  const missing = [...commands].filter((command) => !findCommand(command))
  if (missing.length === 0) return
  const packages = missing.map((command) => PACKAGES[command])
  const install = ['apt-get', 'install', '-y', '--no-install-recommends', ...packages]
  const prefix =
    process.getuid?.() === 0
      ? []
      : capture('sudo', ['-n', 'true']) === undefined
        ? undefined
        : ['sudo', '-n']
  if (!findCommand('apt-get') || !prefix) {
    throw new Problem(
      `These commands are needed and cannot be installed from here: ${missing.join(', ')}.\nOn Debian: sudo ${install.join(' ')}`,
    )
  }
  console.log(bold(`Installing ${packages.join(', ')}`))
  const apt = (line) => {
    const [command, ...args] = [...prefix, 'env', 'DEBIAN_FRONTEND=noninteractive', ...line]
    return run(command, args)
  }
  await apt(['apt-get', 'update'])
  await apt(install)
}
