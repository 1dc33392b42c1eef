// Builds the dashboard into static files that work from any folder of any static host.
import { fileURLToPath } from 'node:url'

const path = (name) => fileURLToPath(new URL(name, import.meta.url))

export default {
  root: path('.'),
  // Relative addresses: the folder on the host can have any name.
  base: './',
  logLevel: 'warn',
  publicDir: false,
  resolve: {
    // The first that fits is taken.
    alias: {
      'wasmqtt/stores': path('../pkg/stores.js'),
      'wasmqtt/testing': path('../pkg/testing.js'),
      wasmqtt: path('../pkg/index.js'),
    },
  },
  build: {
    outDir: path('../target/dashboard'),
    emptyOutDir: true,
    target: 'es2022',
    // The first that know `light-dark()`: otherwise it would be rewritten for older ones.
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
    modulePreload: { polyfill: false },
    // A data: URL would need an exception in the Content-Security-Policy.
    assetsInlineLimit: 0,
    // The client carries its WebAssembly module in itself.
    chunkSizeWarningLimit: 600,
    rolldownOptions: { input: [path('index.html'), path('fleet.html')] },
  },
}
