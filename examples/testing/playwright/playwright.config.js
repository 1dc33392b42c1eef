import { defineConfig } from '@playwright/test'

// A browser of the system, where CHROMIUM names one. Otherwise `npx playwright install chromium` brings one.
const launchOptions = process.env.CHROMIUM
  ? { executablePath: process.env.CHROMIUM, args: ['--no-sandbox'] }
  : {}
const baseURL = 'http://127.0.0.1:5180'

export default defineConfig({
  testMatch: '*.spec.js',
  use: { baseURL, launchOptions },
  webServer: {
    command: 'npx vite --host 127.0.0.1 --port 5180 --strictPort',
    url: `${baseURL}/page.html`,
  },
})
