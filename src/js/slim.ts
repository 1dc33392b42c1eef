// The same with the WebAssembly apart: `init` says where it is.
import { provide } from './core/instance.js'
import { invalid, MqttError, mqttError } from './errors.js'
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
 * @throws InvalidArgumentError for what is no module, ConnectError if it cannot be fetched
 * @example
 * import wasmUrl from 'wasmqtt/wasmqtt.wasm?url' // with Vite
 * await init(wasmUrl)
 */
export async function init(source: ModuleSource): Promise<void> {
  let module: WebAssembly.Module
  try {
    module = await compile(source)
  } catch (cause) {
    if (cause instanceof MqttError) throw cause
    if (cause instanceof WebAssembly.CompileError)
      throw invalid(
        'source',
        'is no WebAssembly module, or a Content-Security-Policy forbids it',
        cause,
      )
    throw mqttError({
      code: 'CONNECTION_FAILED',
      phase: 'transport',
      url: typeof source === 'string' || source instanceof URL ? String(source) : '',
      retryable: true,
      cause,
    })
  }
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
  if (response.headers.get('content-type') === 'application/wasm')
    return WebAssembly.compileStreaming(response)
  // Not every server sends the right Content-Type.
  return WebAssembly.compile(await response.arrayBuffer())
}
