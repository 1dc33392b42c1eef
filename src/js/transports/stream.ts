// Sockets of node:net and node:tls, for mqtt: URLs, `wasmqtt/mqttjs` and the command line alike.

import { connect, isIP, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'

/** Where to connect: a host and a port, or the path of a socket of the system. */
export type StreamTarget =
  | { host: string; port: number; localAddress?: string | undefined }
  | { path: string }

/** A socket that is being opened. */
export interface OpeningStream {
  socket: Socket
  /** The event that says that bytes can be sent. */
  opened: 'connect' | 'secureConnect'
}

/** Opens a socket, with TLS where there are options for it. A packet that is written leaves at once. */
export function openStream(target: StreamTarget, tls?: ConnectionOptions): OpeningStream {
  const socket = tls === undefined ? connect(target) : connectTls(secured(target, tls))
  socket.setNoDelay(true)
  return { socket, opened: tls === undefined ? 'connect' : 'secureConnect' }
}

function secured(target: StreamTarget, tls: ConnectionOptions): ConnectionOptions {
  const host = 'host' in target ? target.host : (tls.host ?? '')
  // An address is no name for Server Name Indication, RFC 6066, section 3.
  return { ...tls, ...target, servername: tls.servername ?? (isIP(host) ? '' : host) }
}
