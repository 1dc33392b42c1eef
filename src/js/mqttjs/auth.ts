import type { Authenticator } from '../api.js'
import type { IClientOptions } from './options.js'
import { recordOf } from './options.js'
import { asBuffer, type IAuthPacket, type Packet } from './packets.js'

/** MQTT.js' `handleAuth`. */
export type HandleAuth = (
  packet: IAuthPacket,
  callback: (error?: Error | null, answer?: Packet) => void,
) => void

/** Enhanced authentication by `handleAuth`, where the options name a method (MQTT 5, 4.12). */
export function authenticatorOf(
  options: IClientOptions,
  handleAuth: HandleAuth,
): Authenticator | undefined {
  const method = options.properties?.authenticationMethod
  if (method === undefined) {
    if (options.properties?.authenticationData !== undefined)
      throw new Error('Packet has no Authentication Method')
    return undefined
  }
  return {
    method,
    start: () => options.properties?.authenticationData,
    continue: (challenge, { reasonString, userProperties }) => {
      const packet: IAuthPacket = {
        cmd: 'auth',
        reasonCode: 0x18,
        properties: {
          authenticationMethod: method,
          authenticationData: challenge && asBuffer(challenge),
          reasonString,
          userProperties: recordOf(userProperties),
        },
      }
      return new Promise((resolve, reject) => {
        handleAuth(packet, (error, answer) => {
          if (error) reject(error)
          else if (answer === undefined)
            reject(new Error('There is no AUTH packet to go on with: override handleAuth'))
          else resolve((answer as IAuthPacket).properties?.authenticationData)
        })
      })
    },
  }
}
