// A process that writes to a FileStore until it is killed. Prints the number of each write that its store has kept.
//
// Write n sets 'n' to n, and each of 'a', 'b' and 'c' to n and some filling; it sets `m/n`, and deletes `m/(n - 20)`.
import { writeSync } from 'node:fs'
import { FileStore } from '../../pkg/stores-node.js'

const [folder, first, filling, inFlight] = [process.argv[2], ...process.argv.slice(3).map(Number)]

/**
 * The changes of write n.
 *
 * @returns {[key: string, value: Uint8Array | null][]}
 */
export function changesOf(n, filling) {
  const value = Buffer.from(String(n))
  const filled = Buffer.concat([value, Buffer.alloc(1 + ((n * 7919) % filling), ' ')])
  return [
    ['a', filled],
    ['b', filled],
    [`m/${n}`, value],
    ['c', filled],
    [`m/${n - 20}`, null],
    ['n', value],
  ]
}

if (folder !== undefined && process.argv[1].endsWith('store-writer.mjs')) {
  // A file that is too large is an error, as a full disk is, and not the end of the process.
  process.on('SIGXFSZ', () => {})
  const store = new FileStore(folder)
  const loaded = new Map(await store.load('writer'))
  let n = Number(Buffer.from(loaded.get('n') ?? '').toString() || first)
  writeSync(1, `loaded ${n}\n`)
  const work = async () => {
    for (;;) {
      const mine = ++n
      try {
        await store.write('writer', changesOf(mine, filling))
        writeSync(1, `${mine}\n`)
      } catch (error) {
        writeSync(1, `failed ${mine} ${error.code} ${error.cause?.code}\n`)
        process.exit(3)
      }
    }
  }
  for (let each = 0; each < inFlight; each++) work()
}
