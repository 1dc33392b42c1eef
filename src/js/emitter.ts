import { type AnyMqttError, mqttError } from './errors.js'
import type { ClientEvents } from './types/events.js'
import { isThenable, oneOf } from './validate.js'

type Listener = ((...args: any[]) => unknown) & { once?: Listener }
type Name = keyof ClientEvents
/** What a function of the application was called for. */
type Place = { topic?: string; filter: string | undefined }

export const listenerOf = (event: Name) => `the listener of '${event}' threw`

const EVENTS = [
  'connect',
  'disconnect',
  'reconnecting',
  'message',
  'error',
  'close',
  'state',
  'packet',
] as const

/** The name of an event. Throws where there is no such event. */
export const eventName = (event: Name): Name => oneOf(event, 'event', EVENTS)

/** Emits a client's events, among them what the application's own functions throw. */
export class Emitter {
  #reported: AnyMqttError | undefined
  readonly #listeners: { [E in Name]?: readonly Listener[] | undefined } = {}

  /** The listeners of an event; undefined while there are none. */
  get(event: Name): readonly Listener[] | undefined {
    return this.#listeners[event]
  }

  add(event: Name, listener: Listener): void {
    // Not by a spread, which leaves room for more.
    this.#listeners[event] = (this.#listeners[event] ?? []).concat(listener)
  }

  remove(event: Name, listener: Listener): void {
    const listeners = this.#listeners[event] ?? []
    const index = listeners.findIndex((each) => each === listener || each.once === listener)
    if (index < 0) return
    this.#listeners[event] =
      listeners.length > 1 ? listeners.filter((_, at) => at !== index) : undefined
  }

  once(event: Name, listener: Listener): void {
    const wrapper: Listener = (...args) => {
      this.remove(event, wrapper)
      return listener(...args)
    }
    wrapper.once = listener
    this.add(event, wrapper)
  }

  emit<E extends Name>(event: E, ...args: ClientEvents[E]): void {
    const listeners = this.#listeners[event]
    if (listeners !== undefined)
      for (const listener of listeners) this.run(listenerOf(event), () => listener(...args))
    else if (event === 'error') console.error(args[0])
  }

  /** Emits 'error' for a call whose failure nobody has observed, once where several calls fail of the same error. */
  report(error: AnyMqttError): void {
    if (error !== this.#reported) this.emit('error', error)
    this.#reported = error
  }

  /** Calls a function of the application. What it throws, or its promise rejects with, is emitted as 'error'. */
  run(what: string, call: () => unknown, of?: Place): void {
    try {
      this.watch(what, call(), of)
    } catch (cause) {
      this.failed(what, cause, of)
    }
  }

  /** Emits as 'error' what a promise rejects with that a function of the application returned. */
  watch(what: string, returned: unknown, of?: Place): void {
    if (isThenable(returned)) returned.then(undefined, (cause) => this.failed(what, cause, of))
  }

  /** Emits what a function of the application threw as 'error'. */
  failed(what: string, cause: unknown, of?: Place): void {
    const error = mqttError({ code: 'HANDLER_FAILED', what, cause, ...of })
    // A listener of 'error' that throws must not be called with its own error again and again.
    if (what === listenerOf('error')) console.error(error)
    else this.emit('error', error)
  }
}
