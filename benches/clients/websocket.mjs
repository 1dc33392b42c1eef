/** The platform's WebSocket; on Node that of `ws`, also as a global for the clients that expect one. */
if (globalThis.process) globalThis.WebSocket = /** @type {any} */ ((await import('ws')).WebSocket)

/** Above this much unsent, the clients without back pressure of their own have to wait. */
export const HIGH_WATER = 1 << 20
