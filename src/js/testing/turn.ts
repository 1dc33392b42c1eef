// Work for a task of its own, as messages from a network have it: promises settle in between, and no timer can hold it back, fake or slow.

interface Port {
  ref?(): void
  unref?(): void
}

// As they are when this is loaded: test frameworks put fakes in their place.
const { MessageChannel, setImmediate, setTimeout } = globalThis as Partial<typeof globalThis>

let queue: (() => void)[] = []
let channel: MessageChannel | undefined

/** Calls `work` in a task of its own, in the order of the calls. What it throws is reported as of any task, and holds nothing back. */
export function later(work: () => void): void {
  queue.push(work)
  if (queue.length === 1) wake()
}

function wake(): void {
  if (MessageChannel === undefined) return void (setImmediate ?? setTimeout!)(run)
  if (channel === undefined) {
    channel = new MessageChannel()
    channel.port1.onmessage = run
  }
  // Node ends when only a port is left that it was told to ignore.
  const port: Port = channel.port1 as Port
  port.ref?.()
  channel.port2.postMessage(undefined)
}

function run(): void {
  ;(channel?.port1 as Port | undefined)?.unref?.()
  const [work, ...rest] = queue
  queue = rest
  if (rest.length > 0) wake()
  work?.()
}
