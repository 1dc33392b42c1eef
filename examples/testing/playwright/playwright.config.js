import { defineConfig } from '@playwright/test'

// A browser of the system, where CHROMIUM names one. Otherwise `npx playwright install chromium` brings one.
const launchOptions = process.env.CHROMIUM
  ? { executablePath: process.env.CHROMIUM, args: ['--no-sandbox'] }
  : {}

export default defineConfig({ testMatch: '*.spec.js', use: { launchOptions } })
