// `npm run docs` builds the documentation site into target/site: the guides of docs/, and a reference made of the declarations in pkg/. It fails on
// a link that leads nowhere, and on an export without a doc comment. It also writes docs/options.md; with --check it fails if that is out of date.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { optionsPage } from './docs-options.mjs'
import { isMain, main, Problem, root, run } from './tools.mjs'

const docs = join(root, 'docs')
const site = join(root, 'target', 'site')
/** The entries, as TypeDoc is to see them. */
const entries = join(root, 'target', 'docs')
const BASE = process.env.DOCS_BASE ?? '/'

const MODULES = {
  wasmqtt: [
    'index',
    'The client, with the WebAssembly inlined. `wasmqtt/asmjs` exports the same, for where there is no WebAssembly.',
  ],
  'wasmqtt/slim': ['slim', 'The client with the WebAssembly in a file of its own.'],
  'wasmqtt/stores': ['stores-node', 'Stores that keep messages beyond the page or process.'],
  'wasmqtt/testing': ['testing', 'A broker for tests.'],
  'wasmqtt/mqttjs': ['mqttjs', 'The API of MQTT.js.'],
  'wasmqtt/paho': ['paho', 'The API of Paho.'],
}

export async function docsSite({ check = false } = {}) {
  writeEntries()
  await installTools()
  rmSync(join(docs, 'reference'), { recursive: true, force: true })
  const bin = (name) => join(docs, 'node_modules', '.bin', name)
  await run(bin('typedoc'), ['--logLevel', 'Warn'], { cwd: docs })
  describeModules()
  writeOptions(check)
  await run(bin('vitepress'), ['build', docs])
  const dead = deadLinks()
  if (dead.length > 0) throw new Problem(`These links lead nowhere:\n${dead.join('\n')}`)
  writeFileSync(join(site, 'llms.txt'), llms())
}

/** Installs what the site is built with, which has a manifest of its own, unless it is there. */
export async function installTools() {
  if (!existsSync(join(docs, 'node_modules', '.package-lock.json')))
    await run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: docs })
}

/** Writes the files that TypeDoc begins with. */
function writeEntries() {
  rmSync(entries, { recursive: true, force: true })
  mkdirSync(entries, { recursive: true })
  const files = Object.entries(MODULES).map(([name, [path, what]]) => {
    const from = relative(entries, join(root, 'pkg', `${path}.js`))
    const hasDefault = /mqttjs|paho/.test(name) ? `export { default } from '${from}'\n` : ''
    const file = `${name.replace('/', '-')}.d.ts`
    writeFileSync(
      join(entries, file),
      `/**\n * ${what}\n *\n * @module ${name}\n */\nexport * from '${from}'\n${hasDefault}`,
    )
    return file
  })
  const compilerOptions = {
    ...{ strict: true, noEmit: true, skipLibCheck: true, target: 'es2022', types: [] },
    lib: ['es2022', 'dom', 'dom.iterable', 'dom.asynciterable', 'esnext.disposable'],
    ...{ module: 'esnext', moduleResolution: 'bundler' },
  }
  writeFileSync(join(entries, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }))
}

/** Says on the first page of the reference what each entry is for, in the order of MODULES. */
function describeModules() {
  const path = join(docs, 'reference', 'index.md')
  const list = Object.entries(MODULES).map(
    ([name, [, what]]) => `- [${name}](${name}/index.md): ${what}\n`,
  )
  const text = readFileSync(path, 'utf8')
  writeFileSync(path, text.replace(/^(- \[.*\n)+/m, list.join('')))
}

function writeOptions(check) {
  const path = join(docs, 'options.md')
  const types = JSON.parse(readFileSync(join(entries, 'types.json'), 'utf8'))
  const text = optionsPage(types)
  if (check && (!existsSync(path) || readFileSync(path, 'utf8') !== text))
    throw new Problem('docs/options.md is out of date. `npm run docs` writes it.')
  writeFileSync(path, text)
}

/** The links of the site that lead to no page, no file, or to no heading. VitePress itself does not look at headings. */
function deadLinks() {
  const names = readdirSync(site, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.html'),
  )
  const pages = new Map(names.map((name) => [name, readFileSync(join(site, name), 'utf8')]))
  const dead = []
  for (const [name, html] of pages)
    for (const [, href] of html.matchAll(/<a\b[^>]*? href="([^"]+)"/g)) {
      if (/^[a-z]+:/.test(href)) continue
      const [path, id] = decodeURI(href).split('#')
      const inside = path.startsWith(BASE) ? path.slice(BASE.length) : join(dirname(name), path)
      const target = path === '' ? name : /(^|\/)$/.test(inside) ? `${inside}index.html` : inside
      const page = pages.get(target)
      if (page === undefined && !existsSync(join(site, target))) dead.push(`${name}: ${href}`)
      else if (id && page && !page.includes(` id="${id}"`)) dead.push(`${name}: ${href}`)
    }
  return dead
}

/** What a language model reads first: a list of the pages as Markdown files, which are beside the pages. */
function llms() {
  const list = []
  for (const name of readdirSync(docs, { recursive: true, encoding: 'utf8' }).sort()) {
    if (!name.endsWith('.md') || name.includes('node_modules')) continue
    const text = readFileSync(join(docs, name), 'utf8')
    mkdirSync(dirname(join(site, name)), { recursive: true })
    writeFileSync(join(site, name), text)
    const title = /^# (.*)$/m.exec(text)?.[1]
    if (title && !name.startsWith('reference/'))
      list.push(`- [${title}](${BASE}${name}): ${firstSentence(text)}`)
  }
  return `# wasmqtt

> An MQTT 5.0 and 3.1.1 client for browsers, Node, Deno, Bun and workers, with a typed promise API and its protocol core in WebAssembly.

\`npm install wasmqtt\`, then \`import { connect } from 'wasmqtt'\`. Every promise settles, every error has a \`code\`.

## Pages

${list.join('\n')}
- [Reference](${BASE}reference/index.md): every export, made of its declarations
`
}

function firstSentence(text) {
  const body = text.replace(/^---\n[\s\S]*?\n---\n/, '').replace(/^# .*\n/m, '')
  const paragraph =
    body
      .replaceAll(/^```[\s\S]*?^```$/gm, '')
      .split(/\n\n+/)
      .find((part) => /^[A-Z`]/.test(part.trim())) ?? ''
  return paragraph
    .trim()
    .replaceAll('\n', ' ')
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replace(/(?<=\.) .*$/, '')
}

if (isMain(import.meta)) main(() => docsSite({ check: process.argv.includes('--check') }))
