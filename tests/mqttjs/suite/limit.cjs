// Gives each test that names no limit of its own one, so that a test that waits for ever does not keep the others.
const Module = require('node:module')
const test = require('node:test')

const LIMIT = 8_000

const limited = (it) =>
  Object.assign(
    (name, options, run) =>
      typeof options === 'function'
        ? it(name, { timeout: LIMIT }, options)
        : it(name, { timeout: LIMIT, ...options }, run),
    it,
  )
const replaced = { ...test, it: limited(test.it), test: limited(test.test) }

const load = Module._load
Module._load = function (request, parent, isMain) {
  return request === 'node:test' && parent?.filename?.includes('test')
    ? replaced
    : load.call(this, request, parent, isMain)
}
