// Reads a module, and changes in it what wasm-opt has no pass for.

const IMPORT = 2
const FUNCTION = 3
const EXPORT = 7
const ELEMENT = 9
export const CODE = 10
const DATA = 11

export const CALL = 0x10
export const I32_CONST = 0x41
const REF_FUNC = 0xd2

/** What the bytes that follow an opcode are. Each has a stream of its own. */
export const STREAMS = ['opcodes', 'others', 'depths', 'calls', 'i64', 'i32', 'offsets', 'locals']
export const [OPCODES, OTHERS, DEPTHS, CALLS, I64, I32, OFFSETS, LOCALS] = STREAMS.keys()

/** Counts of LEB128 numbers that stand for something else. */
export const BR_TABLE = 14
export const F64 = 15

export const BLOCK = 0x02
export const IF = 0x04
export const END = 0x0b

/** Returns how many LEB128 numbers follow an opcode, and to which stream they belong. */
export function operands(opcode, second) {
  switch (true) {
    case opcode === 0x23 || opcode === 0x24: // global.get, global.set
    case opcode === 0x25 || opcode === 0x26: // table.get, table.set
    case opcode === 0x3f || opcode === 0x40: // memory.size, memory.grow
    case opcode === 0xd0: // ref.null
      return [1, OTHERS]
    case opcode === 0x0c || opcode === 0x0d: // br, br_if
      return [1, DEPTHS]
    case opcode === 0x0e:
      return [BR_TABLE, OTHERS]
    case opcode === 0x10 || opcode === 0xd2: // call, ref.func
      return [1, CALLS]
    case opcode === 0x11 || opcode === 0x1c: // call_indirect, select with a type
      return [2, OTHERS]
    case opcode >= 0x20 && opcode <= 0x22: // local.get, local.set, local.tee
      return [1, LOCALS]
    case isAccess(opcode):
      return [1, OFFSETS]
    case opcode === 0x41:
      return [1, I32]
    case opcode === 0x42:
      return [1, I64]
    case opcode === 0x44:
      return [F64, OTHERS]
    case opcode === 0xfc && second >= 8: // memory.init to table.fill
      return [{ 9: 1, 11: 1, 13: 1, 15: 1, 16: 1, 17: 1 }[second] ?? 2, OTHERS]
    case opcode === 0xfc: // a conversion that saturates
    case opcode >= 0x45 && opcode <= 0xc4: // arithmetic
    case isBlock(opcode):
    case BARE.includes(opcode):
      return [0, OTHERS]
    default:
      throw new Error(`The packer does not know the opcode 0x${opcode.toString(16)}`)
  }
}

/** unreachable, nop, else, end, return, drop, select, ref.is_null. */
const BARE = [0x00, 0x01, 0x05, END, 0x0f, 0x1a, 0x1b, 0xd1]

/** Loads and stores. The alignment that follows them is taken as a part of the opcode. */
const isAccess = (opcode) => opcode >= 0x28 && opcode <= 0x3e
/** So is the type that follows these: a number of less than 128. */
const isBlock = (opcode) => opcode >= BLOCK && opcode <= IF
export const hasSecond = (opcode) => isAccess(opcode) || isBlock(opcode) || opcode === 0xfc

/** Reads numbers and names, from an offset on. */
class Reader {
  constructor(bytes, at, end = bytes.length) {
    this.bytes = bytes
    this.at = at
    this.end = end
  }

  byte() {
    return this.bytes[this.at++]
  }

  number() {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte()
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return value >>> 0
    }
  }

  signed() {
    const start = this.at
    const value = this.number()
    const bits = 7 * (this.at - start)
    return bits < 32 ? (value << (32 - bits)) >> (32 - bits) : value | 0
  }

  take(length) {
    this.at += length
    return this.bytes.subarray(this.at - length, this.at)
  }

  name() {
    return Buffer.from(this.take(this.number())).toString()
  }

  /** Calls back once for each item of a vector. */
  each(read) {
    return Array.from({ length: this.number() }, () => read(this))
  }
}

function* sections(wasm) {
  for (let at = 8; at < wasm.length; ) {
    const reader = new Reader(wasm, at + 1)
    const length = reader.number()
    yield { id: wasm[at], start: reader.at, end: reader.at + length }
    at = reader.at + length
  }
}

/** Reads the content of a section, up to `end`. */
export function section(wasm, id) {
  const { start, end } = [...sections(wasm)].find((each) => each.id === id)
  return new Reader(wasm, start, end)
}

/** Where the functions of the module are: `from` its locals and `start` of its instructions, up to `end`. */
export function functions(wasm) {
  return section(wasm, CODE).each((reader) => {
    const length = reader.number()
    const from = reader.at
    const end = from + length
    reader.each(() => [reader.number(), reader.byte()])
    const start = reader.at
    reader.at = end
    return { from, start, end }
  })
}

/** The instructions of a function: where each is, and where its operands are. */
export function* instructions(wasm, { start, end }) {
  for (const reader = new Reader(wasm, start); reader.at < end; ) {
    const { at } = reader
    const opcode = reader.byte()
    const second = hasSecond(opcode) ? reader.byte() : undefined
    const after = reader.at
    let [count] = operands(opcode, second)
    if (count === F64) reader.at += 8
    else {
      if (count === BR_TABLE) count = reader.number() + 1
      for (; count > 0; count--) reader.number()
    }
    yield { at, opcode, operands: after, end: reader.at }
  }
}

/** The functions that the module imports come first in the numbers of functions. */
function importedFunctions(wasm) {
  const kinds = section(wasm, IMPORT).each((reader) => {
    reader.name()
    reader.name()
    const kind = reader.byte()
    if (kind !== 0) throw new Error('The module imports what is no function')
    reader.number()
  })
  return kinds.length
}

/** The names of the functions, by their number. */
export function functionNames(wasm) {
  const names = new Map()
  for (const { id, start, end } of sections(wasm)) {
    const reader = new Reader(wasm, start)
    if (id !== 0 || reader.name() !== 'name') continue
    while (reader.at < end) {
      const kind = reader.byte()
      const length = reader.number()
      if (kind === 1) reader.each(() => names.set(reader.number(), reader.name()))
      else reader.at += length
    }
  }
  return names
}

/** The segments of data: the address of each, and its bytes, which are those of the module. */
export function dataSegments(wasm) {
  return section(wasm, DATA).each((reader) => {
    if (reader.number() !== 0 || reader.byte() !== I32_CONST)
      throw new Error('A segment of data has no address')
    const address = reader.signed()
    reader.byte()
    return { address, bytes: reader.take(reader.number()) }
  })
}

/** Reads the number that is the operand of an instruction. */
export const operand = (wasm, { opcode, operands }) =>
  opcode === I32_CONST ? new Reader(wasm, operands).signed() : new Reader(wasm, operands).number()

/** Writes an operand over another, in as many bytes. */
export function setOperand(wasm, { operands, end }, number) {
  for (let at = operands; at < end; at++, number >>= 7)
    wasm[at] = (number & 0x7f) | (at < end - 1 ? 0x80 : 0)
  if (number !== 0 || wasm[end - 1] & 0x40) throw new Error('The operand has too few bytes')
}

/**
 * Returns the module with another order of its functions: each is followed by the one that is most similar to it. It compresses better, because
 * compressors learn what is frequent, and forget.
 */
export function sortBySimilarity(wasm) {
  const imported = importedFunctions(wasm)
  const places = functions(wasm)
  const order = chain(places.map((place) => pairs(wasm, place)))
  const numbers = new Map(order.map((old, index) => [imported + old, imported + index]))
  const renumber = (number) => numbers.get(number) ?? number
  const rewrite = {
    [FUNCTION](reader) {
      const types = reader.each(() => reader.number())
      return vector(order.map((old) => leb(types[old])))
    },
    [EXPORT](reader) {
      const exports = reader.each(() => {
        const { at } = reader
        reader.name()
        const kind = reader.byte()
        const name = wasm.subarray(at, reader.at)
        const number = reader.number()
        return [...name, ...leb(kind === 0 ? renumber(number) : number)]
      })
      return vector(exports)
    },
    [ELEMENT](reader) {
      const segments = reader.each(() => {
        const { at } = reader
        if (reader.number() !== 0 || reader.byte() !== I32_CONST)
          throw new Error('The elements are not as wasm-opt writes them')
        reader.signed()
        reader.byte()
        const start = wasm.subarray(at, reader.at)
        return [...start, ...vector(reader.each(() => leb(renumber(reader.number()))))]
      })
      return vector(segments)
    },
    [CODE]() {
      const bodies = order.map((old) => {
        const place = places[old]
        const body = [...wasm.subarray(place.from, place.start)]
        for (const each of instructions(wasm, place)) {
          const { at, opcode, end } = each
          if (opcode === CALL || opcode === REF_FUNC)
            body.push(opcode, ...leb(renumber(operand(wasm, each))))
          else body.push(...wasm.subarray(at, end))
        }
        return [...leb(body.length), ...body]
      })
      return vector(bodies)
    },
  }
  const parts = [wasm.subarray(0, 8)]
  for (const { id, start, end } of sections(wasm)) {
    const bytes = rewrite[id]?.(new Reader(wasm, start)) ?? wasm.subarray(start, end)
    parts.push([id, ...leb(bytes.length)], bytes)
  }
  return Buffer.concat(parts.map((part) => Buffer.from(part)))
}

const vector = (items) => [...leb(items.length), ...items].flat()

function leb(number) {
  const bytes = []
  for (; number > 0x7f; number >>>= 7) bytes.push((number & 0x7f) | 0x80)
  return [...bytes, number]
}

/** Counts which bytes follow each other in a function, but for the numbers of what it calls. */
function pairs(wasm, place) {
  const counts = new Map()
  let last = 0
  for (const { at, opcode, end } of instructions(wasm, place))
    for (const byte of wasm.subarray(at, opcode === CALL ? at + 1 : end)) {
      const pair = last * 256 + byte
      counts.set(pair, (counts.get(pair) ?? 0) + 1)
      last = byte
    }
  return { counts, size: place.end - place.start }
}

/** An order in which each is followed by the one that is most similar to it. What is rare counts more. */
function chain(all) {
  const frequency = new Map()
  for (const { counts } of all)
    for (const pair of counts.keys()) frequency.set(pair, (frequency.get(pair) ?? 0) + 1)
  const weight = (pair) => 1 / Math.log2(1 + frequency.get(pair))
  const similarity = (one, other) => {
    const [few, many] = one.counts.size < other.counts.size ? [one, other] : [other, one]
    let sum = 0
    for (const [pair, count] of few.counts) {
      const also = many.counts.get(pair)
      if (also !== undefined) sum += Math.min(count, also) * weight(pair)
    }
    // The functions are as long as they are: what two of them share counts in relation to that.
    return sum / Math.sqrt((one.size + 20) * (other.size + 20))
  }
  const left = new Set(all.keys())
  const order = []
  for (let last = 0; last !== undefined; ) {
    left.delete(last)
    order.push(last)
    let best = -1
    let next
    for (const index of left) {
      const found = similarity(all[last], all[index])
      if (found > best) [best, next] = [found, index]
    }
    last = next
  }
  return order
}

/** The natural alignment of loads and stores, from opcode 0x28 on, as a power of two. */
const NATURAL = [2, 3, 2, 3, 0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 2, 3, 2, 3, 0, 1, 0, 1, 2]

/** Gives all loads and stores their natural alignment. It is a hint, which says more than engines use, and which compresses better if it varies less. */
export function align(wasm) {
  for (const place of functions(wasm))
    for (const { opcode, operands } of instructions(wasm, place)) {
      const alignment = NATURAL[opcode - 0x28]
      if (alignment !== undefined) wasm[operands - 1] = alignment
    }
}
