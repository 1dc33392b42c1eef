import { act, fireEvent, render, screen } from '@testing-library/react'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { connect } from 'wasmqtt'
import { TestBroker } from 'wasmqtt/testing'
import { OLD, Thermometer } from './thermometer.jsx'

let broker
let client

beforeEach(async () => {
  // findByText waits with a timer, so timers also go on by themselves.
  vi.useFakeTimers({ shouldAdvanceTime: true })
  broker = new TestBroker()
  client = await connect('ws://broker', { transport: broker.transport })
  render(<Thermometer client={client} />)
  await broker.expect({ type: 'suback' })
})

afterEach(async () => {
  vi.useRealTimers()
  await client.end()
  await broker[Symbol.asyncDispose]()
})

test('it shows the temperature, and when it is old', async () => {
  expect(screen.getByText('unknown')).toBeDefined()
  broker.publish('temperature', '21')
  await screen.findByText('21 °C')
  expect(screen.queryByText('old')).toBeNull()
  act(() => vi.advanceTimersByTime(OLD))
  expect(screen.getByText('old')).toBeDefined()
})

test('the button sets the target', async () => {
  fireEvent.click(screen.getByRole('button'))
  await broker.expect({ type: 'publish', topic: 'target' })
  expect(broker.retained.get('target').text()).toBe('20')
})
