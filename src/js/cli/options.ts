// The options of all commands, and the reading of a command line. The parser is Node's own parseArgs: it is kept with Node, and adds nothing to
// the package. Two things that it does not know are done before: values that begin with a dash, and -D with its two to four words.
import { parseArgs } from 'node:util'

/** A mistake on the command line. */
export class UsageError extends Error {}

/** The commands. */
export type Command = 'pub' | 'sub' | 'request' | 'respond' | 'bench' | 'broker' | 'completion'

/** One option. */
export interface Option {
  /** After two dashes. */
  name: string
  /** After one dash. */
  short?: string
  /** What to call its value in the help; none: it is a flag. */
  value?: string
  /** May be given more than once. */
  multiple?: true
  help: string
  /** The heading in the help. */
  group: 'Message' | 'Subscription' | 'Output' | 'Connection' | 'Session' | 'Will' | 'TLS' | 'Other'
  commands: readonly Command[]
}

const CLIENTS: readonly Command[] = ['pub', 'sub', 'request', 'respond', 'bench']
const SENDERS: readonly Command[] = ['pub', 'request', 'respond']
const RECEIVERS: readonly Command[] = ['sub', 'request']

type Row = [name: string, short: string, value: string, help: string]

const rows = (group: Option['group'], commands: readonly Command[], list: Row[]): Option[] =>
  list.map(([name, short, value, help]) => ({
    name,
    ...(short && { short }),
    ...(value && { value: value.replace('…', '') }),
    ...(value.endsWith('…') && { multiple: true as const }),
    help,
    group,
    commands,
  }))

/** All options. Names and letters are those of mosquitto_pub, mosquitto_sub and mosquitto_rr, and of MQTT.js' command line. */
export const OPTIONS: readonly Option[] = [
  ...rows('Message', CLIENTS, [
    ['topic', 't', 'topic…', 'topic, or topic filter to subscribe to (sub: may be repeated)'],
    ['qos', 'q', '0|1|2', 'quality of service, default 0'],
  ]),
  ...rows('Message', SENDERS, [
    ['message', 'm', 'text', 'the payload'],
    ['file', 'f', 'file', 'send the contents of a file'],
    ['null-message', 'n', '', 'send an empty message'],
    ['stdin-file', 's', '', 'send all of standard input as one message'],
  ]),
  ...rows(
    'Message',
    ['pub'],
    [
      ['stdin-line', 'l', '', 'send each line of standard input as a message'],
      ['multiline', '', '', 'the same, as MQTT.js calls it'],
      ['max-inflight', 'M', 'count', 'lines under way at once, default 1000'],
      ['retain', 'r', '', 'the server keeps the message for later subscribers'],
      ['repeat', '', 'count', 'send the message so many times'],
      ['repeat-delay', '', 'seconds', 'wait between repeats'],
      ['ndjson', '', '', 'each line of standard input is JSON: {"topic","payload","qos","retain"}'],
    ],
  ),
  ...rows(
    'Message',
    ['request'],
    [['response-topic', 'e', 'topic', 'where the response comes, default a topic of its own']],
  ),
  ...rows(
    'Message',
    ['respond'],
    [['exec', '', 'command', 'run a shell command for each request: payload in, response out']],
  ),
  ...rows(
    'Subscription',
    ['sub'],
    [
      ['filter-out', 'T', 'filter…', 'do not show messages of these topics'],
      ['unsubscribe', 'U', 'filter…', 'end a subscription of the session'],
      ['no-retain', 'R', '', 'do not show messages that the server had stored'],
      ['retained-only', '', '', 'show only stored messages, end at the first other one'],
      ['remove-retained', '', '', 'clear the stored messages that come'],
      ['retain-as-published', '', '', 'keep the retain flag as it was published (MQTT 5)'],
      ['count', 'C', 'count', 'end after so many messages'],
      ['exit-on-suback', 'E', '', 'end when all subscriptions are acknowledged'],
      ['random-filter', '', 'percent', 'show only this share of the messages'],
    ],
  ),
  ...rows('Output', RECEIVERS, [
    ['format', 'F', 'format', 'output format, as that of mosquitto_sub: %t %p %j …'],
    ['verbose', 'v', '', 'show topic and payload'],
    ['no-newline', 'N', '', 'no newline after a message'],
    ['json', '', '', 'one JSON object per message; the same as -F %j'],
    ['pretty', '', '', 'indent JSON'],
  ]),
  ...rows(
    'Output',
    ['sub', 'request'],
    [['timeout', 'W', 'seconds', 'end after so long: exit code 27']],
  ),
  ...rows('Connection', CLIENTS, [
    ['url', 'L', 'url', 'mqtt(s)://user:password@host:port/topic, or ws(s)://host:port/path'],
    ['host', 'h', 'host', 'default localhost'],
    ['port', 'p', 'port', 'default 1883, 8883 with TLS, 80 and 443 with WebSocket'],
    ['unix', '', 'path', 'connect to a Unix socket'],
    ['ws', '', '', 'use a WebSocket'],
    ['path', '', 'path', 'of the WebSocket, default /mqtt'],
    ['username', 'u', 'name', ''],
    ['pw', 'P', 'password', ''],
    ['keepalive', 'k', 'seconds', 'default 60'],
    ['protocol-version', 'V', 'version', '5 or 311; default 311, of request and respond 5'],
    ['bind-address', 'A', 'address', 'connect from this local address'],
    ['nodelay', '', '', 'accepted: packets are never held back'],
    [
      'property',
      'D',
      'packet name value…',
      'an MQTT 5 property, as: -D publish content-type text/plain',
    ],
    ['retry', '', '', 'keep trying when the first attempt fails'],
  ]),
  ...rows('Session', CLIENTS, [
    ['id', 'i', 'id', 'client identifier'],
    ['id-prefix', 'I', 'prefix', 'client identifier: this and the process id'],
    ['disable-clean-session', 'c', '', 'keep the session; needs -i'],
    ['session-expiry-interval', 'x', 'seconds', 'how long the server keeps the session (MQTT 5)'],
  ]),
  ...rows('Will', CLIENTS, [
    ['will-topic', '', 'topic', 'the server publishes the will when the connection breaks'],
    ['will-payload', '', 'text', ''],
    ['will-qos', '', '0|1|2', ''],
    ['will-retain', '', '', ''],
  ]),
  ...rows('TLS', CLIENTS, [
    ['cafile', '', 'file', 'trusted certificates; turns TLS on'],
    ['capath', '', 'folder', 'a folder of trusted certificates; turns TLS on'],
    ['cert', '', 'file', 'certificate of the client'],
    ['key', '', 'file', 'private key of the client'],
    ['ciphers', '', 'list', ''],
    ['tls-version', '', 'version', 'tlsv1.3, tlsv1.2 or tlsv1.1'],
    ['tls-alpn', '', 'protocol', ''],
    ['tls-use-os-certs', '', '', 'trust the certificates that Node trusts; turns TLS on'],
    ['insecure', '', '', 'do not check that the certificate is for this host'],
    ['psk', '', 'hex', 'pre-shared key'],
    ['psk-identity', '', 'name', ''],
  ]),
  ...rows(
    'Other',
    ['bench'],
    [
      ['messages', '', 'count', 'default 100000'],
      ['size', '', 'bytes', 'of a payload, default 256'],
    ],
  ),
  ...rows(
    'Other',
    ['broker'],
    [
      ['port', 'p', 'port', 'for WebSocket, default 9001'],
      ['tcp', '', 'port', 'for TCP, default 1883'],
      ['verbose', 'v', '', 'show packets'],
    ],
  ),
  ...rows('Other', CLIENTS, [
    ['debug', 'd', '', 'show packets on standard error'],
    ['quiet', '', '', 'show no errors'],
  ]),
  ...rows('Other', [...CLIENTS, 'broker', 'completion'], [['help', '', '', 'this text']]),
]

/** What mosquitto has and there is nothing for here: option, and why. */
const REFUSED: Record<string, string> = {
  '--proxy': 'there is no SOCKS client',
  '-S': 'there are no SRV lookups',
  '--tls-engine': 'Node loads no engines here',
  '--tls-engine-kpass-sha1': 'Node loads no engines here',
  '--keyform': 'keys are PEM files',
}

/** One use of -D. */
export interface GivenProperty {
  packet: string
  name: string
  values: string[]
}

/** A command line that was read. */
export interface Given {
  command: Command
  /** By name. Options that may be repeated have lists. */
  values: Record<string, string | boolean | string[] | undefined>
  properties: GivenProperty[]
  /** Words that belong to no option: commands take them out. */
  positionals: string[]
}

/** Reads the arguments of a command. Throws UsageError. */
export function readArguments(command: Command, args: readonly string[]): Given {
  const known = OPTIONS.filter(({ commands }) => commands.includes(command))
  const byFlag = new Map<string, Option>(
    known.flatMap((option) => [
      [`--${option.name}`, option] as const,
      ...(option.short ? [[`-${option.short}`, option] as const] : []),
    ]),
  )
  const properties: GivenProperty[] = []
  const words: string[] = []
  for (let at = 0; at < args.length; at++) {
    const word = args[at]!
    const flag: string = word.split('=', 1)[0]!
    if (flag in REFUSED) throw new UsageError(`${flag} is not supported: ${REFUSED[flag]}`)
    const option = byFlag.get(word)
    if (option?.name === 'property') {
      const [packet, name] = [args[at + 1], args[at + 2]]
      const isUser = name === 'user-property'
      const values = args.slice(at + 3, at + (isUser ? 5 : 4))
      if (packet === undefined || name === undefined || values.length < (isUser ? 2 : 1))
        throw new UsageError('-D needs a packet, a property and its value')
      properties.push({ packet: packet.toLowerCase(), name, values })
      at += 2 + values.length
    } else if (option?.value !== undefined) {
      // The next word is the value, whatever it begins with.
      const value = args[++at]
      if (value === undefined) throw new UsageError(`${word} needs a value: ${option.value}`)
      words.push(`--${option.name}=${value}`)
    } else words.push(word)
  }
  try {
    const { values, positionals } = parseArgs({
      args: words,
      allowPositionals: true,
      options: Object.fromEntries(
        known.map(({ name, short, value, multiple }) => [
          name,
          {
            type: value === undefined ? ('boolean' as const) : ('string' as const),
            ...(short && { short }),
            ...(multiple && { multiple }),
          },
        ]),
      ),
    })
    return { command, values: values as Given['values'], properties, positionals }
  } catch (error) {
    throw new UsageError((error as Error).message.split('. ')[0]!)
  }
}

/** A number among the values, from `least` to `most`. Throws UsageError. */
export function numberOf(
  given: Given,
  name: string,
  least = 0,
  most = Infinity,
): number | undefined {
  const value = given.values[name]
  if (value === undefined) return undefined
  const number = Number(value)
  if (value === '' || !Number.isFinite(number) || number < least || number > most) {
    const range = most === Infinity ? `of at least ${least}` : `from ${least} to ${most}`
    throw new UsageError(`--${name} must be a number ${range}, not ${value}`)
  }
  return number
}

/** A whole number among the values, from `least` to `most`. Throws UsageError. */
export function countOf(given: Given, name: string, least = 1, most?: number): number | undefined {
  const count = numberOf(given, name, least, most)
  if (count !== undefined && !Number.isInteger(count))
    throw new UsageError(`--${name} must be a whole number, not ${count}`)
  return count
}

/** Throws UsageError if there are words that the command has no use for. */
export function checkWords({ positionals }: Given): void {
  if (positionals.length > 0) throw new UsageError(`what is '${positionals[0]}' for?`)
}

/** A text among the values. */
export function textOf(given: Given, name: string): string | undefined {
  return given.values[name] as string | undefined
}

/** The texts of an option that may be repeated. */
export function listOf(given: Given, name: string): string[] {
  return (given.values[name] as string[] | undefined) ?? []
}
