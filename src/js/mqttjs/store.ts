import type { Packet } from './packets.js'
import { readable } from './readable.js'

/** Options of the Store in memory. */
export interface IStoreOptions {
  /** Whether `close` forgets the packets. Default true. */
  clean?: boolean | undefined
}

/** Called when a Store has done something, with what it found where that was asked for. */
export type StoreCallback = (error?: Error | null, packet?: Packet) => void

/** What can be given as `incomingStore` and `outgoingStore`, by the interface of MQTT.js. */
export interface IStore {
  /** Keeps a packet under its `messageId`, in place of one that is there. */
  put(packet: Packet, callback: (error?: Error) => void): unknown
  /** A readable stream of all packets, in the order in which they were put. */
  createStream(): any
  /** Drops the packet with this `messageId` and calls back with it. */
  del(packet: Pick<Packet, 'messageId'>, callback: StoreCallback): unknown
  /** Calls back with the packet with this `messageId`. */
  get(packet: Pick<Packet, 'messageId'>, callback: StoreCallback): unknown
  /** Called by `end()`. */
  close(callback: (error?: Error) => void): void
}

/** Packets in memory. */
export class Store implements IStore {
  private readonly options: IStoreOptions
  private readonly _inflights = new Map<number | undefined, Packet>()

  /** Makes a store. `clean`: whether `close()` empties it, which is the default. */
  constructor(options?: IStoreOptions) {
    this.options = { clean: true, ...options }
  }

  /** Keeps a packet under its `messageId`, in place of one that is there. */
  put(packet: Packet, callback?: (error?: Error) => void): this {
    this._inflights.set(packet.messageId, packet)
    callback?.()
    return this
  }

  /** A readable stream of all packets, in the order in which they were put. */
  createStream(): any {
    return readable([...this._inflights.values()])
  }

  /** Drops the packet with this `messageId` and calls back with it; with an error if there is none. */
  del(packet: Pick<Packet, 'messageId'>, callback?: StoreCallback): this {
    const found = this._inflights.get(packet.messageId)
    this._inflights.delete(packet.messageId)
    answer(found, callback)
    return this
  }

  /** Calls back with the packet with this `messageId`; with an error if there is none. */
  get(packet: Pick<Packet, 'messageId'>, callback?: StoreCallback): this {
    answer(this._inflights.get(packet.messageId), callback)
    return this
  }

  /** Forgets all packets, unless `clean` is false. */
  close(callback?: (error?: Error) => void): void {
    if (this.options.clean) this._inflights.clear()
    callback?.()
  }
}

function answer(found: Packet | undefined, callback: StoreCallback | undefined): void {
  if (found === undefined) callback?.(new Error('missing packet'))
  else callback?.(null, found)
}
