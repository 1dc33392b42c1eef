// The same without the module: `init` says where it is.
import { invalid, mqttError } from './errors.js'
import { view } from './check.js'
import { provide } from './wasm.js'

export * from './api.js'

type ModuleSource = URL | string | BufferSource | WebAssembly.Module | Response | Promise<Response>

/**
 * Loads the module, before anything else is used: from a URL, from bytes, or as it comes. Only the first call counts. Rejects with
 * InvalidArgumentError for another source, ConnectError if it cannot be fetched.
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
  const response = await (isUrl ? fetch(source) : (source as Promise<Response>))
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
