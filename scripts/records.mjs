// Writes the constants of src/web/records.rs into src/js/core/records.ts, so that both sides read and write the same bits.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isMain, root } from './tools.mjs'

const RUST = 'src/web/records.rs'
const TYPESCRIPT = 'src/js/core/records.ts'

/** The TypeScript file as it has to be, and as it is. */
export function records() {
  const found = readFileSync(join(root, TYPESCRIPT), 'utf8')
  const constants = readFileSync(join(root, RUST), 'utf8').matchAll(
    /^((?:\/\/\/ .*\n)+)pub const ([A-Z_]+): u32 = (.+);$/gm,
  )
  const lines = [...constants].map(([, comments, name, value]) => {
    const text = comments.replaceAll('/// ', '').trim().replaceAll('\n', ' ')
    return `/** ${text} */\nconst ${name} = ${value.toLowerCase()}\n`
  })
  if (lines.length === 0) throw new Error(`no constants in ${RUST}`)
  const expected = found.replace(/(?<=\/\/ #region .*\n)[\s\S]*?(?=\/\/ #endregion)/, () =>
    lines.join(''),
  )
  return { expected, found }
}

/** Brings the file up to date. */
export function writeRecords() {
  const { expected, found } = records()
  if (found !== expected) writeFileSync(join(root, TYPESCRIPT), expected)
}

if (isMain(import.meta)) writeRecords()
