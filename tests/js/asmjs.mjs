// `node --test --import ./tests/js/asmjs.mjs …` runs tests of the API with `wasmqtt/asmjs` in the place of the main entry.
import { register } from 'node:module'

const hooks = `export async function resolve(specifier, context, next) {
  const resolved = await next(specifier, context)
  return { ...resolved, url: resolved.url.replace(/\\/pkg\\/node\\.js$/, '/pkg/asmjs-node.js') }
}`

register(`data:text/javascript,${encodeURIComponent(hooks)}`)
