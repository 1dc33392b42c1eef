import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Client, Payload, PublishOptions } from '../api.js'
import { makeConnection, qosOf, targetOf } from './connection.js'
import { countOf, type Given, listOf, numberOf, textOf, UsageError } from './options.js'
import { stopped, withConnection } from './run.js'

/** Messages of standard input that wait for their acknowledgement, at most. */
const WINDOW = 1_000

/** Where the payload of a command comes from. Throws UsageError unless exactly one of the options is given. */
export function payloadOf(given: Given): Payload {
  const message =
    textOf(given, 'message') ?? (given.command === 'pub' ? given.positionals[1] : undefined)
  const file = textOf(given, 'file')
  const isEmpty = given.values['null-message'] === true
  const isInput = given.values['stdin-file'] === true
  const count = [message !== undefined, file !== undefined, isEmpty, isInput].filter(Boolean).length
  if (count !== 1) throw new UsageError('give one of -m, -f, -n, -s or -l')
  if (file !== undefined) return readFileSync(file)
  if (isInput) {
    const input = readFileSync(0)
    if (input.length === 0) throw new Error('standard input is empty: -n sends an empty message')
    return input
  }
  return message ?? ''
}

/** `wasmqtt pub`. Resolves with what the process ends with. */
export async function pub(given: Given): Promise<number> {
  const target = targetOf(given)
  const topics = listOf(given, 'topic')
  const topic = topics.at(-1) ?? target.topic ?? given.positionals[0]
  const isNdjson = given.values.ndjson === true
  if (topics.length > 1) throw new UsageError('-t can be given once')
  if (topic === undefined && !isNdjson) throw new UsageError('-t is needed: the topic')
  const isLines = given.values['stdin-line'] === true || given.values.multiline === true
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
    if (isNdjson) await sendLines(client, stop, window, (line) => messageOf(line, topic, options))
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
  read: (line: string) => [topic: string, payload: Payload, options: PublishOptions],
): Promise<void> {
  const lines = createInterface({ input: process.stdin, crlfDelay: Infinity })
  stop.addEventListener('abort', () => lines.close())
  const waiting = new Set<Promise<unknown>>()
  let failure: unknown
  for await (const line of lines) {
    const sent: Promise<unknown> = client.publish(...read(line)).then(
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
  topic: string | undefined,
  options: PublishOptions,
): [string, Payload, PublishOptions] {
  const { payload = '', qos, retain, topic: own = topic } = JSON.parse(line)
  if (typeof own !== 'string') throw new UsageError('a line has no "topic", and there is no -t')
  const text = typeof payload === 'string' ? payload : JSON.stringify(payload)
  return [
    own,
    text,
    { ...options, ...(qos !== undefined && { qos }), ...(retain !== undefined && { retain }) },
  ]
}
