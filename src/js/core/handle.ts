import type { Core, CoreHost, Leaves } from '#glue'
import { type AnyMqttError, MqttError, mistake, mqttError } from '../errors.js'
import { freeLater, leave, makeCore, type Tenant, trap } from './instance.js'

/** One client's core, and what becomes of it: it is there until the client closes, or until the instance under it traps. */
export class CoreHandle implements Tenant {
  /** Undefined when the client is closed. */
  core: Core | undefined
  /** Whether the client is ending. */
  ending = false
  /** Whether the instance trapped. */
  evicted = false
  /** Why the client is closed, where it was not by end(). */
  #fatal: AnyMqttError | undefined
  readonly #owner: Tenant

  /** `owner`: it is told when the instance trapped. */
  constructor(owner: Tenant) {
    this.#owner = owner
  }

  /** Makes the core. Throws what is wrong with the options. */
  make(host: CoreHost, options: Leaves): void {
    this.core = makeCore(this, host, options)
  }

  /** The core, for a call of the application. Throws where the client is closed. */
  open(): Core {
    if (this.core !== undefined && !this.ending) return this.core
    throw this.ended()
  }

  /** Why calls are refused now. */
  ended(): AnyMqttError {
    return this.evicted ? this.#fatal! : closedError(this.#fatal)
  }

  /** Calls the core where only a trap can go wrong. It does nothing when the client is closed. */
  run(call: (core: Core) => void): void {
    if (this.core === undefined) return
    try {
      call(this.core)
    } catch (thrown) {
      this.trap(thrown)
    }
  }

  /** Calls the core for a caller who may have made a mistake, which is thrown. */
  try(call: (core: Core) => void): void {
    try {
      call(this.open())
    } catch (thrown) {
      throw this.fault(thrown)
    }
  }

  /** What a call threw, as an error for its caller. */
  fault(thrown: unknown): AnyMqttError {
    return thrown instanceof MqttError
      ? (thrown as AnyMqttError)
      : (mistake(thrown) ?? this.trap(thrown))
  }

  /** The instance trapped, now or before. */
  trap(thrown: unknown): AnyMqttError {
    return this.evicted ? this.#fatal! : trap(thrown)
  }

  /** Lets go of the core: the client is closed. */
  close(error: AnyMqttError | undefined): void {
    this.#fatal = error
    const { core } = this
    this.core = undefined
    leave(this)
    if (core !== undefined) freeLater(core)
  }

  evict(error: AnyMqttError): void {
    this.#fatal = error
    this.evicted = true
    this.core = undefined
    this.#owner.evict(error)
  }
}

/** The error of calls that come after the client's end, or that its end cut off. */
export function closedError(cause?: AnyMqttError): AnyMqttError {
  return mqttError({ code: 'CLOSED', what: 'the client is closed', cause })
}
