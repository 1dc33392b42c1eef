// What a whole process does: it ends when it can, and nothing that a server does ends it before.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { settle, startBroker, until } from './scripted-broker.mjs'

const node = new URL('../../pkg/node.js', import.meta.url).href

/** Runs a script with `url` and `wasmqtt` in it. Resolves with its exit code and output. */
function run(url, script) {
  const source = `import * as wasmqtt from ${JSON.stringify(node)}; const url = ${JSON.stringify(url)}; ${script}`
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ['--input-type=module', '-e', source],
      { timeout: 20_000 },
      (error, stdout, stderr) => resolve({ code: error?.code ?? 0, stdout, stderr }),
    )
  })
}

test('the process ends after end(), also where the server answers nothing', async (t) => {
  const broker = await startBroker(t)
  const ended = run(
    broker.url,
    'const client = await wasmqtt.connect(url); await client.end(); console.log(performance.now())',
  )
  const peer = await broker.accept()
  await peer.welcome()
  peer.pause()
  const start = performance.now()
  const { code, stdout } = await ended
  assert.equal(code, 0)
  assert.ok(stdout)
  assert.ok(performance.now() - start < 5_000)
})

// Contract: Validates everything, opens nothing. Publishes and subscribes before connect() are queued.
test('a connected client keeps it alive, one that was never connected does not', async (t) => {
  const broker = await startBroker(t)
  const idle = await run(broker.url, 'new wasmqtt.Client(url).publish("a", "b", { qos: 1 })')
  assert.equal(idle.code, 0)
  let over = false
  const connected = run(
    broker.url,
    'const client = await wasmqtt.connect(url, { protocolVersion: 5, reconnect: false }); client.on("close", () => console.log("closed"))',
  ).finally(() => (over = true))
  const peer = await broker.accept()
  await peer.welcome()
  await settle(100)
  assert.equal(over, false)
  peer.drop()
  assert.equal((await connected).stdout, 'closed\n')
})

test('no timer keeps it alive that the socket would not', async () => {
  // A socket that keeps no process alive, and a broker in it.
  const script = `
    import { TestBroker } from ${JSON.stringify(node.replace('node.js', 'testing-node.js'))}
    const { transport } = new TestBroker()
    const client = await wasmqtt.connect('ws://broker', { transport, keepalive: 5 })
    await client.subscribe('a', (message) => console.log(message.text()))
    await client.publish('a', 'b', { qos: 1 })`
  const began = performance.now()
  assert.deepEqual(await run('', script), { code: 0, stdout: 'b\n', stderr: '' })
  assert.ok(performance.now() - began < 15_000)
})

test('a client that waits for its next attempt keeps it alive', async (t) => {
  const broker = await startBroker(t)
  const script = `
    const reconnect = { minDelay: 300, jitter: 0 }
    const client = await wasmqtt.connect(url, { protocolVersion: 5, keepalive: 1, reconnect })
    await new Promise((resolve) => client.once('connect', resolve))
    console.log('back')
    client.end()`
  const over = run(broker.url, script)
  const peer = await broker.accept()
  await peer.welcome()
  peer.drop()
  const second = await broker.accept()
  await second.welcome()
  assert.equal((await over).stdout, 'back\n')
})

// Contract: No input from the network can throw into user code, crash the page or the process, or hang a promise.
test('rejections that nobody looks at, and hostile bytes, do not end it', async (t) => {
  const broker = await startBroker(t)
  const script = `
    process.on('uncaughtException', (error) => { console.log('uncaught', error); process.exit(9) })
    console.error = () => {}
    const client = new wasmqtt.Client(url, { protocolVersion: 5, reconnect: { minDelay: 1, maxDelay: 1 } })
    client.connect()
    client.subscribe('a')
    client.publish('a', 'b', { qos: 1 })
    client.messages('x').next().catch(() => {})
    client.on('connect', ({ reconnect }) => reconnect && client.publish('c', 'd', { qos: 2, timeout: 5 }))
    setTimeout(() => client.end(), 1_000)
    client.on('close', () => console.log('closed'))`
  const over = run(broker.url, script)
  const hostile = [
    [0x30, 0],
    [0x90, 2, 0, 1],
    [0xf0, 0],
    [0x30, 0xff, 0xff, 0xff, 0xff, 0x7f],
    [0x40, 2, 0, 9],
    [0x20, 2, 0, 0],
    [0x62, 2, 0, 1],
    [0xe0, 1, 0x8b],
  ]
  let peers = 0
  const serve = async () => {
    for (;;) {
      const peer = await broker.accept()
      peers++
      peer.next().then((connect) => {
        if (!connect) return
        peer.send(
          { type: 'connack', sessionPresent: peers > 1 },
          Buffer.from(hostile[peers % hostile.length]),
        )
      })
    }
  }
  serve()
  const { code, stdout } = await over
  assert.equal(stdout, 'closed\n')
  assert.equal(code, 0)
  assert.ok(peers > 3, `${peers} connections`)
})

test('clients come and go: memory does not grow', async (t) => {
  const broker = await startBroker(t)
  const script = `
    const bytes = []
    for (let round = 0; round < 60; round++) {
      const client = await wasmqtt.connect(url, { protocolVersion: 5 })
      for (let n = 0; n < 20; n++) client.publish('topic/' + n, 'x'.repeat(1_000))
      await client.publish('a', 'b')
      await client.end()
      bytes.push(client.stats().wasmMemoryBytes)
      if (round % 20 === 0) new wasmqtt.Client(url).end()
    }
    console.log(bytes.at(-1) - bytes[30])`
  const over = run(broker.url, script)
  let served = 0
  const serve = async () => {
    for (;;) await (await broker.accept()).welcome().then(() => served++)
  }
  serve()
  const { stdout, stderr } = await over
  assert.equal(stdout, '0\n', stderr)
  await until(() => served === 60)
})
