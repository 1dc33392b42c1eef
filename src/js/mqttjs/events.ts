import type { IConnackPacket, IDisconnectPacket, IPublishPacket, Packet } from './packets.js'

/** Events of MqttClient and their arguments. */
export type MqttClientEvents = {
  /** The server has accepted the connection. */
  connect: [packet: IConnackPacket]
  /** A message came. */
  message: [topic: string, payload: Buffer, packet: IPublishPacket]
  /** A packet leaves. */
  packetsend: [packet: Packet]
  /** A packet came. */
  packetreceive: [packet: Packet]
  /** The server sent DISCONNECT (MQTT 5). */
  disconnect: [packet: IDisconnectPacket]
  /** The connection could not be made, or what belongs to no call went wrong. */
  error: [error: Error]
  /** A connection, or the attempt at one, is over. */
  close: []
  /** `end()` is done. */
  end: []
  /** An attempt after the first begins. */
  reconnect: []
  /** The connection is gone and will be tried again. */
  offline: []
}

/** Throws where nothing of this library is on the stack: what listeners and callbacks throw is an uncaught exception, as with any EventEmitter. */
export function uncaught(error: unknown): void {
  queueMicrotask(() => {
    throw error
  })
}
