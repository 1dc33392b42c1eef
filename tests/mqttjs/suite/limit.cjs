// Gives each test that names no limit of its own one, so that a test that waits for ever does not keep the others, notes which test has
// begun, and leaves out those that would end the whole run: SUITE_SKIP is their names, one a line.
const { appendFileSync } = require('node:fs')
/** @type {any} */
const Module = require('node:module')
const test = require('node:test')

const LIMIT = 4_000
const skipped = new Set((process.env.SUITE_SKIP ?? '').split('\n'))

function watched(name, run) {
  const note = () => appendFileSync(process.env.SUITE_PROGRESS, `${name}\n`)
  // The number of parameters tells node:test whether there is a callback.
  return run.length > 1
    ? /** @this {unknown} */
      function (t, done) {
        note()
        return run.call(this, t, done)
      }
    : /** @this {unknown} */
      function (t) {
        note()
        return run.call(this, t)
      }
}

const limited = (it) =>
  Object.assign((name, ...rest) => {
    const run = rest.at(-1)
    const options = rest.length > 1 ? rest[0] : {}
    const skip = options.skip || skipped.has(name)
    return it(name, { timeout: LIMIT, ...options, skip }, watched(name, run))
  }, it)
const replaced = { ...test, it: limited(test.it), test: limited(test.test) }

// The files end the process when their last test is done, before the runner has heard of it.
const { exit } = process
const { setTimeout } = globalThis
Object.assign(process, {
  exit: (code) => setTimeout(() => exit.call(process, code), 500),
})

const load = Module._load
Module._load = function (request, parent, isMain) {
  return request === 'node:test' && parent?.filename?.includes('test')
    ? replaced
    : load.call(this, request, parent, isMain)
}
