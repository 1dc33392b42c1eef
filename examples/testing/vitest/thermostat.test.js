import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { connect } from 'wasmqtt'
import { TestBroker } from 'wasmqtt/testing'
import { SILENCE, startThermostat } from './thermostat.js'

let broker
let clients
let next

// A thermostat for 20 degrees, and what it says to the heating.
beforeEach(async () => {
  vi.useFakeTimers()
  broker = new TestBroker()
  const options = { transport: broker.transport }
  const heating = await connect('ws://broker', options)
  clients = [heating, await startThermostat('ws://broker', 20, options)]
  const states = heating.messages('heating', { qos: 1 })[Symbol.asyncIterator]()
  next = async () => (await states.next()).value.text()
})

afterEach(async () => {
  vi.useRealTimers()
  await Promise.all(clients.map((client) => client.end()))
  await broker[Symbol.asyncDispose]()
})

test('the heating is on while it is cold', async () => {
  broker.publish('temperature', '18')
  expect(await next()).toBe('on')
  broker.publish('temperature', '21')
  expect(await next()).toBe('off')
})

test('the heating goes off when the thermometer is silent', async () => {
  broker.publish('temperature', '18')
  expect(await next()).toBe('on')
  vi.advanceTimersByTime(SILENCE)
  expect(await next()).toBe('off')
})
