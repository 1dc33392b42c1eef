// Writes the numbers that both sides know from the Rust files into the TypeScript files, so that they are the same there.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isMain, root } from './tools.mjs'

/** The file in Rust that has the constants, and the one in TypeScript that gets them. */
const PAIRS = [
  ['src/web/records.rs', 'src/js/core/records.ts'],
  ['src/web/link.rs', 'src/js/core/host.ts'],
]

/** The TypeScript files as they have to be, and as they are. */
export const records = () =>
  PAIRS.map(([rust, path]) => {
    const found = readFileSync(join(root, path), 'utf8')
    const constants = readFileSync(join(root, rust), 'utf8').matchAll(
      /^((?: *\/\/\/ .*\n)+) *pub(?:\(super\))? const ([A-Z_]+): u32 = (.+);$/gm,
    )
    const lines = [...constants].map(([, comments, name, value]) => {
      const text = comments
        .replaceAll(/ *\/\/\/ /g, '')
        .trim()
        .replaceAll('\n', ' ')
      return `/** ${text} */\nconst ${name} = ${value.toLowerCase()}\n`
    })
    if (lines.length === 0) throw new Error(`no constants in ${rust}`)
    const expected = found.replace(/(?<=\/\/ #region .*\n)[\s\S]*?(?=\/\/ #endregion)/, () =>
      lines.join(''),
    )
    return { path, expected, found }
  })

/** Brings the files up to date. */
export function writeRecords() {
  for (const { path, expected, found } of records())
    if (found !== expected) writeFileSync(join(root, path), expected)
}

if (isMain(import.meta)) writeRecords()
