// A reporter for node:test: a line of JSON with the name and the outcome of each test. `npm test` counts them, and conformance.mjs
// reads which tests ran and passed.

import { resolve } from 'node:path'

/** A test that is skipped or marked as todo counts as skipped, whatever came of it. */
export default async function* report(events) {
  for await (const { type, data } of events) {
    if (type !== 'test:pass' && type !== 'test:fail') continue
    if (data.details.type === 'suite') continue
    // node:test also reports a file without tests as one test, named after the file.
    if (type === 'test:pass' && data.file === resolve(data.name)) continue
    const skipped = data.skip !== undefined || data.todo !== undefined
    const outcome = skipped ? 'skipped' : type === 'test:pass' ? 'passed' : 'failed'
    yield `${JSON.stringify({ name: data.name, outcome })}\n`
  }
}
