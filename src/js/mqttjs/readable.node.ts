import { Readable } from 'node:stream'

/** A stream of these packets. */
export function readable(items: Iterable<unknown>): Readable {
  return Readable.from(items, { objectMode: true })
}
