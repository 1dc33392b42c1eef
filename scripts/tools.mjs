// What the scripts share. It imports nothing but Node's own modules, because the scripts run before the first `npm ci`.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, existsSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('..', import.meta.url))
export const toolsBin = join(root, '.tools', 'bin')
/** A command of an npm package. */
export const bin = (name) => join(root, 'node_modules', '.bin', name)
/** The outcomes of the tests of each step of `npm test`, one file for each step. Relative to `root`. */
export const results = 'target/test-results'
export const isMain = (meta) => process.argv[1] === fileURLToPath(meta.url)

// The installer of rustup changes the PATH of new shells only. Debian and Homebrew keep mosquitto in folders of `sbin`.
process.env.PATH = [
  process.env.PATH,
  join(process.env.CARGO_HOME ?? join(homedir(), '.cargo'), 'bin'),
  '/usr/sbin',
  '/usr/local/sbin',
  '/opt/homebrew/sbin',
].join(delimiter)

// Otherwise the first call of rustc would install what is missing, and hide its output. setup.mjs does it instead, and shows it.
process.env.RUSTUP_AUTO_INSTALL = '0'

const colour = process.stdout.isTTY && !process.env.NO_COLOR
export const bold = (text) => (colour ? `\x1b[1m${text}\x1b[22m` : text)
export const dim = (text) => (colour ? `\x1b[2m${text}\x1b[22m` : text)

/** An error whose message says everything, so that no stack is printed. */
export class Problem extends Error {}

/** Runs the main function of a script, and prints why it fails. */
export function main(work) {
  work().catch((error) => {
    console.error(error instanceof Problem ? `\n${error.message}` : error)
    process.exit(1)
  })
}

export function findCommand(...names) {
  for (const name of names) {
    for (const folder of process.env.PATH.split(delimiter)) {
      const path = join(folder, name)
      try {
        accessSync(path, constants.X_OK)
        return path
      } catch {}
    }
  }
  return undefined
}

/** `{ name, outcome }` of each test; the outcome is 'passed', 'failed' or 'skipped'. Empty if the file does not exist. */
export function readOutcomes(path) {
  if (!existsSync(path)) return []
  const lines = readFileSync(path, 'utf8').split('\n').filter(Boolean)
  return lines.map((line) => JSON.parse(line))
}

/** What a command prints, or undefined when it fails or does not exist. */
export function capture(command, args, options) {
  const { status, stdout } = spawnSync(command, args, { cwd: root, encoding: 'utf8', ...options })
  return status === 0 ? stdout.trim() : undefined
}

/**
 * Runs a command with its output shown. Rejects with a Problem if it fails or runs longer than `timeout` ms.
 * @param {string} command
 * @param {string[]} args
 * @param {import('node:child_process').SpawnOptions} [options]
 * @returns {Promise<void>}
 */
export function run(command, args, { timeout, env, cwd = root } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd,
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, ...env },
      timeout,
    })
    const line = [command, ...args].join(' ')
    child.on('error', (error) => reject(new Problem(`${line}\n${error.message}`)))
    child.on('exit', (code, signal) =>
      code === 0
        ? resolve()
        : reject(new Problem(`Failed (${signal ?? `exit code ${code}`}): ${line}`)),
    )
  })
}

/**
 * The port of a server that listens on TCP.
 * @param {{ address: () => string | import('node:net').AddressInfo | null }} server
 */
export function portOf(server) {
  return /** @type {import('node:net').AddressInfo} */ (server.address()).port
}

/** Asks a child process to end, and kills it if it has not ended after three seconds. */
export async function stopChild(child) {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), 3_000)
  await gone
  clearTimeout(timer)
}
