// Messages on their way to the application, where it has a say in their acknowledgement.
import type { Message } from '../api.js'
import type { AckHandler } from './options.js'
import type { IPublishPacket } from './packets.js'

/** What the inbox needs of its client. */
export interface InboxHost {
  /** Emits 'message'. */
  show(packet: IPublishPacket): void
  /** Emits 'error'. */
  fail(error: Error): void
  /** The client's `handleMessage`. */
  handle(packet: IPublishPacket, callback: (error?: Error | null) => void): void
  /** `customHandleAcks`, where there is one and the connection is of MQTT 5. */
  readonly decide: AckHandler | undefined
  /** Whether a message can be refused: on MQTT 5. */
  readonly canRefuse: boolean
  /** Stops or resumes reading from the socket. */
  pause(paused: boolean): void
}

interface Arrived {
  packet: IPublishPacket
  /** The message once for each subscription that acknowledges by hand. */
  holds: Message[]
}

/** Messages that wait: above `MANY` the socket is not read, until there are `FEW`. */
const MANY = 1_000
const FEW = 100
const UNSPECIFIED_ERROR = 0x80
/** What a message can be acknowledged with. MQTT 5, 3.4.2.1. */
const ACKNOWLEDGEMENTS = [0, 16, 128, 131, 135, 144, 145, 151, 153]

/** Hands messages to `customHandleAcks` and `handleMessage` one at a time, and acknowledges them with what comes of it. */
export class Inbox {
  readonly #host: InboxHost
  #holds: Message[] = []
  #arrived: Arrived[] = []
  #isBusy = false
  #isPaused = false

  constructor(host: InboxHost) {
    this.#host = host
  }

  /** The handler of every subscription: the core calls them before it shows the message. */
  readonly hold = (message: Message): void => {
    this.#holds.push(message)
  }

  /** Takes the message that the handlers were called for. */
  add(packet: IPublishPacket): void {
    this.#arrived.push({ packet, holds: this.#holds.splice(0) })
    if (!this.#isPaused && this.#arrived.length > MANY) this.#pause(true)
    if (!this.#isBusy) this.#work()
  }

  /** The connection is gone: the server sends again what was not acknowledged. */
  drop(): void {
    this.#holds = []
    this.#isPaused = false
    this.#arrived = this.#arrived.filter(({ packet }) => packet.qos === 0)
  }

  #pause(paused: boolean): void {
    this.#isPaused = paused
    this.#host.pause(paused)
  }

  /** Without recursion where the application calls back at once. */
  #work(): void {
    for (let isDone = true; isDone; ) {
      const arrived = this.#arrived.shift()
      this.#isBusy = arrived !== undefined
      if (this.#isPaused && this.#arrived.length <= FEW) this.#pause(false)
      if (arrived === undefined) return
      let isSync = true
      isDone = false
      this.#decide(arrived, () => {
        if (isSync) isDone = true
        else this.#work()
      })
      isSync = false
    }
  }

  #decide({ packet, holds }: Arrived, done: () => void): void {
    const host = this.#host
    let isAnswered = false
    const answer = (code: number): void => {
      if (isAnswered) return
      isAnswered = true
      for (const hold of holds) hold.ack(code)
      done()
    }
    const refuse = (error: Error): void => {
      host.fail(error)
      answer(host.canRefuse ? UNSPECIFIED_ERROR : 0)
    }
    const { decide } = host
    if (decide === undefined || packet.qos === 0) {
      this.#handle(packet, 0, answer, refuse)
      return
    }
    decide(packet.topic, packet.payload as Buffer, packet, (error, code = 0) => {
      if (isAnswered) return
      if (error && typeof error !== 'number') return refuse(error)
      const chosen = typeof error === 'number' ? error : code
      if (ACKNOWLEDGEMENTS.includes(chosen)) this.#handle(packet, chosen, answer, refuse)
      else refuse(new Error(`Wrong reason code for ${packet.qos === 1 ? 'puback' : 'pubrec'}`))
    })
  }

  #handle(
    packet: IPublishPacket,
    code: number,
    answer: (code: number) => void,
    refuse: (error: Error) => void,
  ): void {
    if (code === 0) this.#host.show(packet)
    this.#host.handle(packet, (error) => (error ? refuse(error) : answer(code)))
  }
}
