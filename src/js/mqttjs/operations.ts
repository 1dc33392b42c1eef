// Calls of the application from when they are made until they are answered, whichever client of the core they are handed to.
import type { Client, MqttError } from '../api.js'
import { callError } from './errors.js'
import type { IMessageIdProvider } from './message-ids.js'
import { publishOptions } from './options.js'
import type { IPublishPacket, Packet } from './packets.js'
import type { IStore } from './store.js'

/** Called when a call is answered. */
export type Answer = (error: Error | null, packet?: Packet) => void

/** A publish of QoS 1 or 2, a subscribe or an unsubscribe. */
export interface Operation {
  /** What was called. */
  cmd: 'publish' | 'subscribe' | 'unsubscribe'
  /** Whether it ends with its connection where there is no other one: publishes do not. */
  volatile: boolean
  /** As the application sees it. */
  packet: Packet
  /** Called with the answer. */
  cb: Answer
  /** Hands it to a client of the core. @internal */
  run(core: Client): void
  /** Withdraws a publish. @internal */
  withdrawal?: Withdrawal | undefined
}

/** As much of an AbortSignal as the core needs. One of the platform's for each message would take longer than the message. */
class Withdrawal {
  aborted = false
  reason: unknown
  #listener: (() => void) | undefined

  addEventListener(_event: 'abort', listener: () => void): void {
    this.#listener = listener
  }

  removeEventListener(): void {
    this.#listener = undefined
  }

  abort(): void {
    this.aborted = true
    this.#listener?.()
  }
}

/** What waits for a connection, as `client.queue` shows it. */
export interface Queued {
  /** As the application sees it. */
  packet: Packet
  /** Called with the answer. */
  cb: Answer
}

/** What the operations need of their client. */
export interface OperationsHost {
  /** Gives the calls their numbers. */
  readonly messageIdProvider: IMessageIdProvider
  /** Keeps publishes of QoS 1 and 2. */
  readonly outgoingStore: IStore
  /** Whether a publish that the core gave up with this error waits for the next client of the core. */
  survives(error: MqttError): boolean
  /** Emits 'error'. */
  fail(error: Error): void
}

const LARGEST_ID = 0xffff

/** The calls without an answer, and the order in which they reach the core. */
export class Operations {
  /** By number. */
  outgoing: Record<number, Operation> = {}
  readonly #host: OperationsHost
  #core: Client | undefined
  /** For the next client of the core, in order. */
  #waiting: Array<(core: Client) => void> = []
  /** Calls that wait for a free number. */
  readonly #blocked: Array<() => boolean> = []

  /** Makes the list of a client's calls, which is empty. */
  constructor(host: OperationsHost) {
    this.#host = host
  }

  /** Whether there is a client of the core, and the store is read. */
  get isReady(): boolean {
    return this.#core !== undefined
  }

  /** Hands what waits to the core's client, and from now on what comes. */
  begin(core: Client): void {
    this.#core = core
    for (const run of this.#waiting.splice(0)) run(core)
  }

  /** What comes waits for the next client of the core. */
  pause(): void {
    this.#core = undefined
  }

  /** Does something with the core's client, when there is one. */
  work(run: (core: Client) => void): void {
    if (this.#core !== undefined) run(this.#core)
    else this.#waiting.push(run)
  }

  /** Gives a call its number, when there is a free one. */
  number(start: (messageId: number) => void): void {
    const attempt = (): boolean => {
      const { messageIdProvider } = this.#host
      let id = messageIdProvider.allocate()
      for (let tries = 0; id !== null && this.outgoing[id] !== undefined; tries++) {
        if (tries > LARGEST_ID) return false
        id = messageIdProvider.allocate()
      }
      if (id === null) return false
      start(id)
      return true
    }
    if (this.#blocked.length > 0 || !attempt()) this.#blocked.push(attempt)
  }

  /** A publish of QoS 1 or 2: it is stored, then handed to the core. */
  publish(
    packet: IPublishPacket,
    messageId: number,
    cb: Answer,
    onStored: (() => void) | undefined,
  ): void {
    const operation = this.#publishing(packet, messageId, cb)
    this.#host.outgoingStore.put(packet, (error) => {
      if (error) {
        this.#forget(messageId)
        cb(error)
        return
      }
      onStored?.()
      if (this.outgoing[messageId] === operation) this.work(operation.run)
    })
  }

  /** A subscribe or unsubscribe. `run` hands it to the core, and calls `answer` with what comes of it. */
  call(
    cmd: 'subscribe' | 'unsubscribe',
    packet: Packet,
    messageId: number,
    cb: Answer,
    run: (core: Client, answer: Answer) => void,
  ): void {
    const operation: Operation = {
      cmd,
      volatile: true,
      packet,
      cb,
      run: (core) =>
        run(core, (error, result) => {
          if (this.outgoing[messageId] !== operation) return
          this.#forget(messageId)
          cb(error, result)
        }),
    }
    this.outgoing[messageId] = operation
    this.work(operation.run)
  }

  /** Ends the subscribes and unsubscribes that have no answer: their connection is gone, and there is no other one. */
  endVolatile(): void {
    for (const [id, operation] of Object.entries(this.outgoing)) {
      if (!operation.volatile) continue
      this.#forget(Number(id))
      operation.cb(new Error('Connection closed'))
    }
  }

  /** Withdraws a call. Its answer is an error. */
  remove(messageId: number): void {
    const operation = this.outgoing[messageId]
    if (operation === undefined) return
    delete this.outgoing[messageId]
    this.#unwait(operation)
    const removed = (): void => {
      this.#free(messageId)
      operation.withdrawal?.abort()
      operation.cb(new Error('Message removed'))
    }
    if (operation.cmd === 'publish') this.#host.outgoingStore.del({ messageId }, removed)
    else removed()
  }

  /** Reads what an earlier client or run left in the store: it goes to the core before what was called since. */
  restore(done: () => void): void {
    const stored: Packet[] = []
    let isDone = false
    const finish = (): void => {
      if (isDone) return
      isDone = true
      const restored = stored.flatMap((packet) => this.#restored(packet) ?? [])
      this.#waiting = [...restored, ...this.#waiting]
      done()
    }
    const stream = this.#host.outgoingStore.createStream()
    stream.on('data', (packet: Packet) => stored.push(packet))
    stream.on('error', (error: Error) => {
      this.#host.fail(error)
      finish()
    })
    stream.on('end', finish)
  }

  #restored(packet: Packet): ((core: Client) => void) | undefined {
    const messageId = packet.messageId!
    const known = this.outgoing[messageId]
    if (known !== undefined) {
      // It waits already, in another place perhaps.
      this.#unwait(known)
      return known.run
    }
    if (packet.cmd === 'publish') {
      this.#host.messageIdProvider.register(messageId)
      return this.#publishing(packet, messageId, () => {}).run
    }
    this.#host.fail(
      new Error(
        `The store holds the ${packet.cmd} of message ${messageId}, which only the client that began it can complete`,
      ),
    )
    return undefined
  }

  #publishing(packet: IPublishPacket, messageId: number, cb: Answer): Operation {
    const withdrawal = new Withdrawal()
    const operation: Operation = {
      cmd: 'publish',
      volatile: false,
      packet,
      cb,
      withdrawal,
      run: (core) => {
        const options = publishOptions(packet)
        options.signal = withdrawal as unknown as AbortSignal
        core.publish(packet.topic, packet.payload, options, (error) => {
          if (this.outgoing[messageId] !== operation) return
          if (error !== null && this.#host.survives(error)) this.#waiting.push(operation.run)
          else this.#published(operation, messageId, error)
        })
      },
    }
    this.outgoing[messageId] = operation
    return operation
  }

  #published({ packet, cb }: Operation, messageId: number, error: MqttError | null): void {
    delete this.outgoing[messageId]
    this.#host.outgoingStore.del({ messageId }, (failed, stored) => {
      this.#free(messageId)
      if (error === null) return cb(failed ?? null, stored ?? packet)
      const cmd = (packet as IPublishPacket).qos === 1 ? 'puback' : 'pubrec'
      const { reasonCode } = error
      cb(callError(error), { cmd, messageId, ...(reasonCode !== undefined && { reasonCode }) })
    })
  }

  #unwait({ run }: Operation): void {
    this.#waiting = this.#waiting.filter((each) => each !== run)
  }

  #forget(messageId: number): void {
    delete this.outgoing[messageId]
    this.#free(messageId)
  }

  #free(messageId: number): void {
    this.#host.messageIdProvider.deallocate(messageId)
    while (this.#blocked.length > 0 && this.#blocked[0]!()) this.#blocked.shift()
  }
}
