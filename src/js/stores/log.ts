// The log of a FileStore's client: what is appended to it, and how it is read, repaired and written anew.
import { createHash, randomBytes } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { GroupCommit } from './group-commit.js'
import { LockFile } from './lock-file.js'
import {
  type Change,
  changeLength,
  decodeBatch,
  decodeFrames,
  decodeHeader,
  ENCRYPTED,
  encodeBatch,
  encodeFrame,
  encodeHeader,
  HEADER_LENGTH,
} from './log-format.js'
import { type Cipher, storeError } from './options.js'

/** Bytes of what waits to be written that go into one frame, at most, unless one write is larger. */
const FRAME_LIMIT = 4 * 1024 * 1024
/** Bytes of values that go into one batch of a compacted log, at most about. */
const COMPACT_BATCH = 1024 * 1024
/** A log is compacted when it has more bytes than this, and more than twice of what is alive in it. */
const COMPACT_SIZE = 1024 * 1024

/** What one write() changes. */
export interface Write {
  /** Bytes of each change as it is in a log; undefined: a deletion. */
  changes: [key: string, length: number | undefined][]
  batch: Uint8Array
}

/** The file of a client, as it was read. */
interface Opened {
  file: fs.FileHandle
  salt: number
  sequence: number
  /** Where the next frame begins. */
  end: number
}

/** The log of one client, which this process has the lock of. */
export class Log {
  readonly #path: string
  readonly #clientId: string
  readonly #cipher: Cipher | undefined
  readonly #lock: LockFile
  readonly #writes: GroupCommit<Write>
  #opened: Opened
  /** Bytes of each value that is alive, as it is in a compacted log. */
  readonly #alive = new Map<string, number>()
  #aliveBytes = 0
  /** The next length of the file at which compaction is considered. */
  #compactAt = COMPACT_SIZE
  /** What was read when the log was opened, until something is written. */
  #read: Map<string, Uint8Array> | undefined
  /** After this nothing can be written any more: it is not known what the file holds. */
  #broken: unknown

  private constructor(
    path: string,
    clientId: string,
    cipher: Cipher | undefined,
    lock: LockFile,
    opened: Opened,
    entries: Map<string, Uint8Array>,
  ) {
    this.#path = path
    this.#clientId = clientId
    this.#cipher = cipher
    this.#lock = lock
    this.#opened = opened
    this.#read = entries
    for (const [key, value] of entries) this.#account(key, changeLength(key, value))
    this.#writes = new GroupCommit(
      (writes) => this.#commit(writes),
      ({ batch }) => batch.length,
      FRAME_LIMIT,
    )
  }

  /** Takes the lock, and opens the log. Makes the folder and the log where there are none. */
  static async open(
    folder: string,
    clientId: string,
    cipher: Cipher | undefined,
    salvage: boolean,
  ): Promise<Log> {
    const path = join(folder, fileName(clientId))
    let lock: LockFile | undefined
    try {
      await fs.mkdir(folder, { recursive: true })
      lock = await LockFile.take(`${path}.lock`, clientId)
      const { opened, entries } = await openFile(`${path}.log`, cipher, salvage)
      return new Log(`${path}.log`, clientId, cipher, lock, opened, entries)
    } catch (cause) {
      await lock?.release().catch(() => {})
      throw storeError(`The store of client '${clientId}' cannot be opened in ${folder}`, cause)
    }
  }

  /** Encodes the changes of a write(). */
  static prepare(changes: readonly Change[]): Write {
    const lengths = changes.map(([key, value]): Write['changes'][number] => [
      key,
      value === null ? undefined : changeLength(key, value),
    ])
    return { changes: lengths, batch: encodeBatch(changes) }
  }

  /** All that is kept, when everything is written that waits. */
  async read(): Promise<Map<string, Uint8Array>> {
    await this.#writes.idle()
    if (this.#read !== undefined) return this.#read
    return this.#readAgain()
  }

  write(write: Write): Promise<void> {
    return this.#writes.push(write)
  }

  async close(): Promise<void> {
    await this.#writes.idle()
    await this.#opened.file.close().catch(() => {})
    await this.#lock.release().catch(() => {})
  }

  async #readAgain(): Promise<Map<string, Uint8Array>> {
    try {
      const file = await fs.readFile(this.#path)
      const { batches } = decodeFrames(file.subarray(0, this.#opened.end), this.#opened.salt)
      return await applied(batches, this.#cipher)
    } catch (cause) {
      throw storeError(`The store of client '${this.#clientId}' cannot be read`, cause)
    }
  }

  async #commit(writes: Write[]): Promise<void> {
    const what = `The store of client '${this.#clientId}' could not be written`
    try {
      if (this.#broken !== undefined)
        throw storeError(
          `${what}: an earlier write has failed in a way that leaves unknown what is on the disk`,
          this.#broken,
          false,
        )
      await this.#lock.check()
      await this.#compactIfWorthwhile()
      const batches = await Promise.all(writes.map(({ batch }) => sealed(batch, this.#cipher)))
      await this.#append(batches)
    } catch (cause) {
      throw storeError(what, cause)
    }
    this.#read = undefined
    for (const { changes } of writes)
      for (const [key, length] of changes) this.#account(key, length)
  }

  async #append(batches: Uint8Array[]): Promise<void> {
    const opened = this.#opened
    const frame = encodeFrame(opened.sequence, batches, opened.salt)
    try {
      await writeAll(opened.file, frame, opened.end)
    } catch (cause) {
      // What was written of it must not stay: the next frame may be shorter.
      await opened.file.truncate(opened.end).catch((worse) => {
        this.#broken = worse
      })
      throw cause
    }
    try {
      await opened.file.datasync()
    } catch (cause) {
      this.#broken = cause
      throw cause
    }
    opened.sequence++
    opened.end += frame.length
  }

  #account(key: string, length: number | undefined): void {
    this.#aliveBytes += (length ?? 0) - (this.#alive.get(key) ?? 0)
    if (length === undefined) this.#alive.delete(key)
    else this.#alive.set(key, length)
  }

  /** Writes the log anew when most of it is out of date. Nothing is lost where that fails: the old one stays. */
  async #compactIfWorthwhile(): Promise<void> {
    const { end, file } = this.#opened
    if (end < this.#compactAt || end < 2 * this.#aliveBytes) return
    // Should it fail, not at every write.
    this.#compactAt = 2 * end
    const entries = this.#read ?? (await this.#readAgain())
    let next: Opened
    try {
      next = await writeFile(this.#path, entries, this.#cipher)
    } catch (cause) {
      if (!(cause instanceof RenamedError)) return
      this.#broken = cause.cause
      throw cause.cause
    }
    this.#opened = next
    this.#compactAt = COMPACT_SIZE
    await file.close().catch(() => {})
  }
}

// ------------------------------------------------------------------------------------------------ files

/** Readable, the same on file systems that know no capitals, and different for each client. */
function fileName(clientId: string): string {
  const readable = clientId.replace(/[^A-Za-z0-9_-]+/g, '_').slice(0, 40)
  return `${readable}-${createHash('sha256').update(clientId).digest('hex').slice(0, 16)}`
}

/** Opens the log, makes it where there is none, and cuts off what was not written to its end. */
async function openFile(
  path: string,
  cipher: Cipher | undefined,
  salvage: boolean,
): Promise<{ opened: Opened; entries: Map<string, Uint8Array> }> {
  await fs.rm(`${path}.new`, { force: true })
  const bytes = await fs.readFile(path).catch((cause) => {
    if (cause.code === 'ENOENT') return undefined
    throw cause
  })
  if (bytes === undefined) {
    const entries = new Map<string, Uint8Array>()
    return { opened: await writeFile(path, entries, cipher), entries }
  }
  const header = decodeHeader(bytes)
  if (header === undefined) {
    if (!salvage) throw damaged(path, 0, HEADER_LENGTH)
    await fs.rename(path, damagedName(path))
    return openFile(path, cipher, salvage)
  }
  const encrypted = (header.flags & ENCRYPTED) !== 0
  if (encrypted && cipher === undefined)
    throw storeError(`${path} is encrypted: give the options encrypt and decrypt`)
  const { batches, damage, end, sequence } = decodeFrames(bytes, header.salt)
  const [first] = damage
  if (first !== undefined && !salvage) throw damaged(path, ...first)
  const entries = await applied(batches, encrypted ? cipher : undefined)
  if (first !== undefined) await fs.copyFile(path, damagedName(path))
  if (first !== undefined || encrypted !== (cipher !== undefined))
    return { opened: await writeFile(path, entries, cipher), entries }
  const file = await fs.open(path, 'r+')
  try {
    if (end < bytes.length) {
      await file.truncate(end)
      await file.sync()
    }
  } catch (cause) {
    await file.close()
    throw cause
  }
  return { opened: { file, salt: header.salt, sequence, end }, entries }
}

function damaged(path: string, from: number, to: number): Error {
  return storeError(
    `${path} is damaged from byte ${from} to ${to}: restore it from a copy, or give the option salvage to keep what can be read`,
  )
}

function damagedName(path: string): string {
  return `${path}.damaged-${new Date().toISOString().replace(/[:.]/g, '-')}`
}

/** The new log has its name, but it is not known whether it keeps it when the power fails. */
class RenamedError extends Error {}

/** Writes a log that holds these entries and nothing else, and puts it in the place of the old one. */
async function writeFile(
  path: string,
  entries: Map<string, Uint8Array>,
  cipher: Cipher | undefined,
): Promise<Opened> {
  const salt = randomBytes(4).readUInt32LE()
  const opened = { file: await fs.open(`${path}.new`, 'w+'), salt, sequence: 0, end: 0 }
  const { file } = opened
  try {
    const header = encodeHeader(cipher === undefined ? 0 : ENCRYPTED, salt)
    await writeAll(file, header, 0)
    opened.end = header.length
    for (const batch of inBatches(entries)) {
      const frame = encodeFrame(opened.sequence++, [await sealed(encodeBatch(batch), cipher)], salt)
      await writeAll(file, frame, opened.end)
      opened.end += frame.length
    }
    await file.sync()
    await fs.rename(`${path}.new`, path)
  } catch (cause) {
    await file.close().catch(() => {})
    await fs.rm(`${path}.new`, { force: true }).catch(() => {})
    throw cause
  }
  try {
    await syncFolder(dirname(path))
  } catch (cause) {
    await file.close().catch(() => {})
    throw new RenamedError('The folder could not be synced', { cause })
  }
  return opened
}

function* inBatches(entries: Map<string, Uint8Array>): Generator<Change[]> {
  let batch: Change[] = []
  let size = 0
  for (const entry of entries) {
    batch.push(entry)
    size += entry[1].length
    if (size < COMPACT_BATCH) continue
    yield batch
    batch = []
    size = 0
  }
  if (batch.length > 0) yield batch
}

/** Makes a rename last. Windows cannot open folders, and needs no such thing. */
async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return
  const folder = await fs.open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

async function writeAll(file: fs.FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, at, bytes.length - at, position + at)
    at += bytesWritten
  }
}

function sealed(batch: Uint8Array, cipher: Cipher | undefined): Promise<Uint8Array> | Uint8Array {
  return cipher === undefined ? batch : cipher.encrypt(batch)
}

/** What is there when all batches are applied. */
async function applied(
  batches: readonly Uint8Array[],
  cipher: Cipher | undefined,
): Promise<Map<string, Uint8Array>> {
  const entries = new Map<string, Uint8Array>()
  for (const stored of batches) {
    const batch = cipher === undefined ? stored : await opened(stored, cipher)
    decodeBatch(batch, (key, value) => {
      if (value === null) entries.delete(key)
      else entries.set(key, value)
    })
  }
  return entries
}

async function opened(stored: Uint8Array, cipher: Cipher): Promise<Uint8Array> {
  try {
    return await cipher.decrypt(stored)
  } catch (cause) {
    throw storeError('The log could not be decrypted: is it the right key?', cause)
  }
}
