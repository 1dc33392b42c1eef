// Stands in for the package bufferutil when `ws` masks what it sends (RFC 6455, section 5.3): that package if it is installed, otherwise a loop that
// takes a word at a time. Newer Node does it natively, and then `ws` uses neither.

type Mask = (
  source: Uint8Array,
  key: Uint8Array,
  output: Uint8Array,
  offset: number,
  length: number,
) => void

/** Writes `length` masked bytes of `source` into `output` at `offset`. */
const maskWords: Mask = (source, key, output, offset, length) => {
  output.set(length === source.length ? source : source.subarray(0, length), offset)
  // Words must be aligned, so some bytes before and after them are masked one by one.
  const start = output.byteOffset + offset
  const head = Math.min(-start & 3, length)
  const count = (length - head) >> 2
  for (let at = 0; at < head; at++) output[offset + at]! ^= key[at & 3]!
  const words = new Uint8Array([0, 1, 2, 3].map((at) => key[(head + at) & 3]!))
  const word = new Int32Array(words.buffer)[0]!
  const view = new Int32Array(output.buffer, start + head, count)
  for (let at = 0; at < count; at++) view[at]! ^= word
  for (let at = head + 4 * count; at < length; at++) output[offset + at]! ^= key[at & 3]!
}

/** Masks or unmasks bytes in place. */
const unmaskWords = (bytes: Uint8Array, key: Uint8Array): void =>
  maskWords(bytes, key, bytes, 0, bytes.length)

function installed(): { mask: Mask; unmask: typeof unmaskWords } | undefined {
  try {
    // The name by which `ws` lets one turn it off.
    return process.env.WS_NO_BUFFER_UTIL ? undefined : require('bufferutil')
  } catch {
    return undefined
  }
}

export const { mask, unmask } = installed() ?? { mask: maskWords, unmask: unmaskWords }
