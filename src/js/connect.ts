import { Client, emitterOf } from './client.js'
import { Emitter } from './emitter.js'
import { type AnyMqttError, mqttError } from './errors.js'
import { Pending } from './pending.js'
import type { Callback } from './types/calls.js'
import type { BrokerUrl, ConnectOptions } from './types/connecting.js'
import * as validate from './validate.js'

/**
 * Creates a client and connects it. Resolves with the client on the first successful CONNACK. A client that could not connect is ended.
 *
 * @throws InvalidArgumentError, NotSupportedError, ConnectError, AuthenticationError, StoreError, AbortError
 * @example
 * const client = await connect('wss://example.org/mqtt')
 */
export function connect(url: BrokerUrl, options?: ConnectOptions): Promise<Client>
/** Creates a client and connects it, and calls back instead of returning a promise. */
export function connect<C extends Callback<Client>>(
  url: BrokerUrl,
  options: ConnectOptions | undefined,
  callback: C,
): void
export function connect(
  url: BrokerUrl,
  options?: ConnectOptions,
  callback?: Callback<Client>,
): Promise<Client> | void {
  try {
    if (callback !== undefined) validate.func(callback, 'callback')
    const { signal } = options ?? {}
    if (signal?.aborted) throw mqttError({ code: 'ABORTED', cause: signal.reason })
    const client = new Client(url, options)
    const pending = new Pending(emitterOf(client), client)
    const token = pending.next
    client.connect().then(
      () => pending.resolve(token, client),
      (error) => {
        client.end({ force: true }).catch(() => {})
        pending.reject(token, error)
      },
    )
    return pending.take(callback)
  } catch (error) {
    return new Pending(new Emitter(), { state: 'idle' }).refuse(error as AnyMqttError, callback)
  }
}
