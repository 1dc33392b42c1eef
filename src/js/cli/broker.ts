import { type Given, numberOf, UsageError } from './options.js'
import { EXIT } from './run.js'

/** What this command needs of `wasmqtt/testing`. */
interface Testing {
  TestBroker: new () => {
    listen(options: {
      port?: number
      tcp?: number
    }): Promise<{ url: string; close(): Promise<void> }>
    readonly packets: ReadonlyArray<{ clientId: string; direction: string; type: string }>
  }
}

/** `wasmqtt broker`: a broker for tests and demos on loopback. Resolves with what the process ends with. */
export async function broker(given: Given): Promise<number> {
  const name = 'wasmqtt/testing'
  const { TestBroker } = await (import(name) as Promise<Testing>).catch((cause) => {
    throw new UsageError(`this copy of wasmqtt has no ${name}`, { cause })
  })
  const tcp = numberOf(given, 'tcp') ?? 1883
  const server = new TestBroker()
  const { url, close } = await server.listen({ port: numberOf(given, 'port') ?? 9001, tcp })
  console.log(`${url} and mqtt://127.0.0.1:${tcp}, for tests and demos. Ctrl-C ends it.`)
  await new Promise((resolve) => {
    process.once('SIGINT', resolve)
    process.once('SIGTERM', resolve)
  })
  await close()
  return EXIT.ok
}
