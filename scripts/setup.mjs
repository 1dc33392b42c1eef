// Installs what the build and the tests need and this machine lacks: npm packages, the Rust toolchain, the wasm-bindgen command. npm
// packages and wasm-bindgen go into this folder, the toolchain goes to rustup. Nothing here runs a package manager of the system.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { bold, capture, findCommand, Problem, root, run, toolsBin } from './tools.mjs'

const TARGET = 'wasm32-unknown-unknown'
const STANDARD_LIBRARY = `lib/rustlib/${TARGET}/lib`

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

/** Installs the toolchain of rust-toolchain.toml, with the components and targets that the file names. */
async function rust() {
  if (!findCommand('cargo'))
    throw new Problem(
      'Rust is missing. Install rustup from https://rustup.rs, then run this again.',
    )
  if (findCommand('rustup')) {
    const [, channel] = /channel = "(.+)"/.exec(
      readFileSync(join(root, 'rust-toolchain.toml'), 'utf8'),
    )
    const installed = capture('rustup', ['toolchain', 'list']) ?? ''
    const parts = [STANDARD_LIBRARY, 'bin/cargo-fmt', 'bin/cargo-clippy']
    if (installed.includes(`${channel}-`) && toolchainHas(...parts)) return
    // Before 1.28, `rustup toolchain install` needed a name, and `rustup show` installed what the file asks for.
    const [major, minor] = capture('rustup', ['--version']).match(/\d+/g).map(Number)
    await rustup(major > 1 || minor >= 28 ? ['toolchain', 'install', '--no-self-update'] : ['show'])
  }
  if (!toolchainHas(STANDARD_LIBRARY))
    throw new Problem(
      `This Rust toolchain has no target ${TARGET}. Install rustup from https://rustup.rs, then run this again.`,
    )
}

function toolchainHas(...parts) {
  const sysroot = capture('rustc', ['--print', 'sysroot'])
  return sysroot !== undefined && parts.every((part) => existsSync(join(sysroot, part)))
}

/** Tries three times: on slow networks a download of rustup may stall, and the next attempt succeeds. */
async function rustup(args) {
  announce(`rustup ${args.join(' ')}`)
  for (let attempt = 1; ; attempt++) {
    try {
      return await run('rustup', args, { timeout: 300_000 })
    } catch (error) {
      if (attempt === 3) throw error
    }
  }
}

/** The version of the command must be exactly that of the crate. */
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
  // A registry may lack a version that the lock file names, for example a mirror that is behind. Then take the newest compatible ones.
  await install('--locked').catch(() => install())
}

function announce(text) {
  console.log(bold(text))
}
