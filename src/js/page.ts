/** Events after which a connection may be gone, or may be had again, and where they come. In workers only the first two do. */
const EVENTS: [name: string, target: () => EventTarget | undefined][] = [
  ['online', () => globalThis],
  ['offline', () => globalThis],
  // From the back/forward cache.
  ['pageshow', () => globalThis],
  ['visibilitychange', () => globalThis.document],
  // After a freeze.
  ['resume', () => globalThis.document],
]

export type PageEvent = Event & { persisted?: boolean }

/** Whether the event comes when a connection may be gone, or may be had again. Some come when the page is left. */
export function tellsOfConnection({ type, persisted }: PageEvent): boolean {
  return (
    persisted !== false && !(type === 'visibilitychange' && document.visibilityState === 'hidden')
  )
}

/** Begins or ends to listen to the page and its network, in runtimes that have such events. */
export function listenToPage(listener: EventListenerObject, begins: boolean): void {
  const change = begins ? 'addEventListener' : 'removeEventListener'
  for (const [name, target] of EVENTS) target()?.[change]?.(name, listener)
}
