// FileStore: a folder of logs, one for each client.
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { invalid } from '../errors.js'
import type { Store } from '../types/connecting.js'
import { Log } from './log.js'
import {
  type Cipher,
  checkClientId,
  cipherOf,
  type EncryptionHooks,
  readOptions,
} from './options.js'

/** Options of a FileStore. */
export interface FileStoreOptions extends EncryptionHooks {
  /**
   * What load() does with a log that is damaged in the middle, as by a failing disk. false: it rejects with a StoreError that says where, and
   * leaves the log as it is. true: it keeps the damaged log beside the new one, under a name that ends with `.damaged-` and the time, and goes
   * on with everything that can be read, also what is behind the damage. What was written by the lost part is then missing: messages may be lost,
   * or come twice.
   * @default false
   */
  salvage?: boolean | undefined
}

/**
 * Keeps the state of QoS 1 and 2 in files: for Node, Deno and Bun. Give it to `connect()` as the option `store`.
 *
 * The path is a folder, which is made where there is none. Each client identifier has a log in it, to which each write() is appended and synced to the
 * disk before its promise resolves. Writes that come while the disk is busy are synced together. When most of a log is out of date, it is
 * written anew. A process that is killed, a machine that loses power and a disk that is full lose nothing that a promise was resolved for: what was not
 * written to its end is cut off by the next load().
 *
 * One process at a time may use a client identifier. A lock file says which one does, and is taken over when that one is dead. A process on another
 * machine, or in another container, counts as dead after a minute without a sign of life.
 *
 * With encrypt and decrypt, keys and values are encrypted together. A log that was plain before is encrypted when it is loaded.
 *
 * @example
 * import { connect } from 'wasmqtt'
 * import { FileStore } from 'wasmqtt/stores'
 *
 * const store = new FileStore('/var/lib/meter/mqtt')
 * const client = await connect('mqtts://broker.example', { clientId: 'meter-7', store })
 */
export class FileStore implements Store {
  readonly #folder: string
  readonly #cipher: Cipher | undefined
  readonly #salvage: boolean
  readonly #logs = new Map<string, Promise<Log>>()

  /**
   * Touches no file yet.
   *
   * @param path the folder, as a path or a file: URL
   * @throws InvalidArgumentError if the path is empty, or an option is not known
   */
  constructor(path: string | URL, options?: FileStoreOptions) {
    const isUrl = path instanceof URL
    if (!isUrl && (typeof path !== 'string' || path === ''))
      throw invalid('path', 'must be the path of a folder')
    if (isUrl && path.protocol !== 'file:') throw invalid('path', 'must be a file: URL')
    const read = readOptions(options, ['salvage'])
    this.#folder = resolve(isUrl ? fileURLToPath(path) : path)
    this.#cipher = cipherOf(read)
    this.#salvage = read.salvage === true
  }

  /**
   * Reads what is kept for a client, in the order of the keys, and takes the lock if this store does not have it.
   *
   * @throws StoreError if another process uses the client identifier, if the log cannot be read or decrypted, or if it is damaged
   */
  async load(clientId: string): Promise<ReadonlyArray<readonly [key: string, value: Uint8Array]>> {
    const log = await this.#open(clientId)
    const entries = [...(await log.read())]
    return entries.sort(([one], [other]) => (one < other ? -1 : 1))
  }

  /**
   * Applies changes in order, all or none. Resolves when they are on the disk. A null value deletes.
   *
   * @throws StoreError if they could not be written. `cause` says why: ENOSPC is a full disk. The log is as it was before, and later writes may succeed;
   *   only after a failed sync they do not, because it is not known what reached the disk: end the process, or close() and begin anew
   */
  async write(
    clientId: string,
    changes: ReadonlyArray<readonly [key: string, value: Uint8Array | null]>,
  ): Promise<void> {
    checkClientId(clientId)
    // Before anything is awaited: the caller may use the bytes again.
    const write = Log.prepare(changes)
    const log = await this.#open(clientId)
    await log.write(write)
  }

  /** Waits for what is being written, and gives up all locks. The store may be used again afterwards. */
  async close(): Promise<void> {
    const logs = [...this.#logs.values()]
    this.#logs.clear()
    const closed = logs.map(async (opening) => {
      const log = await opening.catch(() => undefined)
      await log?.close()
    })
    await Promise.all(closed)
  }

  #open(clientId: string): Promise<Log> {
    checkClientId(clientId)
    let log = this.#logs.get(clientId)
    if (log === undefined) {
      log = Log.open(this.#folder, clientId, this.#cipher, this.#salvage)
      this.#logs.set(clientId, log)
      // The next call tries again.
      log.catch(() => this.#logs.get(clientId) === log && this.#logs.delete(clientId))
    }
    return log
  }
}
