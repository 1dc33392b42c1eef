import { MqttError, ReasonCode } from '../api.js'
import type { ISubackPacket } from './packets.js'

/** MQTT.js' texts for reason codes, and for the return codes of MQTT 3.1.1 (1 to 5). */
export const ReasonCodes: Readonly<Record<number, string>> = {
  0: '',
  1: 'Unacceptable protocol version',
  2: 'Identifier rejected',
  3: 'Server unavailable',
  4: 'Bad username or password',
  5: 'Not authorized',
  16: 'No matching subscribers',
  17: 'No subscription existed',
  128: 'Unspecified error',
  129: 'Malformed Packet',
  130: 'Protocol Error',
  131: 'Implementation specific error',
  132: 'Unsupported Protocol Version',
  133: 'Client Identifier not valid',
  134: 'Bad User Name or Password',
  135: 'Not authorized',
  136: 'Server unavailable',
  137: 'Server busy',
  138: 'Banned',
  139: 'Server shutting down',
  140: 'Bad authentication method',
  141: 'Keep Alive timeout',
  142: 'Session taken over',
  143: 'Topic Filter invalid',
  144: 'Topic Name invalid',
  145: 'Packet identifier in use',
  146: 'Packet Identifier not found',
  147: 'Receive Maximum exceeded',
  148: 'Topic Alias invalid',
  149: 'Packet too large',
  150: 'Message rate too high',
  151: 'Quota exceeded',
  152: 'Administrative action',
  153: 'Payload format invalid',
  154: 'Retain not supported',
  155: 'QoS not supported',
  156: 'Use another server',
  157: 'Server moved',
  158: 'Shared Subscriptions not supported',
  159: 'Connection rate exceeded',
  160: 'Maximum connect time',
  161: 'Subscription Identifiers not supported',
  162: 'Wildcard Subscriptions not supported',
}

/** An error with the reason code of the server in `code`. `cause` is the MqttError behind it, where there is one. */
export class ErrorWithReasonCode extends Error {
  /** The reason code; of MQTT 3.1.1 the return code of CONNACK. */
  code: number

  /** Makes an error. `options`: the `cause`. */
  constructor(message: string, code: number, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** A subscribe that the server refused at least in part. */
export class ErrorWithSubackPacket extends Error {
  /** The server's answer. */
  packet: ISubackPacket

  /** Makes an error. `options`: the `cause`. */
  constructor(message: string, packet: ISubackPacket, options?: ErrorOptions) {
    super(message, options)
    this.packet = packet
  }
}

/** The error of a refused CONNECT. `code` is what CONNACK said. */
export function refused(code: number, cause: unknown): ErrorWithReasonCode {
  return new ErrorWithReasonCode(`Connection refused: ${ReasonCodes[code]}`, code, { cause })
}

/** The error that MQTT.js' users know for what ended a call; the MqttError is its cause. */
export function callError(error: MqttError): Error {
  switch (error.code) {
    case 'PUBLISH_REFUSED':
      return new ErrorWithReasonCode(
        `Publish error: ${ReasonCodes[error.reasonCode ?? 0x80]}`,
        error.reasonCode ?? 0x80,
        { cause: error },
      )
    case 'CLOSED':
    case 'CONNECTION_LOST':
      return new Error('Connection closed', { cause: error })
    default:
      return error
  }
}

/** The error that MQTT.js' users know for why there is no connection; undefined where MQTT.js has none. */
export function connectionError(error: MqttError): Error | undefined {
  const { cause } = error
  switch (error.code) {
    case 'CONNECTION_FAILED':
      // What the socket said, with its `code`, as ECONNREFUSED.
      if (cause instanceof Error && !(cause instanceof MqttError)) return cause
      return 'phase' in error && error.phase === 'mqtt' && error.message.includes('in time')
        ? new Error('connack timeout', { cause: error })
        : error
    case 'CONNECTION_LOST':
      return cause instanceof Error && 'code' in cause ? cause : undefined
    case 'KEEPALIVE_TIMEOUT':
      return new Error('Keepalive timeout', { cause: error })
    case 'SERVER_DISCONNECTED':
      return undefined
    default:
      return error.reasonCode === undefined
        ? error
        : new ErrorWithReasonCode(error.message, error.reasonCode, { cause: error })
  }
}

const noticed = new Set<string>()

/** Says once per page or process what an option or a call does not do here, and why. */
export function notice(name: string, text: string): void {
  if (noticed.has(name)) return
  noticed.add(name)
  console.warn(`wasmqtt/mqttjs: ${name}: ${text}`)
}

/** The error of a session that another client took over, if that is why. It does not connect again, to leave the session to that client. */
export function takenOver(error: MqttError): ErrorWithReasonCode | undefined {
  const { message, reasonCode } = error
  if (reasonCode !== ReasonCode.sessionTakenOver) return undefined
  return new ErrorWithReasonCode(message, reasonCode, { cause: error })
}
