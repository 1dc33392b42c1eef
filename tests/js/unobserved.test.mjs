// What becomes of failures that nobody looks at: they end no process, and they are not silent.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { connect } from '../../pkg/node.js'
import { connected, makeClient, record, settle, startBroker } from './scripted-broker.mjs'

/** Runs a script with the package in `wasmqtt`. Resolves with its exit code and what it printed. */
function run(script, entry = 'node.js') {
  const url = new URL(`../../pkg/${entry}`, import.meta.url).href
  const source = `import * as wasmqtt from ${JSON.stringify(url)}\n${script}`
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ['--input-type=module', '-e', source],
      { timeout: 20_000 },
      (error, stdout, stderr) => resolve({ code: error?.code ?? 0, stdout, stderr }),
    )
  })
}

/** A client without a connection whose queue is full. */
function full(t) {
  const client = makeClient(t, 'ws://127.0.0.1:1', { queue: { maxMessages: 1 } })
  const errors = record(client, 'error')
  client.publish('a', 'b', { qos: 1 }).catch(() => {})
  return { client, errors }
}

// Contract: A failure that the caller did not cause ends no process and is never silent.
test('a full queue does not end the process of a loop that forgets its promises', async () => {
  const { code, stdout, stderr } = await run(`
    const client = new wasmqtt.Client('ws://127.0.0.1:1', { queue: { maxMessages: 1 } })
    for (let n = 0; n < 3; n++) client.publish('a', 'b', { qos: 1 })
    setTimeout(() => console.log('alive'), 50)`)
  assert.equal(code, 0, stderr)
  assert.equal(stdout, 'alive\n')
  assert.match(stderr, /QueueFullError/)
})

// Contract: A failure that the caller did not cause ends no process and is never silent.
test('neither does a session that another client takes over', async (t) => {
  const { client, peer } = await connected(t)
  const errors = record(client, 'error')
  for (let n = 0; n < 3; n++) client.publish('a', 'b', { qos: 1 })
  await peer.expect('publish')
  peer.send({ type: 'disconnect', reasonCode: 0x8e })
  await settle()
  client.publish('a', 'b', { qos: 1 })
  await settle()
  const codes = errors.map(([, error]) => error.code)
  // The three fail of one error, which is told once.
  assert.deepEqual(codes, ['CLOSED', 'CLOSED'])
  for (const [, { cause }] of errors) assert.equal(cause.code, 'SERVER_DISCONNECTED')
})

// Contract: A failure that the caller did not cause ends no process and is never silent.
test('a forgotten await on a refused connect leaves a trace', async () => {
  const { code, stderr } = await run("wasmqtt.connect('ws://127.0.0.1:1')")
  assert.equal(code, 0)
  assert.match(stderr, /ConnectError: Cannot connect to ws:\/\/127\.0\.0\.1:1\/mqtt/)
})

// Contract: Such a rejection that nobody has observed by the next turn of the event loop surfaces as 'error' (no listener: reported to the console)
// instead of as an unhandled rejection.
test("a call's own promise is observed: no 'error'", async (t) => {
  const { client, errors } = full(t)
  const publish = () => client.publish('a', 'b', { qos: 1 })
  await assert.rejects(publish(), { code: 'QUEUE_FULL' })
  await publish().catch(() => {})
  await publish().then(
    () => assert.fail(),
    () => {},
  )
  await Promise.allSettled([publish(), publish()])
  const returns = async () => publish()
  await assert.rejects(returns(), { code: 'QUEUE_FULL' })
  await assert.rejects(
    publish()
      .then(() => {})
      .finally(() => {}),
    { code: 'QUEUE_FULL' },
  )
  // Observed within the turn, after the rejection.
  const late = publish()
  await Promise.resolve()
  await assert.rejects(late, { code: 'QUEUE_FULL' })
  await settle()
  assert.deepEqual(errors, [])
})

// Contract: Such a rejection that nobody has observed by the next turn of the event loop surfaces as 'error' (no listener: reported to the console)
// instead of as an unhandled rejection.
test("what then() and finally() derive is not observed either: 'error'", async (t) => {
  const { client, errors } = full(t)
  client.publish('a', 'b', { qos: 1 }).then(() => {})
  client.publish('a', 'b', { qos: 1 }).finally(() => {})
  client
    .publish('a', 'b', { qos: 1 })
    .then(() => {})
    .finally(() => {})
  await settle()
  assert.deepEqual(
    errors.map(([, error]) => error.code),
    ['QUEUE_FULL', 'QUEUE_FULL', 'QUEUE_FULL'],
  )
})

// Contract: Such a rejection that nobody has observed by the next turn of the event loop surfaces as 'error' (no listener: reported to the console)
// instead of as an unhandled rejection.
test('every method that returns a promise, after the end', async (t) => {
  const { client } = await connected(t)
  await client.end()
  const errors = record(client, 'error')
  client.publish('a')
  client.subscribe('a')
  client.unsubscribe('a')
  client.drain()
  client.reauthenticate()
  client.request('a')
  client.respond('a', () => 'b')
  client.connect()
  await settle()
  assert.equal(errors.length, 8)
})

test('a next() of a stream that nobody waits for', async (t) => {
  const { client, peer } = await connected(t)
  const errors = record(client, 'error')
  client.messages('a').next()
  const { id } = await peer.expect('subscribe')
  peer.send({ type: 'suback', id, codes: [0x87] })
  await settle()
  assert.deepEqual(
    errors.map(([, error]) => error.code),
    ['SUBSCRIBE_REFUSED'],
  )
})

// Contract: Only an InvalidArgumentError stays an ordinary rejection.
test("the caller's mistakes and errors of its own stay unhandled rejections", async () => {
  for (const [line, said] of [
    ["client.publish('a/#')", /InvalidArgumentError/],
    ["wasmqtt.connect('nonsense')", /InvalidArgumentError/],
    ["client.publish('a/#').then(() => {})", /InvalidArgumentError/],
    ["client.end().then(() => { throw new Error('mine') })", /Error: mine/],
    ["client.end().finally(() => { throw new Error('mine') })", /Error: mine/],
  ]) {
    const { code, stderr } = await run(`
      const client = new wasmqtt.Client('ws://127.0.0.1:1')
      client.on('error', () => {})
      ${line}`)
    assert.equal(code, 1, String(line))
    // @ts-expect-error: a text or a pattern
    assert.match(stderr, said)
  }
})

test('the promise is a promise', async (t) => {
  const broker = await startBroker(t)
  const promise = connect(broker.url, { protocolVersion: 5 })
  assert.ok(promise instanceof Promise)
  assert.match(String(promise), /\[object Promise]/)
  const peer = await broker.accept()
  await peer.welcome()
  await (await promise).end({ force: true })
})

test('an uncaught error prints under 3 KB', async () => {
  const { code, stderr } = await run("new wasmqtt.Client('nonsense')")
  assert.equal(code, 1)
  assert.match(stderr, /InvalidArgumentError/)
  assert.ok(stderr.length < 3 * 1024, `${stderr.length} characters`)
})

test('the web build has source maps of their own, and the build for Node is not minified', () => {
  const read = (name) => readFileSync(new URL(`../../pkg/${name}`, import.meta.url), 'utf8')
  for (const name of ['index.js', 'slim.js', 'stores.js', 'testing.js']) {
    assert.ok(read(name).includes(`//# sourceMappingURL=${name}.map`), name)
    const { sources } = JSON.parse(read(`${name}.map`))
    assert.ok(sources.length > 0)
    for (const source of sources) assert.doesNotMatch(source, /^\//)
  }
  assert.match(read('node.cjs'), /ConnectError = class extends MqttError/)
  assert.ok(!existsSync(new URL('../../pkg/node.cjs.map', import.meta.url)))
})
