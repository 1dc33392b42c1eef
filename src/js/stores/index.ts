// 'wasmqtt/stores' for pages and workers, which have no files.
import { unsupported } from '../errors.js'
import type { FileStore as NodeFileStore } from './file.js'

export type { FileStoreOptions } from './file.js'
export { IndexedDBStore, type IndexedDBStoreOptions } from './indexed-db.js'
export type { EncryptionHooks } from './options.js'

/** A store in files, as Node, Deno and Bun have them. */
export type FileStore = NodeFileStore

/**
 * Keeps state in files, which pages and workers have none of. The name is here so that one import serves these and Node.
 *
 * @throws NotSupportedError always
 */
export const FileStore: typeof NodeFileStore = class {
  constructor() {
    throw unsupported('FileStore: this runtime has no files, use IndexedDBStore')
  }
} as never
