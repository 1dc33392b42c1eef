// What the tools of package authors and npm itself say about the packages, and how their declarations work in every kind of project.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { access, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { notesOf } from '../../scripts/release.mjs'
import { root } from '../../scripts/tools.mjs'
import { makeProject } from './project.mjs'

const execute = promisify(execFile)
const bin = (name) => join(root, 'node_modules', '.bin', name)
/** Rejects with all that a command said. */
const quietly = (command, args, { cwd = root, env = process.env } = {}) =>
  execute(command, args, { cwd, env }).catch(({ stdout, stderr }) => {
    throw new Error(`${stdout}${stderr}`)
  })
const PACKAGES = ['pkg', 'pkg-mqttjs']

for (const name of PACKAGES) {
  test(`publint has nothing to say about ${name}`, async () => {
    const { stdout } = await quietly(bin('publint'), ['--strict', '--pack', 'npm'], {
      cwd: join(root, name),
      env: { ...process.env, NO_COLOR: '1' },
    })
    assert.match(stdout, /All good!/)
  })

  test(`npm would publish ${name}`, async () => {
    const { stdout } = await quietly('npm', ['publish', '--dry-run', '--json', '--access=public'], {
      cwd: join(root, name),
    })
    const said = JSON.parse(stdout)
    // npm 11 puts it under the name of the package.
    const { files } = said.files ? said : Object.values(said)[0]
    const names = files.map(({ path }) => path)
    assert.ok(names.includes('README.md') && names.includes('package.json'))
    assert.deepEqual(
      names.filter((path) => /(^|\/)\.|\.ts$/.test(path) && !/\.d\.c?ts$/.test(path)),
      [],
    )
  })
}

test('attw finds every type in every resolution', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'wasmqtt-attw-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  for (const name of PACKAGES) {
    const { stdout } = await execute(
      'npm',
      ['pack', '--json', '--pack-destination', folder, join(root, name)],
      { cwd: folder },
    )
    const tarball = join(folder, JSON.parse(stdout)[0].filename)
    // A classic script is no module of either kind. The next test looks at its declarations.
    await quietly(bin('attw'), [tarball, '--exclude-entrypoints', 'paho.script.js'])
  }
})

const SHIMS = `import mqtt, { connect, type IClientOptions, MqttClient } from 'wasmqtt/mqttjs'
import Paho, { Message } from 'wasmqtt/paho'
import source from 'wasmqtt/wasmqtt.wasm'
import { init, type ModuleSource } from 'wasmqtt/slim'
const options: IClientOptions = { clientId: 'a' }
export const clients: MqttClient[] = [mqtt.connect('ws://localhost', options), connect('ws://localhost'), new mqtt.MqttClient(() => null as never, options)]
export const paho: Paho.Client = new Paho.Client('localhost', 9001, 'a')
paho.send(new Message('b'))
// @ts-expect-error: no such option
mqtt.connect({ protocolVersion: '5', clientIdentifier: 1 })
export const started = init(source satisfies ModuleSource)
`.replace('export const paho: Paho.Client', 'export const paho')
/** @type {[string, string, string, object][]} */
const RESOLUTIONS = [
  ['node16 from an ES module', 'main.mts', 'node16', {}],
  ['node16 from CommonJS', 'main.cts', 'node16', {}],
  ['nodenext from CommonJS', 'main.cts', 'nodenext', {}],
  ['a bundler', 'main.ts', 'bundler', { module: 'esnext' }],
]
for (const [title, file, moduleResolution, more] of RESOLUTIONS)
  test(`the types of the other entries are found by ${title}`, async (t) => {
    const project = await makeProject(t, {
      [file]: SHIMS,
      'tsconfig.json': JSON.stringify({
        compilerOptions: {
          ...{ strict: true, noEmit: true, target: 'es2022', esModuleInterop: true },
          ...{ lib: ['es2022', 'dom', 'esnext.disposable'], skipLibCheck: false },
          ...{ types: ['node'], typeRoots: [join(root, 'node_modules', '@types')] },
          ...{ module: moduleResolution, moduleResolution, ...more },
        },
        files: [file],
      }),
    })
    await assert.doesNotReject(
      project.run('tsc', ['-p', '.']).catch(({ stdout }) => Promise.reject(new Error(stdout))),
    )
  })

test('a classic script has its global typed', async (t) => {
  const project = await makeProject(t, {
    'main.ts': `/// <reference types="wasmqtt/paho.script.js" />
const client = new Paho.Client('localhost', 9001, 'a')
// @ts-expect-error: a string is not a port
new Paho.Client('localhost', '9001', 'a')
client.connect({ onSuccess: () => client.subscribe('a') })
`,
    'tsconfig.json': JSON.stringify({
      compilerOptions: {
        ...{
          strict: true,
          noEmit: true,
          target: 'es2022',
          lib: ['es2022', 'dom', 'esnext.disposable'],
        },
        ...{ module: 'esnext', moduleResolution: 'bundler', types: [] },
      },
      files: ['main.ts'],
    }),
  })
  await assert.doesNotReject(
    project.run('tsc', ['-p', '.']).catch(({ stdout }) => Promise.reject(new Error(stdout))),
  )
})

test('require(wasmqtt/mqttjs) gives what its types say', async (t) => {
  const project = await makeProject(t, {
    'main.cjs': `const mqtt = require('wasmqtt/mqttjs')
      console.log(typeof mqtt.connect, mqtt.default.connect === mqtt.connect, mqtt.default.MqttClient === mqtt.MqttClient)`,
  })
  assert.equal(await project.node('main.cjs'), 'function true true\n')
})

test('a release has the version of its tag, and a section of the changelog with a date', () => {
  const changelog =
    '# Changelog\n\n## [Unreleased]\n\n- x\n\n## [1.2.0] - 2026-01-02\n\n### Added\n\n- y\n\n## [1.1.0] - 2026-01-01\n\n- z\n'
  assert.equal(notesOf('v1.2.0', '1.2.0', changelog), '### Added\n\n- y\n')
  assert.equal(notesOf('v1.1.0', '1.1.0', changelog), '- z\n')
  assert.throws(
    () => notesOf('v1.2.1', '1.2.0', changelog),
    /package\.json has the version 1\.2\.0/,
  )
  assert.throws(() => notesOf('v1.3.0', '1.3.0', changelog), /no section "## \[1\.3\.0\] - date"/)
})

test('links of the README are absolute, and those to the repository lead to a file', async () => {
  const readme = await readFile(join(root, 'README.md'), 'utf8')
  const source =
    /^https:\/\/(?:github\.com\/wasmqtt\/wasmqtt\/(?:blob|tree)|raw\.githubusercontent\.com\/wasmqtt\/wasmqtt)\/main\/([^#]*)/
  const links = [...readme.matchAll(/\]\(([^)]+)\)/g)].map(([, link]) => link)
  assert.ok(links.length > 20)
  for (const link of links) {
    assert.match(link, /^https:/)
    const path = source.exec(link)?.[1]
    if (path) await access(join(root, path))
  }
})
