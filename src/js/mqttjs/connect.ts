import { MqttClient } from './client.js'
import type { IClientOptions, MqttProtocol } from './options.js'
import { checkOptions } from './options.js'
import { hasPage, openSocket, protocols } from './sockets.js'

/** What MQTT.js makes of the protocols when the options have a client certificate and its key. */
const SECURE: Record<string, MqttProtocol> = {
  mqtt: 'mqtts',
  mqtts: 'mqtts',
  tcp: 'mqtts',
  ssl: 'ssl',
  tls: 'tls',
  ws: 'wss',
  wss: 'wss',
}

/**
 * Connects to the server at a URL: `mqtt:`, `tcp:` (1883), `mqtts:`, `ssl:`, `tls:` (8883), `ws:` (80), `wss:` (443), each with `+unix` for the
 * path of a Unix socket; in browsers `ws:` and `wss:`. Options come before what the URL says. Throws for a protocol that is missing or not
 * supported, and for options that cannot be used.
 */
export function connect(url: string, options?: IClientOptions): MqttClient
/** Connects to the server that the options name. */
export function connect(options: IClientOptions): MqttClient
export function connect(url: string | IClientOptions, options?: IClientOptions): MqttClient {
  const settings =
    typeof url === 'string' ? withUrl(url, options ?? {}) : { target: options ?? url }.target
  settings.unixSocket = settings.unixSocket || Boolean(settings.protocol?.includes('+unix'))
  settings.protocol = settings.protocol?.replace('+unix', '').replace(/:$/, '') as
    | MqttProtocol
    | undefined
  if (!settings.unixSocket && !settings.protocol?.startsWith('ws')) delete settings.path
  readCredentials(settings)
  if (typeof settings.query?.clientId === 'string') settings.clientId = settings.query.clientId
  if (settings.socksProxy === undefined && !settings.unixSocket && typeof process !== 'undefined')
    settings.socksProxy = process.env?.MQTTJS_SOCKS_PROXY
  checkOptions(settings)
  chooseProtocol(settings)
  if (settings.clean === false && !settings.clientId)
    throw new Error('Missing clientId for unclean clients')
  settings.defaultProtocol = settings.protocol

  const client = new MqttClient((client) => {
    chooseServer(client, settings)
    return openSocket(settings, client.tracing, (url) =>
      settings.transformWsUrl === undefined ? url : settings.transformWsUrl(url, settings, client),
    )
  }, settings)
  // As MQTT.js: an error that nobody listens for does not end the process.
  client.on('error', () => {})
  return client
}

/**
 * As `connect`. Resolves with the client once it is connected, or ended; rejects with its first error, and ends it then. `allowRetries` false:
 * rejects also when the first attempt fails without an error.
 */
export function connectAsync(
  url: string,
  options?: IClientOptions,
  allowRetries?: boolean,
): Promise<MqttClient>
/** Connects to the server that the options name. */
export function connectAsync(options: IClientOptions): Promise<MqttClient>
export function connectAsync(
  url: string | IClientOptions,
  options?: IClientOptions,
  allowRetries = true,
): Promise<MqttClient> {
  return new Promise((resolve, reject) => {
    const client = connect(url as string, options)
    const settle = (work: () => void): void => {
      client.off('connect', succeed)
      client.off('end', succeed)
      client.off('error', fail)
      client.off('close', giveUp)
      work()
    }
    const succeed = () => settle(() => resolve(client))
    const fail = (error: Error) =>
      settle(() => {
        client.end()
        reject(error)
      })
    const giveUp = () => fail(new Error("Couldn't connect to server"))
    client.on('connect', succeed)
    client.on('end', succeed)
    client.on('error', fail)
    if (!allowRetries) client.on('close', giveUp)
  })
}

/** What the URL says, below what the options say. */
function withUrl(url: string, options: IClientOptions): IClientOptions {
  const [, scheme] = /^([a-z][a-z0-9+.-]*):\/\//i.exec(url) ?? []
  if (scheme === undefined) {
    if (!hasPage || !url.startsWith('/') || typeof location === 'undefined') {
      if (options.protocol === undefined) throw new Error('Missing protocol')
      return withUrl(`${options.protocol}://${url.replace(/^\/\//, '')}`, options)
    }
    return { protocol: location.protocol === 'https:' ? 'wss' : 'ws', path: url, ...options }
  }
  const protocol = scheme.toLowerCase() as MqttProtocol
  if (protocol.endsWith('+unix'))
    return { protocol, path: url.slice(url.indexOf('//') + 2), ...options }
  // Of a scheme that URL knows, so that the host is read as one everywhere.
  const parsed = new URL(url.replace(/^[^:]+/, 'http'))
  const withPath = url.slice(url.indexOf('//') + 2).search(/[/?]/) >= 0
  const own: IClientOptions = {
    protocol,
    host: parsed.hostname.replace(/^\[(.*)]$/, '$1') || undefined,
    path: withPath ? parsed.pathname + parsed.search : undefined,
    query: Object.fromEntries(parsed.searchParams),
  }
  // `http:` leaves out its own port.
  const [, port] = /^[^/]*\/\/[^/?#]*:(\d+)(?:[/?#]|$)/.exec(url) ?? []
  if (port !== undefined) own.port = Number(port)
  if (parsed.username || parsed.password)
    own.auth = `${decodeURIComponent(parsed.username)}:${decodeURIComponent(parsed.password)}`
  return { ...own, ...options }
}

function readCredentials(settings: IClientOptions): void {
  const { auth } = settings
  if (!auth) return
  const colon = auth.indexOf(':')
  const username = colon < 0 ? auth : auth.slice(0, colon)
  const password = colon < 0 ? '' : auth.slice(colon + 1)
  settings.username = username
  if (password !== '') settings.password = password
}

function chooseProtocol(settings: IClientOptions): void {
  const { protocol } = settings
  if (settings.cert && settings.key) {
    if (protocol === undefined) throw new Error('Missing secure protocol key')
    const secure = SECURE[protocol]
    if (secure === undefined)
      throw new Error(`Unknown protocol for secure connection: "${protocol}"!`)
    settings.protocol = secure
  }
  if (settings.protocol === undefined) settings.protocol = protocols[0] as MqttProtocol
  else if (!protocols.includes(settings.protocol))
    throw new Error(
      `wasmqtt/mqttjs: ${settings.protocol}: is not supported on this runtime. Use one of ${protocols.join(', ')}.`,
    )
}

/** The next of `servers`, into the options. */
function chooseServer(client: MqttClient, settings: IClientOptions): void {
  const { servers } = settings
  if (!servers?.length) return
  const server = servers[client._reconnectCount % servers.length]!
  client._reconnectCount = (client._reconnectCount % servers.length) + 1
  settings.host = settings.hostname = server.host
  settings.port = server.port
  settings.protocol = server.protocol ?? settings.defaultProtocol
}
