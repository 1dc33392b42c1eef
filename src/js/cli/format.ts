// Output formats of mosquitto_sub: -F.
import type { Message, MessageProperties } from '../api.js'
import { UsageError } from './options.js'

/** A message, and what is known about it besides. */
export interface Shown {
  message: Message
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
  const pattern = /%([0-]*)(\d*)(?:\.(\d+))?(.)|@(.)|\\(.)|[^%@\\]+|[%@\\]$/gsu
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
      const bytes = encoder.encode(whole)
      parts.push(() => bytes)
    }
  }
  return (shown) => Buffer.concat(parts.map((part) => part(shown)))
}

function padding(flags: string, width: number, most: number | undefined) {
  return (value: string | Uint8Array): Uint8Array => {
    if (typeof value !== 'string' || (width === 0 && most === undefined))
      return typeof value === 'string' ? encoder.encode(value) : value
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
    (read: (properties: MessageProperties) => unknown) =>
    ({ message }: Shown): string => {
      const value = message.properties && read(message.properties)
      return value === undefined ? '' : String(value)
    }
  switch (letter) {
    case '%':
      return () => '%'
    // Aliases are resolved before a message is shown.
    case 'A':
      return () => ''
    case 'C':
      return property(({ contentType }) => contentType)
    case 'D':
      return ({ message }) => message.properties?.correlationData ?? ''
    case 'E':
      return property(({ messageExpiryInterval }) => messageExpiryInterval)
    case 'F':
      return property(({ payloadFormatIndicator }) => payloadFormatIndicator)
    case 'I':
      return ({ time }) => isoTime(time)
    case 'j':
      return (shown) => json(shown, false, isPretty)
    case 'J':
      return (shown) => json(shown, true, isPretty)
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
      return property(({ subscriptionIdentifiers }) => subscriptionIdentifiers?.join(' '))
    case 't':
      return ({ message }) => message.topic
    case 'U':
      return ({ time }) => `${Math.floor(+time / 1000)}.${nanoseconds(time)}`
    case 'x':
    case 'X':
      return ({ message: { payload } }) => {
        const { buffer, byteOffset, byteLength } = payload
        const hex = Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength).toString('hex')
        return letter === 'x' ? hex : hex.toUpperCase()
      }
    // As mosquitto_sub's manual writes it: '%@s'.
    case '@':
      return () => '@'
    default:
      throw new UsageError(`-F has no ${whole}`)
  }
}

/** The message as JSON, with the fields of mosquitto_sub. `isRaw`: the payload is JSON itself. */
function json({ message, packetId, time }: Shown, isRaw: boolean, isPretty: boolean): string {
  const { topic, qos, retain, payload, properties } = message
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
    ...(properties && { properties: jsonProperties(properties) }),
    payload: value,
  }
  return JSON.stringify(fields, undefined, isPretty ? 2 : undefined)
}

function jsonProperties({ correlationData, userProperties, ...rest }: MessageProperties): object {
  const named = Object.entries(rest).map(([name, value]) => [
    name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`),
    value,
  ])
  return {
    ...Object.fromEntries(named),
    ...(correlationData && { 'correlation-data': new TextDecoder().decode(correlationData) }),
    ...(userProperties && {
      'user-properties': userProperties.map(([name, value]) => ({ [name]: value })),
    }),
  }
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

/** What strftime(3) makes of one letter, in the C locale. */
function strftime(letter: string, time: Date): string {
  const hours = time.getHours()
  const dayOfYear = (): number => {
    const start = Date.UTC(time.getFullYear(), 0, 1)
    return (Date.UTC(time.getFullYear(), time.getMonth(), time.getDate()) - start) / 86_400_000 + 1
  }
  switch (letter) {
    case '@':
      return '@'
    case 'N':
      return nanoseconds(time)
    case 'Y':
      return String(time.getFullYear())
    case 'y':
      return two(time.getFullYear() % 100)
    case 'm':
      return two(time.getMonth() + 1)
    case 'd':
      return two(time.getDate())
    case 'e':
      return String(time.getDate()).padStart(2)
    case 'H':
      return two(hours)
    case 'I':
      return two(hours % 12 || 12)
    case 'M':
      return two(time.getMinutes())
    case 'S':
      return two(time.getSeconds())
    case 'p':
      return hours < 12 ? 'AM' : 'PM'
    case 's':
      return String(Math.floor(+time / 1000))
    case 'z':
      return zone(time)
    case 'j':
      return String(dayOfYear()).padStart(3, '0')
    case 'a':
      return name(time, { weekday: 'short' })
    case 'A':
      return name(time, { weekday: 'long' })
    case 'b':
      return name(time, { month: 'short' })
    case 'B':
      return name(time, { month: 'long' })
    case 'u':
      return String(time.getDay() || 7)
    case 'w':
      return String(time.getDay())
    case 'F':
      return ['Y', 'm', 'd'].map((each) => strftime(each, time)).join('-')
    case 'T':
      return ['H', 'M', 'S'].map((each) => strftime(each, time)).join(':')
    case 'R':
      return ['H', 'M'].map((each) => strftime(each, time)).join(':')
    default:
      throw new UsageError(`-F has no @${letter}`)
  }
}
