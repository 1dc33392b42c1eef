// Shows bytes as text that people can read.
const strict = new TextDecoder('utf-8', { fatal: true })

// biome-ignore lint/suspicious/noControlCharactersInRegex: text has no control characters except white space.
const CONTROL = /[\0-\x08\x0e-\x1f]/
// biome-ignore lint/suspicious/noControlCharactersInRegex: these never occur in text, even in a part of it.
const BINARY = /[\0-\x08]/

/** The text, or undefined if the bytes are not UTF-8 text. */
export function asText(bytes) {
  try {
    const text = strict.decode(bytes)
    return CONTROL.test(text) ? undefined : text
  } catch {
    return undefined
  }
}

/** One line, at most `limit` characters. */
export function preview(bytes, limit = 160) {
  // A cut inside a character would make text look like binary data, so a part is decoded without errors.
  const cut = bytes.length > limit * 4
  const text = cut ? new TextDecoder().decode(bytes.subarray(0, limit * 4)) : asText(bytes)
  if (text === undefined || BINARY.test(text))
    return hexOf(bytes.subarray(0, 24), ' ') + (bytes.length > 24 ? ' …' : '')
  const line = text.slice(0, limit + 1).replace(/\s+/g, ' ')
  return line.length > limit || cut ? `${line.slice(0, limit)}…` : line
}

export function asJson(bytes) {
  try {
    return JSON.stringify(JSON.parse(strict.decode(bytes)), null, 2)
  } catch (error) {
    return `Not JSON: ${error.message}`
  }
}

/** Sixteen bytes per line: offset, hexadecimal, ASCII. */
export function asHex(bytes) {
  const lines = []
  for (let at = 0; at < bytes.length; at += 16) {
    const row = bytes.subarray(at, at + 16)
    const ascii = Array.from(row, (byte) =>
      byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '·',
    ).join('')
    lines.push(`${at.toString(16).padStart(4, '0')}  ${hexOf(row, ' ').padEnd(47)}  ${ascii}`)
  }
  return lines.join('\n')
}

const hexOf = (bytes, between) =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(between)

export const time = (at) => {
  const date = new Date(at)
  return `${date.toLocaleTimeString([], { hour12: false })}.${String(date.getMilliseconds()).padStart(3, '0')}`
}

const units = ['B', 'KiB', 'MiB', 'GiB']
export function byteCount(bytes) {
  const unit = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10))
  return `${(bytes / 1024 ** unit).toFixed(unit && bytes / 1024 ** unit < 100 ? 1 : 0)} ${units[unit]}`
}

export function count(value) {
  return value < 10_000
    ? String(Math.round(value))
    : value < 1_000_000
      ? `${(value / 1_000).toFixed(1)} k`
      : `${(value / 1_000_000).toFixed(1)} M`
}

/** A number, rounded to the digits that a reader needs. */
export function number(value) {
  const size = Math.abs(value)
  return size !== 0 && (size >= 1e7 || size < 1e-3)
    ? value.toExponential(3)
    : String(Number(value.toPrecision(6)))
}
