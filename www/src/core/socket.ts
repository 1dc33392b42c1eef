// How the page reaches a broker: by a WebSocket, or, for the demo, without leaving the page.
import type { TransportContext, WebSocketLike } from 'wasmqtt'

/** The broker in the page. No host can have this name (RFC 6761). */
export const DEMO = 'ws://demo.invalid/'

/** Whether this is the address of the demo, as somebody may have typed it. */
export const isDemo = (url: string): boolean => /^wss?:\/\/demo\.invalid(\/|$)/.test(url)

/** The option `transport` of each client of the page. */
export async function openSocket(url: URL, context: TransportContext): Promise<WebSocketLike> {
  if (!isDemo(url.href)) return new WebSocket(url, context.protocols)
  const { transport } = await import('../demo/demo.ts')
  return transport(url, context)
}
