// Builds pkg/, the folder that npm ships, from Rust and TypeScript. Skips a step whose inputs did not change.
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { basename, join } from 'node:path'
import { deflateRawSync } from 'node:zlib'
import { asmjsFlags, translate } from './asmjs.mjs'
import { asmjsBindgen, bindgen, brokerBindgen, buildModule } from './modules.mjs'
import { notices } from './notices.mjs'
import { asUnpacked } from './pack.mjs'
import { writeRecords } from './records.mjs'
import { setup } from './setup.mjs'
import { buildShims, buildStandIn, passOn, shimExports } from './shims.mjs'
import { measure, table } from './size.mjs'
import { bold, capture, isMain, main, root } from './tools.mjs'
import { buildTypes } from './types.mjs'

const pkg = join(root, 'pkg')

export async function build() {
  await setup()
  writeRecords()
  const own = [
    ...['asmjs', 'build', 'modules', 'notices', 'pack', 'panics', 'shims', 'wasm'].map(
      (name) => `scripts/${name}.mjs`,
    ),
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
    'scripts/types.mjs',
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

  await buildTypes(pkg)
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
        workerd: { types: './index.d.ts', default: './workerd.js' },
        'edge-light': { types: './index.d.ts', default: './edge.js' },
        'react-native': { types: './index.d.ts', default: './asmjs.js' },
        browser: page('index'),
        node: {
          require: { types: './index.d.cts', default: './node.cjs' },
          default: { types: './index.d.ts', default: './node.js' },
        },
        default: { types: './index.d.ts', default: './index.js' },
      },
      './slim': {
        browser: page('slim'),
        node: {
          require: { types: './slim.d.cts', default: './slim-node.cjs' },
          default: { types: './slim.d.ts', default: './slim-node.js' },
        },
        default: { types: './slim.d.ts', default: './slim.js' },
      },
      // For runtimes without WebAssembly.
      './asmjs': {
        browser: page('asmjs', 'index'),
        node: {
          require: { types: './index.d.cts', default: './asmjs-node.cjs' },
          default: { types: './index.d.ts', default: './asmjs-node.js' },
        },
        default: { types: './index.d.ts', default: './asmjs.js' },
      },
      './stores': {
        browser: page('stores'),
        node: {
          require: { types: './stores-node.d.cts', default: './stores-node.cjs' },
          default: { types: './stores-node.d.ts', default: './stores-node.js' },
        },
        default: { types: './stores.d.ts', default: './stores.js' },
      },
      './testing': {
        browser: page('testing'),
        node: {
          require: { types: './testing.d.cts', default: './testing-node.cjs' },
          default: { types: './testing.d.ts', default: './testing-node.js' },
        },
        default: { types: './testing.d.ts', default: './testing.js' },
      },
      ...shimExports,
      './wasmqtt.wasm': {
        require: { types: './wasmqtt.wasm.d.cts', default: './wasmqtt.wasm' },
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
    types: './index.d.ts',
    files: [
      '*.js',
      '*.js.map',
      '*.cjs',
      '*.d.ts',
      '*.d.cts',
      '*.wasm',
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
const page = (file, types = file) => ({
  module: { types: `./${types}.d.ts`, default: `./${file}.js` },
  require: { types: `./${types}.d.cts`, default: `./${file}.cjs` },
  default: { types: `./${types}.d.ts`, default: `./${file}.js` },
})

const writeJson = (name, value) =>
  writeFileSync(join(pkg, name), `${JSON.stringify(value, null, 2)}\n`)

if (isMain(import.meta)) main(build)
