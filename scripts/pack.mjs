// Packs the module for the web, where the size of the download matters most. Compressors find more in a module whose instructions are taken
// apart: all opcodes, then all numbers of locals, then all offsets, and so on. A small module of its own, the unpacker, puts them together again
// before the first use. It takes 2 ms, less than a loop in JavaScript that no compiler has optimised yet.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bin } from './tools.mjs'
import {
  BLOCK,
  BR_TABLE,
  CODE,
  DEPTHS,
  END,
  F64,
  hasSecond,
  IF,
  OPCODES,
  OTHERS,
  operands,
  STREAMS,
  section,
} from './wasm.mjs'

/** The number of the first symbol. Symbols from here on share their characters with other frequent bytes. */
const FIRST_SYMBOL = 80

/** Takes the functions of a module apart. */
function takeApart(wasm) {
  const streams = STREAMS.map(() => [])
  const symbols = new Map()
  const code = section(wasm, CODE)
  /** Moves numbers to a stream, with the high bits first: the first byte of a long number is one of few then. Returns the last number. */
  const move = (stream, count) => {
    let value
    for (; count > 0; count--) {
      const start = code.at
      value = code.number()
      for (let from = code.at - 1; from >= start; from--)
        streams[stream].push(from > start ? wasm[from] | 0x80 : wasm[from] & 0x7f)
    }
    return value
  }
  const count = code.number()
  const head = wasm.subarray(0, code.at)
  for (let index = 0; index < count; index++) {
    const length = code.number()
    const end = code.at + length
    const groups = wasm[code.at]
    move(OTHERS, 1 + 2 * groups)
    while (code.at < end) {
      const opcode = code.byte()
      const second = hasSecond(opcode) ? code.byte() : undefined
      const symbol = `${opcode} ${second}`
      if (!symbols.has(symbol)) symbols.set(symbol, { opcode, second, uses: 0 })
      symbols.get(symbol).uses++
      streams[OPCODES].push(symbols.get(symbol))
      const [numbers, stream] = operands(opcode, second)
      if (numbers === BR_TABLE) {
        const targets = move(OTHERS, 1)
        move(DEPTHS, targets + 1)
      } else if (numbers === F64) streams[OTHERS].push(...code.take(8))
      else move(stream, numbers)
    }
  }
  const tail = wasm.subarray(code.end)
  const sorted = [...symbols.values()].sort((a, b) => b.uses - a.uses)
  streams[OPCODES] = streams[OPCODES].map((symbol) => FIRST_SYMBOL + sorted.indexOf(symbol))
  return { head, tail, count, streams, symbols: sorted }
}

// The text. A frequent byte is one printable character (the same one, if the byte is printable), any other byte is two. Unlike base64, this
// keeps bytes whole, so that it compresses as well as they do. It is ASCII, which engines read faster, and which bundlers and pages of any
// encoding leave unchanged.
const SPACE = 0x20
/** The characters from here to `~` start a pair. */
const PAIR = 0x7a
/** The second character is one of the 57 from `#` to `[`, among which are no quote and no backslash. */
const SECOND = 0x23
const SECONDS = 57
const SINGLES = PAIR - SPACE

const pair = (byte) =>
  String.fromCharCode(PAIR + Math.floor(byte / SECONDS), SECOND + (byte % SECONDS))

/** Returns the text of the bytes. The bytes begin with a place for the table of the characters. */
function asText(bytes) {
  const counts = new Uint32Array(256)
  for (const byte of bytes.subarray(SINGLES)) counts[byte]++
  const characters = Array.from({ length: SINGLES }, (_, at) => SPACE + at).filter(
    (code) => code !== 0x22 && code !== 0x5c,
  )
  const frequent = [...counts.keys()]
    .sort((a, b) => counts[b] - counts[a])
    .slice(0, characters.length)
  const strangers = frequent.filter((byte) => !characters.includes(byte)).sort((a, b) => a - b)
  const texts = Array.from({ length: 256 }, (_, byte) => pair(byte))
  for (const code of characters) {
    const byte = frequent.includes(code) ? code : strangers.shift()
    bytes[code - SPACE] = byte
    texts[byte] = String.fromCharCode(code)
  }
  const table = Array.from(bytes.subarray(0, SINGLES), pair)
  return [...table, ...Array.from(bytes.subarray(SINGLES), (byte) => texts[byte])].join('')
}

/** Where the unpacker has the addresses of the streams, after the table of the characters. */
const POINTERS = 92
const SYMBOLS = POINTERS + 4 * STREAMS.length

/** Returns the text of a module, and the unpacker that makes the module of it. */
export function pack(wasm) {
  const { head, tail, count, streams, symbols } = takeApart(wasm)
  const columns = [
    symbols.map(({ opcode }) => opcode),
    symbols.map(({ second }) => second ?? 0xff),
    symbols.map(({ opcode, second }) => {
      const [numbers, stream] = operands(opcode, second)
      return (numbers << 4) | stream
    }),
  ]
  const parts = [...columns, head, ...streams, tail]
  const starts = []
  let length = SYMBOLS
  for (const part of parts) {
    starts.push(length)
    length += part.length
  }
  const bytes = new Uint8Array(length)
  for (const [at, part] of parts.entries()) bytes.set(part, starts[at])
  const pointers = new DataView(bytes.buffer, POINTERS)
  for (const stream of streams.keys())
    pointers.setUint32(4 * stream, starts[columns.length + 1 + stream], true)
  const text = asText(bytes)
  const unpacker = assemble(
    unpackerSource({
      textLength: text.length,
      output: text.length,
      pages: Math.ceil((text.length + wasm.length + 8) / 65_536),
      seconds: starts[1],
      kinds: starts[2],
      head: starts[3],
      headLength: head.length,
      tail: starts.at(-1),
      tailLength: tail.length,
      count,
    }),
  )
  const packed = { text, unpacker }
  if (!unpack(packed).equals(wasm)) throw new Error('The unpacker does not make the same module')
  return packed
}

/** Returns the module of a text. Throws what WebAssembly throws, if the text was damaged. */
export function unpack({ text, unpacker }) {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(unpacker))
  const { m, u } = /** @type {any} */ (exports)
  const bytes = Buffer.from(m.buffer)
  bytes.write(text)
  return bytes.subarray(text.length, u())
}

/** Writes the module for the web: a JavaScript module that exports a function, which returns the bytes. */
export function asUnpacked(wasm) {
  const { text, unpacker } = pack(wasm)
  return `const text = ${JSON.stringify(text)}
    const unpacker = '${unpacker.toString('base64')}'
    export default () => {
      const code = Uint8Array.from(atob(unpacker), (character) => character.charCodeAt())
      const { m, u } = new WebAssembly.Instance(new WebAssembly.Module(code)).exports
      const bytes = new Uint8Array(m.buffer)
      new TextEncoder().encodeInto(text, bytes)
      return bytes.slice(text.length, u())
    }`
}

/** The modules that were assembled, by their source: many bundles have the same. */
const assembled = new Map()

function assemble(source) {
  const known = assembled.get(source) ?? compile(source)
  assembled.set(source, known)
  return known
}

function compile(source) {
  const folder = mkdtempSync(join(tmpdir(), 'wasmqtt-unpacker-'))
  const [wat, wasm] = [join(folder, 'unpacker.wat'), join(folder, 'unpacker.wasm')]
  const features = ['--enable-bulk-memory', '--enable-bulk-memory-opt']
  try {
    writeFileSync(wat, source)
    const { status, stderr } = spawnSync(
      bin('wasm-opt'),
      [wat, '-o', wasm, '-Oz', ...features, '--strip-debug', '--strip-target-features'],
      { encoding: 'utf8' },
    )
    if (status !== 0) throw new Error(stderr)
    return readFileSync(wasm)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** The unpacker. The text lies at address 0, and the bytes that it stands for take its place. */
const unpackerSource = (it) => `
(module
  (memory (export "m") ${it.pages})
  ;; Where the module's next byte goes.
  (global $out (mut i32) (i32.const ${it.output}))

  (func $emit (param $byte i32)
    (i32.store8 (global.get $out) (local.get $byte))
    (global.set $out (i32.add (global.get $out) (i32.const 1))))

  ;; Returns the next byte of a stream. The parameter is the address of the stream's address.
  (func $next (param $stream i32) (result i32)
    (local $from i32)
    (i32.store (local.get $stream)
      (i32.add (local.tee $from (i32.load (local.get $stream))) (i32.const 1)))
    (i32.load8_u (local.get $from)))

  ;; Copies the next number of a stream, with the low bits first. $more is set in every byte but the last. Returns the number, with the bits
  ;; before it in $high, as if it were unsigned.
  (func $number (param $stream i32) (param $more i32) (param $high i32) (result i32)
    (local $byte i32)
    (local.set $high
      (i32.or
        (i32.shl (local.get $high) (i32.const 7))
        (i32.and (local.tee $byte (call $next (local.get $stream))) (i32.const 127))))
    (if (i32.gt_u (local.get $byte) (i32.const 127))
      (then
        (local.set $high
          (call $number (local.get $stream) (i32.const 128) (local.get $high)))))
    (call $emit
      (i32.or (i32.and (local.get $byte) (i32.const 127)) (local.get $more)))
    (local.get $high))

  ;; Copies as many numbers of a stream.
  (func $numbers (param $count i32) (param $stream i32)
    (loop $more
      (if (local.get $count)
        (then
          (drop (call $number (local.get $stream) (i32.const 0) (i32.const 0)))
          (local.set $count (i32.sub (local.get $count) (i32.const 1)))
          (br $more)))))

  ;; Copies bytes.
  (func $copy (param $from i32) (param $length i32)
    (memory.copy (global.get $out) (local.get $from) (local.get $length))
    (global.set $out (i32.add (global.get $out) (local.get $length))))

  ;; Returns the address after the module.
  (func (export "u") (result i32)
    (local $from i32) (local $to i32) (local $byte i32) (local $count i32) (local $depth i32)
    (local $start i32) (local $symbol i32) (local $kind i32) (local $stream i32) (local $length i32)

    ;; The text becomes bytes. They begin with the table of the characters, which consists of pairs.
    (loop $character
      (local.set $byte (i32.load8_u (local.get $from)))
      (local.set $from (i32.add (local.get $from) (i32.const 1)))
      (i32.store8 (local.get $to)
        (if (result i32) (i32.lt_u (local.get $byte) (i32.const ${PAIR}))
          (then (i32.load8_u (i32.sub (local.get $byte) (i32.const ${SPACE}))))
          (else
            (i32.sub
              (i32.add
                (i32.mul (local.get $byte) (i32.const ${SECONDS}))
                (i32.load8_u (local.get $from)))
              (i32.const ${PAIR * SECONDS + SECOND}))
            (local.set $from (i32.add (local.get $from) (i32.const 1))))))
      (local.set $to (i32.add (local.get $to) (i32.const 1)))
      (br_if $character (i32.lt_u (local.get $from) (i32.const ${it.textLength}))))

    (call $copy (i32.const ${it.head}) (i32.const ${it.headLength}))
    (local.set $count (i32.const ${it.count}))
    (loop $function
      ;; The length of the function comes before it, and has three bytes at most.
      (local.set $start (global.get $out))
      (global.set $out (i32.add (local.get $start) (i32.const 3)))
      (call $numbers
        (i32.shl (call $number (i32.const ${POINTERS + 4 * OTHERS}) (i32.const 0) (i32.const 0)) (i32.const 1))
        (i32.const ${POINTERS + 4 * OTHERS}))
      (local.set $depth (i32.const 1))
      (loop $instruction
        (local.set $symbol (call $next (i32.const ${POINTERS + 4 * OPCODES})))
        (call $emit (local.tee $byte (i32.load8_u offset=${SYMBOLS - FIRST_SYMBOL} (local.get $symbol))))
        (local.set $depth
          (i32.sub
            (i32.add
              (local.get $depth)
              (i32.lt_u
                (i32.sub (local.get $byte) (i32.const ${BLOCK}))
                (i32.const ${IF - BLOCK + 1})))
            (i32.eq (local.get $byte) (i32.const ${END}))))
        (if (i32.ne (local.tee $byte (i32.load8_u offset=${it.seconds - FIRST_SYMBOL} (local.get $symbol))) (i32.const 255))
          (then (call $emit (local.get $byte))))
        (local.set $stream
          (i32.add
            (i32.shl
              (i32.and
                (local.tee $kind (i32.load8_u offset=${it.kinds - FIRST_SYMBOL} (local.get $symbol)))
                (i32.const 15))
              (i32.const 2))
            (i32.const ${POINTERS})))
        (local.set $kind (i32.shr_u (local.get $kind) (i32.const 4)))
        (if (i32.eq (local.get $kind) (i32.const ${F64}))
          (then
            (local.set $kind (i32.const 8))
            (loop $more
              (call $emit (call $next (local.get $stream)))
              (br_if $more (local.tee $kind (i32.sub (local.get $kind) (i32.const 1)))))))
        (if (i32.eq (local.get $kind) (i32.const ${BR_TABLE}))
          (then
            (local.set $kind (i32.add (call $number (local.get $stream) (i32.const 0) (i32.const 0)) (i32.const 1)))
            (local.set $stream (i32.const ${POINTERS + 4 * DEPTHS}))))
        (call $numbers (local.get $kind) (local.get $stream))
        (br_if $instruction (local.get $depth)))
      (local.set $length
        (local.tee $byte (i32.sub (i32.sub (global.get $out) (local.get $start)) (i32.const 3))))
      (global.set $out (local.get $start))
      (loop $more
        (if (i32.gt_u (local.get $byte) (i32.const 127))
          (then
            (call $emit (i32.or (local.get $byte) (i32.const 128)))
            (local.set $byte (i32.shr_u (local.get $byte) (i32.const 7)))
            (br $more))))
      (call $emit (local.get $byte))
      (call $copy (i32.add (local.get $start) (i32.const 3)) (local.get $length))
      (br_if $function (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))
    (call $copy (i32.const ${it.tail}) (i32.const ${it.tailLength}))
    (global.get $out)))
`
