// JSON whose numbers keep their digits and whose members keep their order, read without recursion: a payload may be nested as deep as it likes.

export type Json =
  | { kind: 'object'; members: Array<[name: string, value: Json]> }
  | { kind: 'array'; items: Json[] }
  | { kind: 'string'; value: string }
  /** As it was written: `1.50` and 9007199254740993 stay what they are. */
  | { kind: 'number'; text: string }
  | { kind: 'word'; text: 'true' | 'false' | 'null' }

const SPACE = /[ \t\n\r]*/y
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON forbids exactly these inside a string.
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y
const WORD = /true|false|null/y

/** Reads one JSON document. Throws a SyntaxError that names the position where `text` is none. */
export function parseJson(text: string): Json {
  let at = 0
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at
    const found = pattern.exec(text)?.[0]
    if (found !== undefined) at += found.length
    return found
  }
  const fail = (wanted: string): never => {
    const line = text.slice(0, at).split('\n')
    const where = `line ${line.length}, column ${(line.at(-1)?.length ?? 0) + 1}`
    const found = at < text.length ? JSON.stringify(text[at]) : 'the end'
    throw new SyntaxError(`${wanted} expected at ${where}, not ${found}`)
  }
  /** The containers that are still open, the outermost first. */
  const open: Array<Extract<Json, { kind: 'object' | 'array' }>> = []

  const name = (): string => {
    const token = take(STRING) ?? fail('A member name in double quotes')
    take(SPACE)
    if (text[at] !== ':') fail('A colon')
    at++
    return JSON.parse(token)
  }
  let key: string | undefined
  for (;;) {
    take(SPACE)
    let value: Json | undefined
    const first = text[at]
    if (first === '{' || first === '[') {
      at++
      take(SPACE)
      value = first === '{' ? { kind: 'object', members: [] } : { kind: 'array', items: [] }
    } else if (first === '"') {
      value = { kind: 'string', value: JSON.parse(take(STRING) ?? fail('A string without errors')) }
    } else {
      const word = take(WORD) as 'true' | 'false' | 'null' | undefined
      if (word) value = { kind: 'word', text: word }
      else value = { kind: 'number', text: take(NUMBER) || fail('A value') }
    }
    const parent = open.at(-1)
    if (parent?.kind === 'object') parent.members.push([key as string, value])
    else parent?.items.push(value)

    if (value.kind === 'object' || value.kind === 'array') {
      open.push(value)
      if (text[at] !== (value.kind === 'object' ? '}' : ']')) {
        if (value.kind === 'object') key = name()
        continue
      }
    }
    // A value is complete: close what ends here, and go on behind the comma.
    for (;;) {
      take(SPACE)
      const current = open.at(-1)
      if (!current) {
        if (at < text.length) fail('Nothing more')
        return value
      }
      if (text[at] === (current.kind === 'object' ? '}' : ']')) {
        at++
        value = open.pop() as Json
        continue
      }
      if (text[at] !== ',') fail(`A comma or ${current.kind === 'object' ? '}' : ']'}`)
      at++
      take(SPACE)
      if (current.kind === 'object') key = name()
      break
    }
  }
}

/** One level deeper in a JSON Pointer (RFC 6901). */
export const pointer = (parent: string, step: string | number): string =>
  `${parent}/${String(step).replaceAll('~', '~0').replaceAll('/', '~1')}`

/** The value at a JSON Pointer; undefined where there is none. */
export function valueAt(root: Json, path: string): Json | undefined {
  let value: Json | undefined = root
  for (const step of steps(path)) {
    if (value?.kind === 'array') value = value.items[Number(step)]
    else if (value?.kind === 'object')
      value = value.members.findLast(([name]) => name === step)?.[1]
    else return undefined
  }
  return value
}

const steps = (path: string): string[] =>
  path
    .split('/')
    .slice(1)
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))

/** A JSON Pointer as people write it: `/rooms/0/temp` is `rooms[0].temp`. */
export function pointerLabel(path: string): string {
  return steps(path)
    .map((step, at) => (/^\d+$/.test(step) ? `[${step}]` : at === 0 ? step : `.${step}`))
    .join('')
}

const decoder = new TextDecoder()
/** Bytes of the longest payload that is taken for a number. */
const MAX_NUMBER = 1_024

/**
 * The number at `path` of a payload: the payload itself for '', a JSON Pointer into its JSON otherwise. `true` and `false` are 1 and 0.
 * undefined where there is none, or where it is beyond what a double holds.
 */
export function numberAt(payload: Uint8Array, path: string): number | undefined {
  // A number by itself is short: a large document is not read to find out that it is none.
  if (payload.length === 0 || (path === '' && payload.length > MAX_NUMBER)) return undefined
  let value: unknown
  try {
    value = JSON.parse(decoder.decode(payload))
  } catch {
    const text = path === '' && payload.length < 64 ? decoder.decode(payload).trim() : ''
    value = WORDS[text.toLowerCase()] ?? (/^[+-]?(\d|\.\d)/.test(text) ? Number(text) : undefined)
  }
  for (const step of steps(path)) {
    if (typeof value !== 'object' || value === null) return undefined
    value = (value as Record<string, unknown>)[step]
  }
  if (typeof value === 'boolean') return Number(value)
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined
}
const WORDS: Record<string, number | undefined> = {
  on: 1,
  off: 0,
  online: 1,
  offline: 0,
  open: 1,
  closed: 0,
}
