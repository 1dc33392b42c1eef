// The entries beside the main one: other libraries' APIs, the command line, and the package that stands in for `mqtt`.
import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { root } from './tools.mjs'

const require = createRequire(import.meta.url)
/** Stands in for `mqtt` where a package depends on it: npm install mqtt@npm:wasmqtt-mqttjs. */
const standIn = join(root, 'pkg-mqttjs')

/**
 * Builds the entries into `pkg`. `bundle` is the build's. They import the main entry from its file in the package, so that there is one
 * instance of the module. For Node, `x.node.ts` takes the place of `x.ts`.
 */
export async function buildShims(bundle, pkg) {
  const forNode = { format: 'cjs', platform: 'node', plugins: [besides('./node.cjs', true)] }
  const forWeb = { format: 'esm', plugins: [besides('./index.js', false)] }
  for (const name of ['mqttjs', 'paho']) {
    await bundle(`${name}/index.ts`, `${name}.js`, forWeb)
    // Plain properties: tests of applications put their own functions in the place of these.
    const footer = { js: 'module.exports = { __esModule: true, ...module.exports }' }
    await bundle(`${name}/index.ts`, `${name}.cjs`, { ...forNode, footer })
    passOn(pkg, name, `${name}.node.js`)
  }
  await bundle('paho/script.ts', 'paho.script.js', { format: 'iife', globalName: 'Paho' })
  await bundle('cli/main.ts', 'cli.cjs', { ...forNode, banner: { js: '#!/usr/bin/env node' } })
  chmodSync(join(pkg, 'cli.cjs'), 0o755)
}

/** Entries of the package's `exports`. */
export const shimExports = {
  ...Object.fromEntries(
    ['mqttjs', 'paho'].map((name) => [
      `./${name}`,
      {
        node: {
          require: { types: `./${name}.d.cts`, default: `./${name}.cjs` },
          default: { types: `./${name}.d.ts`, default: `./${name}.node.js` },
        },
        default: { types: `./${name}.d.ts`, default: `./${name}.js` },
      },
    ]),
  ),
  './paho.script.js': { types: './paho.script.d.ts', default: './paho.script.js' },
}

/**
 * Writes the ESM form for Node of a CommonJS file. It passes on what that exports, so that import and require share one module instance. It
 * imports a detour and not the file itself, because Node looks for the exports of an imported CommonJS file with a lexer in JavaScript, which
 * takes 20 ms for node.cjs and 100 ms for mqttjs.cjs. The lexer does not follow a require() of this form.
 */
export function passOn(pkg, name, module) {
  const { default: whole, __esModule: _, ...all } = require(join(pkg, `${name}.cjs`))
  writeFileSync(join(pkg, `${name}.detour.cjs`), `exports.all = require('./${name}.cjs')\n`)
  writeFileSync(
    join(pkg, module),
    `import { all } from './${name}.detour.cjs'\nexport const { ${Object.keys(all).join(', ')} } = all\n${whole === undefined ? '' : 'export default all.default\n'}`,
  )
}

/** Leaves the main entry out of a bundle, and takes the files for Node where there are such. */
const besides = (main, isNode) => ({
  name: 'besides',
  setup({ onResolve }) {
    onResolve({ filter: /^\.\.\/api\.js$/ }, () => ({ path: main, external: true }))
    onResolve({ filter: /^\.\.?\/.*\.js$/ }, ({ path, resolveDir, importer }) => {
      const node = join(resolveDir, path.replace(/\.js$/, '.node.ts'))
      return isNode && importer !== node && existsSync(node) ? { path: node } : undefined
    })
  },
})

/** Writes the package that stands in for `mqtt`: it has no code of its own. */
export function buildStandIn({ version, license, author, homepage, repository, bugs, engines }) {
  rmSync(standIn, { recursive: true, force: true })
  mkdirSync(standIn)
  const write = (name, text) => writeFileSync(join(standIn, name), text)
  const all = "export * from 'wasmqtt/mqttjs'\nexport { default } from 'wasmqtt/mqttjs'\n"
  write('index.js', all)
  write('index.d.ts', all)
  write('index.cjs', "module.exports = require('wasmqtt/mqttjs')\n")
  write('index.d.cts', "import mqtt = require('wasmqtt/mqttjs')\nexport = mqtt\n")
  write(
    'README.md',
    '# wasmqtt-mqttjs\n\nThe API of MQTT.js on top of [wasmqtt](https://www.npmjs.com/package/wasmqtt), under the name `mqtt` for packages that depend on it:\n\n```sh\nnpm install mqtt@npm:wasmqtt-mqttjs\n```\n\nIn your own code use `wasmqtt/mqttjs`.\n',
  )
  const entry = {
    require: { types: './index.d.cts', default: './index.cjs' },
    default: { types: './index.d.ts', default: './index.js' },
  }
  const manifest = {
    ...{ name: 'wasmqtt-mqttjs', version },
    description: 'The API of MQTT.js on top of wasmqtt, to stand in for the package mqtt',
    ...{ license, author, homepage, repository, bugs, engines },
    type: 'module',
    sideEffects: false,
    exports: { '.': entry, './dist/*': entry, './package.json': './package.json' },
    main: './index.cjs',
    module: './index.js',
    types: './index.d.cts',
    files: ['index.*'],
    dependencies: { wasmqtt: version },
  }
  write('package.json', `${JSON.stringify(manifest, null, 2)}\n`)
}
