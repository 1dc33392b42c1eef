// Bytes, numbers and times as text that a person can read. What comes from the network only ever becomes text, never markup.

const strict = new TextDecoder('utf-8', { fatal: true })

/** The text, or undefined where the bytes are not UTF-8 or hold control characters. With `cut`, the last character may be incomplete. */
export function asText(bytes: Uint8Array, cut = false): string | undefined {
  try {
    // A decoder that streams waits for the rest of a character instead of refusing it.
    const text = (cut ? new TextDecoder('utf-8', { fatal: true }) : strict).decode(bytes, {
      stream: cut,
    })
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for.
    return /[\0-\x08\x0e-\x1f]/.test(text) ? undefined : text
  } catch {
    return undefined
  }
}

// Characters that turn a line round, take no room, or have no shape. They are shown by their numbers.
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for.
const INVISIBLE = /[\0-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g

/** A name or a line with everything in it visible. */
export const visible = (text: string): string =>
  text.replace(
    INVISIBLE,
    (c) => `⟨U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}⟩`,
  )

/** A payload in one line of at most `limit` characters. */
export function preview(bytes: Uint8Array, limit = 120): string {
  if (bytes.length === 0) return '(empty)'
  const cut = bytes.length > limit * 4
  const text = asText(cut ? bytes.subarray(0, limit * 4) : bytes, cut)
  if (text === undefined) return hex(bytes.subarray(0, 24)) + (bytes.length > 24 ? ' …' : '')
  const line = visible(text.slice(0, limit + 1).replace(/\s+/g, ' '))
  return line.length > limit || cut ? `${line.slice(0, limit)}…` : line
}

export const hex = (bytes: Uint8Array, between = ' '): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(between)

/** Offset, hexadecimal and ASCII of the sixteen bytes from `at` on. */
export function hexRow(bytes: Uint8Array, at: number): string {
  const row = bytes.subarray(at, at + 16)
  const ascii = Array.from(row, (b) => (b >= 0x20 && b < 0x7f ? String.fromCharCode(b) : '·')).join(
    '',
  )
  const halves = `${hex(row.subarray(0, 8)).padEnd(23)}  ${hex(row.subarray(8)).padEnd(23)}`
  return `${at.toString(16).padStart(6, '0')}  ${halves}  ${ascii}`
}

/** Bytes written as `48 65 6c` or `48656c`; undefined where it is something else. */
export function fromHex(text: string): Uint8Array | undefined {
  const digits = text.replace(/[\s:,]+/g, '')
  if (digits.length % 2 || !/^[0-9a-fA-F]*$/.test(digits)) return undefined
  return Uint8Array.from({ length: digits.length / 2 }, (_, at) =>
    Number.parseInt(digits.slice(2 * at, 2 * at + 2), 16),
  )
}

const pad = (value: number, digits = 2) => String(value).padStart(digits, '0')

/** Time of day with milliseconds. */
export function clock(at: number): string {
  const date = new Date(at)
  return `${seconds(at)}.${pad(date.getMilliseconds(), 3)}`
}

/** Time of day. */
export function seconds(at: number): string {
  const date = new Date(at)
  return `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`
}

/** How long, from milliseconds: `0 s`, `42 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`. */
export function duration(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1_000))
  if (s < 60) return `${s} s`
  const parts: Array<[size: number, unit: string]> = [
    [86_400, 'd'],
    [3_600, 'h'],
    [60, 'min'],
    [1, 's'],
  ]
  const at = parts.findIndex(([size]) => s >= size)
  const [size, unit] = parts[at] as [number, string]
  const [below, lower] = parts[at + 1] ?? [1, 's']
  const rest = Math.floor((s % size) / below)
  return `${Math.floor(s / size)} ${unit}${rest && size > 1 ? ` ${rest} ${lower}` : ''}`
}

/** How long between two messages: milliseconds where that is little. */
export const lapse = (ms: number): string => (ms < 1_000 ? `${ms} ms` : duration(ms))

export const ago = (at: number, now = Date.now()): string =>
  now - at < 1_000 ? 'just now' : `${duration(now - at)} ago`

const UNITS = ['B', 'KiB', 'MiB', 'GiB']
export function byteCount(bytes: number): string {
  const unit = bytes < 1 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(bytes) / 10))
  const value = bytes / 1024 ** unit
  return `${value.toFixed(unit && value < 100 ? 1 : 0)} ${UNITS[unit]}`
}

/** A count in at most five characters or so. */
export function count(value: number): string {
  if (value < 10_000) return String(Math.round(value))
  return value < 1_000_000
    ? `${(value / 1_000).toFixed(1)} k`
    : `${(value / 1_000_000).toFixed(1)} M`
}

/** Messages a second. */
export const rate = (value: number): string =>
  value === 0 ? '0/s' : value < 10 ? `${Number(value.toFixed(1))}/s` : `${count(value)}/s`

/** A computed number (a mean, an axis label) with as many digits as tell it apart within `span`. */
export function number(value: number, span = Math.abs(value)): string {
  if (value === 0) return '0'
  const size = Math.abs(value)
  const digits = Math.min(17, Math.max(4, Math.ceil(Math.log10(size / (span || size))) + 3))
  if (size >= 1e15 || size < 1e-4)
    return digits > 9
      ? String(value)
      : value.toExponential(Math.min(digits, 6) - 1).replace(/\.?0+e/, 'e')
  return String(Number(value.toPrecision(digits)))
}

export const plural = (n: number, one: string, many = `${one}s`): string =>
  `${count(n)} ${n === 1 ? one : many}`
