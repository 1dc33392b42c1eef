/**
 * The reason codes of MQTT 5, by their names in the specification. A return code of MQTT 3.1.1 appears as its equivalent here.
 * MQTT 5.0, section 2.4.
 *
 * @example
 * if (error.reasonCode === ReasonCode.notAuthorized) askForPassword()
 */
export const ReasonCode = Object.freeze({
  /** 0x00: done. */
  success: 0x00,
  /** 0x00, in DISCONNECT: the connection ends, and no will is published. */
  normalDisconnection: 0x00,
  /** 0x00, in SUBACK: granted at QoS 0. */
  grantedQoS0: 0x00,
  /** 0x01, in SUBACK: granted at QoS 1 at most. */
  grantedQoS1: 0x01,
  /** 0x02, in SUBACK: granted at QoS 2 at most. */
  grantedQoS2: 0x02,
  /** 0x04, in DISCONNECT: the client asks the server to publish its will. */
  disconnectWithWillMessage: 0x04,
  /** 0x10: the message is accepted, but nobody has subscribed to its topic. */
  noMatchingSubscribers: 0x10,
  /** 0x11, in UNSUBACK: there was no such subscription. */
  noSubscriptionExisted: 0x11,
  /** 0x18, in AUTH: another step of the authentication follows. */
  continueAuthentication: 0x18,
  /** 0x19, in AUTH: the client authenticates again. */
  reAuthenticate: 0x19,
  /** 0x80: the sender does not say why. */
  unspecifiedError: 0x80,
  /** 0x81: a packet could not be parsed. */
  malformedPacket: 0x81,
  /** 0x82: a packet came where it must not, or says what it must not. */
  protocolError: 0x82,
  /** 0x83: the packet is valid, and the receiver does not process it. */
  implementationSpecificError: 0x83,
  /** 0x84: the server does not speak this version of MQTT. */
  unsupportedProtocolVersion: 0x84,
  /** 0x85: the server does not allow this client id. */
  clientIdentifierNotValid: 0x85,
  /** 0x86: the server does not accept the user name or the password. */
  badUserNameOrPassword: 0x86,
  /** 0x87: the client may not do this. */
  notAuthorized: 0x87,
  /** 0x88: the server is not available. */
  serverUnavailable: 0x88,
  /** 0x89: the server is busy; try again later. */
  serverBusy: 0x89,
  /** 0x8A: the server has banned this client. */
  banned: 0x8a,
  /** 0x8B: the server is shutting down. */
  serverShuttingDown: 0x8b,
  /** 0x8C: the server does not support the authentication method, or it is not the one in use. */
  badAuthenticationMethod: 0x8c,
  /** 0x8D: no packet came for one and a half times the keep-alive. */
  keepAliveTimeout: 0x8d,
  /** 0x8E: another connection uses the same client id. */
  sessionTakenOver: 0x8e,
  /** 0x8F: the filter is well formed, and the server does not accept it. */
  topicFilterInvalid: 0x8f,
  /** 0x90: the topic is well formed, and the receiver does not accept it. */
  topicNameInvalid: 0x90,
  /** 0x91: the packet identifier is already in use. */
  packetIdentifierInUse: 0x91,
  /** 0x92: the packet identifier is not known. */
  packetIdentifierNotFound: 0x92,
  /** 0x93: more messages were sent without an acknowledgement than Receive Maximum allows. */
  receiveMaximumExceeded: 0x93,
  /** 0x94: the topic alias is 0, or above Topic Alias Maximum. */
  topicAliasInvalid: 0x94,
  /** 0x95: the packet is larger than Maximum Packet Size. */
  packetTooLarge: 0x95,
  /** 0x96: messages come too fast. */
  messageRateTooHigh: 0x96,
  /** 0x97: a limit of the implementation or of the administrator is exceeded. */
  quotaExceeded: 0x97,
  /** 0x98: an administrator has ended the connection. */
  administrativeAction: 0x98,
  /** 0x99: the payload is not what the payload format indicator says. */
  payloadFormatInvalid: 0x99,
  /** 0x9A: the server keeps no retained messages. */
  retainNotSupported: 0x9a,
  /** 0x9B: the QoS is above the maximum of the server. */
  qosNotSupported: 0x9b,
  /** 0x9C: the client is to use another server for now. */
  useAnotherServer: 0x9c,
  /** 0x9D: the client is to use another server for good. */
  serverMoved: 0x9d,
  /** 0x9E: the server does not support shared subscriptions for this client. */
  sharedSubscriptionsNotSupported: 0x9e,
  /** 0x9F: the client connects too often. */
  connectionRateExceeded: 0x9f,
  /** 0xA0: the time that this connection was allowed is over. */
  maximumConnectTime: 0xa0,
  /** 0xA1: the server does not support subscription identifiers. */
  subscriptionIdentifiersNotSupported: 0xa1,
  /** 0xA2: the server does not support filters with wildcards. */
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
