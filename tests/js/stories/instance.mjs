// The WebAssembly instances that are made while a story is told: for a story to break, and to count what they hold.

// Every instance: its memory, and the table of JavaScript objects that it holds.
const instances = []
const { Instance } = WebAssembly
function RecordedInstance(module, imports) {
  const instance = new Instance(module, imports)
  instances.push(instance)
  return instance
}
WebAssembly.Instance = /** @type {any} */ (RecordedInstance)

/** The memory of the newest instance. */
export const memory = () =>
  Object.values(instances.at(-1).exports).find((value) => value instanceof WebAssembly.Memory)

/** How many JavaScript objects the newest instance has room for. */
export const heldObjects = () =>
  Object.values(instances.at(-1).exports).find(
    (each) => each instanceof WebAssembly.Table && each.length > 4,
  )?.length

/** Makes the instance's next call trap. */
export const wreck = () => new Uint8Array(memory().buffer).fill(0xff)
