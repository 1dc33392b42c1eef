// Makes the declarations of the package: one file for each entry, of those that the compiler writes for every source.
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bin, root, run } from './tools.mjs'

/** What the compiler writes. */
const emitted = join(root, 'target', 'types')
const MAIN = './index.cjs'

/** The files with declarations, and where those begin. */
const ENTRIES = {
  index: 'index',
  slim: 'slim',
  stores: 'stores/index',
  'stores-node': 'stores/node',
  testing: 'testing',
  mqttjs: 'mqttjs/index',
  paho: 'paho/index',
}
/** The files that export the same as another. A page or a script may import each by its path, and TypeScript looks for a declaration beside it. */
const SAME = {
  node: 'index',
  workerd: 'index',
  edge: 'index',
  asmjs: 'index',
  'asmjs-node': 'index',
  'slim-node': 'slim',
  'testing-node': 'testing',
  'mqttjs.node': 'mqttjs',
  'paho.node': 'paho',
}
/** Those with a default export, which import and require() see in different ways. */
const WITH_DEFAULT = ['mqttjs', 'paho']

/**
 * Writes the declarations into `pkg`. Those of `x` are in x.d.cts, for import as for require(), because a class with private fields is only the
 * same type where it was declared once, and an ES module can import from CommonJS but not the other way round. All refer to those of index.
 */
export async function buildTypes(pkg) {
  rmSync(emitted, { recursive: true, force: true })
  const options = ['--noEmit', 'false', '--declaration', '--emitDeclarationOnly']
  await run(bin('tsc'), ['-p', 'tsconfig.json', ...options, '--outDir', emitted])
  const write = (name, text) => writeFileSync(join(pkg, name), text)
  for (const [name, source] of Object.entries(ENTRIES)) {
    const text = await bundled(name, source)
    if (WITH_DEFAULT.includes(name)) {
      write(`${name}.d.ts`, text.replaceAll(MAIN, './index.js'))
      // require() gives what the default export has, and `default` too, as it does with MQTT.js.
      const isMqttjs = name === 'mqttjs'
      write(isMqttjs ? 'mqttjs.all.d.cts' : `${name}.d.cts`, text)
      if (isMqttjs)
        write('mqttjs.d.cts', "import mqtt = require('./mqttjs.all.cjs')\nexport = mqtt\n")
    } else {
      write(`${name}.d.cts`, text)
      write(`${name}.d.ts`, `export * from './${name}.cjs'\n`)
    }
  }
  for (const [name, other] of Object.entries(SAME)) {
    const from = `from './${other}.js'\n`
    const more = WITH_DEFAULT.includes(other) ? `export { default } ${from}` : ''
    write(`${name}.d.ts`, `export * ${from}${more}`)
  }
  write('paho.script.d.ts', PAHO_SCRIPT)
  write('wasmqtt.wasm.d.ts', moduleTypes('./slim.js'))
  write('wasmqtt.wasm.d.cts', moduleTypes('./slim.cjs'))
}

/** The declarations of an entry and of all that it refers to, but what index exports. */
async function bundled(name, source) {
  const { rolldown } = await import('rolldown')
  const { dts } = await import('rolldown-plugin-dts')
  const main = {
    name: 'main',
    resolveId(path, importer) {
      if (name !== 'index' && importer && /^\.\.?\/(api|index|types\/\w+)\.js$/.test(path))
        return { id: MAIN, external: true }
      // Those of Node have the same classes and more.
      if (name === 'stores' && importer) return { id: './stores-node.cjs', external: true }
    },
  }
  const build = await rolldown({
    input: { [name]: join(emitted, `${source}.d.ts`) },
    external: /^node:/,
    plugins: [main, dts({ dtsInput: true, generator: 'oxc', tsconfig: false })],
  })
  const { output } = await build.generate({ format: 'es', minifyInternalExports: false })
  await build.close()
  // The bundler's own helper for namespaces is another file, to which the declarations do not refer.
  const { code } = /** @type {import('rolldown').OutputChunk} */ (
    output.find((file) => file.type === 'chunk' && file.isEntry)
  )
  if (/rolldown-runtime/.test(code))
    throw new Error(`The declarations of ${name} are not one file.`)
  return `${references(source)}${code}\n`
}

/** What the source refers to beyond modules, which the bundler leaves out. */
const references = (source) =>
  source === 'index' ? '/// <reference lib="esnext.disposable" preserve="true" />\n' : ''

const PAHO_SCRIPT = `import type * as all from './paho.js'

declare global {
  /** What this classic script leaves: the classes \`Client\` and \`Message\`. */
  const Paho: Pick<typeof all, 'Client' | 'Message' | 'MQTT'>
}
`

/** What an import of the .wasm file gives depends on the bundler. */
const moduleTypes = (path) => `import type { ModuleSource } from '${path}'

/** The module, or where it is, as your bundler or runtime gives it: for \`init()\` of \`wasmqtt/slim\`. */
declare const source: ModuleSource
export default source
`
