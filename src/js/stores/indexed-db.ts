// IndexedDBStore: one database for the page's origin, with the records of all clients in one object store.
import { type DBSchema, type IDBPDatabase, openDB } from 'idb'
import { invalid, unsupported } from '../errors.js'
import type { Store } from '../types/connecting.js'
import { GroupCommit } from './group-commit.js'
import {
  type Cipher,
  checkClientId,
  cipherOf,
  type EncryptionHooks,
  readOptions,
  storeError,
} from './options.js'

/** Options of an IndexedDBStore. */
export interface IndexedDBStoreOptions extends EncryptionHooks {
  /**
   * When a write counts as done. 'strict': when the browser has asked the system to write it to the disk, so that it survives a loss of power.
   * 'relaxed': when the system has it, so that it survives the end of the page and of the browser; several times faster.
   * @default 'strict'
   */
  durability?: 'strict' | 'relaxed' | undefined
}

/** Milliseconds to wait for the lock: that of a page that was just reloaded is given up a moment later. */
const LOCK_PATIENCE = 1_000
/** Bytes of values that go into one transaction, at most, unless one write is larger. */
const TRANSACTION_LIMIT = 4 * 1024 * 1024

const RECORDS = 'records'
type RecordKey = [clientId: string, key: string]
interface Schema extends DBSchema {
  [RECORDS]: { key: RecordKey; value: Uint8Array }
}

/**
 * Keeps the state of QoS 1 and 2 in IndexedDB: for pages and workers. Give it to `connect()` as the option `store`.
 *
 * Each write() is a transaction, or goes with others into one where they come while the database is busy. It survives a reload, the end of the tab or
 * of the browser, and with 'strict' durability a loss of power.
 *
 * One tab or worker at a time may use a client identifier. Web Locks see to that, in secure contexts; where there are none, nothing does.
 * Browsers may delete what an origin stores when the disk is full, unless `navigator.storage.persist()` was granted.
 *
 * With encrypt and decrypt, the values are encrypted, each by itself. The keys are not: they say what kind of record it is, and number it.
 *
 * @example
 * import { connect } from 'wasmqtt'
 * import { IndexedDBStore } from 'wasmqtt/stores'
 *
 * const client = await connect('wss://broker.example/mqtt', { clientId: 'panel-7', store: new IndexedDBStore() })
 */
export class IndexedDBStore implements Store {
  readonly #name: string
  readonly #cipher: Cipher | undefined
  readonly #durability: 'strict' | 'relaxed'
  #database: Promise<IDBPDatabase<Schema>> | undefined
  readonly #clients = new Map<string, ClientRecords>()

  /**
   * Opens nothing yet.
   *
   * @param name of the database. Default 'wasmqtt'
   * @throws InvalidArgumentError if the name is empty, or an option is not known
   * @throws NotSupportedError if this runtime has no IndexedDB
   */
  constructor(name = 'wasmqtt', options?: IndexedDBStoreOptions) {
    if (typeof name !== 'string' || name === '')
      throw invalid('name', 'must be the name of a database')
    const read = readOptions(options, ['durability'])
    const { durability = 'strict' } = read
    if (durability !== 'strict' && durability !== 'relaxed')
      throw invalid('durability', "must be 'strict' or 'relaxed'")
    if (typeof indexedDB === 'undefined')
      throw unsupported('IndexedDBStore: this runtime has no IndexedDB')
    this.#name = name
    this.#durability = durability
    this.#cipher = cipherOf(read)
  }

  /**
   * Reads what is kept for a client, in the order of the keys, and takes the lock if this store does not have it.
   *
   * @throws StoreError if another tab or worker uses the client identifier, or if the database cannot be opened, read or decrypted
   */
  async load(clientId: string): Promise<ReadonlyArray<readonly [key: string, value: Uint8Array]>> {
    const client = await this.#client(clientId)
    return client.load()
  }

  /**
   * Applies changes in order, all or none. Resolves when they are kept. A null value deletes.
   *
   * @throws StoreError if they could not be written. `cause` says why: a QuotaExceededError is a full disk. Later writes may succeed
   */
  async write(
    clientId: string,
    changes: ReadonlyArray<readonly [key: string, value: Uint8Array | null]>,
  ): Promise<void> {
    checkClientId(clientId)
    // Copied now: the caller may use the bytes again.
    const copies = changes.map(
      ([key, value]): Change => [key, value === null ? null : value.slice()],
    )
    const client = await this.#client(clientId)
    await client.write(copies)
  }

  /** Waits for what is being written, gives up all locks and closes the database. The store may be used again afterwards. */
  async close(): Promise<void> {
    const clients = [...this.#clients.values()]
    this.#clients.clear()
    const database = this.#database
    this.#database = undefined
    await Promise.all(clients.map((client) => client.close()))
    await database?.then(
      (open) => open.close(),
      () => {},
    )
  }

  async #client(clientId: string): Promise<ClientRecords> {
    checkClientId(clientId)
    let client = this.#clients.get(clientId)
    if (client === undefined) {
      const open = () => this.#open()
      client = new ClientRecords(this.#name, clientId, open, this.#durability, this.#cipher)
      this.#clients.set(clientId, client)
    }
    try {
      await client.ready
    } catch (error) {
      // The next call tries again.
      if (this.#clients.get(clientId) === client) this.#clients.delete(clientId)
      throw error
    }
    return client
  }

  #open(): Promise<IDBPDatabase<Schema>> {
    if (this.#database !== undefined) return this.#database
    const forget = () => {
      if (this.#database === opening) this.#database = undefined
    }
    const opening = openDB<Schema>(this.#name, 1, {
      upgrade: (database) => void database.createObjectStore(RECORDS),
      // Somebody wants to delete the database.
      blocking: (_current, _blocked, event) => {
        forget()
        ;(event.target as IDBDatabase).close()
      },
      terminated: forget,
    })
    this.#database = opening
    opening.catch(forget)
    return opening
  }
}

type Change = readonly [key: string, value: Uint8Array | null]

/** The records of one client, and the lock on them. */
class ClientRecords {
  /** Resolves when this store has the lock; rejects if somebody else has it. */
  readonly ready: Promise<void>
  readonly #clientId: string
  readonly #open: () => Promise<IDBPDatabase<Schema>>
  readonly #durability: 'strict' | 'relaxed'
  readonly #cipher: Cipher | undefined
  readonly #writes: GroupCommit<Change[]>
  #release: () => void = () => {}

  constructor(
    name: string,
    clientId: string,
    open: () => Promise<IDBPDatabase<Schema>>,
    durability: 'strict' | 'relaxed',
    cipher: Cipher | undefined,
  ) {
    this.#clientId = clientId
    this.#open = open
    this.#durability = durability
    this.#cipher = cipher
    this.#writes = new GroupCommit(
      (writes) => this.#commit(writes.flat()),
      (changes) => changes.reduce((sum, [, value]) => sum + (value?.length ?? 0), 0),
      TRANSACTION_LIMIT,
    )
    this.ready = this.#lock(`wasmqtt ${name} ${clientId}`)
  }

  async load(): Promise<(readonly [key: string, value: Uint8Array])[]> {
    await this.#writes.idle()
    const cipher = this.#cipher
    try {
      const database = await this.#open()
      const transaction = database.transaction(RECORDS)
      const range = IDBKeyRange.bound([this.#clientId], [this.#clientId, []])
      const [keys, values] = await Promise.all([
        transaction.store.getAllKeys(range),
        transaction.store.getAll(range),
      ])
      const decrypt = async ([, key]: RecordKey, index: number) => {
        const stored = values[index]!
        return [key, cipher === undefined ? stored : await cipher.decrypt(stored)] as const
      }
      return await Promise.all(keys.map(decrypt))
    } catch (cause) {
      throw storeError(`The store of client '${this.#clientId}' cannot be read`, cause)
    }
  }

  write(changes: Change[]): Promise<void> {
    return this.#writes.push(changes)
  }

  async close(): Promise<void> {
    await this.ready.catch(() => {})
    await this.#writes.idle()
    this.#release()
  }

  async #commit(changes: Change[]): Promise<void> {
    const cipher = this.#cipher
    try {
      // Before the transaction begins: it ends by itself as soon as it has nothing to do.
      const stored =
        cipher === undefined
          ? changes
          : await Promise.all(
              changes.map(
                async ([key, value]): Promise<Change> => [
                  key,
                  value && (await cipher.encrypt(value)),
                ],
              ),
            )
      const database = await this.#open()
      const transaction = database.transaction(RECORDS, 'readwrite', {
        durability: this.#durability,
      })
      try {
        const requests = stored.map(([key, value]) => {
          const id: RecordKey = [this.#clientId, key]
          return value === null ? transaction.store.delete(id) : transaction.store.put(value, id)
        })
        await Promise.all([...requests, transaction.done])
      } catch (cause) {
        abort(transaction)
        throw cause
      }
    } catch (cause) {
      throw storeError(`The store of client '${this.#clientId}' could not be written`, cause)
    }
  }

  /** Takes the lock, which this page or worker has until it ends or gives it up. */
  #lock(name: string): Promise<void> {
    const locks = globalThis.navigator?.locks
    if (locks === undefined) return Promise.resolve()
    const patience = new AbortController()
    const timer = setTimeout(() => patience.abort(), LOCK_PATIENCE)
    return new Promise((resolve, reject) => {
      const hold = () =>
        new Promise<void>((release) => {
          clearTimeout(timer)
          this.#release = release
          resolve()
        })
      locks.request(name, { signal: patience.signal }, hold).catch((cause: unknown) => {
        clearTimeout(timer)
        const taken = `The store of client '${this.#clientId}' is in use by another tab or worker: close that one, or choose another clientId`
        reject(
          patience.signal.aborted
            ? storeError(taken, undefined, true)
            : storeError(`The lock of client '${this.#clientId}' cannot be taken`, cause),
        )
      })
    })
  }
}

/** Undoes a transaction that was not finished. What ended by itself stays ended. */
function abort(transaction: { abort(): void; done: Promise<void> }): void {
  transaction.done.catch(() => {})
  try {
    transaction.abort()
  } catch {}
}
