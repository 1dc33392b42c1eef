import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import type { Message } from '../api.js'
import { makeConnection, qosOf, targetOf } from './connection.js'
import { type Given, listOf, numberOf, textOf, UsageError } from './options.js'
import { payloadOf } from './pub.js'
import { deferred, EXIT, stopped, withConnection } from './run.js'
import { printerOf } from './sub.js'

const NO_RESPONSE = 30

/** `wasmqtt request`: publishes, and shows the response; by MQTT 5 where -V does not say otherwise. Resolves with what the process ends with. */
export async function request(given: Given): Promise<number> {
  given.values['protocol-version'] ??= '5'
  const target = targetOf(given)
  const topic = listOf(given, 'topic').at(-1) ?? target.topic ?? given.positionals.shift()
  if (topic === undefined) throw new UsageError('-t is needed: the topic of the request')
  const responseTopic = textOf(given, 'response-topic') ?? `wasmqtt/response/${randomUUID()}`
  const payload = payloadOf(given)
  const qos = qosOf(given)
  const print = printerOf(given, target.properties)
  const seconds = numberOf(given, 'timeout') ?? NO_RESPONSE
  const connection = makeConnection(given, target)
  return withConnection(given, connection, async (client, stop) => {
    const response = deferred<number>()
    const correlationData = new TextEncoder().encode(randomUUID())
    await client.subscribe(responseTopic, { qos }, (message) => {
      if (target.version === 5 && !isEqual(message.properties?.correlationData, correlationData))
        return
      print(message, undefined)
      response.resolve(EXIT.ok)
    })
    const properties =
      target.version === 5
        ? { ...target.properties.publish, responseTopic, correlationData }
        : undefined
    await client.publish(topic, payload, { qos, ...(properties && { properties }) })
    const timer = setTimeout(() => response.resolve(EXIT.timeout), seconds * 1000)
    try {
      return await Promise.race([response.promise, stopped(stop)])
    } finally {
      clearTimeout(timer)
    }
  })
}

/** A server may leave the data out where the responder did. */
function isEqual(one: Uint8Array | undefined, other: Uint8Array): boolean {
  return one === undefined || Buffer.compare(one, other) === 0
}

/** `wasmqtt respond`: answers requests until it is ended. MQTT 5. Resolves with what the process ends with. */
export async function respond(given: Given): Promise<number> {
  given.values['protocol-version'] ??= '5'
  const target = targetOf(given)
  if (target.version !== 5) throw new UsageError('respond needs MQTT 5')
  const topics = [...listOf(given, 'topic'), ...given.positionals.splice(0)]
  if (topics.length === 0) throw new UsageError('-t is needed: the topic of the requests')
  const command = textOf(given, 'exec')
  const fixed = command === undefined ? payloadOf(given) : ''
  const qos = qosOf(given)
  return withConnection(given, makeConnection(given, target), async (client, stop) => {
    const answer = async (message: Message): Promise<void> => {
      const { responseTopic, correlationData } = message.properties ?? {}
      if (responseTopic === undefined) return
      const payload = command === undefined ? fixed : await outputOf(command, message)
      const properties = { ...target.properties.publish, correlationData }
      await client.publish(responseTopic, payload, { qos, properties })
    }
    await client.subscribe(topics, { qos, ack: 'settled' }, answer)
    return stopped(stop)
  })
}

/** What a shell command makes of the payload. The topic is in MQTT_TOPIC. */
function outputOf(command: string, { payload, topic }: Message): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, {
      shell: true,
      env: { ...process.env, MQTT_TOPIC: topic },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const output: Buffer[] = []
    child.stdout.on('data', (data: Buffer) => output.push(data))
    child.on('error', reject)
    child.on('close', () => resolve(Buffer.concat(output)))
    // A command need not read its input.
    child.stdin.on('error', () => {})
    child.stdin.end(payload)
  })
}
