// Which socket a protocol means, in browsers, their workers, and other runtimes with a WebSocket of their own.
import { type AnyWebSocket, type Link, type Trace, WebSocketLink } from './links.js'
import { type IClientOptions, isIPv6 } from './options.js'

/** Where `host` is not given. */
export const defaultHost: string | undefined =
  typeof location === 'undefined' ? undefined : location.hostname

/** Protocols that `connect` takes on this runtime. */
export const protocols: readonly string[] = ['ws', 'wss']

/** Whether a URL without host and protocol means the page's own server. */
export const hasPage = true

/** Opens the socket of one attempt. `transform` is `transformWsUrl`, with its client. */
export function openSocket(
  options: IClientOptions,
  trace: Trace,
  transform: (url: string) => string,
): Link {
  return openWebSocket(options, trace, transform)
}

/** Opens a WebSocket of the platform, or the one that `createWebsocket` makes. */
export function openWebSocket(
  options: IClientOptions,
  trace: Trace,
  transform: (url: string) => string,
): Link {
  const url = transform(webSocketUrl(options))
  const subprotocols = ['mqtt']
  const socket: AnyWebSocket =
    options.createWebsocket === undefined
      ? (new WebSocket(url, subprotocols) as AnyWebSocket)
      : options.createWebsocket(url, subprotocols, options)
  return new WebSocketLink(url, socket, trace)
}

/** Fills in what the options leave out, as MQTT.js does, and makes the URL of them. */
export function webSocketUrl(options: IClientOptions): string {
  options.hostname ??= options.host ?? defaultHost
  if (!options.hostname) throw new Error('Could not determine host. Specify host manually.')
  options.port ||= options.protocol === 'wss' ? 443 : 80
  options.path ||= '/'
  const { protocol, hostname, port, path } = options
  return `${protocol}://${isIPv6(hostname) ? `[${hostname}]` : hostname}:${port}${path}`
}
