/** On Node, makes the WebSocket of `ws` a global, because some clients expect one. */
if (globalThis.process) globalThis.WebSocket = /** @type {any} */ ((await import('ws')).WebSocket)

/** If more bytes than this are unsent, clients without back pressure must wait. */
export const HIGH_WATER = 1 << 20
