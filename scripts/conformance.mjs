// Which test shows which statement of the MQTT specifications. tests/conformance.json lists the statements that bind a client, and
// tests/broker-conformance.json those that bind the test broker. A test names those that it shows: `Shows [MQTT5-3.1.0-1]` in the doc comment of a Rust
// test, `[MQTT5-3.1.0-1]` in the title of a node:test; of the broker: `Serves [MQTT5-3.1.4-5]` and `[serves MQTT5-3.1.4-5]`.
// tests/contract.json lists what the API promises. A test that shows a promise quotes it in the comment above: `// Contract: …`, up to the next one.
// This reads the outcomes of the steps of `npm test`. It fails if a statement has no test that ran and passed, if a table is out of date, or if
// README.md counts the statements otherwise.
// `--write` writes them anew.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join, relative } from 'node:path'
import { main, Problem, readOutcomes, results, root } from './tools.mjs'

const SPECIFICATIONS = `the specifications ([MQTT 5.0](https://docs.oasis-open.org/mqtt/mqtt/v5.0/mqtt-v5.0.html),
[MQTT 3.1.1](https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/mqtt-v3.1.1.html)) are the authority.`

const TABLES = [
  {
    statements: 'tests/conformance.json',
    table: 'tests/conformance.md',
    rust: 'Shows',
    node: /\[(MQTT[35]-[\w.-]+)\]/g,
    quotedAs: () => '',
    withoutTest: 'cannot apply',
    intro: `# Conformance

Every statement of the specifications that binds a client, and the tests that show it. \`scripts/conformance.mjs\` writes this file from
tests/conformance.json and the outcomes of \`npm test\`, which fails if a statement has no test that ran and passed. The duties are in our
words; ${SPECIFICATIONS}

Classes: C binds the client, B binds both sides, O binds the server, whose breach the client notices. U is a rule without a number.`,
  },
  {
    statements: 'tests/broker-conformance.json',
    table: 'tests/broker-conformance.md',
    rust: 'Serves',
    node: /\[serves (MQTT[35]-[\w.-]+)\]/g,
    // The codec is the same on both sides.
    alsoShown: ({ class: kind }, { file }) => kind === 'B' && file.startsWith('tests/codec/'),
    quotedAs: (shown, all) =>
      `Tests show ${shown} of the ${all} statements of both specifications that bind a server; the other ${all - shown} are not claimed.`,
    withoutTest: 'not claimed',
    intro: `# Conformance of the test broker

Every statement of the specifications that binds a server, and the tests that show that the broker of \`wasmqtt/testing\` keeps to it.
\`scripts/conformance.mjs\` writes this file from tests/broker-conformance.json and the outcomes of \`npm test\`, which fails if a statement has neither a
test that ran and passed nor a reason why it is not claimed. The duties are in our words;
${SPECIFICATIONS}

Classes: S binds the server, B binds both sides.`,
  },
  {
    statements: 'tests/contract.json',
    table: 'tests/contract.md',
    rust: 'Contract:',
    quotedAs: () => '',
    withoutTest: 'not shown',
    intro: `# Contract

What the API promises, sentence by sentence, and the tests that show it. \`scripts/conformance.mjs\` writes this file from tests/contract.json and
the outcomes of \`npm test\`, which fails if a statement has no test that quotes it, ran and passed.`,
  },
]

const ID = /\[(MQTT[35]-[\w.-]+)\]/g

/**
 * The parts of the tables of the specifications, by the beginning of an ID.
 * @type {[string, (id: string) => boolean][]}
 */
const PARTS = [
  ['MQTT 5.0', (id) => id.startsWith('MQTT5-') && numbered(id)],
  ['MQTT 3.1.1', (id) => id.startsWith('MQTT3-') && numbered(id)],
  ['Rules without a number', (id) => !numbered(id)],
]
const numbered = (id) => /^MQTT[35]-\d/.test(id)

main(async () => {
  const { passed, failed } = outcomes()
  const rust = rustClaims()
  for (const table of TABLES) judge(table, passed, failed, rust)
})

/** The statements of a table. Those of the contract are their own IDs. */
function read(table) {
  const given = JSON.parse(readFileSync(join(root, table.statements), 'utf8'))
  if (Array.isArray(given)) return given
  return Object.entries(given).flatMap(([part, texts]) => texts.map((id) => ({ id, part })))
}

function judge(table, passed, failed, rust) {
  const statements = read(table)
  const known = new Map(statements.map((statement) => [statement.id, statement]))
  const own = rust.filter(({ mark }) => mark === table.rust)
  const others = rust
    .filter(({ mark }) => mark !== table.rust)
    .map((claim) => ({
      ...claim,
      ids: claim.ids.filter((id) => known.has(id) && table.alsoShown?.(known.get(id), claim)),
    }))
  const claims = [
    ...[...own, ...others].filter(({ name }) => passed.has(name)),
    ...(table.node === undefined ? nodeQuotes(passed) : nodeClaims(passed, table.node)),
  ]

  const unknown = claims.flatMap(({ ids, test }) =>
    ids.filter((id) => !known.has(id)).map((id) => `${id}: ${test}`),
  )
  if (unknown.length > 0)
    throw new Problem(`${table.statements} has no such statement:\n${list(unknown)}`)

  const shown = new Map(statements.map(({ id }) => [id, []]))
  for (const { ids, test, name } of claims) {
    if (!failed.has(name)) for (const id of ids) shown.get(id).push(test)
  }
  const missing = statements.filter(
    ({ id, void: reason }) => shown.get(id).length === 0 && reason === undefined,
  )
  if (missing.length > 0) {
    const lines = missing.map(({ id, duty, part }) => `${id}: ${duty ?? part}`)
    throw new Problem(
      `${missing.length} of ${statements.length} statements have no test that ran and passed in this run:\n${list(lines)}`,
    )
  }

  const withTest = [...shown.values()].filter((tests) => tests.length > 0).length
  const quote = table.quotedAs(withTest, statements.length)
  if (!readFileSync(join(root, 'README.md'), 'utf8').includes(quote))
    throw new Problem(`README.md must say: ${quote}`)

  const text = render(table, statements, shown)
  const path = join(root, table.table)
  if (process.argv.includes('--write')) writeFileSync(path, text)
  else if (!existsSync(path) || readFileSync(path, 'utf8') !== text)
    throw new Problem(
      `${table.table} is out of date. After a whole \`npm test\`: node scripts/conformance.mjs --write`,
    )
  console.log(
    `${statements.length} statements, ${withTest} of them shown by a test that ran and passed: ${table.table}`,
  )
}

/** The names of the tests that passed, with the step they belong to, and the names of those that failed. */
function outcomes() {
  const passed = new Map()
  const failed = new Set()
  const folder = join(root, results)
  const files = existsSync(folder) ? readdirSync(folder) : []
  for (const file of files.filter((name) => name.endsWith('.ndjson')).sort()) {
    const step = basename(file, '.ndjson')
    for (const { name, outcome } of readOutcomes(join(folder, file))) {
      if (outcome === 'passed' && !passed.has(name)) passed.set(name, step)
      if (outcome === 'failed') failed.add(name)
    }
  }
  if (passed.size === 0)
    throw new Problem('No test has run. This script reads the outcomes of a whole `npm test`.')
  return { passed, failed }
}

/** What Rust tests say that they show, and with which mark. */
function rustClaims() {
  const files = ['src', 'tests']
    .flatMap((folder) => filesIn(join(root, folder)))
    .filter((path) => path.endsWith('.rs'))
  const claims = files.flatMap((path) => {
    const text = readFileSync(path, 'utf8')
    const tests = text.matchAll(/((?:^ *\/\/\/.*\n)+)(?:^ *#\[.*\n)+ *(?:async )?fn (\w+)/gm)
    return [...tests].flatMap(([, comment, name]) => {
      const file = relative(root, path)
      return TABLES.flatMap(({ rust: mark, node }) => {
        const marked = comment.split('\n').filter((line) => line.includes(`/// ${mark} [`))
        const ids =
          node === undefined ? quotesIn(comment) : marked.flatMap((line) => idsIn(line, ID))
        const claim = { ids, file, mark, name: modulePath(file) + name, test: `${file}: ${name}` }
        return ids.length === 0 ? [] : [claim]
      })
    })
  })
  const names = new Map()
  for (const { name, test } of claims) {
    if (names.has(name) && names.get(name) !== test)
      throw new Problem(
        `Another test has the same name, so the outcome of this one is not known:\n${list([names.get(name), test])}`,
      )
    names.set(name, test)
  }
  return claims
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

/** What node:test's titles say that their tests show. One that begins with a version of the protocol speaks for this version only. */
function nodeClaims(passed, pattern) {
  const claims = [...passed].map(([name, step]) => {
    const other = name.startsWith('MQTT 5: ')
      ? 'MQTT3'
      : name.startsWith('MQTT 3.1.1: ')
        ? 'MQTT5'
        : undefined
    const title = TABLES.reduce((text, { node = '' }) => text.replace(node, ''), name)
    return {
      ids: idsIn(name, pattern).filter((id) => !id.startsWith(other)),
      name,
      test: `${step}: ${title.trim().replaceAll(/ {2,}/g, ' ')}`,
    }
  })
  return claims.filter(({ ids }) => ids.length > 0)
}

/** What the comments above node:test's tests quote of the contract. A title that is put together stands for all that came of it. */
function nodeQuotes(passed) {
  const claims = filesIn(join(root, 'tests'))
    .filter((path) => path.endsWith('.mjs'))
    .flatMap((path) =>
      [...readFileSync(path, 'utf8').matchAll(/((?:^ *\/\/.*\n)+)(?=((?:.*\n){1,4}))/gm)].map(
        ([, comment, code]) => ({ path, ids: quotesIn(comment), code }),
      ),
    )
    .filter(({ ids }) => ids.length > 0)
  return claims.flatMap(({ path, ids, code }) => {
    const title = /(['"`])((?:\\.|(?!\1).)*)\1/.exec(code)?.[2]
    if (title === undefined)
      throw new Problem(`${relative(root, path)}: no test follows the quote:\n${list(ids)}`)
    const words = title.replaceAll(/\\(.)/g, '$1').split(/\$\{[^}]*\}/)
    const pattern = words.map((part) => part.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&')).join('.*')
    const names = [...passed.keys()].filter((name) =>
      new RegExp(`^(MQTT [\\d.]+: )?${pattern}$`).test(name),
    )
    return names.map((name) => ({
      ids,
      name,
      test: `${relative(root, path)}: ${words.join('…')}`,
    }))
  })
}

/** The statements that a comment quotes. */
function quotesIn(comment) {
  const text = comment.replaceAll(/^ *\/\/+/gm, '').replaceAll(/\s+/g, ' ')
  return text
    .split('Contract: ')
    .slice(1)
    .map((quote) => quote.trim())
}

function idsIn(text, pattern) {
  return [...text.matchAll(pattern)].map(([, id]) => id)
}

function render({ intro, withoutTest, node }, statements, shown) {
  const lines = [intro]
  const row = (cells) =>
    lines.push(`| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`)
  const titles = node === undefined ? ['statement'] : ['statement', 'class', 'duty']
  for (const [title, rows] of partsOf(statements)) {
    lines.push('', `## ${title}: ${rows.length}`, '')
    row([...titles, 'shown by'])
    row([...titles, ''].map(() => '---'))
    for (const { id, class: kind, duty, void: reason } of rows) {
      const tests = [...new Set(shown.get(id))].sort().join('<br>')
      const cells = node === undefined ? [id] : [id, kind, duty]
      row([...cells, tests || `${withoutTest}: ${reason}`])
    }
  }
  return `${lines.join('\n')}\n`
}

/** The statements by the part that they belong to, each with its title. */
function partsOf(statements) {
  const parts = new Map()
  for (const statement of statements) {
    const { id, part = PARTS.find(([, belongs]) => belongs(id))[0] } = statement
    parts.set(part, [...(parts.get(part) ?? []), statement])
  }
  return parts
}

function filesIn(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}

function list(lines) {
  return lines.map((line) => `  ${line}`).join('\n')
}
