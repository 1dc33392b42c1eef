// Measures what a page downloads. Every build prints it. `npm run size` also writes it into README.md, and fails if it exceeds the budget in
// package.json. `npm run size -- --check` writes nothing.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import { isMain, main, Problem, root } from './tools.mjs'

const FORMS = {
  'wasm inlined (`wasmqtt`)': ['index.js'],
  'wasm apart (`wasmqtt/slim`), both files': ['slim.js', 'wasmqtt.wasm'],
  'of it the `.wasm`': ['wasmqtt.wasm'],
  'without WebAssembly (`wasmqtt/asmjs`)': ['asmjs.js'],
}

export function measure() {
  return Object.fromEntries(
    Object.entries(FORMS).map(([form, names]) => [form, names.map(sizes).reduce(add)]),
  )
}

function sizes(name) {
  const bytes = readFileSync(join(root, 'pkg', name))
  const brotli = brotliCompressSync(bytes, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: 11,
      [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
    },
  })
  return { raw: bytes.length, gzip: gzipSync(bytes, { level: 9 }).length, brotli: brotli.length }
}

const add = (a, b) => ({ raw: a.raw + b.raw, gzip: a.gzip + b.gzip, brotli: a.brotli + b.brotli })

export function table(measured) {
  const cell = (bytes) => bytes.toLocaleString('en')
  const rows = Object.entries(measured).map(
    ([form, { raw, gzip, brotli }]) =>
      `| ${form} | ${cell(raw)} | ${cell(gzip)} | ${cell(brotli)} |`,
  )
  return ['| bytes | raw | gzip -9 | brotli 11 |', '|---|--:|--:|--:|', ...rows].join('\n')
}

/** The folders of the core, and how the names of their functions look. */
const ROOMS = {
  session: /wasmqtt::session/,
  codec: /wasmqtt::codec/,
  options: /wasmqtt::options/,
  web: /wasmqtt::web|^(core|__wbg|__externref)_|^(matches|decodeProperties)\b/,
  data: /^data$/,
}

/** Returns a table of the folders and of the largest functions, in raw bytes of the `.wasm`. */
function largest(contributors) {
  const rooms = {}
  for (const [name, bytes] of contributors) {
    const room = Object.keys(ROOMS).find((room) => ROOMS[room].test(name)) ?? 'libraries'
    rooms[room] = (rooms[room] ?? 0) + bytes
  }
  const rows = (entries) =>
    entries
      .toSorted(([, a], [, b]) => b - a)
      .map(([name, bytes]) => `${bytes.toLocaleString('en').padStart(9)}  ${name}`)
  return [...rows(Object.entries(rooms)), '', ...rows(contributors).slice(0, 16)].join('\n')
}

if (isMain(import.meta)) {
  main(async () => {
    const { build } = await import('./build.mjs')
    const { contributors } = await import('./modules.mjs')
    const printed = await build()
    const measured = measure()
    if (!printed) console.log(table(measured))
    console.log(`\n${largest(contributors())}`)
    if (!process.argv.includes('--check')) {
      const path = join(root, 'README.md')
      const between = /(<!-- size -->\n)[\s\S]*?(\n<!-- \/size -->)/
      writeFileSync(
        path,
        readFileSync(path, 'utf8').replace(
          between,
          (_, before, after) => before + table(measured) + after,
        ),
      )
    }
    const { budget } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    for (const [form, limit] of Object.entries(budget)) {
      if (measured[form].brotli > limit)
        throw new Problem(
          `${form}: ${measured[form].brotli} bytes in brotli exceed the budget of ${limit}`,
        )
    }
  })
}
