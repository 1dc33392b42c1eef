import { type Message, matches } from '../api.js'
import { type Connection, makeConnection, qosOf, targetOf } from './connection.js'
import { type Formatter, formatter } from './format.js'
import { countOf, type Given, listOf, numberOf, textOf, UsageError } from './options.js'
import type { Properties } from './properties.js'
import { deferred, EXIT, stopped, withConnection } from './run.js'

/** How messages are printed. */
export function printerOf(
  given: Given,
  { subscribe }: Properties,
): (message: Message, packetId: number | undefined) => void {
  const isJson = given.values.json === true
  const isVerbose = given.values.verbose === true
  const format = textOf(given, 'format') ?? (isJson ? '%j' : isVerbose ? '%t %p' : '%p')
  const make: Formatter = formatter(format, given.values.pretty === true)
  const end = given.values['no-newline'] === true ? '' : '\n'
  // As mosquitto_sub -v.
  const makeEmpty = formatter('%t (null)')
  const isPlainVerbose = isVerbose && !isJson && textOf(given, 'format') === undefined
  return (message, packetId) => {
    const isEmpty = isPlainVerbose && message.payload.length === 0
    const { subscriptionIdentifiers, ...properties } = message.properties ?? {}
    // The client gives its subscriptions identifiers, which tell nobody else anything.
    const own = subscriptionIdentifiers?.find((each) => each === subscribe.subscriptionIdentifier)
    const shown = { message, properties, subscriptionIdentifier: own, packetId, time: new Date() }
    process.stdout.write((isEmpty ? makeEmpty : make)(shown))
    if (end !== '') process.stdout.write(end)
  }
}

/** `wasmqtt sub`. Resolves with what the process ends with. */
export async function sub(given: Given): Promise<number> {
  const target = targetOf(given)
  const topics = [...listOf(given, 'topic'), ...given.positionals]
  if (target.topic !== undefined) topics.push(target.topic)
  const unsubscribes = listOf(given, 'unsubscribe')
  if (topics.length === 0 && unsubscribes.length === 0)
    throw new UsageError('-t is needed: a topic filter')
  const print = printerOf(given, target.properties)
  const qos = qosOf(given)
  const connection = makeConnection(given, target)
  const chosen = chooser(given, connection)
  const count = countOf(given, 'count') ?? Infinity
  const seconds = numberOf(given, 'timeout')
  return withConnection(given, connection, async (client, stop) => {
    const done = deferred<number>()
    let shown = 0
    client.on('message', (message) => {
      const packetId = message.qos > 0 ? connection.takeIdentifier() : undefined
      if (shown >= count) return
      const verdict = chosen(message)
      if (verdict === 'end') done.resolve(EXIT.ok)
      if (verdict !== 'show') return
      print(message, packetId)
      if (++shown >= count) done.resolve(EXIT.ok)
    })
    client.on('close', (error) => error && done.reject(error))
    const onTimeout = (): void => {
      if (given.values.quiet !== true) console.error('Timed out')
      done.resolve(EXIT.timeout)
    }
    const timer = seconds === undefined ? undefined : setTimeout(onTimeout, seconds * 1000)
    try {
      const { grants = [] } =
        topics.length > 0
          ? await client.subscribe(topics, subscribeOptions(given, qos, target))
          : {}
      for (const { filter, granted, reasonCode } of grants)
        if (!granted && given.values.quiet !== true)
          console.error(`Error: the server refused '${filter}' (0x${reasonCode.toString(16)})`)
      if (unsubscribes.length > 0)
        await client.unsubscribe(
          unsubscribes,
          target.version === 5 ? target.properties.unsubscribe : {},
        )
      if (given.values['exit-on-suback'] === true) done.resolve(EXIT.ok)
      return await Promise.race([done.promise, stopped(stop)])
    } finally {
      clearTimeout(timer)
    }
  })
}

function subscribeOptions(
  given: Given,
  qos: 0 | 1 | 2,
  { version, properties }: Connection['target'],
): import('../api.js').SubscribeOptions {
  if (version === 4) return { qos }
  return {
    qos,
    ...properties.subscribe,
    ...(given.values['retain-as-published'] === true && { retainAsPublished: true }),
  }
}

/** Which messages are shown. */
function chooser(
  given: Given,
  { client }: Connection,
): (message: Message) => 'show' | 'skip' | 'end' {
  const filtered = listOf(given, 'filter-out')
  const percent = numberOf(given, 'random-filter', 0.1, 100) ?? 100
  const removes = given.values['remove-retained'] === true
  return (message) => {
    const { topic, retain } = message
    if (given.values['retained-only'] === true && !retain) return 'end'
    if (retain && given.values['no-retain'] === true) return 'skip'
    if (filtered.some((filter) => matches(filter, topic))) return 'skip'
    if (removes && retain && message.payload.length > 0)
      client.publish(topic, '', { retain: true }, () => {})
    return percent < 100 && Math.random() * 100 >= percent ? 'skip' : 'show'
  }
}
