// The test frameworks that users have, each in its environments: a test of theirs that tells the story, without a configuration of the package.
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { findChromium } from '../../scripts/commands.mjs'
import { programOf } from './bundlers.mjs'
import { STORY } from './story.mjs'

const execute = promisify(execFile)

/** @param {string} url */
const tells = (url) => `
  const text = await story(wasmqtt, '${url}')
  if (text !== 'hello') throw new Error(text)`
/** A test in CommonJS. */
const required = (url) =>
  `const wasmqtt = require('wasmqtt')\n${STORY}\nit('tells the story', async () => {${tells(url)}\n})`
/** A test as an ES module, with the function of that name. */
const imported = (url, test) =>
  `import * as wasmqtt from 'wasmqtt'\n${test}\n${STORY}\ntest('tells the story', async () => {${tells(url)}\n})`

/** @param {string} environment */
const jest = (environment) => ({
  name: `Jest, ${environment}`,
  how: `\`jest --env=${environment}\``,
  packages: { jest: 'latest', 'jest-environment-jsdom': 'latest' },
  files: (url) => ({ 'story.test.cjs': required(url), 'jest.config.json': '{}' }),
  command: ['jest', '--config', 'jest.config.json', `--env=${environment}`, '--watchman=false'],
  passed: /^Tests: +1 passed, 1 total$/m,
})

/** @param {string} environment */
const vitest = (environment, packages = {}) => ({
  name: `Vitest, ${environment}`,
  how: `\`vitest run --environment ${environment}\``,
  packages: { vitest: 'latest', ...packages },
  files: (url) => ({ 'story.test.mjs': imported(url, "import { test } from 'vitest'") }),
  command: ['vitest', 'run', '--root', '.', '--environment', environment],
  passed: /^ *Tests +1 passed \(1\)$/m,
})

const BROWSER = `import { playwright } from '@vitest/browser-playwright'
export default {
  test: {
    browser: {
      enabled: true,
      headless: true,
      screenshotFailures: false,
      instances: [{ browser: 'chromium' }],
      provider: playwright({ launchOptions: { executablePath: ${JSON.stringify(findChromium())}, args: ['--no-sandbox'] } }),
    },
  },
}`

const all = [
  {
    name: 'node:test',
    how: '`node --test`',
    packages: {}, // Node comes with the runtimes.
    files: (url) => ({ 'story.test.mjs': imported(url, "import { test } from 'node:test'") }),
    command: ['node-24', '--test', 'story.test.mjs'],
    passed: /^(?:#|ℹ) pass 1$/m,
  },
  {
    name: 'mocha',
    how: '`mocha`',
    packages: { mocha: 'latest' },
    files: (url) => ({ 'story.test.cjs': required(url) }),
    command: ['mocha', 'story.test.cjs'],
    passed: /^ *1 passing/m,
  },
  jest('node'),
  jest('jsdom'),
  vitest('node'),
  vitest('jsdom', { jsdom: 'latest' }),
  vitest('happy-dom', { 'happy-dom': 'latest' }),
  {
    ...vitest('browser', { '@vitest/browser-playwright': 'latest', playwright: 'latest' }),
    name: 'Vitest, browser mode',
    how: '`vitest run`, with `browser.enabled` in vitest.config.mjs',
    files: (url) => ({
      'story.test.mjs': imported(url, "import { test } from 'vitest'"),
      'vitest.config.mjs': BROWSER,
    }),
    command: ['vitest', 'run', '--root', '.'],
    needs: 'chromium',
  },
]

/** @type {import('./runtimes.mjs').Runtime[]} */
export const environments = all.map(
  ({ name, how, packages, files, command, passed, needs = undefined }) => {
    const [tool, ...args] = command
    return {
      name,
      how,
      packages,
      command: needs,
      async run(project, urls, tools) {
        await project.write(files(urls.ws))
        const [program, ...first] = await programOf(tools, tool)
        const { NODE_TEST_CONTEXT: _, FORCE_COLOR: __, ...env } = process.env
        const { stdout, stderr } = await execute(program, [...first, ...args], {
          cwd: project.folder,
          timeout: 120_000,
          env: { ...env, NO_COLOR: '1', CI: '1' },
        }).catch((failure) => failure)
        if (!passed.test(`${stdout}\n${stderr}`)) throw new Error(`${stdout}${stderr}`)
        if (tool === 'node-24')
          return (await execute(program, ['--version'])).stdout.trim().slice(1)
        return JSON.parse(await readFile(join(tools(tool), 'package.json'), 'utf8')).version
      },
    }
  },
)
