// Bundlers and frameworks that make a page of the story. Chromium then opens the page, which must report `hello`.
import { execFile } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { inChromium, serve } from './browsers.mjs'
import { STORY } from './story.mjs'

const execute = promisify(execFile)
const { platform, arch } = process
/** Its package has the program for one platform. */
export const bun = `@oven/bun-${platform}-${arch === 'arm64' ? 'aarch64' : arch}`

/** Its package has the program for one platform, too. */
export const deno = `@deno/${platform}-${arch}-glibc`

/** @typedef {import('./runtimes.mjs').Tools} Tools */
/**
 * @typedef {object} Bundler
 * @property {string} name
 * @property {string} how what the user writes
 * @property {Record<string, string>} packages what npm installs for it; the first is the bundler
 * @property {(url: string) => Record<string, string>} files the user's project
 * @property {string[][]} build commands, each a package and its arguments; they put the page into the folder `out`
 */

const PAGE =
  '<!doctype html><meta charset="utf-8"><title>wasmqtt</title><script type="module" src="./main.js"></script>'
const BUNDLED = PAGE.replace('./main.js', './bundle.js')

/** Reports to the server of the test, wherever the page comes from. */
const report = (promise) =>
  `${promise}.catch(String).then((text) => fetch(REPORT, { method: 'POST', mode: 'no-cors', body: JSON.stringify({ text }) }))`
const main = (url) =>
  `import * as wasmqtt from 'wasmqtt'\n${STORY}\n${report(`story(wasmqtt, '${url}')`)}`
const slim = (url, importing) =>
  `import * as wasmqtt from 'wasmqtt/slim'\n${importing}\n${STORY}\n${report(`wasmqtt.init(source).then(() => story(wasmqtt, '${url}'))`)}`
const app = (url) => ({ 'index.html': PAGE, 'main.js': main(url) })

/** How webpack is run. */
const WEBPACK = {
  packages: { webpack: 'latest', 'webpack-cli': 'latest' },
  build: [
    [
      'webpack',
      ...['--mode', 'production', '--entry', './main.js'],
      ...['--output-path', 'out', '--output-filename', 'bundle.js'],
    ],
  ],
}

/** @type {Bundler[]} */
const all = [
  {
    name: 'Vite',
    how: '`vite build`',
    packages: { vite: 'latest' },
    files: app,
    build: [['vite', 'build', '--outDir', 'out']],
  },
  {
    name: 'Vite, worker',
    how: "`import Worker from './worker.js?worker'`",
    packages: { vite: 'latest' },
    files: (url) => ({
      'index.html': PAGE,
      'main.js': `import Worker from './worker.js?worker'
        const answer = new Promise((resolve) => { new Worker().onmessage = ({ data }) => resolve(data) })
        ${report('answer')}`,
      'worker.js': `import * as wasmqtt from 'wasmqtt'\n${STORY}\nstory(wasmqtt, '${url}').catch(String).then(postMessage)`,
    }),
    build: [['vite', 'build', '--outDir', 'out']],
  },
  {
    name: 'Vite, slim',
    how: "`import source from 'wasmqtt/wasmqtt.wasm?url'`",
    packages: { vite: 'latest' },
    files: (url) => ({
      'index.html': PAGE,
      'main.js': slim(url, "import source from 'wasmqtt/wasmqtt.wasm?url'"),
    }),
    build: [['vite', 'build', '--outDir', 'out']],
  },
  {
    name: 'Vite, library',
    how: '`build.lib` of vite.config.js',
    packages: { vite: 'latest' },
    files: (url) => ({
      'main.js': main(url),
      'out/index.html': BUNDLED,
      'vite.config.js':
        "export default { build: { outDir: 'out', emptyOutDir: false, lib: { entry: 'main.js', formats: ['es'], fileName: () => 'bundle.js' } } }",
    }),
    build: [['vite', 'build']],
  },
  {
    name: 'webpack',
    how: '`webpack`, without a configuration',
    packages: WEBPACK.packages,
    files: (url) => ({ 'main.js': main(url), 'out/index.html': BUNDLED }),
    build: WEBPACK.build,
  },
  {
    name: 'webpack, slim',
    how: "`new URL('wasmqtt/wasmqtt.wasm', import.meta.url)`",
    packages: WEBPACK.packages,
    files: (url) => ({
      'main.js': slim(url, "const source = new URL('wasmqtt/wasmqtt.wasm', import.meta.url)"),
      'out/index.html': BUNDLED,
    }),
    build: WEBPACK.build,
  },
  {
    name: 'Rspack',
    how: '`rspack build`, without a configuration',
    packages: { '@rspack/cli': 'latest', '@rspack/core': 'latest' },
    files: (url) => ({
      'main.js': main(url),
      'out/index.html': BUNDLED,
      'rspack.config.cjs':
        "module.exports = { mode: 'production', entry: './main.js', output: { path: __dirname + '/out', filename: 'bundle.js' } }",
    }),
    build: [['@rspack/cli', 'build', '-c', 'rspack.config.cjs']],
  },
  {
    name: 'Rollup',
    how: '`@rollup/plugin-node-resolve` with `browser: true`',
    packages: { rollup: 'latest', '@rollup/plugin-node-resolve': 'latest' },
    files: (url) => ({
      'main.js': main(url),
      'out/index.html': BUNDLED,
      'rollup.config.mjs': `import resolve from '@rollup/plugin-node-resolve'
        export default { input: 'main.js', output: { file: 'out/bundle.js', format: 'es' }, plugins: [resolve({ browser: true })] }`,
    }),
    build: [['rollup', '-c', 'rollup.config.mjs', '--silent']],
  },
  {
    name: 'esbuild',
    how: '`esbuild --bundle`',
    packages: { esbuild: 'latest' },
    files: (url) => ({ 'main.js': main(url), 'out/index.html': BUNDLED }),
    build: [
      [
        'esbuild',
        ...['main.js', '--bundle', '--minify', '--format=esm', '--outfile=out/bundle.js'],
        '--log-level=error',
      ],
    ],
  },
  {
    name: 'esbuild, slim',
    how: "`import source from 'wasmqtt/wasmqtt.wasm'`, `--loader:.wasm=file`",
    packages: { esbuild: 'latest' },
    files: (url) => ({
      'main.js': slim(url, "import source from 'wasmqtt/wasmqtt.wasm'"),
      'out/index.html': BUNDLED,
    }),
    build: [
      [
        'esbuild',
        ...['main.js', '--bundle', '--minify', '--format=esm', '--outfile=out/bundle.js'],
        ...['--loader:.wasm=file', '--log-level=error'],
      ],
    ],
  },
  {
    name: 'Parcel',
    how: '`parcel build`',
    packages: { parcel: 'latest' },
    files: app,
    build: [
      [
        'parcel',
        'build',
        'index.html',
        '--dist-dir',
        'out',
        '--public-url',
        './',
        '--no-cache',
        '--cache-dir',
        '.parcel-cache',
      ],
    ],
  },
  {
    name: 'Bun, bundler',
    how: '`bun build`',
    packages: { [bun]: 'latest' },
    files: (url) => ({ 'main.js': main(url), 'out/index.html': BUNDLED }),
    build: [[bun, 'build', 'main.js', '--minify', '--outfile=out/bundle.js']],
  },
  {
    name: 'Deno, bundler',
    how: '`deno bundle --platform=browser`',
    packages: { [deno]: 'latest' },
    files: (url) => ({ 'main.js': main(url), 'out/index.html': BUNDLED }),
    build: [
      [deno, 'bundle', '--platform=browser', '--minify', '--output=out/bundle.js', 'main.js'],
    ],
  },
  {
    name: 'Next.js',
    how: 'a client component, which the server renders as well (Turbopack)',
    packages: { next: 'latest', react: 'latest', 'react-dom': 'latest' },
    files: (url) => ({
      'next.config.mjs':
        "export default { output: 'export', turbopack: { root: process.cwd() + '/../../..' } }",
      'app/layout.jsx':
        'export default ({ children }) => <html lang="en"><body>{children}</body></html>',
      'app/page.jsx': `'use client'
        import { useEffect } from 'react'
        import * as wasmqtt from 'wasmqtt'
        ${STORY}
        export default function Page() {
          useEffect(() => { ${report(`story(wasmqtt, '${url}')`)} }, [])
          return <p>{wasmqtt.matches('a/+', 'a/b') ? 'rendered' : ''}</p>
        }`,
    }),
    build: [['next', 'build']],
  },
  {
    name: 'SvelteKit',
    how: 'a page, which the server renders as well',
    packages: {
      '@sveltejs/kit': 'latest',
      '@sveltejs/adapter-static': 'latest',
      '@sveltejs/vite-plugin-svelte': 'latest',
      svelte: 'latest',
      vite: 'latest',
    },
    files: (url) => ({
      'vite.config.mjs': `import adapter from '@sveltejs/adapter-static'
        import { sveltekit } from '@sveltejs/kit/vite'
        export default { plugins: [sveltekit({ adapter: adapter({ pages: 'out', assets: 'out' }) })] }`,
      'src/app.html':
        '<!doctype html><meta charset="utf-8">%sveltekit.head%<body>%sveltekit.body%</body>',
      'src/routes/+layout.js': 'export const prerender = true',
      'src/routes/+page.svelte': `<script>
        import { onMount } from 'svelte'
        import * as wasmqtt from 'wasmqtt'
        ${STORY}
        onMount(() => { ${report(`story(wasmqtt, '${url}')`)} })
        </script>
        <p>{wasmqtt.matches('a/+', 'a/b') ? 'rendered' : ''}</p>`,
    }),
    build: [['vite', 'build']],
  },
  {
    name: 'Metro',
    how: "React Native's preset and conditions, which give `wasmqtt/asmjs`; opened in Chromium",
    packages: {
      metro: 'latest',
      '@react-native/babel-preset': 'latest',
      '@react-native/metro-babel-transformer': 'latest',
      '@babel/core': 'latest',
      '@babel/runtime': 'latest',
    },
    files: (url) => ({
      'main.js': main(url),
      'out/index.html':
        '<!doctype html><meta charset="utf-8"><title>wasmqtt</title><script src="./bundle.js"></script>',
      'metro.config.cjs': `const { dirname, resolve } = require('node:path')
        const modules = resolve(__dirname, '../node_modules')
        module.exports = {
          projectRoot: __dirname,
          watchFolders: [modules],
          cacheStores: [],
          resolver: {
            nodeModulesPaths: [modules],
            resolverMainFields: ['react-native', 'browser', 'main'],
            unstable_enablePackageExports: true,
            unstable_conditionNames: ['react-native'],
          },
          transformer: { babelTransformerPath: require.resolve('@react-native/metro-babel-transformer') },
        }`,
      'build.cjs': `const Metro = require('metro')
        Metro.loadConfig({ config: './metro.config.cjs' })
          .then((config) => Metro.runBuild(config, { entry: 'main.js', out: 'out/bundle.js', platform: 'ios', dev: false, minify: true }))
          .then(() => process.exit(0))`,
    }),
    build: [['node-24', 'build.cjs']],
  },
  {
    name: 'Angular',
    how: '`ng build`',
    packages: {
      '@angular/cli': 'latest',
      '@angular/build': 'latest',
      '@angular/compiler': '22.2.0',
      '@angular/compiler-cli': '22.2.0',
      '@angular/core': 'latest',
      '@angular/common': 'latest',
      '@angular/platform-browser': 'latest',
      rxjs: 'latest',
      tslib: 'latest',
      typescript: '~6.0.0',
    },
    files: (url) => ({
      'angular.json': JSON.stringify({
        version: 1,
        projects: {
          app: {
            projectType: 'application',
            root: '',
            sourceRoot: 'src',
            architect: {
              build: {
                builder: '@angular/build:application',
                options: {
                  outputPath: { base: 'out', browser: '' },
                  index: 'src/index.html',
                  browser: 'src/main.ts',
                  tsConfig: 'tsconfig.json',
                },
              },
            },
          },
        },
        cli: { analytics: false, cache: { enabled: false } },
      }),
      'tsconfig.json': JSON.stringify({
        compilerOptions: {
          strict: true,
          target: 'ES2022',
          module: 'preserve',
          moduleResolution: 'bundler',
          lib: ['ES2022', 'DOM', 'ESNext.Disposable'],
          types: [],
        },
        files: ['src/main.ts'],
      }),
      'src/index.html': '<!doctype html><meta charset="utf-8"><base href="/"><app-root></app-root>',
      'src/main.ts': `import { Component, provideZonelessChangeDetection } from '@angular/core'
        import { bootstrapApplication } from '@angular/platform-browser'
        import * as wasmqtt from 'wasmqtt'
        ${STORY.replace('{ connect }, url', '{ connect }: typeof wasmqtt, url: string').replace('let tell', 'let tell!: (text: string) => void').replace('new Promise(', 'new Promise<string>(')}
        @Component({ selector: 'app-root', template: '' })
        class App {
          constructor() { ${report(`story(wasmqtt, '${url}')`)} }
        }
        bootstrapApplication(App, { providers: [provideZonelessChangeDetection()] })`,
    }),
    build: [['@angular/cli', 'build']],
  },
]

/** The program of a package, as a command and its first arguments. */
export async function programOf(tools, name) {
  if (name === bun) return [join(tools(name), 'bin', 'bun')]
  if (name === deno) return [join(tools(name), 'deno')]
  if (name === 'node-24') return [join(tools(name), 'bin', 'node')]
  const { bin } = JSON.parse(await readFile(join(tools(name), 'package.json'), 'utf8'))
  const path = typeof bin === 'string' ? bin : Object.values(bin)[0]
  // Some want a newer Node than this one may be.
  return [join(tools('node-24'), 'bin', 'node'), join(tools(name), path)]
}

/** Bytes of the scripts and modules in a folder: as they are, with gzip and with brotli. */
async function sizeOf(folder) {
  const names = await readdir(folder, { recursive: true })
  const sizes = [0, 0, 0]
  for (const name of names.filter((name) => /\.(m?js|wasm)$/.test(name))) {
    const bytes = await readFile(join(folder, name))
    for (const [at, size] of [
      bytes,
      gzipSync(bytes, { level: 9 }),
      brotliCompressSync(bytes),
    ].entries())
      sizes[at] += size.length
  }
  return sizes.map((size) => size.toLocaleString('en')).join(' / ')
}

/** @type {import('./runtimes.mjs').Runtime[]} */
export const bundlers = all.map(({ name, how, packages, files, build }) => ({
  name,
  how,
  packages,
  command: 'chromium',
  async run(project, urls, tools) {
    const server = await serve(project, 'out')
    try {
      for (const [path, text] of Object.entries(files(urls.ws)))
        await project.write({ [path]: text.replaceAll('REPORT', JSON.stringify(server.url)) })
      for (const [command, ...args] of build) {
        const [program, ...first] = await programOf(tools, command)
        await execute(program, [...first, ...args], { cwd: project.folder, timeout: 240_000 })
      }
      const { text } = await inChromium(server)
      if (text !== 'hello') throw new Error(text)
    } finally {
      server.close()
    }
    const [first] = Object.keys(packages)
    const { version } = JSON.parse(await readFile(join(tools(first), 'package.json'), 'utf8'))
    return { version, size: await sizeOf(join(project.folder, 'out')) }
  },
}))
