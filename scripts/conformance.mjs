// Finds out which test shows which statement of the MQTT specifications. tests/conformance.json lists the statements that bind a client. A test
// names those that it shows: `Shows [MQTT5-3.1.0-1]` in the doc comment of a Rust test, `[MQTT5-3.1.0-1]` in the title of a node:test.
// This reads the outcomes of the steps of `npm test`. It fails if a statement has no test that ran and passed, or if tests/conformance.md is out
// of date. `--write` updates that file.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join, relative } from 'node:path'
import { main, Problem, readOutcomes, results, root } from './tools.mjs'

const TABLE = 'tests/conformance.md'
const ID = /\[(MQTT[35]-[\w.-]+)\]/g

/**
 * The parts of the table, and which statements belong to each.
 * @type {[string, (id: string) => boolean][]}
 */
const PARTS = [
  ['MQTT 5.0', (id) => id.startsWith('MQTT5-') && numbered(id)],
  ['MQTT 3.1.1', (id) => id.startsWith('MQTT3-') && numbered(id)],
  ['Rules without a number', (id) => !numbered(id)],
]
const numbered = (id) => /^MQTT[35]-\d/.test(id)

main(async () => {
  const statements = JSON.parse(readFileSync(join(root, 'tests/conformance.json'), 'utf8'))
  const known = new Set(statements.map(({ id }) => id))
  const { passed, failed } = outcomes()
  const claims = [...rustClaims(passed), ...nodeClaims(passed)]

  const unknown = claims.flatMap(({ ids, test }) =>
    ids.filter((id) => !known.has(id)).map((id) => `${id}: ${test}`),
  )
  if (unknown.length > 0)
    throw new Problem(`tests/conformance.json has no such statement:\n${list(unknown)}`)

  const shown = new Map(statements.map(({ id }) => [id, []]))
  for (const { ids, test, name } of claims) {
    if (!failed.has(name)) for (const id of ids) shown.get(id).push(test)
  }
  const missing = statements.filter(
    ({ id, void: reason }) => shown.get(id).length === 0 && reason === undefined,
  )
  if (missing.length > 0) {
    const lines = missing.map(({ id, duty }) => `${id}: ${duty}`)
    throw new Problem(
      `${missing.length} of ${statements.length} statements have no test that ran and passed in this run:\n${list(lines)}`,
    )
  }

  const table = render(statements, shown)
  const path = join(root, TABLE)
  if (process.argv.includes('--write')) writeFileSync(path, table)
  else if (!existsSync(path) || readFileSync(path, 'utf8') !== table)
    throw new Problem(
      `${TABLE} is out of date. After a whole \`npm test\`: node scripts/conformance.mjs --write`,
    )
  console.log(`${statements.length} statements, each shown by a test that ran and passed: ${TABLE}`)
})

/** The names of the tests that passed, with the step they belong to, and the names of those that failed. */
function outcomes() {
  const passed = new Map()
  const failed = new Set()
  const folder = join(root, results)
  const files = existsSync(folder) ? readdirSync(folder) : []
  for (const file of files.filter((name) => name.endsWith('.ndjson'))) {
    const step = basename(file, '.ndjson')
    for (const { name, outcome } of readOutcomes(join(folder, file))) {
      if (outcome === 'passed') passed.set(name, step)
      if (outcome === 'failed') failed.add(name)
    }
  }
  if (passed.size === 0)
    throw new Problem('No test has run. This script reads the outcomes of a whole `npm test`.')
  return { passed, failed }
}

/** The statements that Rust tests claim to show, if they ran and passed. */
function rustClaims(passed) {
  const files = ['src', 'tests']
    .flatMap((folder) => filesIn(join(root, folder)))
    .filter((path) => path.endsWith('.rs'))
  const claims = files.flatMap((path) => {
    const text = readFileSync(path, 'utf8')
    const shows = text.matchAll(/((?:^ *\/\/\/.*\n)+)(?:^ *#\[.*\n)+ *(?:async )?fn (\w+)/gm)
    return [...shows].flatMap(([, comment, name]) => {
      const ids = comment
        .split('\n')
        .filter((line) => line.includes('/// Shows ['))
        .flatMap(idsIn)
      const file = relative(root, path)
      return ids.length === 0
        ? []
        : [{ ids, name: modulePath(file) + name, test: `${file}: ${name}` }]
    })
  })
  const names = claims.map(({ name }) => name)
  const twice = claims.filter(({ name }, at) => names.indexOf(name) !== at)
  if (twice.length > 0)
    throw new Problem(
      `Another test has the same name, so the outcome of this one is not known:\n${list(twice.map(({ test }) => test))}`,
    )
  return claims.filter(({ name }) => passed.has(name))
}

/** The modules that are part of the names of the tests in a file. */
function modulePath(file) {
  const parts = file.replace(/\.rs$/, '').split('/')
  const modules = parts[0] === 'src' ? [...parts.slice(1), 'tests'] : parts.slice(2)
  return modules
    .filter((module) => !['main', 'mod', 'lib'].includes(module))
    .map((module) => `${module}::`)
    .join('')
}

/** The statements that the titles of node:test name. A title that begins with a protocol version claims only statements of this version. */
function nodeClaims(passed) {
  const claims = [...passed].map(([name, step]) => {
    const other = name.startsWith('MQTT 5: ')
      ? 'MQTT3'
      : name.startsWith('MQTT 3.1.1: ')
        ? 'MQTT5'
        : undefined
    return {
      ids: idsIn(name).filter((id) => !id.startsWith(other)),
      name,
      test: `${step}: ${name.replace(ID, '').trim().replaceAll(/ {2,}/g, ' ')}`,
    }
  })
  return claims.filter(({ ids }) => ids.length > 0)
}

function idsIn(text) {
  return [...text.matchAll(ID)].map(([, id]) => id)
}

function render(statements, shown) {
  const lines = [
    '# Conformance',
    '',
    'Every statement of the specifications that binds a client, and the tests that show it. `scripts/conformance.mjs` writes this file from',
    'tests/conformance.json and the outcomes of `npm test`, which fails if a statement has no test that ran and passed. The duties are in our',
    'words; the specifications ([MQTT 5.0](https://docs.oasis-open.org/mqtt/mqtt/v5.0/mqtt-v5.0.html),',
    '[MQTT 3.1.1](https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/mqtt-v3.1.1.html)) are the authority.',
    '',
    'Classes: C binds the client, B binds both sides, O binds the server, whose breach the client notices. U is a rule without a number.',
  ]
  for (const [title, belongs] of PARTS) {
    const rows = statements.filter(({ id }) => belongs(id))
    lines.push(
      '',
      `## ${title}: ${rows.length}`,
      '',
      '| statement | class | duty | shown by |',
      '| --- | --- | --- | --- |',
    )
    for (const { id, class: kind, duty, void: reason } of rows) {
      const tests = [...new Set(shown.get(id))].sort().join('<br>')
      lines.push(
        `| ${[id, kind, duty, tests || `cannot apply: ${reason}`].map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`,
      )
    }
  }
  return `${lines.join('\n')}\n`
}

function filesIn(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}

function list(lines) {
  return lines.map((line) => `  ${line}`).join('\n')
}
