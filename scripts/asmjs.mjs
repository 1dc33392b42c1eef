// Translates the core to JavaScript, for runtimes without WebAssembly: React Native's Hermes, `node --jitless`, pages whose policy forbids it.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bin, run } from './tools.mjs'

/**
 * wasm2js knows only one table, and wasm-bindgen wants a second one for references to objects of JavaScript unless they are switched off. And what
 * takes the place of conversions that saturate does not saturate, so the compiler must not use them.
 */
export const asmjsFlags = [
  '-Ctarget-feature=-reference-types,-nontrapping-fptoint',
  // The standard library was compiled with the others, but uses none of them in what the core takes.
  '-Clink-arg=--features=bulk-memory,mutable-globals,sign-ext',
  '-Clink-arg=--no-check-features',
]

/** With one that is missing here, wasm-opt refuses the module. */
const FEATURES = ['bulk-memory', 'mutable-globals', 'sign-ext']

/** Writes core.js beside the module: a function that takes the imports and returns the exports, as `WebAssembly.Instance` does. */
export async function translate(folder) {
  const lowered = join(folder, 'lowered.wasm')
  const core = join(folder, 'core.js')
  const features = FEATURES.map((name) => `--enable-${name}`)
  await run(bin('wasm-opt'), [
    ...[join(folder, 'wasmqtt_bg.wasm'), '-o', lowered],
    ...[...features, '--signext-lowering', '-O3'],
  ])
  await run(bin('wasm2js'), [lowered, '-o', core, '-O3', ...features])
  edit(core, [
    [/^import .*\n/gm, ''],
    [/^var retasmFunc[\s\S]*/m, 'export default asmFunc\n'],
    [/throw new Error\('abort'\)/, "throw new WebAssembly.RuntimeError('unreachable')"],
  ])
  // Not there before the build has installed it.
  const { transformSync } = await import('esbuild')
  const minified = transformSync(readFileSync(core, 'utf8'), { minify: true, target: 'es2021' })
  writeFileSync(core, minified.code)
  // An ArrayBuffer in the place of a memory is not detached when the memory grows.
  const glue = join(folder, 'wasmqtt.js')
  const [, memory] = /\bmemory = \(\) => (wasm\.\w+)$/m.exec(readFileSync(glue, 'utf8'))
  edit(glue, [
    [
      /cachedDataViewMemory0 === null .*(?=\) \{)/,
      `cachedDataViewMemory0?.buffer !== ${memory}.buffer`,
    ],
    [
      /cachedUint8ArrayMemory0 === null .*(?=\) \{)/,
      `cachedUint8ArrayMemory0?.buffer !== ${memory}.buffer`,
    ],
  ])
}

function edit(path, edits) {
  let text = readFileSync(path, 'utf8')
  for (const [pattern, replacement] of edits) {
    const next = text.replace(pattern, () => replacement)
    if (next === text) throw new Error(`${path} does not have ${pattern}`)
    text = next
  }
  writeFileSync(path, text)
}
