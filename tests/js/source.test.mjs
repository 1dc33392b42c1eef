// What has to hold between the source files, and what no compiler checks.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { test } from 'node:test'
import { records } from '../../scripts/records.mjs'
import { root } from '../../scripts/tools.mjs'

const folder = join(root, 'src', 'js')
const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
  name.endsWith('.ts'),
)
const read = (path) => readFileSync(join(root, path), 'utf8')

test('the host that Rust calls and the interface CoreHost have the same methods in the same order', () => {
  const texts = readdirSync(join(root, 'src', 'web')).map((name) => read(`src/web/${name}`))
  const rust = texts.flatMap((text) =>
    [...text.matchAll(/fn (\w+)\(\s*this: &CoreHost\b/g)].map(([, name]) => name),
  )
  const [, body] = /interface CoreHost \{([\s\S]*?)\n {2}\}/.exec(read('src/js/core/glue.d.ts'))
  const typescript = [...body.matchAll(/^ {4}(?:readonly )?(\w+)[(:]/gm)].map(([, name]) => name)
  assert.ok(rust.length > 10)
  assert.deepEqual(typescript, rust)
})

test('every method that Rust calls has a doc comment', () => {
  const [, body] = /interface CoreHost \{([\s\S]*?)\n {2}\}/.exec(read('src/js/core/glue.d.ts'))
  assert.doesNotMatch(body, /(?<!\*\/)\n {4}(readonly )?\w+[(:]/)
})

test('the numbers that Rust and JavaScript exchange are those of Rust', () => {
  const files = records()
  assert.ok(files.length > 1)
  for (const { expected, found } of files) assert.equal(found, expected, 'node scripts/records.mjs')
})

test('no file of src/js imports itself by way of others', () => {
  const imports = new Map(
    files.map((name) => {
      const text = readFileSync(join(folder, name), 'utf8')
      const targets = [...text.matchAll(/(?:from|import\() ?'(\.[^']+)\.js'/g)].map(
        ([, path]) => `${relative(folder, join(folder, dirname(name), path))}.ts`,
      )
      return [name, targets]
    }),
  )
  const done = new Set()
  const visit = (name, path) => {
    assert.ok(!path.includes(name), [...path, name].join(' -> '))
    if (done.has(name)) return
    for (const target of imports.get(name) ?? assert.fail(`${path.at(-1)} imports ${name}`))
      visit(target, [...path, name])
    done.add(name)
  }
  for (const name of files) visit(name, [])
})

test('no file of src/js has more than 450 lines without its comments, and none of the shims more than 800', () => {
  for (const name of files) {
    const text = readFileSync(join(folder, name), 'utf8')
    const lines = text.split('\n').filter((line) => !/^\s*(\/\/|\/?\*)/.test(line)).length - 1
    // A shim repeats the one class of another library, with all its methods.
    const limit = /^(mqttjs|paho)\b/.test(name) ? 800 : 450
    assert.ok(lines < limit, `${name}: ${lines}`)
  }
})
