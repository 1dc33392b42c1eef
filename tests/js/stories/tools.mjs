// What all stories use. Nothing here is of Node alone: they are told in pages, too.
import { Loopback, task } from '../loopback.mjs'

export function ok(condition, what) {
  if (!condition) throw new Error(what)
}

export function equal(found, expected, what) {
  const [one, two] = [found, expected].map((value) => JSON.stringify(value))
  ok(one === two, `${what}: ${one}, not ${two}`)
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
export const turn = () => new Promise(task)

export async function turns(count) {
  for (let n = 0; n < count; n++) await turn()
}

export async function until(condition, what) {
  for (let waited = 0; !condition(); waited++) {
    ok(waited < 3_000, `not in time: ${what ?? condition}`)
    await (waited < 50 ? turn() : sleep(1))
  }
}

/** The outcome of a promise, which has to come. */
export async function outcome(promise, what) {
  const wedged = {}
  let timer
  const late = new Promise((resolve) => (timer = setTimeout(resolve, 20_000, wedged)))
  const result = await Promise.race([
    Promise.resolve(promise).then(
      (value) => ({ value }),
      (error) => ({ error }),
    ),
    late,
  ])
  clearTimeout(timer)
  ok(result !== wedged, `${what} never settles`)
  return result
}

export function bytesOf(length, seed) {
  const bytes = new Uint8Array(length)
  for (let index = 0; index < length; index++) bytes[index] = index * 31 + seed * 7 + (index >>> 8)
  return bytes
}

export function same(one, two) {
  if (one.length !== two.length) return false
  for (let index = 0; index < one.length; index++) if (one[index] !== two[index]) return false
  return true
}

/** @type {(wasmqtt: any, broker: any, options?: any, url?: any) => any} */
export function makeClient(wasmqtt, broker, options, url = 'mem://broker') {
  return new wasmqtt.Client(url, {
    protocolVersion: 5,
    transport: broker.transport,
    reconnect: { minDelay: 1, maxDelay: 2 },
    ...options,
  })
}

export async function connected(wasmqtt, options, pace) {
  const broker = new Loopback(pace)
  const client = makeClient(wasmqtt, broker, options)
  await client.connect()
  // What comes is delivered from a task of its own on.
  await sleep(5)
  return { broker, client }
}
