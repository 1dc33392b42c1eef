import { NotSupportedError } from '../index.js'
import type { BrokerListener, FarEnd, NearEnd } from './types.js'

/** What differs between runtimes. The entry for Node puts its own in place. @internal */
export const testingPlatform = {
  listen(
    _accept: (end: FarEnd) => NearEnd,
    _ports: { port: number; tcp: number | undefined },
  ): Promise<BrokerListener> {
    throw new NotSupportedError({
      code: 'NOT_SUPPORTED',
      what: 'this runtime cannot listen on ports: use `transport`',
    })
  },
}
