// From options to a connected client.
import { readdirSync, readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { rootCertificates, type ConnectionOptions as TlsOptions } from 'node:tls'
import { Client, type ConnectOptions, type WebSocketLike } from '../api.js'
import { DuplexLink, Trace } from '../mqttjs/links.js'
import { openStream } from '../transports/stream.js'
import { countOf, type Given, listOf, textOf, UsageError } from './options.js'
import { applyProperties, type Properties } from './properties.js'

/** Where to connect, and how. */
export interface Target {
  url: string
  options: ConnectOptions
  /** Of mqtts:. */
  tls: TlsOptions
  properties: Properties
  /** The topic that -L names. */
  topic: string | undefined
  version: 4 | 5
}

/** A client, and what reads along on its connection. */
export interface Connection {
  client: Client
  target: Target
  /** The packet identifier of the message that is being shown, of QoS 1 or 2. */
  takeIdentifier(): number | undefined
}

/** Reads the options of a connection. Throws UsageError. */
export function targetOf(given: Given): Target {
  const properties = applyProperties(given.properties)
  const version = versionOf(textOf(given, 'protocol-version'), given.properties.length > 0)
  const place = placeOf(given)
  const username = textOf(given, 'username') ?? place.username
  const password = textOf(given, 'pw') ?? place.password
  if (password !== undefined && username === undefined && version === 4)
    throw new UsageError('-P needs -u on MQTT 3.1.1')
  const isKept = given.values['disable-clean-session'] === true
  const clientId = clientIdOf(given, version)
  if (isKept && given.values.id === undefined && given.values['id-prefix'] === undefined)
    throw new UsageError('-c needs -i')
  const expiry = expiryOf(textOf(given, 'session-expiry-interval'))
  const willTopic = textOf(given, 'will-topic')
  if (willTopic === undefined && /"will-/.test(JSON.stringify(given.values)))
    throw new UsageError('the options of the will need --will-topic')
  const qos = qosOf(given, 'will-qos')
  const isWebSocket = place.url.startsWith('ws')
  const tls = tlsOf(given)
  return {
    url: place.url,
    tls,
    topic: place.topic,
    version,
    properties,
    options: {
      protocolVersion: version,
      clientId,
      username,
      password,
      clean: !isKept,
      keepalive: countOf(given, 'keepalive', 0, 65_535) ?? 60,
      properties: {
        ...withoutAuthentication(properties),
        ...(version === 5 && { sessionExpiryInterval: expiry ?? (isKept ? Infinity : 0) }),
      },
      authentication: authenticatorOf(properties),
      reconnect: given.values.retry === true ? { initial: true } : {},
      ...(willTopic !== undefined && {
        will: {
          topic: willTopic,
          payload: textOf(given, 'will-payload') ?? '',
          qos,
          retain: given.values['will-retain'] === true,
          properties: properties.will,
        },
      }),
      ...(isWebSocket && place.isSecure && { tls: webSocketTls(tls) }),
    },
  }
}

function withoutAuthentication({
  connect: { authenticationMethod: _, authenticationData: __, ...others },
}: Properties): ConnectOptions['properties'] {
  return others
}

/** Of the properties of CONNECT that the client's own option stands for. */
function authenticatorOf({
  connect: { authenticationMethod: method, authenticationData: data },
}: Properties): ConnectOptions['authentication'] {
  if (method !== undefined)
    return {
      method,
      start: () => data,
      continue: () => {
        throw new Error('the server asks for more than the data that -D gave')
      },
    }
  if (data !== undefined)
    throw new UsageError('-D connect authentication-data needs an authentication-method')
  return undefined
}

/** Makes the client. It does not connect yet. */
export function makeConnection(given: Given, target: Target): Connection {
  const debug = given.values.debug === true
  let trace: Trace | undefined
  const isWebSocket = target.url.startsWith('ws')
  const client = new Client(target.url, {
    ...target.options,
    ...(!isWebSocket && {
      transport: (url: URL): WebSocketLike => {
        trace = new Trace(SILENT, target.version)
        return openSocket(given, target.tls, url, trace)
      },
    }),
  })
  client.on('error', (error) => {
    if (given.values.quiet !== true) console.error(`Error: ${error.message}`)
  })
  if (debug)
    client.on('packet', ({ direction, type, bytes, topic, packetId, reasonCode }) => {
      const id = packetId === undefined ? '' : ` (m${packetId})`
      const code = reasonCode === undefined ? '' : ` reason 0x${reasonCode.toString(16)}`
      const name = topic === undefined ? '' : ` '${topic}'`
      const verb = direction === 'in' ? 'received' : 'sending'
      console.error(`Client ${verb} ${type.toUpperCase()}${id}${name}${code}, ${bytes} bytes`)
    })
  return { client, target, takeIdentifier: () => trace?.takeIdentifier() }
}

const SILENT = {
  showsReceived: false,
  showsSent: false,
  maximumPacketSize: Infinity,
  received: () => {},
  sent: () => {},
}

/** The QoS of an option; 0 where it is not given. */
export function qosOf(given: Given, name = 'qos'): 0 | 1 | 2 {
  return (countOf(given, name, 0, 2) ?? 0) as 0 | 1 | 2
}

function versionOf(text: string | undefined, hasProperties: boolean): 4 | 5 {
  switch (text?.replace(/^mqttv/, '')) {
    case undefined:
      return hasProperties ? 5 : 4
    case '5':
      return 5
    case '4':
    case '311':
    case '3.1.1':
      return 4
    default:
      throw new UsageError(`-V must be 5 or 311, not ${text}`)
  }
}

function clientIdOf(given: Given, version: 4 | 5): string | undefined {
  const id = textOf(given, 'id')
  const prefix = textOf(given, 'id-prefix')
  if (id !== undefined && prefix !== undefined)
    throw new UsageError('-i and -I cannot be given together')
  if (prefix !== undefined) return `${prefix}${process.pid}`
  return id ?? (version === 5 ? undefined : `wasmqtt-${Math.random().toString(36).slice(2, 16)}`)
}

/** Seconds; -1 and ∞: never. */
function expiryOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (text === '-1' || text === '∞') return Infinity
  const seconds = Number(text)
  if (!Number.isInteger(seconds) || seconds < 0)
    throw new UsageError(`-x must be a number of seconds, -1 or ∞, not ${text}`)
  return seconds
}

interface Place {
  url: string
  isSecure: boolean
  username?: string | undefined
  password?: string | undefined
  topic?: string | undefined
}

function placeOf(given: Given): Place {
  const text = textOf(given, 'url')
  if (text !== undefined) return placeOfUrl(text)
  const unix = textOf(given, 'unix')
  if (unix !== undefined) return { url: 'mqtt://unix/', isSecure: false }
  const port = countOf(given, 'port', 1, 65_535)
  const names = ['cafile', 'capath', 'tls-use-os-certs', 'psk', 'cert']
  const isSecure = port === 8883 || names.some((name) => given.values[name] !== undefined)
  const isWebSocket = given.values.ws === true || given.values.path !== undefined
  const scheme = isWebSocket ? (isSecure ? 'wss' : 'ws') : isSecure ? 'mqtts' : 'mqtt'
  const host = textOf(given, 'host') ?? 'localhost'
  const name = isIP(host) === 6 ? `[${host}]` : host
  const path = isWebSocket ? (textOf(given, 'path') ?? '/mqtt').replace(/^\/?/, '/') : '/'
  return { url: `${scheme}://${name}${port === undefined ? '' : `:${port}`}${path}`, isSecure }
}

function placeOfUrl(text: string): Place {
  let url: URL
  try {
    url = new URL(text)
  } catch {
    throw new UsageError('-L must be a URL, as mqtt://user:password@host:1883/topic')
  }
  const scheme = url.protocol.slice(0, -1)
  if (!['mqtt', 'mqtts', 'ws', 'wss'].includes(scheme))
    throw new UsageError(`-L must begin with mqtt, mqtts, ws or wss, not ${scheme}`)
  const username = decodeURIComponent(url.username) || undefined
  const password = decodeURIComponent(url.password) || undefined
  const credentials = { username, password, isSecure: scheme.endsWith('s') && scheme !== 'ws' }
  url.username = url.password = ''
  if (scheme.startsWith('ws')) return { url: url.href, ...credentials }
  const topic = decodeURIComponent(url.pathname.replace(/^\//, '') + url.hash) || undefined
  return { url: `${scheme}://${url.host}/`, topic, ...credentials }
}

// ------------------------------------------------------------------------------------------------ sockets

function openSocket(given: Given, tls: TlsOptions, url: URL, trace: Trace): WebSocketLike {
  const path = textOf(given, 'unix')
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  const isSecure = url.protocol === 'mqtts:'
  const port = Number(url.port || (isSecure ? 8883 : 1883))
  const target =
    path === undefined ? { host, port, localAddress: textOf(given, 'bind-address') } : { path }
  const { socket, opened } = openStream(target, isSecure ? tls : undefined)
  return new DuplexLink(socket, trace, opened)
}

const VERSIONS = { 'tlsv1.1': 'TLSv1.1', 'tlsv1.2': 'TLSv1.2', 'tlsv1.3': 'TLSv1.3' } as const

function tlsOf(given: Given): TlsOptions {
  const read = (name: string): Buffer | undefined => {
    const path = textOf(given, name)
    return path === undefined ? undefined : readFileSync(path)
  }
  const authorities: (string | Buffer)[] = []
  const file = read('cafile')
  if (file !== undefined) authorities.push(file)
  const folder = textOf(given, 'capath')
  if (folder !== undefined)
    for (const name of readdirSync(folder))
      if (name.endsWith('.crt')) authorities.push(readFileSync(join(folder, name)))
  if (given.values['tls-use-os-certs'] === true) authorities.push(...rootCertificates)
  const version = textOf(given, 'tls-version')
  if (version !== undefined && !(version in VERSIONS))
    throw new UsageError(`--tls-version must be one of ${Object.keys(VERSIONS).join(', ')}`)
  const only = VERSIONS[version as keyof typeof VERSIONS]
  const psk = textOf(given, 'psk')
  const alpn = listOf(given, 'tls-alpn')
  const ciphers = textOf(given, 'ciphers')
  const [cert, key] = [read('cert'), read('key')]
  return {
    ...(authorities.length > 0 && { ca: authorities }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    ...(ciphers !== undefined && { ciphers }),
    ...(only !== undefined && { minVersion: only, maxVersion: only }),
    ...(alpn.length > 0 && { ALPNProtocols: [alpn].flat() }),
    ...(given.values.insecure === true && { checkServerIdentity: () => undefined }),
    ...(psk !== undefined && pskOptions(psk, textOf(given, 'psk-identity'))),
  }
}

function pskOptions(hex: string, identity: string | undefined): TlsOptions {
  if (identity === undefined) throw new UsageError('--psk needs --psk-identity')
  return {
    pskCallback: () => ({ psk: Buffer.from(hex, 'hex'), identity }),
    checkServerIdentity: () => undefined,
    ciphers: 'PSK',
    maxVersion: 'TLSv1.2',
  }
}

/** The client's own TLS options, for wss: what it has no option for is a mistake there. */
function webSocketTls({
  ca,
  cert,
  key,
  checkServerIdentity,
}: TlsOptions): NonNullable<ConnectOptions['tls']> {
  const text = (value: unknown): string => [value].flat().map(String).join('\n')
  return {
    ...(ca !== undefined && { ca: text(ca) }),
    ...(cert !== undefined && { cert: text(cert) }),
    ...(key !== undefined && { key: text(key) }),
    ...(checkServerIdentity !== undefined && { rejectUnauthorized: false }),
  }
}
