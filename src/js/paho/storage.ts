// Messages that wait for their acknowledgement, in localStorage, in the form in which Paho keeps them.
import type { QoS } from '../api.js'
import { Message } from './message.js'

/** PUBLISH, as a packet type. */
const PUBLISH = 3

interface Stored {
  type: number
  messageIdentifier: number
  version: number
  sequence?: number | undefined
  payloadMessage: {
    payloadHex: string
    qos: QoS
    destinationName: string
    duplicate?: boolean | undefined
    retained?: boolean | undefined
  }
}

/** A message with its number in the storage. */
export interface Kept {
  id: number
  sequence: number
  message: Message
}

/** Where there is no localStorage, or none that can be used, state lives as long as the page or process, as in Paho. */
const inMemory = new Map<string, string>()

function storage(): Storage | undefined {
  try {
    return globalThis.localStorage
  } catch {
    return undefined
  }
}

function keys(): string[] {
  const local = storage()
  if (local === undefined) return [...inMemory.keys()]
  return Array.from({ length: local.length }, (_, at) => local.key(at)!)
}

const read = (key: string): string | null =>
  storage() === undefined ? (inMemory.get(key) ?? null) : storage()!.getItem(key)

function write(key: string, value: string): void {
  const local = storage()
  if (local === undefined) inMemory.set(key, value)
  else local.setItem(key, value)
}

function remove(key: string): void {
  const local = storage()
  if (local === undefined) inMemory.delete(key)
  else local.removeItem(key)
}

/** The stored messages of one client. */
export class MessageStorage {
  readonly #name: string

  /** Messages are found by host, port, path and client identifier. */
  constructor(host: string, port: number, path: string, clientId: string) {
    this.#name = `${host}:${port}${path === '/mqtt' ? '' : `:${path}`}:${clientId}:`
  }

  /** Keeps a message that is sent. */
  put({ id, sequence, message }: Kept): void {
    const { qos, destinationName, retained } = message
    const stored: Stored = {
      type: PUBLISH,
      messageIdentifier: id,
      version: 1,
      sequence,
      payloadMessage: {
        payloadHex: hexOf(message.payloadBytes),
        qos,
        destinationName,
        ...(retained && { retained }),
      },
    }
    write(this.#key('Sent', id), JSON.stringify(stored))
  }

  /** Forgets a message that was sent. */
  delete(id: number): void {
    remove(this.#key('Sent', id))
  }

  /** Messages that were sent and not acknowledged, in order. */
  sent(): Kept[] {
    return this.#all('Sent').sort((a, b) => a.sequence - b.sequence)
  }

  /** QoS 2 messages that an earlier Paho had received and not shown yet; they are taken out. */
  takeReceived(): Kept[] {
    const kept = this.#all('Received')
    for (const { id } of kept) remove(this.#key('Received', id))
    return kept
  }

  /** Forgets all. */
  clear(): void {
    for (const key of keys())
      if (key.startsWith(`Sent:${this.#name}`) || key.startsWith(`Received:${this.#name}`))
        remove(key)
  }

  #key(kind: 'Sent' | 'Received', id: number): string {
    return `${kind}:${this.#name}${id}`
  }

  #all(kind: 'Sent' | 'Received'): Kept[] {
    const prefix = `${kind}:${this.#name}`
    return keys()
      .filter((key) => key.startsWith(prefix))
      .flatMap((key) => parsed(read(key)) ?? [])
  }
}

/** Undefined for what is not such a message: something else may have the key. */
function parsed(value: string | null): Kept | undefined {
  try {
    const { messageIdentifier, sequence = 0, payloadMessage } = JSON.parse(value!) as Stored
    const message = new Message(bytesOf(payloadMessage.payloadHex))
    message.destinationName = payloadMessage.destinationName
    message.qos = payloadMessage.qos
    message.retained = payloadMessage.retained ?? false
    return { id: messageIdentifier, sequence, message }
  } catch {
    return undefined
  }
}

function hexOf(payload: ArrayBuffer | ArrayBufferView): string {
  const bytes =
    payload instanceof ArrayBuffer
      ? new Uint8Array(payload)
      : new Uint8Array(payload.buffer, payload.byteOffset, payload.byteLength)
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from({ length: hex.length / 2 }, (_, at) =>
    Number.parseInt(hex.slice(2 * at, 2 * at + 2), 16),
  )
}
