import { unsupported } from './errors.js'
import type { TransportContext, WebSocketLike } from './types/connecting.js'

/** What differs between runtimes. The entry for Node puts its own in place. */
export const platform = {
  /** Makes the socket for a ws: or wss: URL. */
  open: openGlobalWebSocket as (
    url: URL,
    context: TransportContext,
  ) => WebSocketLike | Promise<WebSocketLike>,
  /** Fetches the module that `init` was given the URL of. */
  fetch: (source: string | URL): Promise<Response> => fetch(source),
  /**
   * Whether `open` also makes sockets for a URL that is neither ws: nor wss:. Throws an InvalidArgumentError where such a URL lacks something.
   */
  speaks: (_url: URL): boolean => false,
  /** Whether `open` can send headers and set TLS options. */
  native: false,
  /** Calls `work` in a task of its own. A channel that was left open would keep a process alive. */
  post(work: () => void): void {
    // The DOM that some frameworks simulate has none.
    if (typeof MessageChannel === 'undefined') {
      timer(work)
      return
    }
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = () => {
      port1.close()
      work()
    }
    port2.postMessage(0)
  },
}

/** Throws where the runtime has no WebAssembly, as React Native's Hermes, `node --jitless` and browsers in a lockdown mode. */
export function needWebAssembly(): void {
  if (typeof WebAssembly === 'undefined')
    throw unsupported('this runtime has no WebAssembly: import `wasmqtt/asmjs` instead')
}

/** Makes a socket with the WebSocket of the runtime. */
export function openGlobalWebSocket(url: URL, { protocols }: TransportContext): WebSocketLike {
  if (typeof WebSocket === 'undefined')
    throw unsupported('there is no WebSocket here: give a `transport`')
  const socket = new WebSocket(url, protocols)
  socket.binaryType = 'arraybuffer'
  return socket
}

/** Milliseconds, about 25 days: setTimeout fires at once where it is given more. */
export const LONGEST_TIMEOUT = 0x7fff_ffff

/** A function that does `work`, once. It is called after `ms` at the latest. */
export function atLatest(ms: number, work: () => void): () => void {
  let over = false
  const finish = () => {
    clearTimeout(timer)
    if (!over) work()
    over = true
  }
  const timer = ms === Infinity ? undefined : setTimeout(finish, Math.min(ms, LONGEST_TIMEOUT))
  return finish
}

const ready = Promise.resolve()
/** As it is when the package is loaded: frameworks for tests replace the global. */
export const timer = setTimeout

/** Calls `work` in a microtask. Frameworks for tests replace queueMicrotask() by one that waits. */
export function soon(work: () => void): void {
  void ready.then(work)
}

let tasks: (() => void)[] = []

/** Calls `work` in a task of its own. No timer: browsers delay those of hidden tabs, and frameworks for tests replace them by some that wait. */
export function task(work: () => void): void {
  if (tasks.push(work) > 1) return
  platform.post(() => {
    const due = tasks
    tasks = []
    for (const work of due) work()
  })
}

/** Runtimes that lack the symbol get the one that polyfills and compilers agree on. */
export const asyncDispose: typeof Symbol.asyncDispose =
  Symbol.asyncDispose ?? (Symbol.for('Symbol.asyncDispose') as never)
