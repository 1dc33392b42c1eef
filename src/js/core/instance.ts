// The one wasm instance of the page or process: made at first use, thrown away when it traps.
import * as glue from '#glue'
import { invalid, mqttError, unsupported, type MqttError } from './errors.js'

/** A client of the instance. */
export interface Tenant {
  /** The instance trapped under it: end, without touching the core. */
  evict(error: MqttError): void
}

type Source = BufferSource | WebAssembly.Module

let source: (() => Source) | undefined
let memory: WebAssembly.Memory | undefined
let trapped = false
let traps = 0
let bytes = new Uint8Array(0)
let words = new Uint32Array(0)
const tenants = new Set<Tenant>()

/** Says where the module comes from. It is looked at when it is needed first. */
export function provide(wasm: () => Source): void {
  source ??= wasm
}

/** Makes the instance, if there is none that works. */
export function load(): void {
  if (memory !== undefined && !trapped) return
  if (source === undefined)
    throw unsupported('wasmqtt/slim needs `await init(source)` before anything else')
  try {
    if (trapped) glue.__wbg_reset_state()
    // With an instance in place, initSync only answers with its exports.
    const module = memory === undefined ? source() : new Uint8Array()
    memory = glue.initSync({ module }).memory
  } catch (cause) {
    throw unsupported(
      'WebAssembly cannot be used here (a Content-Security-Policy needs wasm-unsafe-eval)',
      cause,
    )
  }
  trapped = false
  refresh()
}

function refresh(): void {
  bytes = new Uint8Array(memory!.buffer)
  words = new Uint32Array(memory!.buffer)
}

/** The instance's memory, for use before the next call into it: growth detaches it. */
export function memoryBytes(): Uint8Array {
  if (bytes.length === 0) refresh()
  return bytes
}

export function memoryWords(): Uint32Array {
  if (words.length === 0) refresh()
  return words
}

export function makeCore(tenant: Tenant, options: unknown[]): glue.Core {
  const core = call(() => new glue.Core(tenant, Math.random(), options))
  tenants.add(tenant)
  return core
}

/** Frees a core in a moment: it may be calling now. One of an instance that has trapped since is left alone. */
export function freeLater(core: glue.Core): void {
  const born = traps
  queueMicrotask(() => {
    if (born !== traps) return
    try {
      core.free()
    } catch (thrown) {
      trap(thrown)
    }
  })
}

export function leave(tenant: Tenant): void {
  tenants.delete(tenant)
}

/** After a trap nothing in the instance can be relied on: all its clients end. */
export function trap(cause: unknown): MqttError {
  const error = mqttError({
    code: 'INTERNAL',
    what: 'this is a bug in wasmqtt; a new client will work',
    retryable: true,
    cause,
  })
  const evicted = [...tenants]
  tenants.clear()
  trapped = true
  traps++
  for (const tenant of evicted) tenant.evict(error)
  return error
}

/** Calls into the instance, making it first. Throws what the caller did wrong, or that it trapped. */
export function call<T>(work: () => T): T {
  load()
  try {
    return work()
  } catch (thrown) {
    throw mistake(thrown) ?? trap(thrown)
  }
}

/** What the core throws where its caller made a mistake; undefined: it trapped. */
export function mistake(thrown: unknown): MqttError | undefined {
  const { argument, message } = Object(thrown) as { argument?: string; message: string }
  return argument === undefined ? undefined : invalid(argument, message)
}
