// Runs the examples of README.md. If a text block follows an example, the example must print exactly that.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { root } from '../../scripts/tools.mjs'
import { startMosquitto } from '../brokers/mosquitto.mjs'
import { openPage, startChromium } from '../browser/chromium.mjs'
import { makeProject } from './project.mjs'

const PORT = 9001 // of the broker, in the examples
/** Sends connections for that port to the broker of the test, which listens on a free port. */
const redirect = (port) => `
import net from 'node:net'
const { connect } = net
net.connect = (options, ...rest) => connect(Number(options.port) === ${PORT} ? { ...options, host: '127.0.0.1', port: ${port} } : options, ...rest)`

const readme = await readFile(join(root, 'README.md'), 'utf8')
const examples = [
  ...readme.matchAll(/^```(js|html)\n([\s\S]*?)^```\n(?:```text\n([\s\S]*?)^```\n)?/gm),
].map(([, language, code, output], at) => {
  const [heading] = readme
    .slice(0, readme.indexOf(code))
    .match(/^#+ .*$/gm)
    .slice(-1)
  return { language, code, output, title: `example ${at + 1}, in "${heading.replace(/^#+ /, '')}"` }
})

test('the README has examples', () => assert.ok(examples.length >= 8))

for (const { language, code, output, title } of examples) {
  test(title, async (t) => {
    const { wsPort } = await startMosquitto(t)
    const project = await makeProject(t, { 'redirect.mjs': redirect(wsPort) })
    const printed =
      language === 'html' ? await runPage(t, project, code, wsPort) : await runScript(project, code)
    if (output) assert.equal(printed, output)
  })
}

async function runScript(project, code) {
  const name = code.includes('require(') ? 'example.cjs' : 'example.mjs'
  await project.write({ [name]: code })
  return project.node(name, { args: ['--import', './redirect.mjs'] })
}

async function runPage(t, project, code, port) {
  await project.write({ 'index.html': code })
  const browser = await startChromium(t, [`--host-resolver-rules=MAP localhost 127.0.0.1:${port}`])
  const { page, problems } = await openPage(browser, `${await project.serve(t)}/index.html`)
  await page
    // biome-ignore lint/performance/useDomNodeTextContent: textContent includes the text of the script.
    .waitForFunction(() => document.body.innerText !== '', undefined, { timeout: 20_000 })
    .catch(() => {})
  assert.deepEqual(
    problems.filter((problem) => !problem.includes('ws://localhost')),
    [],
  )
  // biome-ignore lint/performance/useDomNodeTextContent: textContent includes the text of the script.
  return `${await page.innerText('body')}\n`
}
