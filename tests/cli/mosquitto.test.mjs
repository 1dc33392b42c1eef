// Command lines of mosquitto_pub and mosquitto_sub, most of them from their manuals, as they are: each runs with Mosquitto's program and with
// this one, and both must do the same. The broker is a Mosquitto, or with BROKER=embedded the test broker.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { eventually, startBroker } from '../brokers/support.mjs'

const cli = fileURLToPath(new URL('../../pkg/cli.cjs', import.meta.url))
const cleanups = []
let broker
let folder

before(async () => {
  broker = await startBroker({ after: (work) => cleanups.push(work) })
  folder = mkdtempSync(join(tmpdir(), 'wasmqtt-cli-'))
  writeFileSync(join(folder, 'data'), 'a file\nof two lines\n')
})
after(async () => {
  for (const work of cleanups) await work()
  rmSync(folder, { recursive: true })
})

/** Runs a line in a shell. The names of Mosquitto's programs are functions that call one or the other, with the port of the test's broker. */
function shell(line, isOurs) {
  const program = (name) =>
    isOurs ? `"${process.execPath}" "${cli}" ${name}` : `command mosquitto_${name}`
  const define = (name) =>
    `mosquitto_${name}() { case "$*" in *mqtt://*) ${program(name)} "$@";; *) ${program(name)} -p ${broker.tcpPort} "$@";; esac; }`
  const script = `${define('pub')}\n${define('sub')}\n${line.replaceAll('PORT', broker.tcpPort)}`
  const child = spawn('sh', ['-c', script], { cwd: folder })
  let output = ''
  let errors = ''
  child.stdout.on('data', (data) => (output += data))
  child.stderr.on('data', (data) => (errors += data))
  return new Promise((resolve) =>
    child.on('close', (code) => resolve({ code, output, ...(code !== 0 && { errors }) })),
  )
}

/** Runs a line that subscribes, and resolves with what it does as soon as the broker has answered its SUBSCRIBE. */
async function subscribing(line, isOurs) {
  const answers = () => broker.log.filter((entry) => entry.startsWith('Sending SUBACK to')).length
  const before = answers()
  const outcome = shell(line, isOurs)
  let ended
  outcome.then((what) => (ended = what))
  await eventually(() => answers() > before || ended, line)
  // A program that could not subscribe says why.
  assert.ok(answers() > before, JSON.stringify(ended))
  return { outcome }
}

/** What a subscriber sees of a line that publishes. */
async function published(line, isOurs) {
  const format = '%t|%p|%q|%r|%C|%P|%R'
  const options = [
    '-p',
    broker.tcpPort,
    '-V',
    '5',
    '-q',
    '2',
    '--retain-as-published',
    '-F',
    format,
  ]
  // Its output is buffered where it is no terminal.
  const watcher = spawn('stdbuf', ['-oL', 'mosquitto_sub', ...options, '-t', '#', '-d'])
  let output = ''
  const seen = async (text) => {
    while (!output.includes(text)) await once(watcher.stdout, 'data')
  }
  watcher.stdout.on('data', (data) => (output += data))
  await seen('Subscribed')
  const { code } = await shell(line, isOurs)
  await shell('mosquitto_pub -q 2 -t end -m end', false)
  await seen('end|end')
  watcher.kill()
  await shell(`mosquitto_sub -t '#' --remove-retained -W 1`, false)
  const lines = output.split('\n').filter((each) => !/^(Client|Subscribed|end\|)/.test(each))
  return { code, output: lines.join('\n') }
}

const PUBLISH = [
  'mosquitto_pub -t sensors/temperature -m 32 -q 1',
  'mosquitto_pub -h 127.0.0.1 -t sensors/temperature -m "1266193804 32"',
  'mosquitto_pub -r -t switches/kitchen_lights/status -m "on"',
  'mosquitto_pub -t my/topic -f ./data',
  'mosquitto_pub -t my/topic -s < ./data',
  "printf 'one\\ntwo\\n\\nthree' | mosquitto_pub -t sensors/cc128 -l",
  'mosquitto_pub -t empty -n',
  'mosquitto_pub -t again -m x --repeat 3 --repeat-delay 0.05 -q 2',
  'mosquitto_pub -L mqtt://127.0.0.1:PORT/from/url -m x',
  'mosquitto_pub -V mqttv5 -t props -m x -D publish user-property a b -D publish content-type text/plain -D PUBLISH message-expiry-interval 60',
  'mosquitto_pub -t minus -m -5',
  'mosquitto_pub -I prefix- -c -V 5 -x 60 -q 2 -t a/id -m x --quiet --nodelay -A 127.0.0.1',
  "printf 'one line' | mosquitto_pub -t a/line -l -q 1 -r",
  'mosquitto_pub -V 311 -L mqtt://user:word@127.0.0.1:PORT/from/url -q 2 -n -r',
  'mosquitto_pub -t a/property -m x -D CONNECT user-property a b -D DISCONNECT user-property a b -D publish correlation-data c',
  'mosquitto_pub -i me -u user -P word -k 10 -t will -m x --will-topic gone --will-payload bye --will-qos 1 --will-retain',
]
for (const line of PUBLISH)
  test(line, async () => {
    const theirs = await published(line, false)
    assert.equal(theirs.code, 0)
    assert.notEqual(theirs.output, '')
    assert.deepEqual(await published(line, true), theirs)
  })

// The line, and what is published while it runs.
const SUBSCRIBE = [
  ['mosquitto_sub -t sensors/temperature -q 1 -C 1', 'mosquitto_pub -t sensors/temperature -m 21'],
  [
    'mosquitto_sub -t sensors/machines/+/temperature/+ -C 2',
    'mosquitto_pub -t sensors/machines/a/temperature/sda -m 40; mosquitto_pub -t sensors/machines/b/temperature/sdb -m 41',
  ],
  ['mosquitto_sub -v -t \\$SYS/broker/version -C 1', ''],
  ["mosquitto_sub -F '%t : %x' -t '#' -C 1", 'mosquitto_pub -t a/b -m hello'],
  ["mosquitto_sub -F '%r : %q : %m : %l' -q 2 -t '#' -C 1", 'mosquitto_pub -q 2 -t a -m four'],
  ["mosquitto_sub -F '\\e[92m%t \\e[96m%p\\e[0m' -q 2 -t '#' -C 1", 'mosquitto_pub -t a -m x'],
  ["mosquitto_sub -F '[%10t][%-10t][%.2t][%05l]' -t '#' -C 1", 'mosquitto_pub -t abc -m xyz'],
  [
    "mosquitto_sub -v -t '#' -T 'noise/#' -C 1",
    'mosquitto_pub -t noise/a -m no; mosquitto_pub -t music -m yes',
  ],
  [
    "mosquitto_sub -F '[%-05l][%05m][%12p][%-12p][%-3p]%%@@\\\\' -q 1 -t a -C 1",
    'mosquitto_pub -q 1 -t a -m hey',
  ],
  ["mosquitto_sub -F '@Q@%' -t a -C 1", 'mosquitto_pub -t a -m x'],
  ["mosquitto_sub -F '%J' -t a -C 1", 'mosquitto_pub -t a -m "no JSON"'],
  ["mosquitto_sub -V 5 -F '%S|%p' -t a -C 1", 'mosquitto_pub -t a -m x'],
  [
    "mosquitto_sub -V 5 -D subscribe subscription-identifier 7 -F '%S|%p' -t a -C 1",
    'mosquitto_pub -t a -m x',
  ],
  [
    'mosquitto_sub -t "a/#" -t "b/#" -U "a/#" -v -C 1',
    'mosquitto_pub -t a/b -m no; mosquitto_pub -t b/c -m yes',
  ],
  ["mosquitto_sub -V mqttv5 -t '$share/group/a' -C 1", 'mosquitto_pub -t a -m x'],
  ['mosquitto_sub -t a -v -C 2', 'mosquitto_pub -t a -n; mosquitto_pub -t a -f data'],
  // It ends when it writes to a pipe that nobody reads any more.
  [
    'mosquitto_sub -t a | head -n 1',
    'for n in 1 2 3 4 5 6; do mosquitto_pub -t a -m $n; sleep 0.2; done',
  ],
  ["mosquitto_sub -N -t 'a' -t b -C 2", 'mosquitto_pub -t a -m 1; mosquitto_pub -t b -m 2'],
  ['mosquitto_sub -t silent -W 1', ''],
  ['mosquitto_sub -E -t a', ''],
  [
    "mosquitto_sub -V 5 -t '#' -C 1 -F '%C|%P|%E|%F|%R|%D'",
    'mosquitto_pub -V 5 -t a -m x -D publish content-type t -D publish user-property k v -D publish response-topic r -D publish payload-format-indicator 1',
  ],
  ['mosquitto_sub -L mqtt://127.0.0.1:PORT/from/url -C 1', 'mosquitto_pub -t from/url -m x'],
  [
    'mosquitto_sub -t kept -v -C 1 -R',
    'mosquitto_pub -r -t kept -m first; mosquitto_pub -t kept -m second',
  ],
]
for (const [line, publish] of SUBSCRIBE)
  test(line, async () => {
    const outcomes = []
    for (const isOurs of [false, true]) {
      const { outcome } = await subscribing(line, isOurs)
      if (publish !== '') await shell(publish, false)
      outcomes.push(await outcome)
      await shell(`mosquitto_sub -t '#' --remove-retained -W 1`, false)
    }
    assert.deepEqual(outcomes[1], outcomes[0])
  })

test('a session that is kept: mosquitto_sub -c -i keeper -q 1', async () => {
  for (const isOurs of [false, true]) {
    const id = isOurs ? 'ours' : 'theirs'
    const line = `mosquitto_sub -c -i ${id} -q 1 -t kept/session`
    assert.equal((await shell(`${line} -E`, isOurs)).code, 0)
    await shell('mosquitto_pub -q 1 -t kept/session -m waiting', false)
    assert.equal((await shell(`${line} -C 1`, isOurs)).output, 'waiting\n')
  }
})

test('stored messages: --retained-only, --remove-retained', async () => {
  const outputs = []
  for (const isOurs of [false, true]) {
    await shell('mosquitto_pub -r -t stored/a -m 1; mosquitto_pub -r -t stored/b -m 2', false)
    // The clearing messages come back, too.
    const { output } = await shell("mosquitto_sub -t 'stored/#' -v --remove-retained -W 1", isOurs)
    outputs.push(output)
    const after = await shell("mosquitto_sub -t 'stored/#' -v --retained-only -W 1", isOurs)
    assert.deepEqual([after.code, after.output], [27, ''])
  }
  assert.match(outputs[0], /^stored\/a 1\nstored\/b 2\n/)
  assert.equal(outputs[1], outputs[0])
})

test('JSON has the fields of mosquitto_sub', async () => {
  const parsed = []
  for (const isOurs of [false, true]) {
    const { outcome } = await subscribing("mosquitto_sub -F '%j' -t 'json' -C 1", isOurs)
    await shell(`mosquitto_pub -t json -m '{"a":"é"}'`, false)
    const { tst, ...rest } = JSON.parse((await outcome).output)
    assert.match(tst, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z?[+-]\d{4}$/)
    parsed.push(rest)
  }
  assert.deepEqual(parsed[1], parsed[0])
})

test('JSON has the properties of mosquitto_sub', async () => {
  const parsed = []
  for (const isOurs of [false, true]) {
    const { outcome } = await subscribing(
      "mosquitto_sub -V 5 -D subscribe subscription-identifier 9 -F '%j' -t json -C 1",
      isOurs,
    )
    await shell(
      'mosquitto_pub -V 5 -t json -m x -D publish user-property a b -D publish user-property c d -D publish correlation-data e -D publish content-type f',
      false,
    )
    const { tst, ...rest } = JSON.parse((await outcome).output)
    parsed.push(rest)
  }
  assert.deepEqual(parsed[1], parsed[0])
})

test('a line of mosquitto_rr: -t request -e response -m message', async () => {
  for (const isOurs of [false, true]) {
    const program = isOurs ? `"${process.execPath}" "${cli}" request` : 'mosquitto_rr'
    const { outcome } = await subscribing(
      `mosquitto_sub -V 5 -t request -C 1 -F '%R|%D' | { IFS='|' read -r topic data; mosquitto_pub -V 5 -t $topic -m answer \${data:+-D publish correlation-data $data}; }`,
      false,
    )
    const line = `${program} -p ${broker.tcpPort} -t request -e response -m message -v -W 5`
    const { code, output } = await shell(line, false)
    assert.deepEqual([code, output], [0, 'response answer\n'])
    await outcome
  }
})

test('the letters of strftime are those of mosquitto_sub', async () => {
  // Without those that change from one second to the next.
  const letters = [...'aAbBCdDeFgGhHIjklmMnpPRtuUVwWxyYzZEO']
  const format = letters.map((letter) => `${letter === 'n' ? '' : letter}@${letter}`).join('|')
  const line = `mosquitto_sub -F '${format}' -t now -C 1`
  let outcomes
  // Once more where the minute was over in between.
  for (let tries = 0; tries < 2 && (!outcomes || outcomes[0] !== outcomes[1]); tries++) {
    const running = [await subscribing(line, false), await subscribing(line, true)]
    await shell('mosquitto_pub -t now -m x', false)
    outcomes = []
    for (const { outcome } of running) outcomes.push((await outcome).output)
  }
  assert.equal(outcomes[1], outcomes[0])
})

test('times are those of date(1)', async () => {
  const line = "mosquitto_sub -F '@Y-@m-@dT@H:@M:@S@z : @j @a @b %I' -t now -C 1"
  const { outcome } = await subscribing(line, true)
  await shell('mosquitto_pub -t now -m x', false)
  const { output } = await outcome
  const at = new Date(output.slice(0, 24).replace(/(\d\d)(\d\d)$/, '$1:$2'))
  assert.ok(Math.abs(Date.now() - at.getTime()) < 3_000, output)
})
