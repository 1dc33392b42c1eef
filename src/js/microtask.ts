// queueMicrotask as it is when the package is loaded. The fake timers of Jest replace it, and then nothing that the broker does next would
// happen before the test moves its clock. It is for the test broker, whose glue calls queueMicrotask.
export const { queueMicrotask } = globalThis
