// What is over leaves nothing: no memory, no objects, no timers, no listeners, no sockets.
import { Loopback, publish } from '../loopback.mjs'
import { heldObjects, memory } from './instance.mjs'
import { connected, equal, makeClient, ok, outcome, sleep, turns } from './tools.mjs'

/** Everything that keeps a client or a page busy, counted: timers, and listeners of `signal`. */
function watchTimers() {
  const { setTimeout: set, clearTimeout: clear } = globalThis
  const timers = new Set()
  // @ts-expect-error: nothing here asks for the promise form.
  globalThis.setTimeout = (work, ms, ...args) => {
    const timer = set(() => (timers.delete(timer), work(...args)), ms)
    timers.add(timer)
    return timer
  }
  globalThis.clearTimeout = (timer) => (timers.delete(timer), clear(timer))
  return {
    timers,
    restore: () => Object.assign(globalThis, { setTimeout: set, clearTimeout: clear }),
  }
}

function watchListeners(signal) {
  const listeners = []
  const { addEventListener, removeEventListener } = signal
  const forget = (listener) => {
    const at = listeners.indexOf(listener)
    if (at >= 0) listeners.splice(at, 1)
  }
  signal.addEventListener = (...args) => {
    const [, listener, options] = args
    listeners.push(listener)
    options?.signal?.addEventListener('abort', () => forget(listener))
    addEventListener.apply(signal, args)
  }
  signal.removeEventListener = (...args) => {
    forget(args[1])
    removeEventListener.apply(signal, args)
  }
  return listeners
}

export const LEFTOVERS = {
  async 'ten thousand clients made and ended leave nothing'(wasmqtt, { collect }) {
    const { signal } = new AbortController()
    const listeners = watchListeners(signal)
    const { timers, restore } = watchTimers()
    const broker = new Loopback()
    const refs = []
    const live = async (n) => {
      const client = makeClient(wasmqtt, broker, { signal, keepalive: 60 })
      if (n % 50 === 0) refs.push(new WeakRef(client))
      if (n % 4 === 0) return client.end()
      await client.connect({ timeout: 60_000 })
      const heard = new Promise((resolve) => client.once('message', resolve))
      await client.subscribe('a', { qos: 1 }, () => {})
      await client.publish('a', 'b', { qos: 1, signal })
      await heard
      if (n % 4 === 1) broker.socket.lost(1006)
      else if (n % 4 === 2) void client.messages('x', { signal }).next()
      await client.end(n % 8 < 4 ? {} : { force: true })
    }
    const measure = () => ({
      memory: memory().buffer.byteLength,
      objects: heldObjects(),
      timers: timers.size,
      listeners: listeners.length,
      sockets: broker.open.size,
    })
    try {
      for (let n = 0; n < 1_000; n++) await live(n)
      await turns(5)
      const early = measure()
      for (let n = 1_000; n < 10_000; n++) await live(n)
      await turns(5)
      const late = measure()
      equal(late, early, 'after 10,000, as after 1,000')
      equal([late.timers, late.listeners, late.sockets], [0, 0, 0], 'timers, listeners, sockets')
      for (let n = 0; n < 20 && refs.some((ref) => ref.deref()); n++) {
        await sleep(5)
        await collect()
      }
      const left = refs.filter((ref) => ref.deref()).length
      ok(left <= 2, `${left} of ${refs.length} clients were not collected`)
      return JSON.stringify(late)
    } finally {
      restore()
    }
  },

  async 'a client that waits for messages keeps no buffer of the last one'(wasmqtt, { collect }) {
    const { client, broker } = await connected(wasmqtt)
    const lengths = []
    await client.subscribe('a', ({ payload }) => void lengths.push(payload.length))
    /** In a function of its own, which leaves nothing on the stack. */
    const receive = () => {
      const { buffer } = publish('a', new Uint8Array(100_000))
      broker.socket.onmessage({ data: buffer })
      return new WeakRef(buffer)
    }
    const refs = [receive(), receive()]
    for (let n = 0; n < 20 && refs.some((ref) => ref.deref()); n++) {
      await sleep(5)
      await collect()
    }
    equal(lengths, [100_000, 100_000], 'what came')
    equal(
      refs.map((ref) => ref.deref()?.byteLength),
      [undefined, undefined],
      'what is kept',
    )
    await client.end()
  },

  async 'options that are refused leave nothing'(wasmqtt) {
    const broker = new Loopback()
    const refuse = () => {
      try {
        makeClient(wasmqtt, broker, {
          will: { topic: 'a', payload: new Uint8Array(10_000) },
          keepalive: -1,
        })
      } catch (error) {
        return equal(error.code, 'INVALID_ARGUMENT', 'the code')
      }
      ok(false, 'not refused')
    }
    const measure = async () => (await turns(3), [memory().buffer.byteLength, heldObjects()])
    for (let n = 0; n < 500; n++) refuse()
    const early = await measure()
    for (let n = 0; n < 5; n++) {
      for (let m = 0; m < 500; m++) refuse()
      await measure()
    }
    equal(await measure(), early, 'memory, objects')
  },

  async 'every call that is withdrawn or late leaves nothing'(wasmqtt) {
    const { client, broker } = await connected(wasmqtt)
    const { timers, restore } = watchTimers()
    const { signal } = new AbortController()
    const listeners = watchListeners(signal)
    broker.receive = () => {}
    const calls = async () => {
      const options = { timeout: 0, signal }
      const results = [
        client.publish('a', 'b', { qos: 1, ...options }),
        client.subscribe('a', options),
        client.unsubscribe('a', options),
        client.drain(options),
      ]
      for (const result of results)
        equal((await outcome(result, 'a call')).error?.code, 'TIMEOUT', 'the code')
    }
    try {
      for (let n = 0; n < 100; n++) await calls()
      equal(listeners.length, 0, 'listeners')
      client.end({ force: true })
      await turns(3)
      equal(timers.size, 0, 'timers')
    } finally {
      restore()
    }
  },
}
