import { invalid, MqttError, mqttError } from '../errors.js'

/**
 * What a store does to the bytes that it keeps, and back. Both or neither. They may be asynchronous, as those of WebCrypto are.
 *
 * @example
 * const key = await crypto.subtle.generateKey({ name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt'])
 * const store = new IndexedDBStore('meters', {
 *   async encrypt(plain) {
 *     const iv = crypto.getRandomValues(new Uint8Array(12))
 *     const sealed = new Uint8Array(await crypto.subtle.encrypt({ name: 'AES-GCM', iv }, key, plain))
 *     const stored = new Uint8Array(12 + sealed.length)
 *     stored.set(iv)
 *     stored.set(sealed, 12)
 *     return stored
 *   },
 *   async decrypt(stored) {
 *     const iv = stored.subarray(0, 12)
 *     return new Uint8Array(await crypto.subtle.decrypt({ name: 'AES-GCM', iv }, key, stored.subarray(12)))
 *   },
 * })
 */
export interface EncryptionHooks {
  /** Turns bytes into what is stored. Called once for each piece that is written. A rejection rejects the write. */
  encrypt?: ((plain: Uint8Array) => Uint8Array | Promise<Uint8Array>) | undefined
  /** Turns what is stored into the bytes again. A rejection rejects load(): the key is wrong, or somebody changed the data. */
  decrypt?: ((stored: Uint8Array) => Uint8Array | Promise<Uint8Array>) | undefined
}

/** The hooks of a store, where it has any. @internal */
export interface Cipher {
  encrypt(plain: Uint8Array): Promise<Uint8Array>
  decrypt(stored: Uint8Array): Promise<Uint8Array>
}

/** Checks that the options of a store have no other names than these and those of the hooks. @internal */
export function readOptions<Options extends EncryptionHooks>(
  given: Options | undefined,
  names: readonly string[],
): Options {
  const options = given ?? ({} as Options)
  if (typeof options !== 'object')
    throw invalid('options', `must be an object, not ${typeof options}`)
  for (const name of Object.keys(options))
    if (![...names, 'encrypt', 'decrypt'].includes(name))
      throw invalid(name, 'is no option of a store')
  return options
}

/** Checks that there are both hooks or neither. @internal */
export function cipherOf({ encrypt, decrypt }: EncryptionHooks): Cipher | undefined {
  if (encrypt === undefined && decrypt === undefined) return undefined
  for (const [name, hook] of Object.entries({ encrypt, decrypt }))
    if (typeof hook !== 'function')
      throw invalid(name, 'must be a function: encrypt and decrypt go together')
  return {
    encrypt: async (plain) => called(encrypt!, plain, 'encrypt'),
    decrypt: async (stored) => called(decrypt!, stored, 'decrypt'),
  }
}

async function called(
  hook: NonNullable<EncryptionHooks['encrypt']>,
  bytes: Uint8Array,
  name: string,
): Promise<Uint8Array> {
  const result = await hook(bytes)
  if (!(result instanceof Uint8Array)) throw invalid(name, 'must give a Uint8Array')
  return result
}

/** Checks the client identifier that a store is asked for. @internal */
export function checkClientId(clientId: string): void {
  if (typeof clientId !== 'string' || clientId === '')
    throw invalid('clientId', 'must be given: a store keeps what belongs to one')
}

/** Errors that may be gone when the same is tried later: a full disk, too many open files. */
const PASSING = ['ENOSPC', 'EDQUOT', 'EFBIG', 'EMFILE', 'ENFILE', 'QuotaExceededError']

/** A StoreError, unless the error is one of ours already. @internal */
export function storeError(what: string, cause?: unknown, retryable?: boolean): MqttError {
  if (cause instanceof MqttError) return cause
  const { code, name } = Object(cause) as { code?: unknown; name?: unknown }
  const passing = PASSING.includes(String(code)) || PASSING.includes(String(name))
  return mqttError({ code: 'STORE_FAILED', what, cause, retryable: retryable ?? passing })
}
