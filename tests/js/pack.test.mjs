// The inlined form of the module: taken apart by the build, put together by the unpacker.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { pack, unpack } from '../../scripts/pack.mjs'
import { root } from '../../scripts/tools.mjs'

const wasm = readFileSync(join(root, 'pkg', 'wasmqtt.wasm'))

test('the unpacker puts the module together byte for byte', () => {
  const packed = pack(wasm)
  assert.match(packed.text, /^[ -~]+$/)
  assert.doesNotMatch(packed.text, /["\\]/)
  assert.ok(unpack(packed).equals(wasm))
})

test('a text that was damaged traps or makes no module, and never runs on for ever', () => {
  const packed = pack(wasm)
  const { text } = packed
  const damaged = [
    ...[0.2, 0.5, 0.99].map((part) => text.slice(0, text.length * part).padEnd(text.length, '~')),
    ' '.repeat(text.length),
    '~'.repeat(text.length),
    [...text].reverse().join(''),
    `${text.slice(0, 400)}${text.slice(500)}`.padEnd(text.length),
  ]
  for (const text of damaged)
    assert.throws(
      () => new WebAssembly.Module(unpack({ ...packed, text })),
      (error) =>
        error instanceof WebAssembly.RuntimeError || error instanceof WebAssembly.CompileError,
    )
})

test('a package whose text was damaged says that WebAssembly cannot be used', async () => {
  const source = readFileSync(join(root, 'pkg', 'index.js'), 'utf8')
  const folder = mkdtempSync(join(tmpdir(), 'wasmqtt-damaged-'))
  try {
    const half = source.indexOf('"', 100_000)
    const path = join(folder, 'index.mjs')
    writeFileSync(
      path,
      `${source.slice(0, half - 20_000)}${' '.repeat(20_000)}${source.slice(half)}`,
    )
    const { matches } = await import(pathToFileURL(path).href)
    assert.throws(
      () => matches('a', 'a'),
      ({ code, cause }) => code === 'NOT_SUPPORTED' && cause !== undefined,
    )
  } finally {
    rmSync(folder, { recursive: true })
  }
})
