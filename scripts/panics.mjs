// Takes out of a module what only panics print, and makes a number of each place where it can panic.
import {
  CALL,
  dataSegments,
  functionNames,
  functions,
  I32_CONST,
  instructions,
  operand,
  setOperand,
} from './wasm.mjs'

/** Functions of the library that panic. Their last parameter says where. */
export const PANIC =
  /^<?(core|alloc)\[\w+\]::(panicking|option|result|slice|cell|vec)::.*\b(panic\w*|\w+_failed(_inner)?|\w+_fail)(::<.*>)?$/

/** Functions that panic with a text, whose address and length come before the place. */
const WITH_TEXT = /::(panicking::panic|option::expect_failed)$/

/** What the library has to format the messages of panics. */
const TEXTS = [
  // Without its first word: the data begins at a mebibyte, near which are limits, too.
  /index starts at [\s\S]*? failed: \xc0[\s\S]*? right: \xc0\0\xc0[\s\S]: \xc0/,
  /memory allocation of \xc0[\s\S]*? bytes failed/,
  /removal index \(is [\s\S]*? len \(is \xc0[\s\S]*?\)/,
  /called `Result::unwrap\(\)` on an `Err` value/,
  /closure invoked recursively or after being dropped/,
  /LayoutError/,
  /0x0123456789ABCDEF/,
  /0001020304[0-9]*99/,
]

/** A place is the number of its file in the list, shifted, and the line. */
const LINE_BITS = 14

/**
 * Changes a module with the names of its functions, whose functions that panic do nothing with what they are given but pass on the place. Returns
 * the files that places are in, and the data that nobody reads any more.
 */
export function numberPlaces(wasm) {
  const names = functionNames(wasm)
  const data = new Data(wasm)
  const files = []
  const places = new Map()
  const texts = new Map()
  const uses = new Map()
  for (const each of functions(wasm)) {
    /** The instructions before, the last first. */
    const before = []
    for (const instruction of instructions(wasm, each)) {
      const { opcode } = instruction
      if (opcode === I32_CONST) {
        const value = operand(wasm, instruction)
        uses.set(value, (uses.get(value) ?? 0) + 1)
      }
      if (opcode === CALL) {
        const name = names.get(operand(wasm, instruction))
        const [place, length, text] = before
        if (PANIC.test(name) && place?.opcode === I32_CONST) {
          note(places, place)
          if (WITH_TEXT.test(name) && length?.opcode === I32_CONST && text?.opcode === I32_CONST)
            note(texts, text, operand(wasm, length))
        }
      }
      before.unshift(instruction)
      before.length = Math.min(before.length, 3)
    }
  }
  const unread = []
  for (const [address, { used }] of places) {
    if (uses.get(address) !== used.length) throw new Error(`Not only a place: ${address}`)
    const [file, length, line] = data.words(address, 3)
    const name = data.text(file, length)
    if (!name.endsWith('.rs') || line >> LINE_BITS !== 0) throw new Error(`No place: ${address}`)
    if (!files.includes(name)) {
      files.push(name)
      unread.push([file, length])
    }
    for (const instruction of used)
      setOperand(wasm, instruction, (files.indexOf(name) << LINE_BITS) | line)
    unread.push([address, 16])
  }
  for (const [address, { used, length }] of texts)
    if (uses.get(address) === used.length) unread.push([address, length])
  for (const text of TEXTS) unread.push(data.find(text))
  for (const [address, length] of unread) data.clear(address, length)
  return { files, unread }

  function note(map, instruction, length) {
    const value = operand(wasm, instruction)
    if (!map.has(value)) map.set(value, { used: [], length })
    map.get(value).used.push(instruction)
  }
}

/** What is in memory from the start. */
class Data {
  constructor(wasm) {
    this.segments = dataSegments(wasm).map(({ address, bytes }) => ({
      address,
      bytes: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length),
    }))
  }

  at(start, length) {
    const { address, bytes } = this.segments.find(
      ({ address, bytes }) => address <= start && start + length <= address + bytes.length,
    )
    return bytes.subarray(start - address, start - address + length)
  }

  words(start, count) {
    const bytes = this.at(start, 4 * count)
    return Array.from({ length: count }, (_, index) => bytes.readUInt32LE(4 * index))
  }

  text(start, length) {
    return this.at(start, length).toString()
  }

  /** Returns where a text is, and its length. */
  find(pattern) {
    for (const { address, bytes } of this.segments) {
      const found = pattern.exec(bytes.toString('latin1'))
      if (found) return [address + found.index, found[0].length]
    }
    throw new Error(`The module does not have ${pattern}`)
  }

  clear(start, length) {
    this.at(start, length).fill(0)
  }
}

/** Fails if a function has an address of what was cleared. */
export function checkUnread(wasm, unread) {
  for (const each of functions(wasm))
    for (const instruction of instructions(wasm, each)) {
      const { opcode } = instruction
      const isAccess = opcode >= 0x28 && opcode <= 0x3e
      if (opcode !== I32_CONST && !isAccess) continue
      const value = operand(wasm, instruction)
      const range = unread.find(([start, length]) => start <= value && value < start + length)
      if (range) throw new Error(`Something reads the data at ${value}, of ${range}`)
    }
}

/** The function that the glue calls when something panics. */
export const thrower = (files) => `
const files = '${files.map((file) => file.replace(/^\/rustc\/\w+\//, '').replace(/\.rs$/, '')).join(' ')}'.split(' ')
function panicked(place) {
    throw new Error(\`panicked at \${files[place >> ${LINE_BITS}]}.rs:\${place & ${(1 << LINE_BITS) - 1}}\`);
}
`
