// 'wasmqtt/stores' for Node, Deno and Bun.
export { FileStore, type FileStoreOptions } from './file.js'
export { IndexedDBStore, type IndexedDBStoreOptions } from './indexed-db.js'
export type { EncryptionHooks } from './options.js'
