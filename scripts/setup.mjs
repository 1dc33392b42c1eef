// Installs what a build needs and the machine lacks: npm packages, the wasm target, the wasm-bindgen command.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { bold, capture, findCommand, Problem, root, run, toolsBin } from './tools.mjs'

const TARGET = 'wasm32-unknown-unknown'

export async function setup() {
  await npmPackages()
  await rust()
  await wasmBindgen()
}

async function npmPackages() {
  const locked = packages('package-lock.json')
  const installed = packages('node_modules/.package-lock.json')
  const fits = ([path, { version, optional }]) =>
    installed[path]?.version === version || (optional && !installed[path])
  if (Object.entries(locked).every(fits)) return
  announce('Installing npm packages')
  await run('npm', ['ci', '--no-audit', '--no-fund'])
}

function packages(lockfile) {
  const path = join(root, lockfile)
  if (!existsSync(path)) return {}
  const { '': _root, ...rest } = JSON.parse(readFileSync(path, 'utf8')).packages
  return rest
}

async function rust() {
  if (!findCommand('cargo'))
    throw new Problem(
      'Rust is missing. Install rustup (https://rustup.rs, or `apt install rustup`), then run this again.',
    )
  const sysroot = () => capture('rustc', ['--print', 'sysroot'])
  if (!sysroot())
    await rustup([
      'toolchain',
      'install',
      'stable',
      '--profile',
      'minimal',
      '--component',
      'rustfmt',
      '--component',
      'clippy',
    ])
  if (!existsSync(join(sysroot(), 'lib', 'rustlib', TARGET, 'lib')))
    await rustup(['target', 'add', TARGET])
}

/** What the tests need besides. */
export async function setupLinters() {
  const sysroot = capture('rustc', ['--print', 'sysroot'])
  const missing = Object.entries({ rustfmt: 'cargo-fmt', clippy: 'cargo-clippy' }).filter(
    ([, command]) => !existsSync(join(sysroot, 'bin', command)),
  )
  if (missing.length) await rustup(['component', 'add', ...missing.map(([component]) => component)])
}

// rustup's downloads hang now and then on slow networks; a second try goes through.
async function rustup(args) {
  announce(`rustup ${args.join(' ')}`)
  if (!findCommand('rustup'))
    throw new Problem(`The Rust toolchain lacks ${TARGET}, and there is no rustup to add it.`)
  for (let attempt = 1; ; attempt++) {
    try {
      return await run('rustup', args, { timeout: 300_000 })
    } catch (error) {
      if (attempt === 3) throw error
    }
  }
}

/** The command has to be of the very version of the crate. */
async function wasmBindgen() {
  const version = /name = "wasm-bindgen"\nversion = "(.+)"/.exec(
    readFileSync(join(root, 'Cargo.lock'), 'utf8'),
  )[1]
  if (capture(join(toolsBin, 'wasm-bindgen'), ['--version']) === `wasm-bindgen ${version}`) return
  announce(`Installing wasm-bindgen ${version} into .tools (a few minutes, once)`)
  const install = (...options) =>
    run('cargo', [
      'install',
      ...options,
      '--root',
      '.tools',
      '--version',
      `=${version}`,
      'wasm-bindgen-cli',
    ])
  // Where the registry lacks a version of its lock file (withdrawn, or a mirror behind the times), the newest compatible ones do.
  await install('--locked').catch(() => install())
}

function announce(text) {
  console.log(bold(text))
}
