// Compiles the crate to modules with their glue: for the client, as small as it gets without being slower; for runtimes without WebAssembly; and for
// the test broker.
import { createHash } from 'node:crypto'
import { appendFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { checkUnread, numberPlaces, PANIC, thrower } from './panics.mjs'
import { bin, capture, root, run, toolsBin } from './tools.mjs'
import { align, sortBySimilarity } from './wasm.mjs'

const TARGET = 'wasm32-unknown-unknown'
// The features that all current browsers and Node 20 have. With --all-features, wasm-opt emits modules that Node 20 rejects.
const WASM_FEATURES = [
  'bulk-memory',
  'mutable-globals',
  'multivalue',
  'nontrapping-float-to-int',
  'reference-types',
  'sign-ext',
]

export const bindgen = join(root, 'target', 'bindgen')
/** The test broker is a module of its own, built from the same crate. */
export const brokerBindgen = join(root, 'target', 'bindgen-broker')
/** The core as JavaScript. */
export const asmjsBindgen = join(root, 'target', 'bindgen-asmjs')
const LLVM = [
  // The threshold of opt-level "s" is near this. With 225, that of opt-level 2, the module is 6 % larger and not faster.
  '-inline-threshold=45',
  // Loops that are unrolled are 1 % of the module. No message goes through one of them.
  '-unroll-runtime=false',
  '-unroll-threshold=0',
]
// Only short functions are inlined into their only caller, because engines need long to optimise long functions. Functions that are
// neighbours in the sources are similar, so sorting them by name makes the module compress better.
const optimize = [
  // The second time finds another 0.1 %.
  '-O3',
  '-O3',
  '--reorder-functions-by-name',
  '--one-caller-inline-max-function-size=30',
  // The stack grows down to address 0, so nothing lies there; the memory of an instance is always new.
  '--low-memory-unused',
  '--zero-filled-memory',
  ...WASM_FEATURES.map((name) => `--enable-${name}`),
]
/** The module before wasm-opt, with the names of its functions. */
const NAMED = 'named.wasm'

/** Builds the crate with these features and flags, and puts the module and its glue into `folder`. */
export async function buildModule(
  folder,
  { features = ['--no-default-features'], flags = [] } = {},
) {
  await run('cargo', ['fetch', '--locked', '--target', TARGET])
  const { target_directory: target } = JSON.parse(
    capture('cargo', ['metadata', '--format-version=1', '--no-deps']),
  )
  const built = join(target, TARGET, 'release', 'wasmqtt.wasm')
  await compile(features, flags)
  if (folder === bindgen) await compile(features, flags, coldFunctions(built, target))
  const options = [
    '--target',
    'web',
    '--omit-default-module-path',
    '--experimental-reset-state-function',
    '--out-dir',
    folder,
  ]
  await run(join(toolsBin, 'wasm-bindgen'), [...options, built])
  const wasm = join(folder, 'wasmqtt_bg.wasm')
  const named = join(folder, NAMED)
  const ofClient = folder !== brokerBindgen
  const bytes = ofClient ? await withoutUncalled(wasm) : readFileSync(wasm)
  const panics = ofClient && numberPlaces(bytes)
  writeFileSync(named, bytes)
  await run(bin('wasm-opt'), [
    named,
    '-o',
    wasm,
    ...optimize,
    '--strip-debug',
    '--strip-producers',
    '--strip-target-features',
  ])
  // Nobody downloads the test broker.
  if (!ofClient) return
  const glue = join(folder, 'wasmqtt.js')
  shortenNames(wasm, glue)
  appendFileSync(glue, thrower(panics.files))
  const optimized = readFileSync(wasm)
  checkUnread(optimized, panics.unread)
  if (folder !== bindgen) return
  writeFileSync(glue, withoutCases(readFileSync(glue, 'utf8')))
  align(optimized)
  writeFileSync(wasm, sortBySimilarity(optimized))
}

/** Compiles the crate. `attributes`: a file with attributes of functions. */
async function compile(features, flags, attributes) {
  const llvm = attributes ? [...LLVM, `-forceattrs-csv-path=${attributes}`] : LLVM
  const own = ['-Clink-arg=--no-demangle', ...llvm.map((argument) => `-Cllvm-args=${argument}`)]
  const crate = ['--release', '--lib', '--locked', '--target', TARGET, ...features]
  await run('cargo', ['rustc', ...crate, '--', ...own], {
    env: { CARGO_ENCODED_RUSTFLAGS: [...flags, ...withoutPaths()].join('\x1f') },
  })
}

/** What no message goes through, as the beginning of a path without generics: it is compiled for size. */
const COLD = [
  'core_(?!ack|buffer|flush|hold|message|publish|resume|timeout|topic)',
  'core::ptr::drop_in_place.*bindings\\.\\.Core',
  'wasmqtt::codec::(packet::(Connect|ConnAck|Disconnect|Auth|Packet)|subscribe)::',
  'wasmqtt::codec::(topic::(parse_filter|split_share|meet)|trie::Trie::(add|remove|slot|hash_in))',
  'wasmqtt::options::',
  'wasmqtt::session::(attempts|error|lifecycle|reconnect|subscriptions)::',
  'wasmqtt::session::(journal|packets)::.*::(handle_failed|handle_loaded|process_(other|skipped|suback))',
  'wasmqtt::session::outbox::(blame|recording)::',
  'wasmqtt::session::outbox::.*::(expire|send_requests|take_unsent|in_order)',
  `wasmqtt::session::Session::(?!acknowledge|delivered|handle_(input|loaded|stored)|hold|poll|publish|send|topic|transmit)`,
  'wasmqtt::web::(link::.*agreed|objects)',
  'wasmqtt::web::bindings::Core::(?!ack|buffer|flush|hold|message|publish|resume|timeout|topic)',
].map((path) => new RegExp(`^${path}`))

/**
 * Writes a file that makes LLVM compile for size what is cold in this module. That is 2 % of the size. The attribute for it is not stable in
 * Rust, and a profile of Cargo holds for a whole crate.
 */
function coldFunctions(wasm, folder) {
  const names = new Set(readFileSync(wasm, 'latin1').match(/_ZN[\w$.]+?17h[0-9a-f]{16}E/g))
  const cold = [...names].filter((name) => COLD.some((path) => path.test(readable(name))))
  const text = cold.map((name) => `${name},minsize\n`).join('')
  // Cargo sees by the name whether the content is another.
  const digest = createHash('sha256').update(text).digest('hex')
  const path = join(folder, `cold-${digest.slice(0, 16)}.csv`)
  writeFileSync(path, text)
  return path
}

/** The path of a function, from the name that the linker knows. */
function readable(name) {
  const parts = []
  for (let rest = name.slice(3); /^\d/.test(rest); ) {
    const length = Number.parseInt(rest, 10)
    const start = String(length).length
    parts.push(rest.slice(start, start + length))
    rest = rest.slice(start + length)
  }
  return parts.slice(0, -1).join('::')
}

/**
 * What nobody calls, though the table of functions has its address: it told wasm-bindgen of types, or formats the message of a panic, which
 * src/web/bindings.rs does not read.
 */
const UNCALLED = /\bfmt::|^wasm_bindgen::|^js_sys::|-> Externref$/

/** The module with those functions out of the table, so that wasm-opt removes them with all that they call: 2 % of the module. */
async function withoutUncalled(path) {
  const { default: binaryen } = await import('binaryen')
  const module = binaryen.readBinary(readFileSync(path))
  const { table, name, data } = binaryen.getElementSegmentInfo(module.getElementSegmentByIndex(0))
  // Nothing has this type, so that a call traps.
  const type = binaryen.createType([binaryen.f32, binaryen.f64, binaryen.f32])
  module.addFunction('uncalled', type, binaryen.none, [], module.unreachable())
  const kept = data.map((each) => (UNCALLED.test(unescaped(each)) ? 'uncalled' : each))
  module.removeElementSegment(name)
  module.addActiveElementSegment(table, name, kept, module.i32.const(1))
  placePanics(binaryen, module)
  binaryen.setDebugInfo(true)
  return module.emitBinary()
}

/** Leaves of the functions that panic only that they say where: their last parameter. wasm-opt removes the others with what they are given. */
function placePanics(binaryen, module) {
  const functions = Array.from({ length: module.getNumFunctions() }, (_, index) =>
    module.getFunctionByIndex(index),
  ).map((each) => ({ each, ...binaryen.getFunctionInfo(each) }))
  const panics = functions.filter(({ name }) => PANIC.test(unescaped(name)))
  const end = panics.find(({ name }) => name.endsWith('::panic_fmt')).name
  const { i32, none } = binaryen
  const zero = module.i32.const(0)
  for (const { each, name, params } of panics) {
    if (name === end) continue
    const place = module.local.get(binaryen.expandType(params).length - 1, i32)
    binaryen.Function.setBody(each, module.call(end, [zero, zero, place], none))
  }
}

/** The name of a function, from what binaryen calls it. */
const unescaped = (name) =>
  name.replaceAll(/\\(..)/g, (_, code) => String.fromCharCode(Number.parseInt(code, 16)))

/** What the glue has for cases that cannot arise here, and what stands there instead. */
const CASES = [
  // Nothing schedules that the instance is made again: src/js/core/instance.ts does it at once.
  [/function __wbg_call_guard\(\) \{[\s\S]*?\n\}\n/, ''],
  [/.*\b__wbg_reinit_scheduled = false;\n/g, ''],
  // Every runtime that has the rest has these.
  [/if \(!\('encodeInto' in cachedTextEncoder\)\) \{[\s\S]*?\n\}\n/, ''],
  [/\(typeof FinalizationRegistry === 'undefined'\)\s+\? .*\n\s+: /g, ''],
  // The glue's caller checks that both are strings, so that neither can fail.
  [
    / {4}let ptr0, len0, ptr1, len1;\n {4}try \{([\s\S]*?)\n {4}\} catch \(e\) \{[\s\S]*?\n {4}\}\n/,
    (_, body) => body.replaceAll(/(ptr|len)([01]) =/g, 'const $1$2 ='),
  ],
  [/ {4}if \(realloc === undefined\) \{[\s\S]*?\n {4}\}\n/, ''],
  // Memory that has grown has another buffer.
  [/cachedDataViewMemory0\.buffer\.detached === true \|\| \((.*?) && (.*?)\)\) \{/, '$2) {'],
  [
    'cachedUint8ArrayMemory0 === null || cachedUint8ArrayMemory0.byteLength === 0',
    '!cachedUint8ArrayMemory0?.byteLength',
  ],
  // Cores are freed by name.
  [/if \(Symbol\.dispose\).*\n/, ''],
  // `instanceof` throws only where the right side is no class.
  [
    / +let result;\n +try \{\n +result = (.*);\n +\} catch \(_\) \{\n +result = false;\n +\}\n +const ret = result;/g,
    'const ret = $1;',
  ],
  // Names of fields are constants of the module: each is decoded once. They are shorter than 128 bytes.
  [
    /(arg0\[)(getStringFromWasm0\(arg1, arg2\)\] = arg3;)/,
    '$1fieldNames[(arg1 << 7) | arg2] ??= $2',
  ],
  ['function getStringFromWasm0', 'const fieldNames = {}\n$&'],
  // What the minifier does not see through.
  [/let ret;\n *ret = /g, 'const ret = '],
  [/ [/*] 1\b(?=[,;) +])/g, ''],
  [/if \(typeof \w+ !== 'undefined'\) (?=\w+ = 0;)/g, ''],
  // initSync() is only called with an object.
  [
    / {4}if \(module !== undefined\) \{\n {8}if \(Object[\s\S]*?\n {4}\}\n/,
    '    ({ module } = module)\n',
  ],
]

/** The glue without those cases, which are 1 % of the compressed JavaScript. */
function withoutCases(glue) {
  for (const [pattern, replacement] of CASES) {
    if (glue.replace(pattern, '') === glue) throw new Error(`The glue does not have ${pattern}`)
    glue = glue.replace(pattern, replacement)
  }
  return glue
}

/**
 * Gives the imports and exports of the module names of one or two letters, in the module and in the glue. Their own names, which end
 * with hashes, are over 1 % of the compressed size.
 */
function shortenNames(wasm, glue) {
  const features = WASM_FEATURES.map((name) => `--enable-${name}`)
  const pass = '--minify-imports-and-exports-and-modules'
  const { imports, exports } = JSON.parse(
    capture(bin('wasm-opt'), [wasm, '-o', wasm, ...features, pass]),
  )
  let text = readFileSync(glue, 'utf8')
  for (const [, name, short] of imports) {
    const key = `        ${name}: function`
    if (!text.includes(key)) throw new Error(`The glue does not have the import ${name}`)
    text = text.replace(key, () => `        ${short}: function`)
  }
  // The glue calls some exports only in a debug build.
  for (const [name, short] of exports)
    text = text.replaceAll(new RegExp(`(?<!\\w)wasm\\.${name}(?!\\w)`, 'g'), () => `wasm.${short}`)
  text = text.replace('"./wasmqtt_bg.js": import0', 'a: import0')
  // After a trap, src/js/core/instance.ts ends every client before there is a new instance, so no object can outlive its own.
  text = text.replaceAll(/ *if \(this\.__wbg_inst !== undefined && [^}]*\}\n/g, '')
  text = text.replaceAll(
    /^ *(__wbg_call_guard\(\);|Object\.defineProperty\(this, '__wbg_inst'.*)\n/gm,
    '',
  )
  const memory = exports.find(([name]) => name === 'memory')[1]
  writeFileSync(glue, `${text}\nexport const memory = () => wasm.${memory}\n`)
}

/** Makes panic messages name source files by their paths inside the crates, not on this machine. */
function withoutPaths() {
  const registry = join(process.env.CARGO_HOME ?? join(homedir(), '.cargo'), 'registry', 'src')
  const folders = existsSync(registry)
    ? readdirSync(registry).map((name) => join(registry, name, '/'))
    : []
  // Where the sources of the standard library are installed, the compiler would name them by their path on this machine.
  const hash = /commit-hash: (\w+)/.exec(capture('rustc', ['-vV']))[1]
  const library = join(capture('rustc', ['--print=sysroot']).trim(), 'lib/rustlib/src/rust')
  return [
    ...[root, ...folders].map((folder) => `--remap-path-prefix=${folder}=`),
    `--remap-path-prefix=${library}=/rustc/${hash}`,
  ]
}

/** Returns the bytes of each function of the module, and of its data. */
export function contributors() {
  const metrics = capture(
    bin('wasm-opt'),
    [join(bindgen, NAMED), ...optimize, '-g', '--func-metrics', '-o', '/dev/null'],
    { maxBuffer: 1 << 28 },
  )
  const bytes = [...metrics.matchAll(/^func: (.*)\n \[binary-bytes\] : (\d+)/gm)].map(
    ([, name, count]) => [name.replace(/::h[0-9a-f]{16}$/, ''), Number(count)],
  )
  return [...bytes, ['data', Number(/\[memory-data\] *: (\d+)/.exec(metrics)[1])]]
}
