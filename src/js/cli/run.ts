// What all commands share: how they connect, end, and what they end with.
import type { Client, MqttError } from '../api.js'
import type { Connection } from './connection.js'
import type { Given } from './options.js'

/** What the process ends with. A refused connection ends with what CONNACK said, as in mosquitto: 1 to 5 on 3.1.1, 128 and up on MQTT 5. */
export const EXIT = {
  ok: 0,
  /** Anything that went wrong and is not below. */
  failed: 1,
  /** A mistake on the command line. */
  usage: 2,
  /** There is no connection. */
  noConnection: 14,
  /** The time of -W is over, as in mosquitto. */
  timeout: 27,
  /** Ctrl-C, as shells have it. */
  interrupted: 130,
} as const

/** CONNACK's return codes of 3.1.1, by the reason codes that stand for them. */
const RETURN_CODES: Record<number, number> = { 132: 1, 133: 2, 136: 3, 134: 4, 135: 5 }

/** What an error makes the process end with. */
export function exitCodeOf(error: unknown, version: 4 | 5): number {
  const { code, reasonCode } = error as Partial<MqttError>
  if (code === 'CONNECTION_REFUSED' && reasonCode !== undefined)
    return version === 5 ? reasonCode : (RETURN_CODES[reasonCode] ?? EXIT.failed)
  if (code === 'CONNECTION_FAILED' || code === 'CONNECTION_LOST') return EXIT.noConnection
  return EXIT.failed
}

/**
 * Connects, does `work`, and ends in order; also at Ctrl-C and a TERM signal, which `stop` tells of. Resolves with what the process ends with.
 */
export async function withConnection(
  given: Given,
  { client, target }: Connection,
  work: (client: Client, stop: AbortSignal) => Promise<number | undefined>,
): Promise<number> {
  const stop = new AbortController()
  let signalled = 0
  const onSignal = (): void => {
    // Who asks twice does not want to wait.
    if (signalled++ > 0) process.exit(EXIT.interrupted)
    stop.abort()
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  const isDebug = given.values.debug === true
  client.on('disconnect', ({ message }, willRetry) => {
    if (given.values.quiet !== true)
      console.error(`Connection lost: ${message}${willRetry ? '; connecting again' : ''}`)
  })
  try {
    const { clientId } = await client.connect({ signal: stop.signal })
    if (isDebug) console.error(`Client ${clientId} connected to ${target.url}`)
    const code = await work(client, stop.signal)
    return stop.signal.aborted ? EXIT.interrupted : (code ?? EXIT.ok)
  } catch (error) {
    if (stop.signal.aborted) return EXIT.interrupted
    if (given.values.quiet !== true) console.error(`Error: ${(error as Error).message}`)
    return exitCodeOf(error, target.version)
  } finally {
    const { disconnect } = target.properties
    await client
      .end(
        target.version === 5 && Object.keys(disconnect).length > 0
          ? { properties: disconnect }
          : {},
      )
      .catch(() => {})
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
  }
}

/** Rejects when `stop` is aborted. */
export function stopped(stop: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const fail = (): void => reject(new Error('Interrupted'))
    if (stop.aborted) fail()
    stop.addEventListener('abort', fail)
  })
}

/** A promise, and what settles it. */
export function deferred<T>(): {
  promise: Promise<T>
  resolve: (value: T) => void
  reject: (error: unknown) => void
} {
  let resolve!: (value: T) => void
  let reject!: (error: unknown) => void
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve
    reject = onReject
  })
  // Nobody may be waiting yet.
  promise.catch(() => {})
  return { promise, resolve, reject }
}
