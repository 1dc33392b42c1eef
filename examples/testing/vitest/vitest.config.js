import { playwright } from '@vitest/browser-playwright'
import { defineConfig } from 'vitest/config'

// A browser of the system, where CHROMIUM names one. Otherwise `npx playwright install chromium` brings one.
const launchOptions = process.env.CHROMIUM
  ? { executablePath: process.env.CHROMIUM, args: ['--no-sandbox'] }
  : {}
const provider = playwright({ launchOptions })

export default defineConfig({
  test: {
    projects: [
      { test: { name: 'node', environment: 'node', include: ['thermostat.test.js'] } },
      { test: { name: 'jsdom', environment: 'jsdom', include: ['thermometer.test.js'] } },
      {
        test: {
          name: 'browser',
          include: ['*.test.js'],
          browser: {
            enabled: true,
            headless: true,
            screenshotFailures: false,
            provider,
            instances: [{ browser: 'chromium' }],
          },
        },
        optimizeDeps: { include: ['wasmqtt', 'wasmqtt/testing'] },
      },
    ],
  },
})
