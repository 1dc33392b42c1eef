/** @jest-environment jsdom */
const { TestBroker } = require('wasmqtt/testing')
const { OLD, showTemperature } = require('./thermometer')

let broker
let client
const element = document.createElement('p')

beforeEach(async () => {
  jest.useFakeTimers()
  broker = new TestBroker()
  client = await showTemperature(element, 'ws://broker', {
    transport: broker.transport,
    reconnect: { minDelay: 10_000 },
  })
})

afterEach(async () => {
  jest.useRealTimers()
  // The broker needs no end: without listen() it holds nothing.
  await client.end()
})

/** Waits without a timer until the element has the text. */
async function shows(text) {
  while (element.textContent !== text)
    await new Promise((resolve) => {
      new MutationObserver((_changes, observer) => {
        observer.disconnect()
        resolve()
      }).observe(element, { childList: true })
    })
}

test('it shows the temperature, and when it is old', async () => {
  broker.publish('temperature', '21')
  await shows('21 °C')
  jest.advanceTimersByTime(OLD)
  await shows('21 °C (old)')
  broker.publish('temperature', '22')
  await shows('22 °C')
})

test('it says when the network failed, and gets afterwards what it missed', async () => {
  broker.drop()
  await shows('offline')
  broker.publish('temperature', '22', { qos: 1 })
  jest.advanceTimersByTime(10_000)
  await shows('22 °C')
})
