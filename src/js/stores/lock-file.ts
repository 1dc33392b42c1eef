// A file that says which process uses a log, so that a second one does not. The operating system gives Node no lock that ends with its process, so
// the file names the process, and whoever finds it looks whether that one still lives.
import { randomBytes } from 'node:crypto'
import { readFileSync, readlinkSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import { hostname } from 'node:os'
import { storeError } from './options.js'

/** Milliseconds between signs of life, which the file's time of modification shows to other machines. */
const HEARTBEAT = 10_000
/** Milliseconds without a sign of life after which a process that cannot be looked up is taken for dead. */
const SILENCE = 60_000
/** Milliseconds that taking over a lock may last, before whoever began it is taken for dead. */
const TAKEOVER = 10_000

interface Holder {
  pid: number
  /** When the process began, in ticks since the start of the machine, where the system tells: a later process may have the same number. */
  began: string
  host: string
  /** Of this start of the machine, where the system tells. */
  boot: string
  /** The space in which process numbers count, where the system tells: containers have their own. */
  space: string
  /** Different each time. */
  token: string
  since: string
}

const HELD = Symbol.for('wasmqtt.locks')

/** The paths of the locks that this realm has. All copies of this module share them. */
function heldPaths(): Set<string> {
  const shared = globalThis as { [HELD]?: Set<string> }
  shared[HELD] ??= new Set()
  return shared[HELD]
}
export class LockFile {
  readonly #path: string
  readonly #token: string
  readonly #heartbeat: ReturnType<typeof setInterval>
  #lastSign = Date.now()
  #lost = false

  private constructor(path: string, token: string) {
    this.#path = path
    this.#token = token
    heldPaths().add(path)
    this.#heartbeat = setInterval(() => void this.#beat(), HEARTBEAT)
    this.#heartbeat.unref()
  }

  /**
   * Takes the lock. One that a dead process left is taken over.
   *
   * @throws StoreError if another process has it, or another store of this process
   */
  static async take(path: string, clientId: string): Promise<LockFile> {
    const token = randomBytes(12).toString('hex')
    const own = holderOf(token)
    if (heldPaths().has(path)) throw inUse(clientId, path, 'another store of this process')
    // Written apart and linked, so that nobody reads half of it.
    const written = `${path}.${token}`
    await fs.writeFile(written, JSON.stringify(own), { flag: 'wx' })
    try {
      for (;;) {
        if (await link(written, path)) return new LockFile(path, token)
        const now = (await fs.stat(written)).mtimeMs
        const found = await read(path)
        if (found === undefined) continue
        if (isAlive(found.holder, own, now - found.lastSign)) {
          const { pid, host, since } = found.holder
          throw inUse(
            clientId,
            path,
            `process ${pid} on ${host || 'this machine'} (since ${since})`,
          )
        }
        await takeOver(path, found.holder.token)
      }
    } finally {
      await fs.rm(written, { force: true })
    }
  }

  /** Throws if the lock was taken over by another machine, while this process did not run for a while. */
  async check(): Promise<void> {
    if (Date.now() - this.#lastSign > SILENCE) await this.#beat()
    if (this.#lost)
      throw storeError(
        `Another process has taken over the lock ${this.#path}: nothing more is written here`,
      )
  }

  async release(): Promise<void> {
    clearInterval(this.#heartbeat)
    heldPaths().delete(this.#path)
    const found = await read(this.#path)
    if (found?.holder.token === this.#token) await fs.rm(this.#path, { force: true })
  }

  async #beat(): Promise<void> {
    try {
      const found = await read(this.#path)
      if (found?.holder.token !== this.#token) {
        this.#lost = true
        return
      }
      const now = new Date()
      await fs.utimes(this.#path, now, now)
      this.#lastSign = Date.now()
    } catch {
      // The next one will do: it takes several to be thought dead.
    }
  }
}

function inUse(clientId: string, path: string, who: string): Error {
  const what = `The store of client '${clientId}' is in use by ${who}: end that one, or choose another clientId (lock file ${path})`
  return storeError(what, undefined, true)
}

/** Removes the lock of a dead process. Only one of those who try at the same time gets to it. */
async function takeOver(path: string, token: string): Promise<void> {
  const guard = `${path}.takeover`
  try {
    await fs.writeFile(guard, '', { flag: 'wx' })
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause
    const began = await fs.stat(guard).then(
      ({ mtimeMs }) => mtimeMs,
      () => undefined,
    )
    if (began !== undefined && Date.now() - began > TAKEOVER) await fs.rm(guard, { force: true })
    await new Promise((resolve) => setTimeout(resolve, 20))
    return
  }
  try {
    const found = await read(path)
    if (found?.holder.token === token) await fs.rm(path, { force: true })
  } finally {
    await fs.rm(guard, { force: true })
  }
}

/** Whether the file got that name; false: there is one already. */
async function link(from: string, to: string): Promise<boolean> {
  try {
    await fs.link(from, to)
    return true
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'EEXIST') return false
    // File systems without hard links.
    if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'ENOSYS' && code !== 'EOPNOTSUPP')
      throw cause
    try {
      await fs.copyFile(from, to, fs.constants.COPYFILE_EXCL)
      return true
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'EEXIST') return false
      throw cause
    }
  }
}

/** Undefined: there is no lock. */
async function read(path: string): Promise<{ holder: Holder; lastSign: number } | undefined> {
  try {
    const [text, { mtimeMs }] = await Promise.all([fs.readFile(path, 'utf8'), fs.stat(path)])
    return { holder: parse(text), lastSign: mtimeMs }
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw cause
  }
}

/** A file that is no lock of ours counts as one of a machine that nobody knows. */
function parse(text: string): Holder {
  const unknown: Holder = {
    pid: 0,
    began: '',
    host: '?',
    boot: '',
    space: '',
    token: text,
    since: '?',
  }
  try {
    return { ...unknown, ...(JSON.parse(text) as Partial<Holder>) }
  } catch {
    return unknown
  }
}

/** Milliseconds since the last sign of life decide where the process cannot be looked up. */
function isAlive(holder: Holder, own: Holder, silence: number): boolean {
  const quiet = silence > SILENCE
  if (holder.host !== own.host) return !quiet
  if (holder.boot !== own.boot) return holder.boot === '' || own.boot === '' ? !quiet : false
  if (holder.space !== own.space) return !quiet
  // Locks of this realm were looked up before: this one is of another thread of this process, or of an earlier process with its number.
  if (holder.pid === own.pid) return holder.began === own.began
  try {
    process.kill(holder.pid, 0)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'ESRCH') return false
    // EPERM: it lives, and belongs to somebody else. Anything else: this process may not look.
    if (code !== 'EPERM') return !quiet
  }
  const { began, ended } = lookUp(holder.pid)
  if (ended) return false
  return began === '' || holder.began === '' || began === holder.began
}

function holderOf(token: string): Holder {
  return {
    pid: process.pid,
    began: lookUp(process.pid).began,
    host: tell(hostname),
    boot: tell(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()),
    space: tell(() => readlinkSync('/proc/self/ns/pid')),
    token,
    since: new Date().toISOString(),
  }
}

/**
 * When a process began, and whether it has ended and only waits for its parent to ask how: the 22nd and the third field of /proc/PID/stat. The
 * second one may hold spaces and brackets.
 */
function lookUp(pid: number): { began: string; ended: boolean } {
  const stat = tell(() => readFileSync(`/proc/${pid}/stat`, 'latin1'))
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return { began: fields[19] ?? '', ended: fields[0] === 'Z' || fields[0] === 'X' }
}

/** What the system says; nothing where it does not have that, or where this process may not ask. */
function tell(ask: () => string): string {
  try {
    return ask()
  } catch {
    return ''
  }
}
