// Keeps the figures of the last long runs in docs/reliability.md, between two marks for each kind of run.

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../../scripts/tools.mjs'

const PATH = join(root, 'docs', 'reliability.md')

/**
 * Writes figures into the page, with the date. A table for `rows`, or a list of values.
 * @param {string} name
 * @param {Record<string, unknown>} values
 */
export function figures(name, values) {
  const [begin, end] = [`<!-- ${name} -->`, `<!-- end of ${name} -->`]
  const { command, ...rest } = values
  const lines = Object.entries(rest).map(([key, value]) => `| ${words(key)} | ${shown(value)} |`)
  // Numbers stand on the right, words on the left.
  const side = Object.values(rest).some((value) => typeof value === 'number') ? '--:' : '---'
  const text = `${begin}\n\n\`${command}\`, ${new Date().toISOString().slice(0, 10)}:\n\n| | |\n|---|${side}|\n${lines.join('\n')}\n\n${end}`
  const page = existsSync(PATH) ? readFileSync(PATH, 'utf8') : ''
  const from = page.indexOf(begin)
  const to = page.indexOf(end)
  if (from < 0 || to < 0) return writeFileSync(PATH, `${page}\n${text}\n`)
  writeFileSync(PATH, page.slice(0, from) + text + page.slice(to + end.length))
}

/** A name of a value as words; what is words already stays. */
const words = (key) =>
  key.includes(' ')
    ? key
    : key
        .replace(/([a-z])([A-Z])/g, (_, one, other) => `${one} ${other.toLowerCase()}`)
        .replace(/ ?qo ?s ?([12])/i, ' QoS $1')

const shown = (value) => (typeof value === 'number' ? value.toLocaleString('en-US') : `${value}`)
