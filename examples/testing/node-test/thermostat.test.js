import { deepEqual, equal } from 'node:assert/strict'
import { test } from 'node:test'
import { connect } from 'wasmqtt'
import { TestBroker } from 'wasmqtt/testing'
import { SILENCE, startThermostat } from './thermostat.js'

/** A thermostat for 20 degrees, and what it says to the heating. */
async function start(t) {
  const broker = new TestBroker()
  t.after(() => broker[Symbol.asyncDispose]())
  const options = { transport: broker.transport, reconnect: { minDelay: 1, maxDelay: 1 } }
  const heating = await connect('ws://broker', options)
  const thermostat = await startThermostat('ws://broker', 20, {
    ...options,
    clientId: 'thermostat',
  })
  t.after(() => Promise.all([heating.end(), thermostat.end()]))
  const states = heating.messages('heating', { qos: 1 })[Symbol.asyncIterator]()
  return { broker, thermostat, next: async () => (await states.next()).value.text() }
}

test('the heating is on while it is cold', async (t) => {
  const { broker, next } = await start(t)
  broker.publish('temperature', '18')
  equal(await next(), 'on')
  broker.publish('temperature', '21')
  equal(await next(), 'off')
})

test('the heating goes off when the thermometer is silent', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { broker, next } = await start(t)
  broker.publish('temperature', '18')
  equal(await next(), 'on')
  t.mock.timers.tick(SILENCE)
  equal(await next(), 'off')
})

test('the thermostat goes on after the network failed', async (t) => {
  const { broker, thermostat, next } = await start(t)
  const back = new Promise((resolve) => thermostat.once('connect', resolve))
  broker.drop('thermostat')
  await back
  broker.publish('temperature', '18')
  equal(await next(), 'on')
  deepEqual([...broker.retained.keys()], ['heating'])
})
