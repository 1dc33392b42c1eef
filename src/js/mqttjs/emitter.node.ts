// Node's own class, so that `instanceof EventEmitter`, `events.once()` and captured rejections work as users expect.
export { EventEmitter } from 'node:events'
