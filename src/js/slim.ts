// The same with the WebAssembly apart: `init` says where it is.
import { provide } from './core/instance.js'
import { invalid, mqttError } from './errors.js'
import { platform } from './platform.js'
import { view } from './validate.js'

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
 * @throws InvalidArgumentError for another source, ConnectError if it cannot be fetched
 * @example
 * import wasmUrl from 'wasmqtt/wasmqtt.wasm?url' // with Vite
 * await init(wasmUrl)
 */
export async function init(source: ModuleSource): Promise<void> {
  const module = await compile(source)
  provide(() => module)
}

async function compile(source: ModuleSource): Promise<WebAssembly.Module> {
  if (source instanceof WebAssembly.Module) return source
  const bytes = view(source)
  if (bytes !== undefined) return WebAssembly.compile(bytes as BufferSource)
  const isUrl = typeof source === 'string' || source instanceof URL
  const response = await (isUrl ? platform.fetch(source) : (source as Promise<Response>))
  if (typeof response?.arrayBuffer !== 'function')
    throw invalid('source', 'must be a URL, bytes, a WebAssembly.Module or a Response')
  if (!response.ok) {
    throw mqttError({
      code: 'CONNECTION_FAILED',
      phase: 'transport',
      url: response.url,
      what: `HTTP status ${response.status}`,
      retryable: true,
    })
  }
  // compileStreaming wants the right Content-Type, which not every server sends.
  return WebAssembly.compile(await response.arrayBuffer())
}
