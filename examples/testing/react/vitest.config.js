import { defineConfig } from 'vitest/config'

export default defineConfig({
  // React Testing Library cleans up after each test where there is a global afterEach.
  test: { environment: 'jsdom', globals: true },
  oxc: { jsx: { runtime: 'automatic' } },
})
