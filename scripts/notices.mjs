// The licences of what the package contains of others: crates that are compiled into the modules, and npm packages that are bundled.
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { capture, root } from './tools.mjs'

/** npm packages that are in the bundles. */
const BUNDLED = ['ws', 'idb']
/** Where packages keep the licence that we use them under; most crates can be used under MIT or Apache-2.0. */
const FILES = ['LICENSE-MIT', 'LICENSE', 'LICENSE.md', 'LICENSE-MIT.txt', 'LICENSE.txt']
const STANDARD_LIBRARY = `Copyright (c) The Rust Project Contributors.
Used under the MIT License: https://github.com/rust-lang/rust/blob/master/LICENSE-MIT`

/** Returns the text of the notice file, each licence once. */
export function notices() {
  const components = [
    ...BUNDLED.map((name) => component(join(root, 'node_modules', name), manifest(name))),
    ...crates(),
  ]
  const byText = Map.groupBy?.(components, ({ text }) => text) ?? grouped(components)
  const sections = [...byText].map(
    ([text, group]) =>
      `${group.map(({ name, version, license }) => `${name} ${version} (${license})`).join('\n')}\n\n${text.trim()}`,
  )
  return [
    'This package contains code of others, under these licences.',
    ...sections,
    `The Rust standard library (MIT OR Apache-2.0)\n\n${STANDARD_LIBRARY}`,
  ]
    .join(`\n\n${'-'.repeat(80)}\n\n`)
    .concat('\n')
}

const grouped = (components) => {
  const groups = new Map()
  for (const each of components) groups.set(each.text, [...(groups.get(each.text) ?? []), each])
  return groups
}

const manifest = (name) =>
  JSON.parse(readFileSync(join(root, 'node_modules', name, 'package.json'), 'utf8'))

function component(folder, { name, version, license }) {
  const file = FILES.map((name) => join(folder, name)).find(existsSync)
  if (file === undefined) throw new Error(`${name} has no licence file`)
  return { name, version, license, text: readFileSync(file, 'utf8') }
}

/** The crates that are linked into the modules: dependencies of dependencies, but no macros and no build scripts. */
function crates() {
  const { packages, resolve } = JSON.parse(
    capture(
      'cargo',
      [
        ...['metadata', '--format-version=1', '--locked', '--features=broker'],
        ...['--filter-platform', 'wasm32-unknown-unknown'],
      ],
      { maxBuffer: 1 << 28 },
    ),
  )
  const byId = new Map(packages.map((each) => [each.id, each]))
  const nodes = new Map(resolve.nodes.map((node) => [node.id, node]))
  const isMacro = ({ targets }) => targets.some(({ kind }) => kind.includes('proc-macro'))
  const reached = new Set()
  const visit = (id) => {
    if (reached.has(id) || isMacro(byId.get(id))) return
    reached.add(id)
    for (const { pkg, dep_kinds: kinds } of nodes.get(id).deps)
      if (kinds.some(({ kind }) => kind === null)) visit(pkg)
  }
  visit(resolve.root)
  reached.delete(resolve.root)
  return [...reached]
    .map((id) => byId.get(id))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map((each) => component(dirname(each.manifest_path), each))
}
