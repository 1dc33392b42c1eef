// queueMicrotask as it is when the package is loaded. The fake timers of Jest replace it, and then nothing that the client does next would
// happen before the test moves its clock. The forms for Node and Jest include this.
export const { queueMicrotask } = globalThis
