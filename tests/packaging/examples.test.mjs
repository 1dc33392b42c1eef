// The programs of examples/, as they stand, with the packed package.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { test } from 'node:test'
import { build } from 'esbuild'
import { installTools } from '../../scripts/docs.mjs'
import { root, stopChild } from '../../scripts/tools.mjs'
import { startEmbedded } from '../brokers/embedded.mjs'
import { openPage, startChromium } from '../browser/chromium.mjs'
import { makeProject } from './project.mjs'

await installTools()
const docs = createRequire(join(root, 'docs', 'package.json'))
const example = (path) => readFile(join(root, 'examples', path), 'utf8')
const ROOT = '<!doctype html><meta charset="utf-8"><title>test</title><div id="root"></div>'

/** What each page is made of: files of the example, and the entries that a bundler takes. */
const PAGES = {
  page: { files: ['index.html'], entries: [] },
  react: { files: ['app.jsx'], entries: ['app.jsx'] },
  vue: { files: ['app.js'], entries: ['app.js'] },
  worker: { files: ['page.js', 'worker.js'], entries: ['page.js', 'worker.js'] },
}

for (const [name, { files, entries }] of Object.entries(PAGES))
  test(`the example ${name} shows what is published`, async (t) => {
    const broker = await startEmbedded(t)
    const project = await makeProject(t)
    for (const file of files) await project.write({ [file]: await example(`${name}/${file}`) })
    if (entries.length > 0) {
      await build({
        absWorkingDir: project.folder,
        entryPoints: entries,
        outdir: 'out',
        bundle: true,
        format: 'esm',
        jsx: 'automatic',
        define: { 'process.env.NODE_ENV': '"production"' },
        nodePaths: [join(root, 'docs', 'node_modules')],
        logLevel: 'silent',
      })
      const script = `<script type="module" src="./${entries[0].replace('.jsx', '.js')}"></script>`
      await project.write({ 'out/index.html': ROOT + script })
    }
    const { port } = new URL(broker.url)
    const chromium = await startChromium(t, [
      `--host-resolver-rules=MAP localhost:9001 127.0.0.1:${port}`,
    ])
    const path = entries.length > 0 ? 'out/index.html' : 'index.html'
    const { page, problems } = await openPage(chromium, `${await project.serve(t)}/${path}`)
    await publish(project, broker.url, 'rooms/kitchen', '21.5')
    await page.waitForSelector('li:has-text("rooms/kitchen: 21.5")', { timeout: 20_000 })
    assert.deepEqual(
      problems.filter((problem) => !problem.includes('ws://localhost')),
      [],
    )
  })

test('the example service answers, and says goodbye', async (t) => {
  const broker = await startEmbedded(t)
  const project = await makeProject(t, {
    'package.json': '{ "private": true, "type": "module" }',
    'service.js': await example('service/service.js'),
    'ask.mjs': `import { connect } from 'wasmqtt'
      const client = await connect(process.argv[2])
      console.log((await client.request('sums/add', '[1, 2, 3]', { timeout: 5_000 })).text())
      console.log((await client.request('sums/add', '1', { timeout: 5_000 }).catch((error) => error)).code)
      await client.end()`,
  })
  const child = spawn(process.execPath, ['service.js', broker.url], { cwd: project.folder })
  t.after(() => stopChild(child))
  await once(child.stdout, 'data')
  const script = `import { execFileSync } from 'node:child_process'
    process.stdout.write(execFileSync(process.execPath, ['ask.mjs', ${JSON.stringify(broker.url)}]))`
  await project.write({ 'run.mjs': script })
  assert.equal(await project.node('run.mjs'), '6\nHANDLER_FAILED\n')
  child.kill('SIGTERM')
  const [code] = await once(child, 'exit')
  assert.equal(code, 0)
})

async function publish(project, url, topic, text) {
  await project.write({
    'publish.mjs': `import { connect } from 'wasmqtt'
      const client = await connect(${JSON.stringify(url)})
      await client.publish(${JSON.stringify(topic)}, ${JSON.stringify(text)}, { qos: 1, retain: true })
      await client.end()`,
  })
  await project.node('publish.mjs')
}

test('the packages of the examples are there', () => {
  for (const name of ['react', 'react-dom/client', 'vue']) docs.resolve(name)
})
