import { fail, type MQTTError, validate } from './errors.js'
import { Message } from './message.js'

/** What `onSuccess` gets. */
export interface OnSuccess {
  /** As it was given. */
  invocationContext: any
}

/** What `onSuccess` of a subscribe gets. */
export interface OnSubscribeSuccess extends OnSuccess {
  /** The granted QoS of each filter. */
  grantedQos: Uint8Array
}

/** What `onFailure` gets. */
export interface OnFailure extends MQTTError {
  /** As it was given. */
  invocationContext: any
}

/** What `onConnectionLost` gets; `errorCode` 0 after `disconnect()`. */
export interface ConnectionLost extends MQTTError {
  /** The option `reconnect`. */
  reconnect: boolean | undefined
  /** The server of the connection. */
  uri: string
}

/** Options of `connect`. */
export interface ConnectionOptions {
  /** Seconds until the attempt has failed. Default 30. */
  timeout?: number | undefined
  /** The user name. Default: none. */
  userName?: string | undefined
  /** The password. Default: none. */
  password?: string | undefined
  /** Published by the server when the connection breaks. */
  willMessage?: Message | undefined
  /** Seconds. Default 60. */
  keepAliveInterval?: number | undefined
  /** Default true. */
  cleanSession?: boolean | undefined
  /** Default false. */
  useSSL?: boolean | undefined
  /** Handed to the callbacks. */
  invocationContext?: any
  /** Called when the server has accepted. */
  onSuccess?(success: OnSuccess): void
  /** Called when the server has refused, or the time is over. */
  onFailure?(failure: OnFailure): void
  /** Tried one after the other: host names, with as many `ports`, or URIs. */
  hosts?: string[] | undefined
  /** A port for each of `hosts`. */
  ports?: number[] | undefined
  /** Connect again when the connection is lost. Default false. */
  reconnect?: boolean | undefined
  /** 4, which is MQTT 3.1.1. 3 (MQTT 3.1) is refused. */
  mqttVersion?: 3 | 4 | undefined
  /** Set by Paho; no effect. */
  mqttVersionExplicit?: boolean | undefined
  /** Set by Paho; no effect: use `hosts`. */
  uris?: string[] | undefined
}

/** Options of `subscribe`. */
export interface SubscribeOptions {
  /** Default 0. */
  qos?: 0 | 1 | 2 | undefined
  /** Handed to the callbacks. */
  invocationContext?: any
  /** Called when the server has accepted. */
  onSuccess?(success: OnSubscribeSuccess): void
  /** Called when the server has refused, or the time is over. */
  onFailure?(failure: OnFailure): void
  /** Seconds until `onFailure` is called. Needs one. */
  timeout?: number | undefined
}

/** Options of `unsubscribe`. */
export interface UnsubscribeOptions {
  /** Handed to the callbacks. */
  invocationContext?: any
  /** Called when the server has accepted. */
  onSuccess?(success: OnSuccess): void
  /** Called when the server has refused, or the time is over. */
  onFailure?(failure: OnFailure): void
  /** Seconds until `onFailure` is called. Needs one. */
  timeout?: number | undefined
}

const CALL = {
  invocationContext: 'object',
  /** Called when the server has accepted. */
  onSuccess: 'function',
  /** Called when the server has refused, or the time is over. */
  onFailure: 'function',
  timeout: 'number',
}

/** Checks options of `subscribe` and `unsubscribe`. `more`: other names and their types. */
export function checkCall(
  name: string,
  filter: string | string[],
  options: UnsubscribeOptions,
  more: Record<string, string>,
): void {
  if (typeof filter !== 'string' && !Array.isArray(filter))
    throw new Error(`Invalid argument:${filter}`)
  validate(options, { ...more, ...CALL })
  if (options.timeout && !options.onFailure)
    throw new Error(`${name}.timeout specified with no onFailure callback.`)
}

/** The parts of a WebSocket URI. */
export interface UriParts {
  /** The name or address of the host. */
  host: string
  /** The port. */
  port: number
  /** The path, with the query. */
  path: string
}

/** Takes a WebSocket URI apart; undefined if it is none. */
export function parseUri(uri: string): UriParts | undefined {
  const match = /^wss?:\/\/(?:\[(.+)\]|([^/]+?))(?::(\d+))?(\/.*)$/.exec(uri)
  if (match === null) return undefined
  const [, six, name, port, path] = match
  return { host: (six ?? name)!, port: Number.parseInt(port ?? '', 10), path: path! }
}

/** The URI of a host, a port and a path. */
export function uriOf(host: string, port: number, path: string): string {
  const isIPv6 = host.includes(':') && !host.startsWith('[')
  return `ws://${isIPv6 ? `[${host}]` : host}:${port}${path}`
}

/** Checks options of `connect`, and gives the URIs to try. */
export function checkConnect(options: ConnectionOptions, uri: string, path: string): string[] {
  validate(options, {
    ...CALL,
    userName: 'string',
    password: 'string',
    willMessage: 'object',
    keepAliveInterval: 'number',
    cleanSession: 'boolean',
    useSSL: 'boolean',
    hosts: 'object',
    ports: 'object',
    reconnect: 'boolean',
    mqttVersion: 'number',
    mqttVersionExplicit: 'boolean',
    uris: 'object',
  })
  const { mqttVersion, password, userName, willMessage, hosts, ports, useSSL } = options
  if (mqttVersion !== undefined && mqttVersion !== 4)
    fail(
      'invalidArgument',
      `${mqttVersion} (only 4, MQTT 3.1.1, is supported)`,
      'connectOptions.mqttVersion',
    )
  if (password !== undefined && userName === undefined)
    fail('invalidArgument', 'a password without userName', 'connectOptions.password')
  if (willMessage !== undefined) {
    if (!(willMessage instanceof Message))
      fail('invalidType', typeof willMessage, 'connectOptions.willMessage')
    if (willMessage.destinationName === undefined)
      fail('invalidType', 'undefined', 'connectOptions.willMessage.destinationName')
  }
  const uris = hosts === undefined ? [uri] : urisOf(hosts, ports, path)
  return useSSL ? uris.map((each) => each.replace(/^ws:/, 'wss:')) : uris
}

function urisOf(hosts: string[], ports: number[] | undefined, path: string): string[] {
  if (!Array.isArray(hosts) || hosts.length === 0)
    fail('invalidArgument', hosts, 'connectOptions.hosts')
  for (const [at, host] of hosts.entries())
    if (typeof host !== 'string') fail('invalidType', typeof host, `connectOptions.hosts[${at}]`)
  const areUris = hosts.map((host) => parseUri(host) !== undefined)
  const odd = areUris.findIndex((isUri) => isUri !== areUris[0])
  if (odd >= 0) fail('invalidArgument', hosts[odd], `connectOptions.hosts[${odd}]`)
  if (areUris[0]) return hosts
  if (!Array.isArray(ports) || ports.length !== hosts.length)
    fail('invalidArgument', ports, 'connectOptions.ports')
  return hosts.map((host, at) => {
    const port = ports[at]
    if (typeof port !== 'number' || port < 0)
      fail('invalidType', typeof port, `connectOptions.ports[${at}]`)
    return uriOf(host, port, path)
  })
}
