import { expect, test } from '@playwright/test'
import { TestBroker } from 'wasmqtt/testing'
import { OLD } from './thermometer.js'

let broker

// The page connects to a broker in the process of the test, so a test can see and do everything that a broker can.
test.beforeEach(async ({ page }) => {
  broker = new TestBroker()
  const { url } = await broker.listen()
  await page.clock.install()
  await page.goto(`/page.html?broker=${encodeURIComponent(url)}`)
  await broker.expect({ type: 'suback' })
})

test.afterEach(() => broker[Symbol.asyncDispose]())

test('it shows the temperature, and when it is old', async ({ page }) => {
  broker.publish('temperature', '21')
  await expect(page.locator('#temperature')).toHaveText('21 °C')
  await page.clock.fastForward(OLD)
  await expect(page.locator('#temperature')).toHaveText('21 °C (old)')
})

test('it says when the network failed, and gets afterwards what it missed', async ({ page }) => {
  broker.refuse(0x88)
  broker.drop()
  await expect(page.locator('#temperature')).toHaveText('offline')
  broker.publish('temperature', '22', { qos: 1 })
  broker.refuse(undefined)
  await page.clock.fastForward(10_000)
  await expect(page.locator('#temperature')).toHaveText('22 °C')
})
