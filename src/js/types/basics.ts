// The types that the others are made of. They depend on nothing.

/**
 * How often a message may arrive: 0 at most once, 1 at least once, 2 exactly once. MQTT 5.0, section 4.3.
 */
export type QoS = 0 | 1 | 2

/**
 * What can be sent as a payload. A string is sent as UTF-8; null is the empty payload. The bytes of a buffer are copied before the call returns.
 *
 * @example
 * await client.publish('house/lamp', 'on')
 * await client.publish('house/raw', new Uint8Array([1, 2, 3]))
 * await client.publish('house/sensor', JSON.stringify({ celsius: 21.5 }))
 */
export type Payload = string | ArrayBuffer | BytesOrUseJSONStringify | null

/** A view of bytes. The compiler shows this name where an object is given that is no payload: send it as `JSON.stringify(object)`. */
interface BytesOrUseJSONStringify extends ArrayBufferView {}

/** The same as a Payload, under the name that the compiler is to show where something else is given. */
export type TextOrBytesOrUseJSONStringify = Payload | undefined

/** User properties as they were received: pairs, in their order, duplicates included. MQTT 5.0, section 2.2.2.2. */
export type UserProperties = ReadonlyArray<readonly [name: string, value: string]>

/**
 * User properties to send: pairs, or a record with one value or several for each name. MQTT 5.0, section 2.2.2.2.
 *
 * @example
 * const pairs: UserPropertiesInput = [['room', 'kitchen'], ['room', 'hall']]
 * const record: UserPropertiesInput = { room: ['kitchen', 'hall'], floor: '1' }
 */
export type UserPropertiesInput = UserProperties | Record<string, string | readonly string[]>

/** Bounds one call. Every method that returns a promise takes these. */
export interface CallOptions {
  /**
   * Withdraws the call when it is aborted: the promise rejects with AbortError. What was not sent yet is dropped. A message of QoS 1 or 2
   * that was sent is still completed with the server, and is not sent again if the connection ends first.
   */
  signal?: AbortSignal | undefined
  /**
   * Milliseconds until the call is withdrawn: the promise rejects with TimeoutError.
   *
   * @default Infinity
   */
  timeout?: number | undefined
}

/** Properties of a message to publish. They are left out on MQTT 3.1.1. MQTT 5.0, section 3.3.2.3. */
export interface PublishProperties {
  /** 1 says that the payload is UTF-8 text, 0 that it is bytes. It is never set by default. MQTT 5.0, section 3.3.2.3.2. */
  payloadFormatIndicator?: 0 | 1 | undefined
  /**
   * Seconds that the message is of use. The time that it spends in the queue is subtracted, and a message that expires there is dropped: its
   * promise rejects with ExpiredError. MQTT 5.0, section 3.3.2.3.3.
   */
  messageExpiryInterval?: number | undefined
  /** A topic alias of your own, 1 to 65535. It is usually left to the option `topicAliases`. MQTT 5.0, section 3.3.2.3.4. */
  topicAlias?: number | undefined
  /** The topic that a response is to be published to. MQTT 5.0, section 3.3.2.3.5. */
  responseTopic?: string | undefined
  /** Bytes by which the requester recognises the response. MQTT 5.0, section 3.3.2.3.6. */
  correlationData?: Uint8Array | undefined
  /** What the payload is, as a MIME type for instance. MQTT 5.0, section 3.3.2.3.9. */
  contentType?: string | undefined
  /** User properties, which the server passes on as they are. MQTT 5.0, section 3.3.2.3.7. */
  userProperties?: UserPropertiesInput | undefined
}

/** Properties of a received message. They may be passed to `publish()` as they are. MQTT 5.0, section 3.3.2.3. */
export interface MessageProperties
  extends Omit<PublishProperties, 'userProperties' | 'topicAlias'> {
  /** Identifiers of the subscriptions that the message belongs to. They are not sent on. MQTT 5.0, section 3.3.2.3.8. */
  subscriptionIdentifiers?: readonly number[] | undefined
  /** User properties of the publisher. MQTT 5.0, section 3.3.2.3.7. */
  userProperties?: UserProperties | undefined
}

/**
 * The server's answer for one filter of a `subscribe()` call. `granted` says whether it is in force; then `qos` is the QoS that was granted,
 * which may be lower than the one asked for. MQTT 5.0, section 3.9.3.
 *
 * @example
 * for (const grant of subscription.grants) {
 *   console.log(grant.filter, grant.granted ? `QoS ${grant.qos}` : `refused, 0x${grant.reasonCode.toString(16)}`)
 * }
 */
export type Grant =
  | {
      /** The filter, as it was given. */
      filter: string
      /** The server granted it. */
      granted: true
      /** The highest QoS at which its messages come. */
      qos: QoS
      /** The reason code of SUBACK: 0, 1 or 2. */
      reasonCode: number
    }
  | {
      /** The filter, as it was given. */
      filter: string
      /** The server refused it. */
      granted: false
      /** A refused filter has none. */
      qos?: undefined
      /** The reason code of SUBACK: 0x80 or above. */
      reasonCode: number
    }

/** The server's answer to a published message. MQTT 5.0, sections 3.4 and 3.5. */
export interface PublishResult {
  /** The reason code of PUBACK or PUBREC: 0, or 0x10 where nobody has subscribed to the topic. It is 0 for QoS 0 and on MQTT 3.1.1. */
  reasonCode: number
  /** The server's explanation, if it gave one. */
  reasonString?: string | undefined
  /** The server's user properties, if it sent some. */
  userProperties?: UserProperties | undefined
}

/** The server's answer to `unsubscribe()`. MQTT 3.1.1 says only that it is done, so every code is 0 there. MQTT 5.0, section 3.11.3. */
export interface UnsubscribeResult {
  /** One for each filter, in the order of the call: 0 where the filter is gone, 0x11 where there was none, 0x80 or above where it was refused. */
  reasonCodes: ReadonlyArray<{ filter: string; reasonCode: number }>
}
