// Chromium by the DevTools protocol itself: Playwright keeps all tabs visible, and their timers quick.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { WebSocket } from 'ws'
import { findChromium } from '../../scripts/commands.mjs'
import { portOf, root } from '../../scripts/tools.mjs'
import { ARGS } from './chromium.mjs'

const TYPES = { '.html': 'text/html', '.js': 'text/javascript' }

/** Serves the package, and pages that a test gives. Returns the address. */
export async function servePages(t, pages) {
  const server = createServer(async (request, response) => {
    const path = new URL(request.url ?? '', 'http://localhost').pathname
    const file = join(root, 'pkg', path)
    const found = path.endsWith('.js') && (await stat(file).catch(() => undefined))
    const body = found ? await readFile(file) : pages[path]
    response.writeHead(body === undefined ? 404 : 200, {
      'content-type': TYPES[extname(path)] ?? 'text/html',
    })
    response.end(body)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.after(() => server.close())
  return `http://127.0.0.1:${portOf(server)}`
}

/** Starts a browser that is closed after the test. */
export async function startDevtools(t, args = []) {
  const profile = await mkdtemp(join(tmpdir(), 'wasmqtt-chromium-'))
  const child = spawn(
    findChromium(),
    [
      '--headless=new',
      ...ARGS,
      '--remote-debugging-port=0',
      `--user-data-dir=${profile}`,
      ...args,
      'about:blank',
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  t.after(async () => {
    const exited = once(child, 'exit')
    child.kill()
    await exited
    // Its helpers end a moment later, and write until then.
    await rm(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
  })
  for await (const line of createInterface(child.stderr)) {
    const [, url] = /listening on (ws:\S+)/.exec(line) ?? []
    if (url === undefined) continue
    child.stderr.resume()
    const socket = new WebSocket(url)
    await once(socket, 'open')
    t.after(() => socket.terminate())
    return new Devtools(socket)
  }
  throw new Error('Chromium said nothing')
}

class Devtools {
  #socket
  #last = 0
  #calls = new Map()

  constructor(socket) {
    this.#socket = socket
    socket.on('message', (data) => {
      const { id, result, error } = JSON.parse(data)
      const call = this.#calls.get(id)
      if (error) call?.reject(new Error(error.message))
      else call?.resolve(result)
    })
  }

  send(method, params = {}, sessionId = undefined) {
    const id = ++this.#last
    this.#socket.send(JSON.stringify({ id, method, params, sessionId }))
    return new Promise((resolve, reject) => this.#calls.set(id, { resolve, reject }))
  }

  /** Opens a tab, in front. */
  async open(url) {
    const { targetId } = await this.send('Target.createTarget', { url })
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true })
    const send = (method, params) => this.send(method, params, sessionId)
    await send('Page.enable')
    return {
      send,
      /** The value of an expression, a promise's too. */
      async run(expression) {
        const { result, exceptionDetails } = await send('Runtime.evaluate', {
          expression,
          awaitPromise: true,
          returnByValue: true,
        })
        if (exceptionDetails) throw new Error(exceptionDetails.exception?.description)
        return result.value
      },
      show: () => this.send('Target.activateTarget', { targetId }),
    }
  }
}
