// Builds pkg/, the folder that npm ships, from Rust and TypeScript. Skips a step whose inputs did not change.
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { homedir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { deflateRawSync } from 'node:zlib'
import { asmjsFlags, translate } from './asmjs.mjs'
import { notices } from './notices.mjs'
import { asUnpacked } from './pack.mjs'
import { writeRecords } from './records.mjs'
import { setup } from './setup.mjs'
import { buildShims, buildStandIn, declareShims, passOn, shimExports, shimTypes } from './shims.mjs'
import { measure, table } from './size.mjs'
import { bold, capture, isMain, main, root, run, toolsBin } from './tools.mjs'

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

const bindgen = join(root, 'target', 'bindgen')
/** The test broker is a module of its own, built from the same crate. */
const brokerBindgen = join(root, 'target', 'bindgen-broker')
/** The core as JavaScript. */
const asmjsBindgen = join(root, 'target', 'bindgen-asmjs')
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
const pkg = join(root, 'pkg')
const bin = (name) => join(root, 'node_modules', '.bin', name)

export async function build() {
  await setup()
  writeRecords()
  const own = [
    ...['asmjs', 'build', 'notices', 'pack', 'shims'].map((name) => `scripts/${name}.mjs`),
    'package-lock.json',
  ]
  const sources = [...own, 'Cargo.toml', 'Cargo.lock', ...files('src', '.rs')]
  const client = sources.filter((path) => !path.startsWith('src/broker/'))
  await step('Compiling the core to WebAssembly', bindgen, client, () => buildModule(bindgen))
  await step('Compiling the core to JavaScript', asmjsBindgen, client, async () => {
    await buildModule(asmjsBindgen, { flags: asmjsFlags })
    await translate(asmjsBindgen)
  })
  await step('Compiling the test broker to WebAssembly', brokerBindgen, sources, () =>
    buildModule(brokerBindgen, { features: ['--features', 'broker'] }),
  )
  const texts = ['README.md', 'CHANGELOG.md', 'LICENSE']
  const inputs = [
    ...own,
    'package.json',
    'tsconfig.json',
    ...files('src/js'),
    ...files('target/bindgen'),
    ...files('target/bindgen-asmjs'),
    ...files('target/bindgen-broker'),
    ...texts,
  ]
  const built = await step('Making the package', pkg, inputs, () => buildPackage(texts))
  if (built) console.log(table(measure()))
  return built
}

/** Runs `work`, unless `output` exists and was made from the same inputs by the same compilers. */
async function step(title, output, inputs, work) {
  const hash = createHash('sha256').update(`${process.version} ${capture('rustc', ['--version'])}`)
  for (const input of inputs) hash.update(`\0${input}\0`).update(readFileSync(join(root, input)))
  const digest = hash.digest('hex')
  const record = `${output}/.inputs`
  if (existsSync(record) && readFileSync(record, 'utf8') === digest) return false
  console.log(bold(title))
  rmSync(output, { recursive: true, force: true })
  await work()
  writeFileSync(record, digest)
  return true
}

function files(folder, ending = '') {
  return readdirSync(join(root, folder), { recursive: true })
    .map((name) => `${folder}/${name}`)
    .filter((path) => path.endsWith(ending) && statSync(join(root, path)).isFile())
    .sort()
}

/** Builds the crate with these features and flags, and puts the module and its glue into `folder`. */
async function buildModule(folder, { features = ['--no-default-features'], flags = [] } = {}) {
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
  if (folder === bindgen) writeFileSync(named, await withoutUncalled(wasm))
  else copyFileSync(wasm, named)
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
  if (folder === brokerBindgen) return
  const glue = join(folder, 'wasmqtt.js')
  shortenNames(wasm, glue)
  if (folder === bindgen) writeFileSync(glue, withoutCases(readFileSync(glue, 'utf8')))
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

/** Functions of the library that format the message of a panic. */
const PANIC =
  /^core\[\w+\]::(panicking|option|result|slice|cell)::.*\b(panic\w*|\w+_failed(_inner)?|\w+_fail)(::<.*>)?$/

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

/** A plugin that replaces a .wasm file by a function that returns its bytes. */
const inlined = (write) => ({
  name: 'inlined',
  setup: ({ onLoad }) =>
    void onLoad({ filter: /\.wasm$/ }, ({ path }) => ({ contents: write(readFileSync(path)) })),
})

/** A plugin that leaves the import of a name to the runtime, or to the user's bundler, which find it under another name. */
const passed = (name, path) => ({
  name: 'passed',
  setup: ({ onResolve }) =>
    void onResolve({ filter: new RegExp(`^${name}$`) }, () => ({ path, external: true })),
})

/** A plugin that makes `ws` use src/js/transports/mask.ts, which tries the package bufferutil first, in the place of that package. */
const masked = {
  name: 'masked',
  setup: ({ onResolve }) =>
    void onResolve({ filter: /^bufferutil$/ }, ({ importer }) =>
      importer.endsWith('mask.ts') ? { path: 'bufferutil', external: true } : { path: mask },
    ),
}
const mask = join(root, 'src', 'js', 'transports', 'mask.ts')

/** A plugin that leaves the client out of a bundle, so that there is only one, whoever imports it. */
const apart = (path) => ({
  name: 'apart',
  setup: ({ onResolve }) =>
    void onResolve({ filter: /^\.\.\/index\.js$/ }, () => ({ path, external: true })),
})

/**
 * Writes the module for Node, where the time and the memory to start matter most. Node decodes base64 faster than a loop would. The module is
 * compressed, because Node assembles a file in a text that it doubles as it reads, and the allocator keeps up to twice the largest block that
 * was ever freed of whatever is freed later. With plain base64, that was a megabyte that V8's optimiser had freed.
 */
function asDeflated(wasm) {
  const text = deflateRawSync(wasm, { level: 9 }).toString('base64')
  // One byte more than needed, because zlib allocates another chunk when one is full.
  return `import { inflateRawSync } from 'node:zlib'
    export default () => inflateRawSync(Buffer.from('${text}', 'base64'), { chunkSize: ${wasm.length + 1} })`
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

/** Long names that only the glue and its callers know. */
const OF_GLUE = /^(__wbg_ptr|__destroy_into_raw|forgetTopics|reserveTopics|unsubscribeHandle)$/

async function buildPackage(texts) {
  const { build } = await import('esbuild')
  const bundle = async (entry, outfile, { alias = {}, define = {}, ...options }) => {
    await build({
      entryPoints: [join(root, 'src', 'js', entry)],
      outfile: join(pkg, outfile),
      bundle: true,
      // Node prints the source line of an error that nobody caught.
      minify: options.platform !== 'node',
      mangleProps: options.platform === 'node' ? undefined : OF_GLUE,
      sourcemap: options.platform !== 'node' ? 'linked' : false,
      target: 'es2022',
      legalComments: 'none',
      define: {
        __VERSION__: JSON.stringify(createRequire(import.meta.url)('../package.json').version),
        __DETACHES__: 'true',
        ...define,
      },
      alias: {
        '#glue': join(bindgen, 'wasmqtt.js'),
        '#wasm': join(bindgen, 'wasmqtt_bg.wasm'),
        '#broker-glue': join(brokerBindgen, 'wasmqtt.js'),
        '#broker-wasm': join(brokerBindgen, 'wasmqtt_bg.wasm'),
        '#core': join(asmjsBindgen, 'core.js'),
        ...alias,
      },
      charset: 'utf8',
      ...options,
      plugins: [
        inlined(options.platform === 'node' ? asDeflated : asUnpacked),
        ...(options.plugins ?? []),
        passed('ws', './ws.cjs'),
      ],
    })
    if (options.platform !== 'node' && options.sourcemap !== false)
      await shrink(join(pkg, outfile), options.format)
  }
  const own = (...names) => ({ inject: names.map((name) => join(root, 'src', 'js', `${name}.ts`)) })
  await bundle('index.ts', 'index.js', { format: 'esm' })
  await bundle('slim.ts', 'slim.js', { format: 'esm' })
  await bundle('stores/index.ts', 'stores.js', { format: 'esm' })
  // How an import of a module is written: in Cloudflare Workers, and by Vercel's convention.
  for (const [file, path] of [
    ['workerd.js', './wasmqtt.wasm'],
    ['edge.js', './wasmqtt.wasm?module'],
  ])
    await bundle('edge.ts', file, {
      format: 'esm',
      ...own('finalization'),
      plugins: [passed('#module', path)],
    })
  const asmjs = {
    // The parser of React Native's bundler does not know what came after 2021, and its engine lacks most of what is injected.
    target: 'es2021',
    ...own('web-assembly', 'text-codec', 'finalization'),
    alias: { '#glue': join(asmjsBindgen, 'wasmqtt.js') },
    define: { __DETACHES__: 'false' },
    // Most of it is a translation, whose lines help nobody.
    sourcemap: false,
  }
  await bundle('asmjs.ts', 'asmjs.js', { format: 'esm', ...asmjs })
  await bundle('asmjs-node.ts', 'asmjs-node.cjs', { format: 'cjs', platform: 'node', ...asmjs })
  await bundle('index.ts', 'wasmqtt.script.js', { format: 'iife', globalName: 'wasmqtt' })
  await bundle('', 'ws.cjs', {
    entryPoints: [createRequire(import.meta.url).resolve('ws')],
    format: 'cjs',
    platform: 'node',
    define: { 'process.env.WS_NO_BUFFER_UTIL': 'undefined' },
    external: ['utf-8-validate', 'node:*'],
    plugins: [masked],
  })
  await bundle('node.ts', 'node.cjs', { format: 'cjs', platform: 'node' })
  await bundle('slim-node.ts', 'slim-node.cjs', { format: 'cjs', platform: 'node' })
  await bundle('stores/node.ts', 'stores-node.js', { format: 'esm', platform: 'node' })
  await bundle('stores/node.ts', 'stores-node.cjs', { format: 'cjs', platform: 'node' })
  await bundle('testing.ts', 'testing.js', { format: 'esm', plugins: [apart('./index.js')] })
  await bundle('testing-node.ts', 'testing-node.cjs', {
    format: 'cjs',
    platform: 'node',
    ...own('microtask'),
    plugins: [apart('./node.cjs')],
  })
  await buildShims(bundle, pkg)
  // For Jest with jsdom, which has no TextEncoder.
  const required = { format: 'cjs', ...own('text-codec') }
  await bundle('index.ts', 'index.cjs', required)
  await bundle('slim.ts', 'slim.cjs', required)
  await bundle('asmjs.ts', 'asmjs.cjs', { ...asmjs, format: 'cjs' })
  await bundle('stores/index.ts', 'stores.cjs', required)
  await bundle('testing.ts', 'testing.cjs', {
    format: 'cjs',
    ...own('microtask', 'text-codec'),
    plugins: [apart('./index.cjs')],
  })
  for (const name of ['node', 'slim-node', 'asmjs-node', 'testing-node'])
    passOn(pkg, name, `${name}.js`)
  copyFileSync(join(bindgen, 'wasmqtt_bg.wasm'), join(pkg, 'wasmqtt.wasm'))

  const types = join(pkg, 'types')
  await run(bin('tsc'), [
    '-p',
    'tsconfig.json',
    '--noEmit',
    'false',
    '--declaration',
    '--emitDeclarationOnly',
    '--outDir',
    types,
  ])
  const entries = {
    index: 'index',
    slim: 'slim',
    'slim-node': 'slim',
    node: 'index',
    workerd: 'index',
    edge: 'index',
    asmjs: 'index',
    'asmjs-node': 'index',
    stores: 'stores/index',
    'stores-node': 'stores/node',
    testing: 'testing',
    'testing-node': 'testing',
  }
  const declared = Object.values(entries).map((source) => `${source}.d.ts`)
  dropUnreachable(types, [...declared, ...shimTypes])
  // A page or a script may import a file by its path. Then TypeScript looks for a declaration beside it.
  for (const [name, source] of Object.entries(entries))
    writeFileSync(join(pkg, `${name}.d.ts`), `export * from './types/${source}.js'\n`)
  // The nearest package.json decides whether TypeScript reads a declaration as ESM or CommonJS, so require() gets a copy of its own.
  cpSync(types, join(pkg, 'types-cjs'), { recursive: true })
  writeJson('types-cjs/package.json', { type: 'commonjs' })
  declareShims(pkg, join(pkg, 'types-cjs'))
  for (const folder of ['.', 'types-cjs']) {
    const path = folder === '.' ? './types/' : './'
    writeFileSync(join(pkg, folder, 'wasmqtt.wasm.d.ts'), moduleTypes(path))
  }

  writeFileSync(join(pkg, 'NOTICES.txt'), notices())
  for (const name of texts) copyFileSync(join(root, name), join(pkg, name))
  writeJson('package.json', manifest())
  buildStandIn(manifest())
  writeJson('size.json', measure())
}

/**
 * Minifies a file once more. After esbuild, terser finds another 3 % of the compressed JavaScript, most of it by the names that it gives to
 * variables.
 */
async function shrink(path, format) {
  const { minify } = await import('terser')
  const url = `${basename(path)}.map`
  const { code, map } = await minify(readFileSync(path, 'utf8'), {
    module: format === 'esm',
    // A classic script leaves a global variable.
    toplevel: format !== 'iife',
    ecma: 2020,
    // Sequences of expressions compress worse than statements. No function here is called with `new`.
    compress: {
      passes: 2,
      hoist_funs: true,
      sequences: false,
      unsafe_arrows: true,
      unsafe_methods: true,
    },
    sourceMap: { content: readFileSync(`${path}.map`, 'utf8'), url },
  })
  writeFileSync(path, `${code}\n`)
  writeFileSync(`${path}.map`, String(map))
}

/** What an import of the .wasm file gives depends on the bundler. */
const moduleTypes = (path) => `import type { ModuleSource } from '${path}slim.js'

/** The module, or where it is, as your bundler or runtime gives it: for \`init()\` of \`wasmqtt/slim\`. */
declare const source: ModuleSource
export default source
`

/** Deletes the declarations that no entry refers to: what is internal, and names modules that only the build can resolve. */
function dropUnreachable(folder, entries) {
  const reached = new Set(entries)
  for (const name of reached) {
    // What is imported for what it does declares nothing.
    const text = readFileSync(join(folder, name), 'utf8').replaceAll(/^import '[^']*';\n/gm, '')
    writeFileSync(join(folder, name), text)
    for (const [, path] of text.matchAll(/(?:from |import\()['"](\.[^'"]+)\.js['"]/g))
      reached.add(join(dirname(name), `${path}.d.ts`))
  }
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' }))
    if (name.endsWith('.d.ts') && !reached.has(name)) rmSync(join(folder, name))
}

function manifest() {
  const own = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const {
    name,
    version,
    description,
    license,
    author,
    homepage,
    repository,
    bugs,
    keywords,
    type,
    engines,
    peerDependencies,
    peerDependenciesMeta,
  } = own
  return {
    ...{ name, version, description, license, author, homepage, repository, bugs },
    ...{ keywords, type, engines },
    sideEffects: false,
    exports: {
      '.': {
        // These refuse to compile bytes.
        workerd: { types: './types/index.d.ts', default: './workerd.js' },
        'edge-light': { types: './types/index.d.ts', default: './edge.js' },
        'react-native': { types: './types/index.d.ts', default: './asmjs.js' },
        browser: page('index', 'index'),
        node: {
          require: { types: './types-cjs/index.d.ts', default: './node.cjs' },
          default: { types: './types/index.d.ts', default: './node.js' },
        },
        default: { types: './types/index.d.ts', default: './index.js' },
      },
      './slim': {
        browser: page('slim', 'slim'),
        node: {
          require: { types: './types-cjs/slim.d.ts', default: './slim-node.cjs' },
          default: { types: './types/slim.d.ts', default: './slim-node.js' },
        },
        default: { types: './types/slim.d.ts', default: './slim.js' },
      },
      // For runtimes without WebAssembly.
      './asmjs': {
        browser: page('index', 'asmjs'),
        node: {
          require: { types: './types-cjs/index.d.ts', default: './asmjs-node.cjs' },
          default: { types: './types/index.d.ts', default: './asmjs-node.js' },
        },
        default: { types: './types/index.d.ts', default: './asmjs.js' },
      },
      './stores': {
        browser: page('stores/index', 'stores'),
        node: {
          require: { types: './types-cjs/stores/node.d.ts', default: './stores-node.cjs' },
          default: { types: './types/stores/node.d.ts', default: './stores-node.js' },
        },
        default: { types: './types/stores/index.d.ts', default: './stores.js' },
      },
      './testing': {
        browser: page('testing', 'testing'),
        node: {
          require: { types: './types-cjs/testing.d.ts', default: './testing-node.cjs' },
          default: { types: './types/testing.d.ts', default: './testing-node.js' },
        },
        default: { types: './types/testing.d.ts', default: './testing.js' },
      },
      ...shimExports,
      './wasmqtt.wasm': {
        require: { types: './types-cjs/wasmqtt.wasm.d.ts', default: './wasmqtt.wasm' },
        default: { types: './wasmqtt.wasm.d.ts', default: './wasmqtt.wasm' },
      },
      './package.json': './package.json',
    },
    bin: { wasmqtt: './cli.cjs' },
    main: './node.cjs',
    module: './index.js',
    // For versions of React Native whose bundler does not read `exports`.
    'react-native': './asmjs.js',
    // A classic script, with the global `wasmqtt`.
    unpkg: './wasmqtt.script.js',
    jsdelivr: './wasmqtt.script.js',
    types: './types/index.d.ts',
    files: [
      '*.js',
      '*.js.map',
      '*.cjs',
      '*.d.ts',
      '*.wasm',
      'types',
      'types-cjs',
      'CHANGELOG.md',
      'NOTICES.txt',
    ],
    ...{ peerDependencies, peerDependenciesMeta },
  }
}

/**
 * What a page loads. Bundlers take `module` for both import and require(), so that a page never has two copies. `require` is left for Jest
 * with jsdom, which sets the condition `node` as well, so that this has to come first.
 */
const page = (types, file) => ({
  module: { types: `./types/${types}.d.ts`, default: `./${file}.js` },
  require: { types: `./types-cjs/${types}.d.ts`, default: `./${file}.cjs` },
  default: { types: `./types/${types}.d.ts`, default: `./${file}.js` },
})

const writeJson = (name, value) =>
  writeFileSync(join(pkg, name), `${JSON.stringify(value, null, 2)}\n`)

if (isMain(import.meta)) main(build)
