// Runs the examples of README.md and of the guides in docs/. If a text block follows an example, the example must print exactly that. Blocks
// marked `compile`, and components of frameworks, cannot run alone: they are compiled, with all that they import from the package.
import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { test } from 'node:test'
import { installTools } from '../../scripts/docs.mjs'
import { root } from '../../scripts/tools.mjs'
import { startMosquitto } from '../brokers/mosquitto.mjs'
import { openPage, startChromium } from '../browser/chromium.mjs'
import { makeProject } from './project.mjs'

const { build } = createRequire(join(root, 'package.json'))('esbuild')
/** The ports of the broker in the examples. */
const WS = 9001
const TCP = 1883
/** Sends connections for those ports to the broker of the test, which listens on free ports. */
const redirect = ({ wsPort, tcpPort }) => `
import net from 'node:net'
const { connect } = net
const ports = { ${WS}: ${wsPort}, ${TCP}: ${tcpPort} }
net.connect = (options, ...rest) => connect(ports[options.port] ? { ...options, host: '127.0.0.1', port: ports[options.port] } : options, ...rest)`

const guides = (await readdir(join(root, 'docs'), { recursive: true }))
  .filter((name) => name.endsWith('.md') && !/node_modules|^reference/.test(name))
  .sort()
const files = ['README.md', ...guides.map((name) => `docs/${name}`)]
const BLOCK =
  /^```(js|jsx|ts|html|vue|svelte)( compile)?\n([\s\S]*?)^```\n(?:```text\n([\s\S]*?)^```\n)?/gm
let runs = 0

for (const file of files) {
  const text = await readFile(join(root, file), 'utf8')
  for (const [at, match] of [...text.matchAll(BLOCK)].entries()) {
    const [, language, mark, code, output] = match
    const heading =
      text
        .slice(0, match.index)
        .match(/^#+ .*$/gm)
        ?.at(-1) ?? file
    const title = `${file}: example ${at + 1}, in "${heading.replace(/^#+ /, '')}"`
    if (mark || !['js', 'html'].includes(language)) {
      test(`${title}, compiles`, (t) => compile(t, language, code))
      continue
    }
    runs++
    test(title, async (t) => {
      const broker = await startMosquitto(t)
      const project = await makeProject(t, { 'redirect.mjs': redirect(broker) })
      const printed =
        language === 'html'
          ? await runPage(t, project, code, broker.wsPort)
          : await runScript(project, code)
      if (output) assert.equal(printed, output)
    })
  }
}

test('the README and the guides have examples that run', () => assert.ok(runs >= 40))

/** Bundles a block. What it imports from the package must be there; other packages are left out. */
async function compile(t, language, code) {
  const project = await makeProject(t)
  const script = { vue: fromVue, svelte: fromSvelte }[language]
  const contents = script ? await script(code) : code
  await build({
    stdin: { contents, resolveDir: project.folder, loader: script ? 'js' : language },
    absWorkingDir: project.folder,
    outfile: 'out.js',
    bundle: true,
    format: 'esm',
    jsx: 'automatic',
    write: false,
    logLevel: 'silent',
    plugins: [
      {
        name: 'others',
        setup: ({ onResolve }) =>
          void onResolve({ filter: /.*/ }, ({ path, importer }) =>
            importer.endsWith('<stdin>') && !/^wasmqtt[^?]*$/.test(path)
              ? { path, external: true }
              : undefined,
          ),
      },
    ],
  })
}

await installTools()
/** The compilers are those of the documentation site. */
const compilers = createRequire(join(root, 'docs', 'package.json'))

async function fromVue(code) {
  const { parse, compileScript } = compilers('vue/compiler-sfc')
  const { descriptor, errors } = parse(code)
  assert.deepEqual(errors, [])
  return compileScript(descriptor, { id: 'example', inlineTemplate: true }).content
}

async function fromSvelte(code) {
  const { js, warnings } = compilers('svelte/compiler').compile(code, { generate: 'client' })
  assert.deepEqual(
    warnings.map(({ message }) => message),
    [],
  )
  return js.code
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
