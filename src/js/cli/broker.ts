import { checkWords, countOf, type Given, UsageError } from './options.js'
import { EXIT } from './run.js'

interface Packet {
  number: number
  clientId: string
  direction: 'in' | 'out'
  type: string
  topic?: string | undefined
}

/** Milliseconds from one look for new packets to the next. */
const LOOK = 100

/** What this command needs of `wasmqtt/testing`. */
interface Testing {
  TestBroker: new () => {
    listen(options: {
      port?: number
      tcp?: number
    }): Promise<{ url: string; tcpUrl: string; close(): Promise<void> }>
    readonly packets: readonly Packet[]
  }
}

/** `wasmqtt broker`: a broker for tests and demos on loopback. Resolves with what the process ends with. */
export async function broker(given: Given): Promise<number> {
  checkWords(given)
  const name = 'wasmqtt/testing'
  const { TestBroker } = await (import(name) as Promise<Testing>).catch((cause) => {
    throw new UsageError(`this copy of wasmqtt has no ${name}`, { cause })
  })
  const tcp = countOf(given, 'tcp', 0, 65_535) ?? 1883
  const server = new TestBroker()
  const { url, tcpUrl, close } = await server.listen({
    port: countOf(given, 'port', 0, 65_535) ?? 9001,
    tcp,
  })
  console.log(`${url} and ${tcpUrl}, for tests and demos. Ctrl-C ends it.`)
  let next = 0
  const show = (): void => {
    for (const { number, clientId, direction, type, topic } of server.packets.slice()) {
      if (number < next) continue
      next = number + 1
      const verb = direction === 'in' ? 'sent' : 'got'
      console.log(`${clientId} ${verb} ${type.toUpperCase()}${topic ? ` '${topic}'` : ''}`)
    }
  }
  const timer = given.values.verbose === true ? setInterval(show, LOOK) : undefined
  await new Promise((resolve) => {
    process.once('SIGINT', resolve)
    process.once('SIGTERM', resolve)
  })
  clearInterval(timer)
  await close()
  return EXIT.ok
}
