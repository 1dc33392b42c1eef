// Output formats of mosquitto_sub: -F.
import type { Message, MessageProperties } from '../api.js'
import { UsageError } from './options.js'

/** A message, and what is known about it besides. */
export interface Shown {
  message: Message
  properties: Omit<MessageProperties, 'subscriptionIdentifiers'>
  /** The one that -D asked for. */
  subscriptionIdentifier: number | undefined
  /** Of QoS 1 and 2. */
  packetId: number | undefined
  time: Date
}

/** Makes the bytes of one message. */
export type Formatter = (shown: Shown) => Uint8Array

const encoder = new TextEncoder()
const ESCAPES: Record<string, string> = {
  '\\': '\\',
  '0': '\0',
  a: '\x07',
  e: '\x1b',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
}

type Part = (shown: Shown) => Uint8Array

/** Reads a format. `isPretty`: JSON is indented. Throws UsageError. */
export function formatter(format: string, isPretty = false): Formatter {
  const parts: Part[] = []
  const pattern = /%([0-]*)(\d*)(?:\.(\d+))?(.)|@(.)|\\(.)|[^%@\\]+|[%@\\].*/gsu
  for (const [whole, flags, width, most, letter, time, escaped] of format.matchAll(pattern)) {
    if (letter !== undefined) {
      const field = fieldOf(letter, isPretty, whole)
      const pad = padding(flags!, Number(width || 0), most === undefined ? undefined : Number(most))
      parts.push((shown) => pad(field(shown)))
    } else if (time !== undefined) {
      parts.push(({ time: at }) => encoder.encode(strftime(time, at)))
    } else if (escaped !== undefined) {
      const text = ESCAPES[escaped]
      if (text === undefined) throw new UsageError(`-F has no escape \\${escaped}`)
      parts.push(() => encoder.encode(text))
    } else {
      if (/^[%@\\]/.test(whole)) throw new UsageError(`-F ends in the middle of ${whole}`)
      const bytes = encoder.encode(whole)
      parts.push(() => bytes)
    }
  }
  return (shown) => Buffer.concat(parts.map((part) => part(shown)))
}

function padding(flags: string, width: number, most: number | undefined) {
  return (value: string | Uint8Array): Uint8Array => {
    if (typeof value !== 'string') {
      const blanks = Buffer.alloc(Math.max(0, width - value.length), ' ')
      return Buffer.concat(flags.includes('-') ? [value, blanks] : [blanks, value])
    }
    const cut = most === undefined ? value : value.slice(0, most)
    if (flags.includes('-')) return encoder.encode(cut.padEnd(width))
    const filler = flags.includes('0') && /^[\da-fA-F]*$/.test(cut) ? '0' : ' '
    return encoder.encode(cut.padStart(width, filler))
  }
}

function fieldOf(
  letter: string,
  isPretty: boolean,
  whole: string,
): (shown: Shown) => string | Uint8Array {
  const property =
    (read: (properties: Shown['properties']) => unknown) =>
    ({ properties }: Shown): string =>
      String(read(properties) ?? '')
  switch (letter) {
    // Aliases are resolved before a message is shown.
    case 'A':
      return () => ''
    case 'C':
      return property(({ contentType }) => contentType)
    case 'D':
      return ({ properties }) => properties.correlationData ?? ''
    case 'E':
      return property(({ messageExpiryInterval }) => messageExpiryInterval)
    case 'F':
      return property(({ payloadFormatIndicator }) => payloadFormatIndicator)
    case 'I':
      return ({ time }) => isoTime(time)
    case 'j':
    case 'J':
      return (shown) => json(shown, letter === 'J', isPretty)
    case 'l':
      return ({ message }) => String(message.payload.length)
    case 'm':
      return ({ packetId }) => String(packetId ?? 0)
    case 'P':
      return property(({ userProperties }) =>
        userProperties?.map(([name, value]) => `${name}:${value}`).join(' '),
      )
    case 'p':
      return ({ message }) => message.payload
    case 'q':
      return ({ message }) => String(message.qos)
    case 'R':
      return property(({ responseTopic }) => responseTopic)
    case 'r':
      return ({ message }) => (message.retain ? '1' : '0')
    case 'S':
      return ({ subscriptionIdentifier }) => String(subscriptionIdentifier ?? '')
    case 't':
      return ({ message }) => message.topic
    case 'U':
      return ({ time }) => `${Math.floor(+time / 1000)}.${nanoseconds(time)}`
    case 'x':
    case 'X':
      return ({ message: { payload } }) =>
        letter === 'x' ? hex(payload) : hex(payload).toUpperCase()
    // As mosquitto_sub's manual writes it: '%@s'.
    case '@':
    case '%':
      return () => letter
    default:
      throw new UsageError(`-F has no ${whole}`)
  }
}

function hex({ buffer, byteOffset, byteLength }: Uint8Array): string {
  return Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength).toString('hex')
}

/** The message as JSON, with the fields of mosquitto_sub. `isRaw`: the payload is JSON itself. */
function json(shown: Shown, isRaw: boolean, isPretty: boolean): string {
  const { message, packetId, time } = shown
  const { topic, qos, retain, payload } = message
  const properties = jsonProperties(shown)
  let value: unknown = message.text()
  if (isRaw) {
    try {
      value = message.json()
    } catch {
      console.error(`Error: Message payload is not valid JSON on topic ${topic}`)
      return ''
    }
  }
  const fields = {
    tst: isoTime(time, true),
    topic,
    qos,
    retain: retain ? 1 : 0,
    payloadlen: payload.length,
    ...(qos > 0 && packetId !== undefined && { mid: packetId }),
    ...(Object.keys(properties).length > 0 && { properties }),
    payload: value,
  }
  return JSON.stringify(fields, undefined, isPretty ? 2 : undefined)
}

function jsonProperties({ properties, subscriptionIdentifier }: Shown): object {
  const { correlationData, userProperties, ...rest } = properties
  const named = Object.entries(rest).map(([name, value]) => [
    name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`),
    value,
  ])
  return {
    ...Object.fromEntries(named),
    ...(correlationData && { 'correlation-data': new TextDecoder().decode(correlationData) }),
    ...(subscriptionIdentifier && { 'subscription-identifier': subscriptionIdentifier }),
    ...(userProperties && { 'user-properties': byName(userProperties) }),
  }
}

/** A name that comes more than once has a list of values. mosquitto_sub writes the name again, of which parsers of JSON keep the last. */
function byName(pairs: readonly (readonly [string, string])[]): object {
  const values = new Map<string, string[]>()
  for (const [name, value] of pairs) values.set(name, [...(values.get(name) ?? []), value])
  const entries = [...values].map(([name, list]) => [name, list.length > 1 ? list : list[0]])
  return Object.fromEntries(entries)
}

const two = (number: number): string => String(number).padStart(2, '0')
const nanoseconds = (time: Date): string =>
  `${String(time.getMilliseconds()).padStart(3, '0')}000000`

function zone(time: Date): string {
  const minutes = -time.getTimezoneOffset()
  const size = Math.abs(minutes)
  return `${minutes < 0 ? '-' : '+'}${two(Math.floor(size / 60))}${two(size % 60)}`
}

function isoTime(time: Date, hasFraction = false): string {
  const date = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`
  const clock = `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`
  const fraction = hasFraction ? `.${String(time.getMilliseconds()).padStart(3, '0')}000` : ''
  return `${date}T${clock}${fraction}${zone(time)}`
}

const name = (time: Date, options: Intl.DateTimeFormatOptions): string =>
  new Intl.DateTimeFormat('en', options).format(time)

const blank = (number: number): string => String(number).padStart(2)

/** The day of the year, from 1. */
function dayOfYear(time: Date): number {
  const start = Date.UTC(time.getFullYear(), 0, 1)
  return (Date.UTC(time.getFullYear(), time.getMonth(), time.getDate()) - start) / 86_400_000 + 1
}

/** The number of the week in the year, where weeks begin with this day: 0 is Sunday. */
const week = (time: Date, first: number): number =>
  Math.floor((dayOfYear(time) + 6 - ((time.getDay() - first + 7) % 7)) / 7)

/** The Thursday of the week: its year is that of the week in ISO 8601. */
function thursday(time: Date): Date {
  const day = time.getDate() + 4 - (time.getDay() || 7)
  return new Date(time.getFullYear(), time.getMonth(), day)
}

/** What strftime(3) makes of one letter, in the C locale. Others stay as they are, after a per cent sign, as in glibc. */
function strftime(letter: string, time: Date): string {
  const make = TIMES[letter]
  if (make === undefined) return `%${letter}`
  return typeof make === 'function' ? make(time) : [...make].map(written(time)).join('')
}

/** The letters of a composed time; what is between them is kept. */
const written =
  (time: Date) =>
  (each: string): string =>
    /[A-Za-z]/.test(each) ? strftime(each, time) : each

/** By letter: the text, or of which letters it is composed. */
const TIMES: Record<string, string | ((time: Date) => string)> = {
  '@': () => '@',
  '%': () => '%',
  a: (time) => name(time, { weekday: 'short' }),
  A: (time) => name(time, { weekday: 'long' }),
  b: (time) => name(time, { month: 'short' }),
  B: (time) => name(time, { month: 'long' }),
  c: 'a b e T Y',
  C: (time) => two(Math.floor(time.getFullYear() / 100)),
  d: (time) => two(time.getDate()),
  D: 'm/d/y',
  e: (time) => blank(time.getDate()),
  F: 'Y-m-d',
  g: (time) => two(thursday(time).getFullYear() % 100),
  G: (time) => String(thursday(time).getFullYear()),
  h: 'b',
  H: (time) => two(time.getHours()),
  I: (time) => two(time.getHours() % 12 || 12),
  j: (time) => String(dayOfYear(time)).padStart(3, '0'),
  k: (time) => blank(time.getHours()),
  l: (time) => blank(time.getHours() % 12 || 12),
  m: (time) => two(time.getMonth() + 1),
  M: (time) => two(time.getMinutes()),
  n: () => '\n',
  N: nanoseconds,
  p: (time) => (time.getHours() < 12 ? 'AM' : 'PM'),
  P: (time) => (time.getHours() < 12 ? 'am' : 'pm'),
  r: 'I:M:S p',
  R: 'H:M',
  s: (time) => String(Math.floor(+time / 1000)),
  S: (time) => two(time.getSeconds()),
  t: () => '\t',
  T: 'H:M:S',
  u: (time) => String(time.getDay() || 7),
  U: (time) => two(week(time, 0)),
  V: (time) => two(Math.ceil(dayOfYear(thursday(time)) / 7)),
  w: (time) => String(time.getDay()),
  W: (time) => two(week(time, 1)),
  x: 'D',
  X: 'T',
  y: (time) => two(time.getFullYear() % 100),
  Y: (time) => String(time.getFullYear()),
  z: zone,
  Z: (time) =>
    new Intl.DateTimeFormat('en', { timeZoneName: 'short' })
      .formatToParts(time)
      .find(({ type }) => type === 'timeZoneName')!.value,
}
