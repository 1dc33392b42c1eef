// For Cloudflare Workers with a compatibility date before 2025-05-05: the core's glue wants a FinalizationRegistry. Without one, the memory of a client
// that was never ended is not given back.
class NoFinalization {
  register(): void {}
  unregister(): void {}
}
const { FinalizationRegistry: Own } = globalThis
const Registry = Own ?? NoFinalization

export { Registry as FinalizationRegistry }
