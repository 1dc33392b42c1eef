// The same with the WebAssembly apart: `init` says where it is.
import { provide } from './core/instance.js'
import { invalid, MqttError, mqttError } from './errors.js'
import { needWebAssembly, platform } from './platform.js'
import { view } from './validate.js'
import type { ErrorFields } from './wording.js'

export * from './api.js'

/** Where the WebAssembly module comes from: a URL of it, its bytes, the module itself, or a response that brings it. */
export type ModuleSource =
  | URL
  | string
  | BufferSource
  | WebAssembly.Module
  | Response
  | Promise<Response>

/**
 * Loads the WebAssembly module. Call it once, before anything else is used. Only the first module that is loaded counts.
 *
 * @throws InvalidArgumentError for what is no module, ConnectError if it cannot be fetched, NotSupportedError where there is no WebAssembly
 * @example
 * import wasmUrl from 'wasmqtt/wasmqtt.wasm?url' // with Vite
 * await init(wasmUrl)
 */
export async function init(source: ModuleSource): Promise<void> {
  needWebAssembly()
  let module: WebAssembly.Module
  let url = ''
  try {
    // What some bundlers make of `import()` of a file has it as its default export.
    const given: unknown = await source
    const from = (given as { default?: unknown } | undefined)?.default ?? given
    if (typeof from === 'string' || from instanceof URL) url = String(from)
    module = await compile(url ? await platform.fetch(url) : from)
  } catch (cause) {
    if (cause instanceof MqttError) throw cause
    if (cause instanceof WebAssembly.CompileError)
      throw invalid(
        'source',
        'is no WebAssembly module, or a Content-Security-Policy forbids it',
        cause,
      )
    throw failed({ url, retryable: true, cause })
  }
  provide(() => module)
}

const failed = (fields: Partial<ErrorFields>) =>
  mqttError({ code: 'CONNECTION_FAILED', phase: 'transport', ...fields })

async function compile(source: unknown): Promise<WebAssembly.Module> {
  if (source instanceof WebAssembly.Module) return source
  const bytes = view(source)
  if (bytes !== undefined) return WebAssembly.compile(bytes as BufferSource)
  const response = source as Response
  if (typeof response?.arrayBuffer !== 'function')
    throw invalid('source', 'must be a URL, bytes, a WebAssembly.Module or a Response')
  const { ok, status, url, headers } = response
  if (!ok) throw failed({ url, status, what: `HTTP status ${status}`, retryable: status >= 500 })
  if (headers.get('content-type') === 'application/wasm')
    return WebAssembly.compileStreaming(response)
  // Not every server sends the right Content-Type.
  return WebAssembly.compile(await response.arrayBuffer())
}
