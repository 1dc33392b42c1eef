// The types as users meet them: the examples of the README and the guides compile, and typical mistakes are refused with a message that helps.
import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { root } from '../../scripts/tools.mjs'
import { makeProject } from './project.mjs'

const OPTIONS = {
  ...{ strict: true, noEmit: true, skipLibCheck: false, target: 'es2022' },
  lib: ['es2023', 'dom', 'dom.iterable', 'esnext.disposable'],
  ...{ types: ['node'], typeRoots: [join(root, 'node_modules', '@types')] },
}
const MODULES = [
  ['node16', { module: 'node16', moduleResolution: 'node16' }],
  ['nodenext', { module: 'nodenext', moduleResolution: 'nodenext' }],
  ['bundler', { module: 'esnext', moduleResolution: 'bundler' }],
]

/** Resolves with what the compiler says about each file. */
async function compiled(project, options, files) {
  await project.write({
    'package.json': '{ "private": true, "type": "module" }',
    'tsconfig.json': JSON.stringify({ compilerOptions: { ...OPTIONS, ...options }, files }),
  })
  const { stdout } = await project
    .run('tsc', ['-p', '.', '--pretty', 'false'])
    .catch((error) => error)
  return stdout
}

test('the programs of the README and the guides compile in strict mode', async (t) => {
  const guides = (await readdir(join(root, 'docs'), { recursive: true })).filter(
    (name) => name.endsWith('.md') && !/node_modules|^reference|migrating|dashboard/.test(name),
  )
  const programs = {}
  for (const path of ['README.md', ...guides.map((name) => `docs/${name}`)]) {
    const text = await readFile(join(root, path), 'utf8')
    // The parameters of functions are not declared in JavaScript.
    for (const [at, [, code]] of [...text.matchAll(/^```js\n([\s\S]*?)^```$/gm)].entries())
      if (
        !/\brequire\(|^(export )?(async )?function|= async \(|catch \(|new Promise\(\(resolve|\.json\(\)|\.server\./m.test(
          code,
        )
      )
        programs[`${path.replaceAll(/\W/g, '-')}-${at}.ts`] = code
  }
  assert.ok(Object.keys(programs).length >= 15)
  const project = await makeProject(t, programs)
  for (const [name, options] of MODULES)
    assert.equal(await compiled(project, options, Object.keys(programs)), '', `under ${name}`)
})

test('a class is the same type in every entry, and for import and require()', async (t) => {
  const takes = `import type { Client, MessageStream } from 'wasmqtt'
import type { MqttError } from 'wasmqtt/slim'
import type { TestBroker } from 'wasmqtt/testing'
import type { FileStore } from 'wasmqtt/stores'
export declare function takes(client: Client, error: MqttError, broker: TestBroker, store: FileStore, stream: MessageStream): void
`
  const gives = (path) => `import { Client, MqttError } from 'wasmqtt'
import * as slim from 'wasmqtt/slim'
import * as asmjs from 'wasmqtt/asmjs'
import { TestBroker } from 'wasmqtt/testing'
import { FileStore } from 'wasmqtt/stores'
import { takes } from '${path}'
declare const error: MqttError
declare const store: FileStore
const broker = new TestBroker()
for (const client of [new Client('ws://a', { store, transport: broker.transport }), new slim.Client('ws://a'), new asmjs.Client('ws://a')])
  takes(client, error, broker, store, client.messages('a'))
`
  const files = {
    'library/index.d.cts': takes,
    'library/index.d.mts': takes,
    'one.mts': gives('./library/index.cjs'),
    'other.cts': gives('./library/index.cjs'),
    'third.mts': gives('./library/index.mjs'),
  }
  const project = await makeProject(t, files)
  for (const [name, options] of MODULES)
    assert.equal(await compiled(project, options, Object.keys(files)), '', `under ${name}`)
})

test('an entry has one file of declarations, which shows nothing internal', async (t) => {
  const project = await makeProject(t)
  const shipped = join(project.folder, 'node_modules', 'wasmqtt')
  const names = await readdir(shipped, { recursive: true })
  assert.deepEqual(
    names.filter((name) => /[\\/].*\.d\.c?ts$/.test(name)),
    [],
  )
  const main = await readFile(join(shipped, 'index.d.cts'), 'utf8')
  for (const tag of ['@default', '@throws', '@example', '/// <reference lib="esnext.disposable"'])
    assert.ok(main.includes(tag), tag)
  assert.doesNotMatch(main, /@internal|\bLife\b|\bPending\b|^import/m)
})

/** @type {[string, RegExp][]} a mistake, and what the compiler has to say */
const MISTAKES = [
  [`await client.publish('a', 'b', { qos: 3 })`, /'3' is not assignable to type 'QoS/],
  [
    `await client.publish('a', 'b', { qos: '1' })`,
    /'"1"' is not assignable to type 'QoS|'string' is not assignable to type 'QoS/,
  ],
  [
    `await client.publish('a', 'b', { retained: true })`,
    /'retained' does not exist in type 'PublishOptions'|mean to write 'retain'/,
  ],
  [
    `await client.publish('a', { celsius: 21 })`,
    /'celsius' does not exist in type .*UseJSONStringify/,
  ],
  [`const reading = { celsius: 21 }; await client.publish('a', reading)`, /UseJSONStringify/],
  [`await client.publish('a', [1, 2])`, /UseJSONStringify/],
  [
    `await client.request('a', { celsius: 21 })`,
    /'celsius' does not exist in type .*UseJSONStringify/,
  ],
  [
    `await connect('ws://localhost', { will: { topic: 'a', payload: { celsius: 21 } } })`,
    /'celsius' does not exist in type .*UseJSONStringify/,
  ],
  [`await client.respond('a', () => ({ celsius: 21 }))`, /UseJSONStringify/],
  [
    `await client.publish('a', 21)`,
    /'21' is not assignable to parameter of type 'TextOrBytesOrUseJSONStringify'/,
  ],
  [
    `await client.subscribe('a', { qos: 1, nl: true }, () => {})`,
    /'nl' does not exist in type 'SubscribeOptions'/,
  ],
  [
    `await client.subscribe({ a: { ack: 'manual' } })`,
    /'ack' does not exist in type 'FilterOptions'/,
  ],
  [
    `client.on('offline', () => {})`,
    /'"offline"' is not assignable to parameter of type '.*"disconnect" \|/,
  ],
  [
    `await connect('ws://localhost', { keepalive: '60' })`,
    /'string' is not assignable to type 'number'/,
  ],
  [
    `await connect('ws://localhost', { reconnectPeriod: 1000 })`,
    /'reconnectPeriod' does not exist in type 'ConnectOptions'/,
  ],
  [`await connect('ws://localhost', { protocolVersion: 3 })`, /'3' is not assignable to type/],
  [`await connect('ws://localhost', { will: { payload: 'x' } })`, /'topic' is missing in type/],
  [
    `await connect('ws://localhost', { queue: { overflow: 'drop' } })`,
    /'"drop"' is not assignable to type/,
  ],
  [`client.connected = true`, /'connected' because it is a read-only property/],
  [`if (client.server.maximumQoS) {}`, /'client.server' is possibly 'undefined'/],
  [
    `const { granted } = await client.publish('a', 'b')`,
    /'granted' does not exist on type 'PublishResult'/,
  ],
]

test('typical mistakes are refused, with a message that helps', async (t) => {
  assert.ok(MISTAKES.length >= 15)
  const files = Object.fromEntries(
    MISTAKES.map(([code], at) => [
      `m${at}.ts`,
      `import { type Client, connect } from 'wasmqtt'\ndeclare const client: Client\n${code}\nexport { connect }\n`,
    ]),
  )
  const project = await makeProject(t, files)
  for (const [name, options] of MODULES) {
    const said = await compiled(project, options, Object.keys(files))
    const missing = MISTAKES.map(([code, expected], at) => {
      const about = said.split(/^(?=m\d+\.ts)/m).filter((text) => text.startsWith(`m${at}.ts`))
      return expected.test(about.join('')) ? '' : `${code}: ${about.join('') || 'nothing'}`
    })
    assert.deepEqual(missing.filter(Boolean), [], `under ${name}`)
  }
})
