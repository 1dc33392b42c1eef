// The package as npm ships it, in every way that users load it.
import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { build } from 'esbuild'
import { root } from '../../scripts/tools.mjs'
import { startMosquitto } from '../brokers/mosquitto.mjs'
import { openPage, startChromium } from '../browser/chromium.mjs'
import { makeProject } from './project.mjs'

/** A client that sends a message to itself through the broker, which shows that a form of the package works. */
const hello = (url) => `
async function hello({ connect }) {
  const client = await connect(${JSON.stringify(url)})
  const heard = new Promise((resolve) => client.subscribe('hello', (message) => resolve(message.text())))
  await client.publish('hello', 'hello', { qos: 1 })
  const text = await heard
  await client.end()
  return text
}`
const onPage = (
  script,
) => `<!doctype html><meta charset="utf-8"><title>test</title><script type="module">${script}
document.body.textContent = await hello(wasmqtt)</script>`

test('import works in Node', async (t) => {
  const { url } = await startMosquitto(t)
  const project = await makeProject(t, {
    'main.mjs': `import * as wasmqtt from 'wasmqtt'\n${hello(url)}\nconsole.log(await hello(wasmqtt))`,
  })
  assert.equal(await project.node('main.mjs'), 'hello\n')
})

test('require works in Node', async (t) => {
  const { url } = await startMosquitto(t)
  const project = await makeProject(t, {
    'main.cjs': `const wasmqtt = require('wasmqtt')\n${hello(url)}\nhello(wasmqtt).then(console.log)`,
  })
  assert.equal(await project.node('main.cjs'), 'hello\n')
})

test('import and require give the same classes', async (t) => {
  const script = `import { createRequire } from 'node:module'
    import * as one from 'wasmqtt'
    const other = createRequire(import.meta.url)('wasmqtt')
    console.log(one.Client === other.Client, one.MqttError === other.MqttError, one.matches('a/+', 'a/b'))`
  const project = await makeProject(t, { 'main.mjs': script })
  assert.equal(await project.node('main.mjs'), 'true true true\n')
})

test('instanceof knows the errors of every entry, in Node and in a bundle', async (t) => {
  const script = (load) => `import * as one from 'wasmqtt'
    import * as slim from 'wasmqtt/slim'
    import * as asmjs from 'wasmqtt/asmjs'
    import { IndexedDBStore } from 'wasmqtt/stores'
    ${load}
    const thrown = (work) => { try { work() } catch (error) { return error } }
    const entries = [one, slim, asmjs]
    const errors = [
      ...entries.map(({ Client }) => thrown(() => new Client('http://a'))),
      thrown(() => new IndexedDBStore(1)),
    ]
    for (const { MqttError, InvalidArgumentError, ConnectError, Client } of entries)
      for (const error of errors) {
        const own = thrown(() => new Client('http://a'))
        if (!(error instanceof MqttError) || !(error instanceof InvalidArgumentError)) throw new Error('not known')
        if (error instanceof ConnectError || new Error('a') instanceof MqttError || own.name !== error.name) throw new Error('known as another')
      }
    // One that came by a promise, of a client of the other entry.
    const refused = await slim.connect('ws://a', { transport: () => { throw new Error('no') } }).catch((error) => error)
    console.log(refused instanceof one.ConnectError, refused instanceof one.MqttError, refused instanceof one.ClosedError)`
  const load = `import { readFile } from 'node:fs/promises'
    await slim.init(await readFile('node_modules/wasmqtt/wasmqtt.wasm'))`
  const project = await makeProject(t, { 'main.mjs': script(load) })
  assert.equal(await project.node('main.mjs'), 'true true false\n')
  await build({
    absWorkingDir: project.folder,
    entryPoints: ['main.mjs'],
    outfile: 'page.mjs',
    bundle: true,
    format: 'esm',
    platform: 'browser',
    external: ['node:*'],
    logLevel: 'silent',
  })
  assert.equal(await project.node('page.mjs'), 'true true false\n')
})

test('the form for Jest with jsdom encodes and decodes UTF-8 where the runtime cannot', async (t) => {
  const script = `const { TextDecoder } = globalThis
    delete globalThis.TextDecoder
    delete globalThis.TextEncoder
    const { connect } = require('./node_modules/wasmqtt/index.cjs')
    const { TestBroker } = require('./node_modules/wasmqtt/testing.cjs')
    const texts = ['', 'a', '\\u00e9\\u07ff\\u0800\\uffff', '\\u{10000}\\u{10ffff}', '\\ufeffkept']
    let seed = 1
    const random = (below) => (seed = (seed * 48271) % 2147483647) % below
    const bytes = [0, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xed, 0xef, 0xf0, 0xf1, 0xf4, 0xf5, 0xff]
    const malformed = Array.from({ length: 2000 }, () =>
      Uint8Array.from({ length: random(6) }, () => bytes[random(bytes.length)]))
    async function main() {
      const broker = new TestBroker()
      const client = await connect('ws://broker', { transport: broker.transport })
      const got = []
      await client.subscribe('#', { qos: 1 }, (message) => void got.push([message.topic, message.text()]))
      for (const text of texts) await client.publish('t/' + text, text, { qos: 1 })
      for (const payload of malformed) await client.publish('m', payload, { qos: 1 })
      await client.end()
      const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
      const expected = [...texts.map((text) => ['t/' + text, text]), ...malformed.map((payload) => ['m', decoder.decode(payload)])]
      console.log(got.length, JSON.stringify(got) === JSON.stringify(expected))
    }
    main()`
  const project = await makeProject(t, { 'main.cjs': script })
  assert.equal(await project.node('main.cjs'), '2005 true\n')
})

test('where there is no WebAssembly, the error says so', async (t) => {
  const script = `delete globalThis.WebAssembly
    const { Client } = await import('wasmqtt')
    const { init } = await import('wasmqtt/slim')
    const said = []
    try { new Client('ws://localhost') } catch ({ code, message }) { said.push(code, message) }
    said.push((await init('x.wasm').catch((error) => error)).code)
    console.log(said.join('\\n'))`
  const project = await makeProject(t, { 'main.mjs': script })
  const printed = await project.node('main.mjs')
  assert.match(
    printed,
    /^NOT_SUPPORTED\n.*no WebAssembly: import `wasmqtt\/asmjs` .*\nNOT_SUPPORTED\n$/,
  )
  assert.doesNotMatch(printed, /Content-Security-Policy/)
})

/** Messages of 1 MB, which the memory has to grow for. */
const ASMJS = `
async function story(wasmqtt, url) {
  const said = [typeof wasmqtt.connect]
  const client = await wasmqtt.connect(url)
  const heard = new Promise((resolve) => client.subscribe('large', { qos: 2 }, resolve))
  const payload = Uint8Array.from({ length: 1_000_000 }, (_, at) => at * 7)
  const sent = [1, 2, 3].map(() => client.publish('large', payload, { qos: 2 }))
  said.push((await heard).payload.every((byte, at) => byte === payload[at]))
  await Promise.all(sent)
  await client.end()
  return said.join()
}`

test('wasmqtt/asmjs needs no WebAssembly in Node, by import and by require', async (t) => {
  const { tcpPort } = await startMosquitto(t)
  const url = JSON.stringify(`mqtt://127.0.0.1:${tcpPort}`)
  const project = await makeProject(t, {
    'main.mjs': `import * as wasmqtt from 'wasmqtt/asmjs'\n${ASMJS}\nconsole.log(await story(wasmqtt, ${url}))`,
    'main.cjs': `const wasmqtt = require('wasmqtt/asmjs')\n${ASMJS}\nstory(wasmqtt, ${url}).then(console.log)`,
  })
  const args = ['--jitless']
  for (const name of ['main.mjs', 'main.cjs'])
    assert.equal(await project.node(name, { args }), 'function,true\n')
})

test('on a page whose policy forbids WebAssembly, the error says what helps, and wasmqtt/asmjs works', async (t) => {
  const { url } = await startMosquitto(t)
  const policy =
    '<meta http-equiv="Content-Security-Policy" content="script-src \'self\'; connect-src \'self\' ws:">'
  const project = await makeProject(t, {
    'index.html': `<!doctype html><meta charset="utf-8">${policy}<title>test</title><script type="module" src="page.js"></script>`,
    'page.js': `import { Client } from './node_modules/wasmqtt/index.js'
      import * as asmjs from './node_modules/wasmqtt/asmjs.js'
      ${hello(url)}
      let said
      try { new Client('ws://localhost') } catch ({ message }) { said = message }
      document.body.textContent = said + ' ' + await hello(asmjs)`,
  })
  const browser = await startChromium(t)
  const { page } = await openPage(browser, `${await project.serve(t)}/index.html`)
  await page.waitForSelector('body:has-text("hello")', { timeout: 20_000 })
  assert.match(
    (await page.textContent('body')) ?? '',
    /'wasm-unsafe-eval', or import `wasmqtt\/asmjs`.* hello$/,
  )
})

test('React Native gets wasmqtt/asmjs, in the syntax of 2021', async (t) => {
  const { url } = await startMosquitto(t)
  const project = await makeProject(t, {
    'main.mjs': `import * as wasmqtt from 'wasmqtt'\n${hello(url)}\nconsole.log(await hello(wasmqtt))`,
    'socket.mjs': `import { createRequire } from 'node:module'
      delete globalThis.WebAssembly
      globalThis.WebSocket ??= createRequire(${JSON.stringify(`${root}/package.json`)})('ws')`,
  })
  const args = ['--conditions=react-native', '--import', './socket.mjs']
  assert.equal(await project.node('main.mjs', { args }), 'hello\n')
  const code = await readFile(join(project.folder, 'node_modules/wasmqtt/asmjs.js'), 'utf8')
  assert.doesNotMatch(code, /static\s*\{|#\w+ in /)
})

// Contract: Importing does nothing. The module is instantiated synchronously at first use (new Client, connect, matches)
test('importing has no side effects', async (t) => {
  const script = `const before = Object.keys(globalThis).length
    WebAssembly.Module = WebAssembly.instantiate = WebAssembly.compile = () => { throw new Error('instantiated') }
    await import('wasmqtt')
    await import('wasmqtt/slim')
    await import('wasmqtt/stores')
    await import('wasmqtt/asmjs')
    console.log(Object.keys(globalThis).length - before)`
  const project = await makeProject(t, { 'main.mjs': script })
  assert.equal(await project.node('main.mjs'), '0\n')
})

test('no ES module for Node imports a file that Node would first read with its lexer', async () => {
  const folder = join(root, 'pkg')
  const modules = (await readdir(folder)).filter((name) => name.endsWith('.js'))
  const texts = await Promise.all(modules.map((name) => readFile(join(folder, name), 'utf8')))
  const imported = texts.flatMap((text) => [...text.matchAll(/^import .* from '\.\/(.+\.cjs)'/gm)])
  const names = imported.map(([, name]) => name)
  assert.deepEqual(names.sort(), [
    'asmjs-node.detour.cjs',
    'mqttjs.detour.cjs',
    'node.detour.cjs',
    'paho.detour.cjs',
    'slim-node.detour.cjs',
    'testing-node.detour.cjs',
  ])
})

test('all entries export the same names, and slim also exports init', async (t) => {
  const script = `const names = async (path) => Object.keys(await import(path)).sort().join()
    const page = await names('./node_modules/wasmqtt/index.js')
    const jest = Object.keys((await import('./node_modules/wasmqtt/index.cjs')).default).sort().join()
    console.log(page === await names('wasmqtt'), page === (await names('wasmqtt/slim')).replace('init,', ''), page === jest, page === await names('wasmqtt/asmjs'))`
  const project = await makeProject(t, { 'main.mjs': script })
  assert.equal(await project.node('main.mjs'), 'true true true true\n')
})

test('wasmqtt/stores: import and require keep the same state, and a page gets no files', async (t) => {
  const script = `import { createRequire } from 'node:module'
    import { FileStore } from 'wasmqtt/stores'
    const { FileStore: Required } = createRequire(import.meta.url)('wasmqtt/stores')
    const one = new FileStore('kept')
    await one.write('client', [['a', new Uint8Array([1, 2])]])
    const refused = await new Required('kept').load('client').catch(({ code }) => code)
    await one.close()
    const other = new Required('kept')
    console.log(refused, String(await other.load('client')))
    await other.close()`
  const project = await makeProject(t, {
    'main.mjs': script,
    'page.mjs': `export { FileStore, IndexedDBStore } from 'wasmqtt/stores'`,
  })
  assert.equal(await project.node('main.mjs'), 'STORE_FAILED a,1,2\n')
  const { outputFiles } = await build({
    absWorkingDir: project.folder,
    entryPoints: ['page.mjs'],
    bundle: true,
    format: 'esm',
    write: false,
  })
  assert.doesNotMatch(outputFiles[0].text, /node:/)
})

test('esbuild bundles it for Node and for a page', async (t) => {
  const { url } = await startMosquitto(t)
  const project = await makeProject(t, {
    'main.mjs': `import * as wasmqtt from 'wasmqtt'\n${hello(url)}\nhello(wasmqtt).then((text) => globalThis.document ? (document.body.textContent = text) : console.log(text))`,
  })
  const bundle = (platform, outfile, options) =>
    build({
      absWorkingDir: project.folder,
      entryPoints: ['main.mjs'],
      bundle: true,
      platform,
      outfile,
      logLevel: 'silent',
      ...options,
    })
  await bundle('node', 'node.cjs', { external: ['bufferutil', 'utf-8-validate'] })
  assert.equal(await project.node('node.cjs'), 'hello\n')
  await bundle('browser', 'page.js')
  await project.write({
    'page.html':
      '<!doctype html><meta charset="utf-8"><title>test</title><body><script src="page.js"></script>',
  })
  await showsHello(t, project, 'page.html')
})

test('a plain <script type="module"> can load it', async (t) => {
  const { url } = await startMosquitto(t)
  const project = await makeProject(t, {
    'page.html': onPage(
      `import * as wasmqtt from './node_modules/wasmqtt/index.js'\n${hello(url)}`,
    ),
  })
  await showsHello(t, project, 'page.html')
})

// Contract: init() fails with MqttErrors only, compiles while it downloads where the server's content type allows, and takes what a bundler's asset
// import gives.
test('slim loads the .wasm as a separate file', async (t) => {
  const { url } = await startMosquitto(t)
  const script = `import * as wasmqtt from './node_modules/wasmqtt/slim.js'\n${hello(url)}
    let early
    try { wasmqtt.matches('a', 'a') } catch (error) { early = error.code }
    if (early !== 'NOT_SUPPORTED') throw new Error('worked before init')
    await wasmqtt.init('./node_modules/wasmqtt/wasmqtt.wasm')`
  const project = await makeProject(t, { 'page.html': onPage(script) })
  await showsHello(t, project, 'page.html')
})

async function showsHello(t, project, path) {
  const browser = await startChromium(t)
  const { page, problems } = await openPage(browser, `${await project.serve(t)}/${path}`)
  await page
    .waitForFunction(() => document.body.textContent !== '', undefined, { timeout: 20_000 })
    .catch(() => {})
  assert.deepEqual(problems, [])
  assert.equal(await page.textContent('body'), 'hello')
}

const CONSUMER = `import {
  Client, ConnectError, connect, fromMessagePort, matches, MqttError, ReasonCode,
  type AnyMqttError, type Callback, type ConnectOptions, type FilterOptions, type Grant, type Message, type Store,
} from 'wasmqtt'
import { FileStore, IndexedDBStore, type EncryptionHooks, type FileStoreOptions } from 'wasmqtt/stores'
import { init } from 'wasmqtt/slim'
import { TestBroker } from 'wasmqtt/testing'
const options: ConnectOptions = { will: { topic: 'a', qos: 1 }, password: async ({ attempt }) => String(attempt) }
export async function main(): Promise<void> {
  const client: Client = await connect('ws://localhost', options)
  client.on('message', (message: Message) => message.json<{ a: number }>().a.toFixed())
  await client.subscribe({ 'a/#': { qos: 1 } }, {}, async (message, subscription) => { if (message.retain) await subscription.unsubscribe() })
  for await (const { payload } of client.messages('b')) payload.byteLength
  const { reasonCode } = await client.publish('c', new Uint8Array(), { qos: 2 })
  if (reasonCode === ReasonCode.success && matches('a', 'b')) await init('x.wasm')
  // @ts-expect-error: no such QoS
  await client.publish('c', '', { qos: 3 })
  client.end(undefined, (error) => { if (error instanceof ConnectError) error.phase satisfies 'transport' | 'mqtt' | 'authentication' })
}
// Callbacks: the result is there where the error is null, and a callback of any error fits.
connect('ws://localhost', undefined, (error, client) => {
  if (error) throw error
  client.publish('a', 'b', { qos: 1 }, (error, result) => console.log(error ?? result.reasonCode))
  const callback: Callback<void> = (error: MqttError | null) => console.log(error?.code satisfies string | undefined)
  client.end(undefined, callback)
})
// The code tells the classes apart, everywhere.
export function explain(client: Client, error: AnyMqttError): string | undefined {
  client.on('close', (error) => { if (error?.code === 'CONNECTION_FAILED') error.url satisfies string })
  client.on('error', (error: MqttError) => console.log(error.retryable))
  switch (error.code) {
    case 'CONNECTION_REFUSED': return error.url
    case 'INVALID_ARGUMENT': return error.argument
    case 'SUBSCRIBE_REFUSED': return error.grants.map((grant: Grant) => grant.granted ? grant.qos.toFixed() : grant.filter).join()
    case 'HANDLER_FAILED': return error.filter
    default: return error.reasonString
  }
}
// Stores have the same names everywhere.
export function stores(options: FileStoreOptions, cipher: EncryptionHooks): Store[] {
  // @ts-expect-error: no such durability
  new IndexedDBStore('a', { durability: 'none' })
  return [new FileStore('folder', options), new IndexedDBStore('name', cipher), new FileStore(new URL('file:///a'))]
}
// What is undefined is absent.
export async function absent(client: Client, message: Message, name: string | undefined): Promise<void> {
  const filter: FilterOptions = { qos: undefined }
  await client.publish('a', message.payload, { properties: message.properties, timeout: undefined })
  await client.subscribe({ a: filter }, { signal: undefined })
  new Client('ws://localhost', { clientId: name, will: undefined, reconnect: { maxDelay: undefined } })
  await new TestBroker({ users: undefined }).expect({ type: 'publish', topic: name }, { timeout: undefined })
}
// An event as a promise, and the empty payload.
export async function next(client: Client): Promise<string> {
  await client.publish('a', null, { retain: true })
  const [message] = await client.once('message', { timeout: 1_000 })
  // @ts-expect-error: no such event
  client.once('offline')
  return message.text()
}
// A mistake is one mistake: the results stay what they are.
export async function wrong(port: MessagePort): Promise<void> {
  // @ts-expect-error: no such reason code
  ReasonCode.notAuthorised
  // @ts-expect-error: a string is not a number
  const client = await connect('ws://localhost', { keepalive: '60' })
  // @ts-expect-error: ack is not an option of one filter
  await client.subscribe({ a: { ack: 'manual' } })
  // @ts-expect-error: a string is not a QoS
  const { reasonCode } = await client.publish('a', 'b', { qos: '1' })
  new Client('x://y', { transport: () => fromMessagePort(port) }).publish('a', String(reasonCode satisfies number))
}
`
// Without the declarations of Node and of ws, because the package needs none of them.
const STRICT = {
  strict: true,
  exactOptionalPropertyTypes: true,
  noEmit: true,
  skipLibCheck: false,
  target: 'es2022',
  lib: ['es2022', 'dom', 'esnext.disposable'],
  types: [],
}
/** @type {[string, string, object][]} */
const resolutions = [
  ['node16 from an ES module', 'main.mts', { module: 'node16', moduleResolution: 'node16' }],
  ['node16 from CommonJS', 'main.cts', { module: 'node16', moduleResolution: 'node16' }],
  ['nodenext', 'main.mts', { module: 'nodenext', moduleResolution: 'nodenext' }],
  ['a bundler', 'main.ts', { module: 'esnext', moduleResolution: 'bundler' }],
]
for (const [name, file, options] of resolutions) {
  // Contract: Every optional field in this file also takes undefined (exactOptionalPropertyTypes).
  // Contract: Every class declares its `code` as a literal, and `export type AnyMqttError = ConnectError | PublishError | …` is their union, so that
  // switch (error.code) narrows; callbacks and events are typed with it.
  // Contract: every name of the MQTT 5 specification, camelCase, as a literal
  test(`types are found by ${name}`, async (t) => {
    const source =
      file === 'main.cts'
        ? CONSUMER.replace(/import \{ init .*\n/, '').replace(`await init('x.wasm')`, '')
        : CONSUMER
    const project = await makeProject(t, {
      [file]: source,
      'tsconfig.json': JSON.stringify({
        compilerOptions: { ...STRICT, ...options },
        files: [file],
      }),
    })
    await assert.doesNotReject(
      project.run('tsc', ['-p', '.']).catch(({ stdout }) => Promise.reject(new Error(stdout))),
    )
  })
}

test('types without those of a browser, with those of Node', async (t) => {
  const project = await makeProject(t, {
    'main.mts': CONSUMER.replace(/import \{ init .*\n/, '')
      .replace(`await init('x.wasm')`, '')
      .replace('port: MessagePort', `port: import('node:worker_threads').MessagePort`),
    'tsconfig.json': JSON.stringify({
      compilerOptions: {
        ...STRICT,
        lib: ['es2022', 'esnext.disposable'],
        types: ['node'],
        typeRoots: [join(root, 'node_modules', '@types')],
        module: 'nodenext',
        moduleResolution: 'nodenext',
      },
      files: ['main.mts'],
    }),
  })
  await assert.doesNotReject(
    project.run('tsc', ['-p', '.']).catch(({ stdout }) => Promise.reject(new Error(stdout))),
  )
})

/** The files of declarations, each with its name. */
async function declarations(project) {
  const folder = join(project.folder, 'node_modules', 'wasmqtt')
  const names = (await readdir(folder)).filter((name) => /\.d\.c?ts$/.test(name))
  assert.ok(names.length > 8)
  return Promise.all(names.map(async (name) => [name, await readFile(join(folder, name), 'utf8')]))
}

test('the declarations name nothing that only the build can resolve', async (t) => {
  for (const [name, text] of await declarations(await makeProject(t)))
    assert.doesNotMatch(text, /['"]#|@internal/, name)
})

test('every declaration of the package has a doc comment', async (t) => {
  const bare = []
  let declared = 0
  for (const [name, text] of await declarations(await makeProject(t))) {
    const lines = text.split('\n')
    for (const [at, line] of lines.entries()) {
      const declares =
        /^(export )?(declare (?!global|namespace)|interface |type \w)|^ {2}(readonly |get )?(\w+|\[\w+\])[?(:<]/
      if (!declares.test(line)) continue
      declared++
      // For `code` that of MqttError holds in every class. No entry exports asyncDispose.
      if (!/readonly code:|declare const asyncDispose/.test(line) && !/\*\/$/.test(lines[at - 1]))
        bare.push(`${name}: ${line}`)
    }
  }
  assert.deepEqual(bare, [])
  assert.ok(declared > 500, String(declared))
})

test('the package contains no paths of the machine that built it', async (t) => {
  const project = await makeProject(t)
  const folder = join(project.folder, 'node_modules', 'wasmqtt')
  const names = (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
  assert.ok(names.length > 8)
  for (const name of names) {
    // The inlined module need not be decoded here, because the same .wasm is one of the files.
    const text = await readFile(name, 'latin1')
    for (const path of [root, `${homedir()}/`, '/.cargo/', 'registry/src', 'crates.io-'])
      assert.ok(!text.includes(path), `${name} names ${path}`)
  }
})

const SCRIPTS = [
  ...['index.js', 'slim.js', 'node.js', 'node.cjs', 'slim-node.cjs', 'ws.cjs'],
  ...['workerd.js', 'edge.js', 'asmjs.js', 'asmjs.cjs', 'asmjs-node.cjs', 'wasmqtt.script.js'],
  ...['stores.js', 'stores-node.js', 'stores-node.cjs'],
  ...['index.cjs', 'stores.cjs', 'testing.cjs', 'testing.js', 'testing-node.cjs'],
]

// Contract: Its protocol is Rust, on the same codec, in a wasm module of its own: nobody pays for it who does not import it.
test('the module of the client has no code of the test broker', async () => {
  const found = async (path, glue = path) => {
    const bytes = await readFile(join(root, path))
    const text = await readFile(join(root, glue), 'latin1')
    const names = WebAssembly.Module.exports(new WebAssembly.Module(bytes)).map(({ name }) => name)
    return {
      exports: names.some((name) => /broker/.test(name)),
      // Every panic names its file: the broker's in the module, the client's in the glue.
      files: /src\/broker\//.test(bytes.toString('latin1') + text),
    }
  }
  const neither = { exports: false, files: false }
  assert.deepEqual(await found('pkg/wasmqtt.wasm', 'pkg/slim.js'), neither)
  assert.match(await readFile(join(root, 'pkg/slim.js'), 'latin1'), /src\/session\//)
  assert.deepEqual(await found('target/bindgen-broker/wasmqtt_bg.wasm'), {
    exports: true,
    files: true,
  })
})

test('an error that a panic throws says where it was', async () => {
  const { Core, initSync } = await import('../../target/bindgen/wasmqtt.js')
  initSync({ module: await readFile(join(root, 'pkg/wasmqtt.wasm')) })
  const core = new Core({ now: () => 0 }, 0, [])
  // No message has the number 0.
  const file = (await readFile(join(root, 'src/web/bindings.rs'), 'utf8')).split('\n')
  assert.throws(
    () => core.hold(0),
    ({ message }) => {
      const [, line] = /^panicked at src\/web\/bindings\.rs:(\d+)$/.exec(message)
      return file[Number(line) - 1].includes('Sequence::new(sequence).expect(OURS)')
    },
  )
})

test('the JavaScript is ASCII, so a page in any encoding can load it', async (t) => {
  const project = await makeProject(t)
  for (const name of SCRIPTS) {
    const text = await readFile(join(project.folder, 'node_modules', 'wasmqtt', name), 'latin1')
    assert.doesNotMatch(text, /[^\n -~]/, name)
  }
})

test('the manifest points to files that exist', async (t) => {
  const project = await makeProject(t)
  const folder = join(project.folder, 'node_modules', 'wasmqtt')
  const manifest = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'))
  const targets = (value) =>
    typeof value === 'string' ? [value] : Object.values(value).flatMap(targets)
  for (const target of [
    ...targets(manifest.exports),
    manifest.main,
    manifest.module,
    manifest['react-native'],
    manifest.types,
    manifest.unpkg,
    manifest.jsdelivr,
  ])
    await readFile(join(folder, target))
  assert.equal(manifest.dependencies, undefined)
  assert.equal(manifest.optionalDependencies, undefined)
  assert.equal(manifest.private, undefined)
  for (const name of ['README.md', 'LICENSE', 'CHANGELOG.md', 'NOTICES.txt'])
    await readFile(join(folder, name))
})
