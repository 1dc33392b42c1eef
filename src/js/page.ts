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

/**
 * Calls `check` whenever the page or its network comes back, or the network goes. Does nothing in runtimes that have no such events. Returns what
 * ends it.
 */
export function watchPage(check: (goes: boolean) => void): () => void {
  const onEvent = ({ type, persisted }: Event & { persisted?: boolean }) => {
    const hides = type === 'visibilitychange' && document.visibilityState === 'hidden'
    if (!hides && persisted !== false) check(type === 'offline')
  }
  for (const [name, target] of EVENTS) target()?.addEventListener?.(name, onEvent as () => void)
  return () => {
    for (const [name, target] of EVENTS)
      target()?.removeEventListener?.(name, onEvent as () => void)
  }
}
