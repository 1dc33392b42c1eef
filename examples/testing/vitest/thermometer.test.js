import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { TestBroker } from 'wasmqtt/testing'
import { OLD, showTemperature } from './thermometer.js'

let broker
let client
const element = document.createElement('p')

beforeEach(async () => {
  vi.useFakeTimers()
  broker = new TestBroker()
  client = await showTemperature(element, 'ws://broker', {
    transport: broker.transport,
    reconnect: { minDelay: 10_000 },
  })
})

afterEach(async () => {
  vi.useRealTimers()
  await client.end()
  await broker[Symbol.asyncDispose]()
})

const shows = (text) => vi.waitFor(() => expect(element.textContent).toBe(text), { timeout: 5_000 })

test('it shows the temperature, and when it is old', async () => {
  broker.publish('temperature', '21')
  await shows('21 °C')
  vi.advanceTimersByTime(OLD)
  await shows('21 °C (old)')
  broker.publish('temperature', '22')
  await shows('22 °C')
})

test('it says when the network failed, and gets afterwards what it missed', async () => {
  broker.drop()
  await shows('offline')
  broker.publish('temperature', '22', { qos: 1 })
  vi.advanceTimersByTime(10_000)
  await shows('22 °C')
})
