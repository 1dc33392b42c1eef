import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Client, Payload, PublishOptions } from '../api.js'
import { makeConnection, qosOf, targetOf } from './connection.js'
import { checkWords, countOf, type Given, listOf, numberOf, textOf, UsageError } from './options.js'
import { stopped, withConnection } from './run.js'

/** Messages of standard input that wait for their acknowledgement, at most. */
const WINDOW = 1_000

/** Options that say where payloads come from. */
const SOURCES = [
  'message',
  'file',
  'null-message',
  'stdin-file',
  'stdin-line',
  'multiline',
  'ndjson',
] as const

/** Where the payloads of a command come from. Throws UsageError unless exactly one of the options is given, or a word is left for the message. */
function sourceOf(given: Given): (typeof SOURCES)[number] {
  const sources = SOURCES.filter((name) => given.values[name] !== undefined)
  if (sources.length === 0 && given.positionals.length > 0) {
    given.values.message = given.positionals.shift()
    sources.push('message')
  }
  checkWords(given)
  if (sources.length !== 1) throw new UsageError('give one of -m, -f, -n, -s or -l')
  return sources[0]!
}

/** The payload of a command that has one. Throws UsageError unless exactly one of the options is given. */
export function payloadOf(given: Given): Payload {
  sourceOf(given)
  const file = textOf(given, 'file')
  if (file !== undefined) return readFileSync(file)
  if (given.values['stdin-file'] === true) {
    const input = readFileSync(0)
    if (input.length === 0) throw new Error('standard input is empty: -n sends an empty message')
    return input
  }
  return textOf(given, 'message') ?? ''
}

/** `wasmqtt pub`. Resolves with what the process ends with. */
export async function pub(given: Given): Promise<number> {
  const target = targetOf(given)
  const topics = listOf(given, 'topic')
  const topic = topics.at(-1) ?? target.topic ?? given.positionals.shift()
  const isNdjson = given.values.ndjson === true
  if (topics.length > 1) throw new UsageError('-t can be given once')
  if (topic === undefined && !isNdjson) throw new UsageError('-t is needed: the topic')
  const isLines = ['stdin-line', 'multiline'].includes(sourceOf(given))
  const payload = isLines || isNdjson ? undefined : payloadOf(given)
  const options: PublishOptions = {
    qos: qosOf(given),
    retain: given.values.retain === true,
    ...(target.version === 5 && { properties: target.properties.publish }),
  }
  const repeat = countOf(given, 'repeat') ?? 1
  const window = countOf(given, 'max-inflight') ?? WINDOW
  const delay = (numberOf(given, 'repeat-delay') ?? 0) * 1000
  return withConnection(given, makeConnection(given, target), async (client, stop) => {
    if (isNdjson)
      await sendLines(client, stop, window, (line, number) =>
        line.trim() === '' ? undefined : messageOf(line, number, topic, options),
      )
    else if (isLines) await sendLines(client, stop, window, (line) => [topic!, line, options])
    else
      for (let count = 0; count < repeat; count++) {
        if (count > 0 && delay > 0) await sleep(delay, undefined, { signal: stop })
        await Promise.race([client.publish(topic!, payload, options), stopped(stop)])
      }
    return undefined
  })
}

async function sendLines(
  client: Client,
  stop: AbortSignal,
  window: number,
  read: (line: string, number: number) => [string, Payload, PublishOptions] | undefined,
): Promise<void> {
  const lines = createInterface({ input: process.stdin, crlfDelay: Infinity })
  stop.addEventListener('abort', () => lines.close())
  const waiting = new Set<Promise<unknown>>()
  let failure: unknown
  let number = 0
  for await (const line of lines) {
    const message = read(line, ++number)
    if (message === undefined) continue
    const sent: Promise<unknown> = client.publish(...message).then(
      () => waiting.delete(sent),
      (error) => {
        failure ??= error
        waiting.delete(sent)
      },
    )
    waiting.add(sent)
    if (waiting.size >= window) await Promise.race(waiting)
    if (failure !== undefined) break
  }
  await Promise.all(waiting)
  if (failure !== undefined) throw failure
}

function messageOf(
  line: string,
  number: number,
  topic: string | undefined,
  options: PublishOptions,
): [string, Payload, PublishOptions] {
  const { payload = '', qos, retain, topic: own = topic } = objectOf(line, number)
  if (typeof own !== 'string') throw new Error(`line ${number} has no "topic", and there is no -t`)
  const text = typeof payload === 'string' ? payload : JSON.stringify(payload)
  return [
    own,
    text,
    { ...options, ...(qos !== undefined && { qos }), ...(retain !== undefined && { retain }) },
  ]
}

function objectOf(line: string, number: number): Record<string, any> {
  try {
    const value: unknown = JSON.parse(line)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  } catch {
    // Told below.
  }
  throw new Error(`line ${number} is no JSON object: ${line.slice(0, 60)}`)
}
