/**
 * The reason codes of MQTT 5, by their names in the specification. A return code of MQTT 3.1.1 appears as its equivalent here.
 * MQTT 5.0, section 2.4.
 *
 * @example
 * if (error.reasonCode === ReasonCode.notAuthorized) askForPassword()
 */
export const ReasonCode = Object.freeze({
  success: 0x00,
  normalDisconnection: 0x00,
  grantedQoS0: 0x00,
  grantedQoS1: 0x01,
  grantedQoS2: 0x02,
  disconnectWithWillMessage: 0x04,
  noMatchingSubscribers: 0x10,
  noSubscriptionExisted: 0x11,
  continueAuthentication: 0x18,
  reAuthenticate: 0x19,
  unspecifiedError: 0x80,
  malformedPacket: 0x81,
  protocolError: 0x82,
  implementationSpecificError: 0x83,
  unsupportedProtocolVersion: 0x84,
  clientIdentifierNotValid: 0x85,
  badUserNameOrPassword: 0x86,
  notAuthorized: 0x87,
  serverUnavailable: 0x88,
  serverBusy: 0x89,
  banned: 0x8a,
  serverShuttingDown: 0x8b,
  badAuthenticationMethod: 0x8c,
  keepAliveTimeout: 0x8d,
  sessionTakenOver: 0x8e,
  topicFilterInvalid: 0x8f,
  topicNameInvalid: 0x90,
  packetIdentifierInUse: 0x91,
  packetIdentifierNotFound: 0x92,
  receiveMaximumExceeded: 0x93,
  topicAliasInvalid: 0x94,
  packetTooLarge: 0x95,
  messageRateTooHigh: 0x96,
  quotaExceeded: 0x97,
  administrativeAction: 0x98,
  payloadFormatInvalid: 0x99,
  retainNotSupported: 0x9a,
  qosNotSupported: 0x9b,
  useAnotherServer: 0x9c,
  serverMoved: 0x9d,
  sharedSubscriptionsNotSupported: 0x9e,
  connectionRateExceeded: 0x9f,
  maximumConnectTime: 0xa0,
  subscriptionIdentifiersNotSupported: 0xa1,
  wildcardSubscriptionsNotSupported: 0xa2,
} as const)

/** The codes that a message can be acknowledged with, by PUBACK or PUBREC. MQTT 5.0, sections 3.4.2.1 and 3.5.2.1. */
export const ACKNOWLEDGEMENTS: readonly number[] = [
  0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99,
]

/** A code in words: 'not authorized (0x87)'. */
export function reasonName(code: number): string {
  const [key] = Object.entries(ReasonCode).find(([, each]) => each === code) ?? ['reasonCode']
  return `${key.replace(/[A-Z]+/g, (capital) => ` ${capital.toLowerCase()}`)} (0x${code.toString(16).padStart(2, '0')})`
}
