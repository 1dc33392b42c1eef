// The project of a user in a temporary folder, with the packed package installed as npm installs it.
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, extname, join } from 'node:path'
import { promisify } from 'node:util'
import { portOf, root } from '../../scripts/tools.mjs'

const execute = promisify(execFile)
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm' }

/** The path of the packed package. */
export const packed = pack()

async function pack() {
  const folder = await mkdtemp(join(tmpdir(), 'wasmqtt-packed-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  const { stdout } = await execute('npm', ['pack', '--json', '--pack-destination', folder], {
    cwd: join(root, 'pkg'),
  })
  return join(folder, JSON.parse(stdout)[0].filename)
}

/** Makes a project in the folder `parent`. `files` maps names to contents. The project is removed after the test. */
export async function makeProject(t, files = {}, parent = tmpdir()) {
  const folder = await mkdtemp(join(parent, 'wasmqtt-project-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const modules = join(folder, 'node_modules')
  await mkdir(join(modules, 'wasmqtt'), { recursive: true })
  await execute('tar', [
    '-xzf',
    await packed,
    '--strip-components=1',
    '-C',
    join(modules, 'wasmqtt'),
  ])
  const project = new Project(folder)
  await project.write({ 'package.json': '{ "private": true }', ...files })
  return project
}

class Project {
  constructor(folder) {
    this.folder = folder
  }

  async write(files) {
    for (const [name, content] of Object.entries(files)) {
      const path = join(this.folder, name)
      await mkdir(dirname(path), { recursive: true })
      await writeFile(path, content)
    }
  }

  /** Resolves with what a script prints. Rejects if it does not end by itself. */
  async node(name, { args = [], ...options } = {}) {
    const { stdout } = await execute(process.execPath, [...args, name], {
      cwd: this.folder,
      timeout: 30_000,
      ...options,
    })
    return stdout
  }

  run(command, args) {
    return execute(join(root, 'node_modules', '.bin', command), args, { cwd: this.folder })
  }

  /** Serves the folder to a page, and resolves with its address. */
  async serve(t) {
    const server = createServer(async ({ url }, response) => {
      try {
        const content = await readFile(join(this.folder, new URL(url, 'http://localhost').pathname))
        response
          .writeHead(200, { 'content-type': TYPES[extname(url)] ?? 'application/octet-stream' })
          .end(content)
      } catch {
        response.writeHead(url === '/favicon.ico' ? 204 : 404).end()
      }
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.after(() => {
      server.close()
      server.closeAllConnections()
    })
    return `http://127.0.0.1:${portOf(server)}`
  }
}
