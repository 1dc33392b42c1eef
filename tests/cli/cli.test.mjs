// What the command line has beyond mosquitto's: exit codes, requests, standard input, help.
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { startMosquitto } from '../brokers/mosquitto.mjs'
import { tlsServer } from '../mqttjs/certificates.mjs'
import { accepting, startServer } from '../mqttjs/server.mjs'

const cli = fileURLToPath(new URL('../../pkg/cli.cjs', import.meta.url))

/** Starts the program. `done` resolves with its exit code and what it wrote. */
function start(args, { input } = { input: undefined }) {
  const child = spawn(process.execPath, [cli, ...args.map(String)])
  let output = ''
  let errors = ''
  child.stdout.on('data', (data) => (output += data))
  child.stderr.on('data', (data) => (errors += data))
  child.stdin.end(input)
  const done = once(child, 'close').then(([code]) => ({ code, output, errors }))
  return { child, done }
}

const run = (args, options) => start(args, options).done

test('help is for people: every command and option has a line', async () => {
  const { code, output } = await run(['--help'])
  assert.equal(code, 0)
  for (const command of ['pub', 'sub', 'request', 'respond', 'bench', 'broker', 'completion']) {
    assert.match(output, new RegExp(`^ {2}${command} `, 'm'))
    const help = await run([command, '--help'])
    assert.equal(help.code, 0)
    assert.match(help.output, /--help/)
  }
  assert.ok(!output.includes('\u001b'))
})

test('mistakes are told in a line, exit code 2', async () => {
  /** @type {[string[], RegExp][]} */
  const mistakes = [
    [['nothing'], /no command nothing/],
    [['pub', '-t', 'a'], /give one of -m, -f, -n, -s or -l/],
    [['pub', '-m', 'a'], /-t is needed/],
    [['pub', '-t', 'a', '-m', 'x', '-q', '3'], /--qos must be a number from 0 to 2, not 3/],
    [['pub', '-t', 'a', '-m', 'x', '--repeat', '-1'], /--repeat must be a number of at least 1/],
    [['pub', '-t', 'a', '-m', 'x', '--tls-version', 'ssl'], /--tls-version must be one of/],
    [['pub', '-t', 'a', '-m', 'x', '-p', '70000'], /--port must be a number from 1 to 65535/],
    [['pub', '-t', 'a', '-m', 'x', 'more'], /what is 'more' for/],
    [['pub', '-t', 'a', '-m', 'x', '-l'], /give one of -m, -f, -n, -s or -l/],
    [['bench', 'more'], /what is 'more' for/],
    [['sub', '-t', 'a', '-C', '0'], /--count must be a number of at least 1, not 0/],
    [['sub', '-t', 'a', '-C', '1.5'], /--count must be a whole number/],
    [['sub', '-t', 'a', '-W', '-1'], /--timeout must be a number of at least 0, not -1/],
    [
      ['sub', '-t', 'a', '--random-filter', '0'],
      /--random-filter must be a number from 0.1 to 100/,
    ],
    [['sub', '-t', 'a', '-F', 'x%'], /-F ends in the middle of %/],
    [['sub', '-t', 'a', '-D', 'connect', 'authentication-data', 'x'], /authentication-method/],
    [['pub', '-t', 'a', '-m', 'x', '-V', '31'], /-V must be 5 or 311/],
    [['sub'], /-t is needed/],
    [['sub', '-t'], /-t needs a value/],
    [['sub', '-t', 'a', '--wrong'], /Unknown option '--wrong'/],
    [['sub', '-t', 'a', '-c'], /-c needs -i/],
    [['sub', '-t', 'a', '-F', '%y'], /-F has no %y/],
    [['sub', '-t', 'a', '--proxy', 'x'], /--proxy is not supported: there is no SOCKS client/],
    [['sub', '-t', 'a', '-D', 'connect', 'no', 'x'], /-D connect has no no/],
  ]
  for (const [args, message] of mistakes) {
    const { code, errors } = await run(args)
    assert.equal(code, 2, `${args}: ${errors}`)
    assert.match(errors, message)
    assert.equal(errors.trim().split('\n').length, 1, errors)
  }
})

test('exit codes tell scripts why', async (t) => {
  assert.equal((await run(['pub', '-p', 1, '-t', 'a', '-m', 'x'])).code, 14)
  const answer = (code) => ({
    connect: (connection) =>
      connection.send({
        cmd: 'connack',
        returnCode: code,
        reasonCode: code,
        sessionPresent: false,
      }),
  })
  const three = await startServer(t, answer(5))
  assert.equal((await run(['pub', '-p', three.port, '-t', 'a', '-m', 'x'])).code, 5)
  const five = await startServer(t, answer(0x87))
  assert.equal((await run(['pub', '-V', 5, '-p', five.port, '-t', 'a', '-m', 'x'])).code, 0x87)
})

test('what cannot be done is told before there is a connection', async () => {
  // Nobody listens there.
  const args = ['pub', '-p', 1, '-t', 'a']
  const empty = await run([...args, '-s'], { input: '' })
  assert.deepEqual([empty.code, /-n sends an empty message/.test(empty.errors)], [1, true])
  for (const name of ['-f', '--cafile', '--cert']) {
    const missing = await run([
      ...args,
      ...(name === '-f' ? [] : ['-m', 'x']),
      name,
      'no-such-file',
    ])
    assert.deepEqual([missing.code, /no-such-file/.test(missing.errors)], [1, true])
  }
})

test('a mistake in a filter ends the program, without the time of -W', async (t) => {
  const server = await startServer(t)
  const began = Date.now()
  const { code, errors } = await run(['sub', '-p', server.port, '-t', 'a/#/b', '-W', 60])
  assert.equal(code, 1)
  assert.match(errors, /a\/#\/b/)
  assert.ok(Date.now() - began < 30_000)
})

test('-D connect takes the data of an authentication method', async (t) => {
  const server = await startServer(t, { connect: accepting({ authenticationMethod: 'M' }) })
  const data = ['authentication-method', 'M', 'authentication-data', 'secret']
  const options = ['-D', 'connect', ...data.slice(0, 2), '-D', 'connect', ...data.slice(2)]
  const { code, errors } = await run(['pub', '-p', server.port, '-t', 'a', '-m', 'x', ...options])
  assert.equal(code, 0, errors)
  const { properties } = await server.packet('connect')
  assert.equal(properties.authenticationMethod, 'M')
  assert.equal(properties.authenticationData.toString(), 'secret')
})

test('Ctrl-C ends in order: a DISCONNECT, exit code 130', async (t) => {
  const server = await startServer(t)
  const { child, done } = start(['sub', '-p', server.port, '-t', 'a'])
  await server.packet('subscribe')
  child.kill('SIGINT')
  assert.equal((await done).code, 130)
  assert.equal(server.packets('disconnect').length, 1)
})

test('Ctrl-C ends each command wherever it is', async (t) => {
  const silent = { connect: () => {} }
  const unanswered = { publish: () => {} }
  /** @type {[object, string, string[]][]} */
  const cases = [
    [silent, 'connect', ['sub', '-t', 'a']],
    [unanswered, 'publish', ['pub', '-t', 'a', '-m', 'x', '-q', '1']],
    [unanswered, 'publish', ['request', '-t', 'a', '-m', 'x']],
    [unanswered, 'publish', ['bench', '-q', '1']],
  ]
  for (const [answers, packet, args] of cases) {
    const server = await startServer(t, answers)
    const { child, done } = start([...args, '-p', server.port])
    await server.packet(packet)
    child.kill('SIGINT')
    // The first waits for acknowledgements; who asks twice does not.
    const again = setTimeout(() => child.kill('SIGINT'), 500)
    assert.equal((await done).code, 130, args[0])
    clearTimeout(again)
  }
  // Standard input that nobody closes.
  const server = await startServer(t)
  const child = spawn(process.execPath, [cli, 'pub', '-p', `${server.port}`, '-t', 'a', '-l'])
  child.stdin.write('a line\n')
  await server.packet('publish')
  child.kill('SIGINT')
  assert.equal((await once(child, 'close'))[0], 130)
})

test('request and respond', async (t) => {
  const { tcpPort } = await startMosquitto(t)
  const { child, done } = start(['respond', '-p', tcpPort, '-t', 'upper', '--exec', 'tr a-z A-Z'])
  await sleep(800)
  for (const qos of [0, 1, 2]) {
    const args = [
      'request',
      '-V',
      5,
      '-p',
      tcpPort,
      '-t',
      'upper',
      '-q',
      qos,
      '-m',
      'shout',
      '-W',
      5,
    ]
    const { code, output, errors } = await run(args)
    assert.deepEqual([code, output, errors], [0, 'SHOUT\n', ''])
  }
  child.kill('SIGTERM')
  assert.equal((await done).code, 130)
  const nobody = await run([
    'request',
    '-V',
    5,
    '-p',
    tcpPort,
    '-t',
    'nobody',
    '-m',
    'x',
    '-W',
    0.2,
  ])
  assert.equal(nobody.code, 27)
})

test('many lines of standard input, text and NDJSON, in order', async (t) => {
  const server = await startServer(t)
  const lines = Array.from({ length: 5_000 }, (_, at) => `line ${at}`)
  const text = await run(['pub', '-p', server.port, '-t', 'in', '-l', '-q', 1], {
    input: lines.join('\n'),
  })
  assert.equal(text.code, 0, text.errors)
  assert.deepEqual(
    server.packets('publish').map(({ payload }) => payload.toString()),
    lines,
  )
  const objects = [
    { topic: 'a', payload: 'text', qos: 1 },
    { payload: { json: true }, retain: true },
  ]
  const input = objects.map((each) => JSON.stringify(each)).join('\n\n')
  await run(['pub', '-p', server.port, '-t', 'default', '--ndjson', '-q', 1], { input })
  const [one, other] = server.packets('publish').slice(5_000)
  assert.deepEqual([one.topic, one.payload.toString()], ['a', 'text'])
  assert.deepEqual([other.topic, other.payload.toString()], ['default', '{"json":true}'])
  assert.equal(other.retain, true)
  const wrong = {
    '{"payload":1}\n': /line 1 has no "topic"/,
    '{"topic":"a"}\nno\n': /line 2 is no/,
  }
  for (const [lines, message] of Object.entries(wrong)) {
    const { code, errors } = await run(['pub', '-p', server.port, '--ndjson'], { input: lines })
    assert.equal(code, 1)
    assert.match(errors, message)
  }
})

test('topics and the message can be words, as in the command line of MQTT.js', async (t) => {
  const server = await startServer(t)
  for (const words of [
    ['a/b', 'text'],
    ['-t', 'a/b', 'text'],
  ]) {
    const { code, errors } = await run(['pub', '-p', server.port, ...words])
    assert.equal(code, 0, errors)
  }
  assert.deepEqual(
    server.packets('publish').map(({ topic, payload }) => [topic, payload.toString()]),
    [
      ['a/b', 'text'],
      ['a/b', 'text'],
    ],
  )
})

test('WebSocket and TLS', async (t) => {
  const { wsPort } = await startMosquitto(t)
  const url = `ws://127.0.0.1:${wsPort}/mqtt`
  assert.equal((await run(['pub', '-L', url, '-t', 'a', '-m', 'x', '-q', 1])).code, 0)
  assert.equal((await run(['pub', '--ws', '-p', wsPort, '-t', 'a', '-m', 'x'])).code, 0)
  const server = await startServer(t)
  const { port, ca, key, cert } = await tlsServer(t, (socket) => server.accept(socket))
  const { mkdtemp, rm, writeFile } = await import('node:fs/promises')
  const folder = await mkdtemp('/tmp/wasmqtt-')
  t.after(() => rm(folder, { recursive: true }))
  await writeFile(`${folder}/ca.crt`, ca)
  await writeFile(`${folder}/key`, key)
  await writeFile(`${folder}/cert`, cert)
  const args = ['pub', '-h', 'localhost', '-p', port, '-t', 'a', '-m', 'x', '-q', 1]
  assert.equal((await run([...args, '--cafile', `${folder}/ca.crt`])).code, 0)
  assert.equal((await run([...args, '--capath', folder, '--tls-version', 'tlsv1.2'])).code, 0)
  const own = ['--cert', `${folder}/cert`, '--key', `${folder}/key`]
  assert.equal((await run([...args, ...own, '--cafile', `${folder}/ca.crt`])).code, 0)
  const untrusted = await run([...args, '--tls-use-os-certs'])
  assert.equal(untrusted.code, 14)
  assert.match(untrusted.errors, /self-signed/)
})

test('bench measures, and compares with a raw WebSocket', async (t) => {
  const { tcpPort } = await startMosquitto(t)
  const { code, output, errors } = await run(['bench', '-p', tcpPort, '--messages', 2_000, '-q', 1])
  assert.equal(code, 0, errors)
  assert.match(output, /^there and back +[\d,]+ messages\/s$/m)
  assert.match(output, /^raw WebSocket +[\d,]+ messages\/s/m)
})

test('the broker for tests serves pub and sub', async (t) => {
  const port = 10_000 + (process.pid % 20_000)
  const { child, done } = start(['broker', '-v', '-p', port, '--tcp', port + 1])
  t.after(() => child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  const { child: second, done: refused } = start(['broker', '-p', port, '--tcp', port + 1])
  t.after(() => second.kill('SIGKILL'))
  const { code: busy, errors } = await refused
  assert.deepEqual([busy, errors.trim().split('\n').length], [1, 1], errors)
  const line = start(['sub', '-p', port + 1, '-t', 'a/+', '-v', '-C', 1, '-W', 20])
  const { code } = await run([
    'pub',
    '-L',
    `ws://127.0.0.1:${port}/`,
    '-t',
    'a/b',
    '-m',
    'x',
    '-r',
    '-q',
    1,
  ])
  assert.equal(code, 0)
  assert.deepEqual(await line.done, { code: 0, output: 'a/b x\n', errors: '' })
  await sleep(300)
  child.kill('SIGINT')
  const ended = await done
  assert.equal(ended.code, 0)
  // The subscriber may have been there before.
  assert.match(
    ended.output,
    /^(\S+) sent PUBLISH 'a\/b'\n(\S+ got PUBLISH 'a\/b'\n)?\1 got PUBACK$/m,
  )
})

/** By shell: what it offers for a line that is begun, given the path of the completion script and the words; the last one is not complete. */
const OFFERS = {
  bash: (script, words) => [
    ...[
      '-c',
      `source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _wasmqtt; printf '%s\\n' "\${COMPREPLY[@]}"`,
    ],
    ...[script, ...words],
  ],
  // Without the completion system, which only works at a prompt: the functions that it would call print what they are given.
  zsh: (script, words) => [
    ...[
      '-fc',
      'compdef() {}; _arguments() { print -rl -- "$@" }; _describe() { print -rl -- $commands }; source "$0"; words=("$@"); CURRENT=$#; _wasmqtt',
    ],
    ...[script, ...words],
  ],
  fish: (script, words) => ['-c', `source ${script}; complete -C '${words.join(' ')}'`],
}

for (const [shell, argumentsOf] of Object.entries(OFFERS))
  test(`completion in ${shell} offers the commands, their options, and the shells`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'wasmqtt-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const script = join(folder, 'script')
    const { code, output } = await run(['completion', shell])
    assert.equal(code, 0)
    writeFileSync(script, output)
    const offered = (...words) => {
      const { status, stdout, stderr } = spawnSync(shell, argumentsOf(script, words), {
        encoding: 'utf8',
        // Where fish keeps its history.
        env: { ...process.env, HOME: folder },
      })
      assert.deepEqual([status, stderr], [0, ''])
      return stdout
    }
    const commands = offered('wasmqtt', '')
    for (const command of ['pub', 'sub', 'request', 'respond', 'bench', 'broker', 'completion'])
      assert.match(commands, new RegExp(`^${command}\\b`, 'm'))
    assert.match(offered('wasmqtt', 'sub', '--ret'), /--retain-as-published/)
    assert.doesNotMatch(offered('wasmqtt', 'pub', '--ret'), /--retain-as-published/)
    for (const name of Object.keys(OFFERS))
      assert.match(offered('wasmqtt', 'completion', ''), new RegExp(`\\b${name}\\b`))
  })

test('completion for another shell is a mistake', async () => {
  assert.equal((await run(['completion', 'csh'])).code, 2)
})
