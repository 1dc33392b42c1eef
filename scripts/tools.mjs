// What the scripts share. Nothing but Node itself, because they run before the first `npm ci`.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('..', import.meta.url))
export const toolsBin = join(root, '.tools', 'bin')
/** What the steps of `npm test` printed, a file each. */
export const results = join(root, 'target', 'test-results')
export const isMain = (meta) => process.argv[1] === fileURLToPath(meta.url)

// rustup's installer adds its folder to the PATH of new shells only; Debian keeps mosquitto in /usr/sbin.
process.env.PATH = [
  process.env.PATH,
  join(process.env.CARGO_HOME ?? join(homedir(), '.cargo'), 'bin'),
  '/usr/sbin',
].join(delimiter)

// A target or component that is missing would make rustup update the whole toolchain on the first call of rustc; setup.mjs adds just what is missing.
process.env.RUSTUP_AUTO_INSTALL = '0'

const colour = process.stdout.isTTY && !process.env.NO_COLOR
export const bold = (text) => (colour ? `\x1b[1m${text}\x1b[22m` : text)
export const dim = (text) => (colour ? `\x1b[2m${text}\x1b[22m` : text)

/** An error whose message is all that a person needs to see: no stack. */
export class Problem extends Error {}

/** Runs a script's main function; a Problem is printed as it is. */
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

/** What a command prints, or undefined when it fails or does not exist. */
export function capture(command, args, options) {
  const { status, stdout } = spawnSync(command, args, { cwd: root, encoding: 'utf8', ...options })
  return status === 0 ? stdout.trim() : undefined
}

/** Runs a command with its output shown. Rejects with a Problem when it fails, or runs longer than `timeout` ms. */
export function run(
  command,
  args,
  { timeout, env, cwd = root, stdio = ['ignore', 'inherit', 'inherit'] } = {},
) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, stdio, env: { ...process.env, ...env }, timeout })
    const line = [command, ...args].join(' ')
    child.on('error', (error) => reject(new Problem(`${line}\n${error.message}`)))
    child.on('exit', (code, signal) =>
      code === 0
        ? resolve()
        : reject(new Problem(`Failed (${signal ?? `exit code ${code}`}): ${line}`)),
    )
  })
}

/** Asks a child to end, and ends it if it does not within three seconds. */
export async function stopChild(child) {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), 3_000)
  await gone
  clearTimeout(timer)
}
