// The one wasm instance of the page or process: made at first use, thrown away when it traps.

import * as glue from '#glue'
import { type AnyMqttError, mistake, mqttError, unsupported } from '../errors.js'
import { soon } from '../platform.js'

/** A client of the instance. */
export interface Tenant {
  /** The instance trapped: end, without touching the core. */
  evict(error: AnyMqttError): void
}

type Source = BufferSource | WebAssembly.Module

/** Bytes of a payload up to which the room for it is kept. */
const KEPT = 65_536

let source: (() => Source) | undefined
let memory: WebAssembly.Memory | undefined
let trapped = false
let traps = 0
let bytes = new Uint8Array(0)
let words = new Uint32Array(0)
/** Where the instance takes payloads from, and how many bytes are known to be there. */
let scratch = 0
let room = 0
const tenants = new Set<Tenant>()

/** Whether memory that grows detaches its buffer: not if there is no WebAssembly. */
declare const __DETACHES__: boolean

/** Says where the module comes from. `wasm` is called lazily, at first use. */
export function provide(wasm: () => Source): void {
  source ??= wasm
}

/** Makes the instance, unless there is one that works. */
function load(): void {
  if (memory !== undefined && !trapped) return
  if (source === undefined)
    throw unsupported('wasmqtt/slim needs `await init(source)` before anything else')
  try {
    if (trapped) glue.__wbg_reset_state()
    if (memory === undefined) glue.initSync({ module: source() })
    memory = glue.memory()
  } catch (cause) {
    throw unsupported(
      "WebAssembly cannot be used here: a Content-Security-Policy needs 'wasm-unsafe-eval', or import `wasmqtt/asmjs`",
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

/** Whether the memory has grown since. With WebAssembly, asking it for its buffer costs more than the length of a view. */
const isStale = (view: Uint8Array | Uint32Array) =>
  __DETACHES__ ? view.length === 0 : view.buffer !== memory!.buffer

/** The instance's memory as bytes. Use it before the next call into the instance: growth detaches it. */
export function memoryBytes(): Uint8Array {
  if (isStale(bytes)) refresh()
  return bytes
}

/** The instance's memory as words of 32 bits, with the same caution. */
export function memoryWords(): Uint32Array {
  if (isStale(words)) refresh()
  return words
}

/** Makes room for a payload in the instance's memory. Returns where. */
export function reserve(core: glue.Core, length: number): number {
  if (length <= room) return scratch
  const at = core.buffer(length)
  if (at === 0)
    throw mqttError({
      code: 'QUEUE_FULL',
      what: `there is no memory for ${length} bytes more`,
      retryable: true,
    })
  // What is longer may be given back after use.
  room = length <= KEPT ? length : 0
  scratch = at
  return at
}

/** Makes a core. Throws what is wrong with the options. */
export function makeCore(tenant: Tenant, host: glue.CoreHost, options: glue.Leaves): glue.Core {
  const core = call(() => new glue.Core(host, Math.random(), options), options)
  tenants.add(tenant)
  return core
}

/** Frees the core in a microtask: it may be on the stack. It is left alone if its instance has trapped until then. */
export function freeLater(core: glue.Core): void {
  const born = traps
  soon(() => {
    if (born !== traps) return
    try {
      core.free()
    } catch (thrown) {
      trap(thrown)
    }
  })
}

/** The tenant needs the instance no more. */
export function leave(tenant: Tenant): void {
  tenants.delete(tenant)
}

/** Ends all clients: after a trap nothing in the instance can be relied on. */
export function trap(cause: unknown): AnyMqttError {
  const error = mqttError({
    code: 'INTERNAL',
    what: 'this is a bug in wasmqtt; a new client will work',
    retryable: true,
    cause,
  })
  const evicted = [...tenants]
  tenants.clear()
  trapped = true
  room = 0
  traps++
  for (const tenant of evicted) tenant.evict(error)
  return error
}

/** Calls into the instance, which it makes first if needed. Throws the caller's mistake among `given`, or that the instance trapped. */
export function call<T>(work: () => T, given?: readonly unknown[]): T {
  load()
  try {
    return work()
  } catch (thrown) {
    throw mistake(thrown, given) ?? trap(thrown)
  }
}
