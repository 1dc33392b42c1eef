import type { MqttError } from '../api.js'

/** Paho's errors: their codes and texts. */
export const errors = {
  /** No error. */
  ok: [0, 'AMQJSC0000I OK.'],
  /** No CONNACK in time. */
  connectTimeout: [1, 'AMQJSC0001E Connect timed out.'],
  /** No SUBACK in time. */
  subscribeTimeout: [2, 'AMQJS0002E Subscribe timed out.'],
  /** No UNSUBACK in time. */
  unsubscribeTimeout: [3, 'AMQJS0003E Unsubscribe timed out.'],
  /** No PINGRESP in time. */
  pingTimeout: [4, 'AMQJS0004E Ping timed out.'],
  /** What no other error fits. */
  internalError: [5, 'AMQJS0005E Internal error. Error Message: {0}.'],
  /** The server refused the connection. */
  connackReturnCode: [6, 'AMQJS0006E Bad Connack return code:{0} {1}.'],
  /** The WebSocket failed. */
  socketError: [7, 'AMQJS0007E Socket error:{0}.'],
  /** The WebSocket was closed. */
  socketClose: [8, 'AMQJS0008I Socket closed.'],
  /** A text is not UTF-8. */
  malformedUtf: [9, 'AMQJS0009E Malformed UTF data.'],
  /** The client is in no state for this call. */
  invalidState: [11, 'AMQJS0011E Invalid state {0}.'],
  /** An argument has another type. */
  invalidType: [12, 'AMQJS0012E Invalid type {0} for {1}.'],
  /** An argument cannot be used. */
  invalidArgument: [13, 'AMQJS0013E Invalid argument {0} for {1}.'],
  /** The client does not do this. */
  unsupportedOperation: [14, 'AMQJS0014E Unsupported operation.'],
  /** Too many messages wait for a connection. */
  bufferFull: [18, 'AMQJS0018E Message buffer is full, maximum buffer size: {0}.'],
} as const satisfies Record<string, readonly [code: number, text: string]>

/** The name of one of Paho's errors. */
export type ErrorName = keyof typeof errors

/** What callbacks get about an error. */
export interface MQTTError {
  /** 0: none. */
  errorCode: number
  /** For people. */
  errorMessage: string
}

/** The text of an error, its places filled in. */
export function text(name: ErrorName, ...values: unknown[]): string {
  return errors[name][1].replace(/\{(\d)\}/g, (_, at) => String(values[Number(at)]))
}

/** Throws one of Paho's errors. */
export function fail(name: ErrorName, ...values: unknown[]): never {
  throw new Error(text(name, ...values))
}

/** For callbacks. */
export function report(name: ErrorName, ...values: unknown[]): MQTTError {
  return { errorCode: errors[name][0], errorMessage: text(name, ...values) }
}

/** CONNACK's return codes, by the reason codes that stand for them. */
const RETURN_CODES: Record<number, [code: number, text: string]> = {
  132: [1, 'Connection Refused: unacceptable protocol version'],
  133: [2, 'Connection Refused: identifier rejected'],
  136: [3, 'Connection Refused: server unavailable'],
  134: [4, 'Connection Refused: bad user name or password'],
  135: [5, 'Connection Refused: not authorized'],
}

/** Paho's error for why there is no connection. */
export function reportOf(error: MqttError): MQTTError {
  switch (error.code) {
    case 'CONNECTION_REFUSED': {
      const [code, words] = RETURN_CODES[error.reasonCode ?? 0] ?? [error.reasonCode, error.message]
      return report('connackReturnCode', code, words)
    }
    case 'CONNECTION_FAILED':
      return error.message.includes('in time')
        ? report('connectTimeout')
        : report('socketError', error.message)
    case 'KEEPALIVE_TIMEOUT':
      return report('pingTimeout')
    case 'CONNECTION_LOST':
      return report('socketClose')
    default:
      return report('internalError', error.message)
  }
}

/** Checks the names and types of options, as Paho does. */
export function validate(options: object, types: Record<string, string>): void {
  for (const [name, value] of Object.entries(options)) {
    const type = types[name]
    if (type === undefined)
      throw new Error(
        `Unknown property, ${name}. Valid properties are: ${Object.keys(types).join(' ')}`,
      )
    if (value !== undefined && typeof value !== type) fail('invalidType', typeof value, name)
  }
}
