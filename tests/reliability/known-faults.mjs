// What is known of brokers that do not do what the specification asks, each with its paragraph and what the client does about it.

/**
 * @typedef {object} Fault
 * @property {string} broker
 * @property {RegExp} versions The versions of the broker that have it.
 * @property {RegExp} checks The names of the checks that fail because of it.
 * @property {RegExp} says What such a check says. A check that fails in another way is not explained.
 * @property {4 | 5} [only] The version of MQTT that has it. Default: both.
 * @property {string} [notOffered] It is no fault: the broker does not have it, and its documentation says so.
 * @property {string} [fault] What the broker does.
 * @property {string} [paragraph] The paragraph of the specification.
 * @property {string} [client] How the client copes.
 */

const ANY = /./
/** The broker did something else than the check wants, or nothing. */
const OTHERWISE = /^(Expected values|It did not come in time|No answer within)/
const TWICE = /^Expected values.*\+ '.*'x' \]$/
const UPGRADED = {
  versions: ANY,
  checks: /^delivers QoS [01] to a subscription of QoS [12]$/,
  says: /: [12] !== [01]$/,
  fault:
    'it delivers messages at the QoS of the subscription, also where they were published with a lower one',
  paragraph: 'MQTT-3.8.4-6 of 3.1.1, MQTT-3.8.4-8 of 5.0',
  client:
    'The client takes and acknowledges each message at the QoS that it carries; no message is lost.',
}
const SILENT_REFUSAL = {
  versions: ANY,
  checks: /^refuses a wrong password$/,
  says: /'CONNECTION_FAILED' - 'CONNECTION_REFUSED'/,
  fault: 'it closes the connection of a wrong password without a CONNACK',
  paragraph: '3.2.2.3 of 3.1.1, 4.13.2 of 5.0: the server should say why',
  client:
    'connect() rejects with CONNECTION_FAILED, and the message says that username or password may be wrong.',
}
const SILENT_TAKEOVER = {
  checks: /^takes over/,
  says: /undefined !== 142/,
  only: /** @type {const} */ (5),
  fault: 'it closes the connection of the first client without DISCONNECT 0x8E',
  paragraph: 'MQTT-3.1.4-3',
  client:
    'A bare close is retried with growing delays, so that two clients of one name do not fight.',
}
const RETURNS_THE_SAME = {
  versions: ANY,
  checks: /^changes the QoS of a subscription$/,
  says: TWICE,
  fault: 'a second SUBSCRIBE to a filter does not replace the first',
  paragraph: 'MQTT-3.8.4-3',
  client:
    'Each Subscription has a message once for each copy that the broker sends; unsubscribe first where the QoS must change.',
}
const OVERSTEPS = {
  checks: /^keeps to the Receive Maximum of the client$/,
  says: /[+-] '\d+'|\d at once|\d !== 1$/,
  fault: 'it sends more QoS 1 and 2 messages than the Receive Maximum of the client allows',
  paragraph: 'MQTT-3.3.4-9',
  client:
    'The client sends DISCONNECT 0x93 and reconnects; after the second time it leaves the limit out, and an error event says so.',
}

/** @type {Fault[]} */
const FAULTS = [
  { broker: 'Mosquitto', versions: /^2\.0\.([0-9]|1[0-4])$/, ...SILENT_TAKEOVER },
  { broker: 'Mosquitto', versions: /^2\.0\./, ...OVERSTEPS },

  {
    broker: 'aedes',
    versions: ANY,
    checks: /^delivers QoS 2 exactly once while connections are cut$/,
    says: /^The server lost the session/,
    fault:
      'CONNACK says that there is no session when it has no subscriptions, although the broker kept the messages in flight',
    paragraph: 'MQTT-3.2.2-2',
    client:
      'A QoS 2 message that was sent rejects with SESSION_LOST, because sending it again could deliver it twice. A client that also subscribes is not affected.',
  },

  {
    broker: 'NATS',
    versions: /^2\.[0-9]\./,
    checks: /QoS 2/,
    says: /^The server (lost the session|ended the connection three times)/,
    notOffered:
      'NATS before 2.10 has no QoS 2, and ends the connection of a client that publishes with it.',
  },
  {
    broker: 'NATS',
    versions: ANY,
    checks: /^carries any topic of UTF-8/,
    says: /^The server ended the connection three times in a row/,
    fault: 'it ends the connection of a client that publishes to a topic with a space',
    paragraph: '4.7.3 of 3.1.1: topic names can include the space character',
    client:
      'After the third time in a row the client gives the message up: its promise rejects with PUBLISH_REFUSED, and the client goes on.',
  },

  {
    broker: 'RabbitMQ',
    versions: /^3\.([0-9]|1[0-2])\./,
    checks: /QoS 2/,
    says: /^The server lost the session/,
    fault: 'it has no QoS 2, and answers a QoS 2 PUBLISH with PUBACK',
    paragraph: 'MQTT-4.3.3-2',
    client:
      'The client ends the connection with a protocol error, and the message rejects with SESSION_LOST: nobody knows what became of it. Publish with QoS 1.',
  },
  { broker: 'RabbitMQ', ...SILENT_REFUSAL },
  {
    broker: 'RabbitMQ',
    ...RETURNS_THE_SAME,
    fault:
      'a subscription whose QoS was changed gets each message twice, once from each of its two queues',
  },
  {
    broker: 'RabbitMQ',
    versions: /^3\.([0-9]|1[0-2])\./,
    checks: /^sends retained messages to filters with wildcards$/,
    says: /^It did not come in time: 0 messages/,
    notOffered: 'RabbitMQ before 4 sends retained messages for filters without wildcards only.',
  },
  {
    broker: 'RabbitMQ',
    versions: /^3\./,
    checks: /^publishes no will after DISCONNECT$/,
    says: /\+ 'gone'/,
    fault: 'over WebSocket, it publishes the will also after DISCONNECT',
    paragraph: 'MQTT-3.14.4-3',
    client:
      'The client sends DISCONNECT and waits until it is written; set no will where this matters.',
  },

  { broker: 'rumqttd', ...SILENT_REFUSAL },
  { broker: 'rumqttd', versions: ANY, ...SILENT_TAKEOVER },
  { broker: 'rumqttd', ...UPGRADED },
  { broker: 'rumqttd', versions: ANY, ...OVERSTEPS },
  { broker: 'rumqttd', ...RETURNS_THE_SAME },
  {
    broker: 'rumqttd',
    versions: ANY,
    checks: /^(takes topic aliases|carries any topic of UTF-8.*)$/,
    says: OTHERWISE,
    only: 5,
    fault:
      'it gives all topics of a filter the same topic alias, so that messages seem to be of the first topic',
    paragraph: '3.3.2.3.4',
    client:
      'Nothing in the packets shows it. Set properties.topicAliasMaximum to 0, so that the broker uses no aliases.',
  },
  {
    broker: 'rumqttd',
    versions: ANY,
    checks: /^(keeps to Retain|sends retained messages again)/,
    says: OTHERWISE,
    fault:
      'it sends retained messages for the first SUBSCRIBE to a filter only, ignores Retain Handling 2 and Retain As Published',
    paragraph: 'MQTT-3.8.4-3 of 3.1.1, MQTT-3.3.1-9 to -13 of 5.0',
    client:
      'watch() keeps the latest message of each topic, so that a second reader of a filter has them.',
  },
  {
    broker: 'rumqttd',
    versions: ANY,
    checks:
      /^(ends a session when its expiry|keeps to No Local|keeps to the Maximum Packet Size|publishes the will after DISCONNECT)/,
    says: OTHERWISE,
    only: 5,
    fault:
      'it ignores Session Expiry Interval, No Local, Maximum Packet Size, and DISCONNECT with reason code 4',
    paragraph: '3.1.2.11.2, MQTT-3.8.3-3, MQTT-3.1.2-24, MQTT-3.1.2-8',
    client:
      'A message that is too large ends the connection with 0x95; the other three cannot be seen by a client.',
  },
  {
    broker: 'rumqttd',
    versions: ANY,
    checks: /^(answers UNSUBSCRIBE|publishes its own state)/,
    says: OTHERWISE,
    fault:
      'it does not answer UNSUBSCRIBE for an unknown filter, and ends the connection for a filter that begins with $',
    paragraph: 'MQTT-3.10.4-4 and -5, 4.7.2',
    client:
      'Calls are bounded by their timeout; a SUBSCRIBE that ends the connection three times rejects with SUBSCRIBE_REFUSED, and the client goes on.',
  },

  {
    broker: 'rumqttd',
    versions: ANY,
    checks: /^(takes 40 clients|keeps topics that begin with|publishes its own state)/,
    says: OTHERWISE,
    fault:
      'it panics when a message with MQTT 5 properties goes to a client of 3.1.1, and from then on it closes each new connection',
    paragraph: '4.13.1 of 5.0: a server must go on for other clients',
    client: 'The client retries with growing delays until the broker was started again.',
  },

  { broker: 'amqtt', ...UPGRADED },
  {
    broker: 'amqtt',
    versions: ANY,
    checks: /^takes over/,
    says: OTHERWISE,
    fault: 'it leaves the first connection open when a second client of the same name comes',
    paragraph: 'MQTT-3.1.4-2',
    client:
      'Both stay connected. A client that lost its connection without a word is not disturbed by it.',
  },
  {
    broker: 'amqtt',
    versions: ANY,
    checks: /^ends a connection (that is silent|whose first packet)/,
    says: OTHERWISE,
    fault: 'it does not end connections that are silent, or whose first packet is not CONNECT',
    paragraph: 'MQTT-3.1.2-24, MQTT-3.1.0-1',
    client: 'The keep-alive of the client notices dead connections by itself.',
  },
  {
    broker: 'amqtt',
    versions: ANY,
    checks: /will/,
    says: OTHERWISE,
    fault: 'it publishes the will after DISCONNECT, or twice',
    paragraph: 'MQTT-3.14.4-3, MQTT-3.1.2-8',
    client:
      'The client sends DISCONNECT and waits until it is written; set no will where this matters.',
  },
  {
    broker: 'amqtt',
    versions: ANY,
    checks: /^(changes the QoS|keeps a session|drops a session|keeps QoS|refuses a wrong)/,
    says: OTHERWISE,
    fault: 'a client gets retained messages that match none of its subscriptions',
    paragraph: 'MQTT-3.3.5-1, MQTT-3.3.1-6',
    client:
      'A Subscription gets only what matches its filter; the event message shows the rest, too.',
  },
]

/** The fault that explains why a check fails and says `reason`, or undefined. */
export function explain(broker, check, version, reason) {
  return FAULTS.find(
    (fault) =>
      fault.broker === broker.name &&
      fault.versions.test(broker.version) &&
      fault.checks.test(check) &&
      fault.says.test(reason) &&
      (fault.only === undefined || fault.only === version),
  )
}
