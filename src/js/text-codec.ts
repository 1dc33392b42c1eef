// TextEncoder and TextDecoder where the runtime has none, as in the jsdom of Jest. Only the form of the package for require() outside of
// Node includes this, because every browser has them.

const REPLACEMENT = 0xfffd

/** As much of TextEncoder as the package uses. */
class Utf8Encoder {
  encode(text = ''): Uint8Array {
    const bytes = new Uint8Array(text.length * 3)
    return bytes.slice(0, this.encodeInto(text, bytes).written)
  }

  encodeInto(text: string, bytes: Uint8Array): { read: number; written: number } {
    let read = 0
    let written = 0
    for (const character of text) {
      const code = character.codePointAt(0)!
      const encoded = encodeCodePoint(code >= 0xd800 && code <= 0xdfff ? REPLACEMENT : code)
      if (written + encoded.length > bytes.length) break
      bytes.set(encoded, written)
      written += encoded.length
      read += character.length
    }
    return { read, written }
  }
}

function encodeCodePoint(code: number): number[] {
  const continuation = (shift: number) => 0x80 | ((code >> shift) & 0x3f)
  if (code < 0x80) return [code]
  if (code < 0x800) return [0xc0 | (code >> 6), continuation(0)]
  if (code < 0x10000) return [0xe0 | (code >> 12), continuation(6), continuation(0)]
  return [0xf0 | (code >> 18), continuation(12), continuation(6), continuation(0)]
}

/** As much of TextDecoder as the package uses: whole texts of UTF-8 that keep their byte order mark. */
class Utf8Decoder {
  readonly #isFatal: boolean

  constructor(_label?: string, options: { fatal?: boolean; ignoreBOM?: boolean } = {}) {
    this.#isFatal = options.fatal === true
  }

  decode(source: ArrayBufferView | ArrayBuffer = new Uint8Array()): string {
    const bytes = ArrayBuffer.isView(source)
      ? new Uint8Array(source.buffer, source.byteOffset, source.byteLength)
      : new Uint8Array(source)
    let text = ''
    for (let at = 0; at < bytes.length; ) {
      const { code, length } = decodeCodePoint(bytes, at)
      if (code === undefined && this.#isFatal) throw new TypeError('The bytes are no UTF-8')
      text += String.fromCodePoint(code ?? REPLACEMENT)
      at += length
    }
    return text
  }
}

/** The code point at `at`, or undefined and the length of what is to be replaced, as the Encoding Standard cuts it. */
function decodeCodePoint(bytes: Uint8Array, at: number): { code?: number; length: number } {
  const first = bytes[at]!
  if (first < 0x80) return { code: first, length: 1 }
  if (first < 0xc2 || first > 0xf4) return { length: 1 }
  const needed = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3
  let code = first & (0x3f >> needed)
  for (let index = 1; index <= needed; index++) {
    const next = bytes[at + index] ?? 0
    // Overlong forms, surrogates, and what is beyond U+10FFFF show in the second byte.
    const least = index > 1 ? 0x80 : first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80
    const most = index > 1 ? 0xbf : first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf
    if (next < least || next > most) return { length: index }
    code = (code << 6) | (next & 0x3f)
  }
  return { code, length: needed + 1 }
}

const own = globalThis as Partial<typeof globalThis>
export const TextEncoder = own.TextEncoder ?? Utf8Encoder
export const TextDecoder = own.TextDecoder ?? Utf8Decoder
