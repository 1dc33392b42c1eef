// FileStore: what was promised is there, whatever happens to the process, the file and the disk.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createCipheriv, createDecipheriv, randomBytes, randomInt } from 'node:crypto'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { open } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import * as stores from '../../pkg/stores-node.js'
import { until } from './scripted-broker.mjs'
import { changesOf } from './store-writer.mjs'

const { FileStore, IndexedDBStore } = stores

/** Processes that are killed. `STORE_KILLS=500 node --test tests/js/stores.test.mjs` is the long run. */
const KILLS = Number(process.env.STORE_KILLS ?? 40)
const WRITER = fileURLToPath(new URL('store-writer.mjs', import.meta.url))

/** @returns {[key: string, value: Uint8Array | null]} */
const change = (key, value) => [key, value]
const text = (bytes) => Buffer.from(bytes).toString()
const bytes = (string) => new TextEncoder().encode(string)

function folderOf(t) {
  const folder = mkdtempSync(join(tmpdir(), 'wasmqtt-store-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** A store that is closed after the test. */
function storeOf(t, folder, options) {
  const store = new FileStore(folder, options)
  t.after(() => store.close())
  return store
}

/** What a store of its own finds, keys and values as text. */
async function contents(folder, clientId = 'client', options) {
  const store = new FileStore(folder, options)
  try {
    return Object.fromEntries(
      (await store.load(clientId)).map(([key, value]) => [key, text(value)]),
    )
  } finally {
    await store.close()
  }
}

/** The only file with this ending. */
function fileIn(folder, ending = '.log') {
  const names = readdirSync(folder).filter((name) => name.endsWith(ending))
  assert.equal(names.length, 1, `${names}`)
  return join(folder, names[0])
}

const rejection = (promise) =>
  promise.then(
    () => assert.fail('it resolved'),
    (error) => error,
  )

// ------------------------------------------------------------------------------------------------ what it keeps

// Contract: Applied in order, all or nothing. A null value deletes.
test('changes are applied in order and outlive the store', async (t) => {
  const folder = join(folderOf(t), 'made', 'on the way')
  const store = storeOf(t, folder)
  assert.deepEqual(await store.load('client'), [])
  const value = bytes('first')
  const first = store.write('client', [
    ['b', value],
    ['ü/☃', bytes('')],
    ['a', bytes('gone')],
    ['a', null],
    ['never', null],
  ])
  // The store has its own copy from the call on.
  value.fill(0)
  await first
  await store.write('client', [])
  await store.write('client', [['a', bytes('again')]])
  await store.write('other', [['x', bytes('y')]])
  const expected = { a: 'again', b: 'first', 'ü/☃': '' }
  const found = await store.load('client')
  assert.deepEqual(
    found.map(([key]) => key),
    ['a', 'b', 'ü/☃'],
  )
  assert.ok(found.every(([, each]) => each.constructor === Uint8Array && each.byteOffset === 0))
  await store.close()
  assert.deepEqual(await contents(folder), expected)
  assert.deepEqual(await contents(pathToFileURL(folder)), expected)
  assert.deepEqual(await contents(folder, 'other'), { x: 'y' })
  // Capitals make another client, on file systems that do not know them, too.
  assert.deepEqual(await contents(folder, 'CLIENT'), {})
  // It can be used again.
  await store.write('client', [['c', bytes('d')]])
  assert.equal((await store.load('client')).length, 4)
})

test('the same as a Map, over many writes, compactions and restarts', async (t) => {
  const folder = folderOf(t)
  const model = new Map()
  for (let round = 0; round < 8; round++) {
    const store = new FileStore(folder)
    const found = await store.load('client')
    assert.deepEqual(new Map(found.map(([key, value]) => [key, text(value)])), model)
    const written = []
    for (let index = 0; index < 100; index++) {
      const changes = Array.from({ length: randomInt(5) }, () => {
        const key = `k${randomInt(30)}`
        const value = randomInt(3) === 0 ? null : String(randomInt(1e9)).repeat(randomInt(1_500))
        if (value === null) model.delete(key)
        else model.set(key, value)
        return change(key, value === null ? null : bytes(value))
      })
      written.push(store.write('client', changes))
      if (randomInt(10) === 0) await written.at(-1)
    }
    await Promise.all(written)
    await store.close()
    assert.ok(statSync(fileIn(folder)).size < 3_000_000)
  }
})

test('a log does not grow without bound, and is written anew while it is in use', async (t) => {
  const folder = folderOf(t)
  const store = storeOf(t, folder)
  const value = randomBytes(2_000)
  let largest = 0
  for (let index = 0; index < 40; index++) {
    await Promise.all(
      Array.from({ length: 50 }, (_, each) => store.write('client', [[`k${each}`, value]])),
    )
    largest = Math.max(largest, statSync(fileIn(folder)).size)
  }
  assert.ok(largest < 1_300_000, `${largest}`)
  assert.equal((await store.load('client')).length, 50)
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.endsWith('.new')),
    [],
  )
})

// ------------------------------------------------------------------------------------------------ syncing

/**
 * Calls `before` and `after` around each sync of a file, until the test ends.
 *
 * @param {{ before?: (handle: object) => unknown, after?: (handle: object) => unknown }} around
 */
async function watchSyncs(t, around) {
  const { before, after } = around
  const handle = await open(tmpdir(), 'r')
  const prototype = Object.getPrototypeOf(handle)
  await handle.close()
  const { datasync } = prototype
  prototype.datasync = async function () {
    await before?.(this)
    await datasync.call(this)
    await after?.(this)
  }
  t.after(() => {
    prototype.datasync = datasync
  })
}

test('a write resolves when it is synced, and those that come meanwhile are synced together', async (t) => {
  const folder = folderOf(t)
  const store = storeOf(t, folder)
  await store.load('client')
  let synced
  let syncs = 0
  await watchSyncs(t, {
    before: () => sleep(5),
    after: () => {
      syncs++
      synced = readFileSync(fileIn(folder))
    },
  })
  const kept = Array.from({ length: 200 }, async (_, index) => {
    await sleep(index % 20)
    await store.write('client', [[`k${index}`, bytes('v')]])
    assert.ok(synced.includes(`k${index}`), `write ${index} is not synced`)
  })
  await Promise.all(kept)
  assert.ok(syncs < 20, `${syncs} syncs`)
})

test('a failed sync: nothing is written any more, because it is not known what is there', async (t) => {
  const folder = folderOf(t)
  const store = storeOf(t, folder)
  await store.write('client', [['a', bytes('kept')]])
  let fail = true
  await watchSyncs(t, {
    before: () => {
      if (fail) throw Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' })
    },
  })
  const error = await rejection(store.write('client', [['b', bytes('x')]]))
  assert.equal(error.name, 'StoreError')
  assert.equal(error.code, 'STORE_FAILED')
  assert.equal(error.cause.code, 'EIO')
  fail = false
  const later = await rejection(store.write('client', [['c', bytes('x')]]))
  assert.match(later.message, /leaves unknown what is on the disk/)
  await store.close()
  assert.equal((await contents(folder)).a, 'kept')
  await store.write('client', [['c', bytes('y')]])
  assert.equal(text(new Map(await store.load('client')).get('c')), 'y')
})

// ------------------------------------------------------------------------------------------------ torn and damaged

/** A log of six writes: its bytes, and what is there after each, by the length of the file then. */
async function sixWrites(t) {
  const folder = folderOf(t)
  const store = new FileStore(folder)
  const states = []
  const note = async () => {
    const found = (await store.load('client')).map(([key, value]) => [key, text(value)])
    states.push({ length: statSync(fileIn(folder)).size, found: Object.fromEntries(found) })
  }
  await store.load('client')
  await note()
  for (let index = 0; index < 6; index++) {
    await store.write('client', [
      ['last', bytes(`${index}`)],
      [`k${index}`, randomBytes(20)],
      [`k${index - 2}`, null],
    ])
    await note()
  }
  await store.close()
  const path = fileIn(folder)
  return { folder, path, states, whole: readFileSync(path) }
}

test('a torn tail is cut off, wherever it is torn and whatever follows', async (t) => {
  const { folder, path, states, whole } = await sixWrites(t)
  const [{ length: shortest }] = states
  for (let length = shortest; length <= whole.length; length++) {
    const { found, length: kept } = states.findLast((each) => each.length <= length)
    const tails = [Buffer.alloc(0)]
    if (length % 7 === 0) tails.push(Buffer.alloc(50), randomBytes(50), whole.subarray(0, 60))
    for (const tail of tails) {
      writeFileSync(path, Buffer.concat([whole.subarray(0, length), tail]))
      assert.deepEqual(await contents(folder), found, `${length}`)
      assert.equal(statSync(path).size, kept)
      if (length % 7 > 0) continue
      const store = new FileStore(folder)
      await store.write('client', [['more', bytes('x')]])
      await store.close()
      assert.deepEqual(await contents(folder), { ...found, more: 'x' }, `${length}, goes on`)
    }
  }
})

test('damage in the middle is told, and what is behind it can be kept', async (t) => {
  const { folder, path, states, whole } = await sixWrites(t)
  const last = states.at(-2).length
  for (let at = 0; at < last; at += 3) {
    const spoilt = Buffer.from(whole)
    spoilt[at] ^= 0x55
    writeFileSync(path, spoilt)
    const error = await rejection(contents(folder))
    assert.equal(error.code, 'STORE_FAILED')
    assert.match(error.message, /\.log is damaged from byte \d+ to \d+: .* salvage/)
    assert.ok(readFileSync(path).equals(spoilt), 'the file stays as it is')
  }
  // Everything but the third write.
  const spoilt = Buffer.from(whole)
  spoilt[states[3].length - 1] ^= 1
  writeFileSync(path, spoilt)
  const found = await contents(folder, 'client', { salvage: true })
  assert.deepEqual(Object.keys(found), ['k0', 'k4', 'k5', 'last'])
  assert.equal(found.last, '5')
  const saved = readdirSync(folder).filter((name) => name.includes('.log.damaged-'))
  assert.ok(readFileSync(join(folder, saved[0])).equals(spoilt))
  assert.deepEqual(await contents(folder), found)
})

test('a header that is damaged, and a file that is no log', async (t) => {
  const { folder, path } = await sixWrites(t)
  for (const content of ['', 'hello, this is something else', randomBytes(500)]) {
    writeFileSync(path, content)
    assert.match((await rejection(contents(folder))).message, /is damaged from byte 0/)
  }
  assert.deepEqual(await contents(folder, 'client', { salvage: true }), {})
  assert.deepEqual(await contents(folder), {})
})

test('a payload that looks like a log is no frame', async (t) => {
  const { folder, path, states, whole } = await sixWrites(t)
  const store = new FileStore(folder)
  await store.write('client', [['trick', whole]])
  await store.close()
  // The last write is torn behind the payload: what is in it must not count as a frame that follows.
  const torn = readFileSync(path)
  const other = join(folderOf(t), 'other')
  const second = new FileStore(other)
  await second.write('client', [['trick', torn]])
  await second.write('client', [['trick', torn]])
  await second.close()
  const file = readFileSync(fileIn(other))
  writeFileSync(fileIn(other), file.subarray(0, file.length - 1))
  assert.deepEqual(Object.keys(await contents(other)), ['trick'])
  assert.ok(states.length > 0)
})

test('a compaction that was killed leaves the old log', async (t) => {
  const { folder, path, states } = await sixWrites(t)
  writeFileSync(`${path}.new`, randomBytes(1_000))
  assert.deepEqual(await contents(folder), states.at(-1).found)
  assert.equal(existsSync(`${path}.new`), false)
})

// ------------------------------------------------------------------------------------------------ kill -9

/**
 * A process that writes. `limit`: blocks of 512 bytes that a file may have.
 *
 * @param {string} folder
 * @param {{ filling?: number, inFlight?: number, limit?: number }} [options]
 */
function startWriter(folder, { filling = 500, inFlight = 8, limit } = {}) {
  const args = [WRITER, folder, '0', `${filling}`, `${inFlight}`]
  const script = `ulimit -f ${limit}; exec "$@"`
  const child =
    limit === undefined
      ? spawn(process.execPath, args)
      : spawn('sh', ['-c', script, 'sh', process.execPath, ...args])
  let output = ''
  child.stdout.setEncoding('utf8')
  child.stdout.on('data', (data) => {
    output += data
  })
  child.stderr.pipe(process.stderr)
  const closed = once(child, 'close')
  const lines = () => output.split('\n').slice(0, -1)
  return {
    child,
    closed,
    loaded: async () => {
      while (lines().length === 0) await Promise.race([sleep(2), closed])
      return Number(/^loaded (\d+)$/.exec(lines()[0])[1])
    },
    lines,
    /** The highest number that the store has kept. */
    kept: () => lines().reduce((most, line) => Math.max(most, Number(line) || 0), 0),
  }
}

/** Checks that what is there is what some number of writes leave: the number. */
async function checkWriter(folder, filling) {
  const found = await contents(folder, 'writer')
  const n = Number(found.n ?? 0)
  const expected = new Map()
  for (let index = Math.max(1, n - 20); index <= n; index++) {
    for (const [key, value] of changesOf(index, filling)) {
      if (value === null) expected.delete(key)
      else expected.set(key, text(value))
    }
  }
  expected.delete(`m/${n - 20}`)
  assert.deepEqual(found, Object.fromEntries([...expected].sort(([a], [b]) => (a < b ? -1 : 1))))
  return n
}

// Contract: Applied in order, all or nothing. A null value deletes.
// Contract: 'wasmqtt/stores': new IndexedDBStore(name?) for browsers and workers, new FileStore(path) for Node (crash-safe).
test('kill -9 at random moments: what was kept is there, each write whole and in order', async (t) => {
  const folder = folderOf(t)
  let before = 0
  let writes = 0
  for (let round = 0; round < KILLS; round++) {
    // Large ones bring about compactions.
    const filling = 4_000
    const writer = startWriter(folder, { filling, inFlight: 1 + randomInt(64) })
    assert.equal(await writer.loaded(), before, `round ${round}`)
    await sleep(randomInt(round % 4 === 0 ? 400 : 60), undefined)
    writer.child.kill('SIGKILL')
    await writer.closed
    const there = await checkWriter(folder, filling)
    assert.ok(there >= writer.kept(), `round ${round}: ${there} of ${writer.kept()}`)
    writes += there - before
    before = there
  }
  assert.ok(writes > KILLS)
  t.diagnostic(
    `${KILLS} kills, ${writes} writes, ${statSync(fileIn(folder)).size} bytes at the end`,
  )
})

// ------------------------------------------------------------------------------------------------ a full disk

test('a full disk rejects the write and leaves the log as it was', async (t) => {
  const folder = folderOf(t)
  const writer = startWriter(folder, { filling: 300, inFlight: 5, limit: 100 })
  const [code] = await writer.closed
  assert.equal(code, 3, writer.lines().at(-1))
  assert.match(writer.lines().at(-1), /^failed \d+ STORE_FAILED EFBIG$/)
  assert.ok(writer.kept() > 0)
  const there = await checkWriter(folder, 300)
  assert.ok(there >= writer.kept())
  // Where there is room again it goes on.
  const store = new FileStore(folder)
  await store.write('writer', changesOf(there + 1, 300))
  await store.close()
  assert.equal(await checkWriter(folder, 300), there + 1)
})

test('a write that fails is undone, and the next one is written', async (t) => {
  const folder = folderOf(t)
  const store = storeOf(t, folder)
  await store.write('client', [['a', bytes('1')]])
  const handle = await open(tmpdir(), 'r')
  const prototype = Object.getPrototypeOf(handle)
  await handle.close()
  const { write } = prototype
  t.after(() => {
    prototype.write = write
  })
  let left = 70
  prototype.write = function (buffer, offset, length, position) {
    if (left === 0)
      return Promise.reject(
        Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' }),
      )
    const count = Math.min(left, length)
    left -= count
    return write.call(this, buffer, offset, count, position)
  }
  const size = statSync(fileIn(folder)).size
  const failed = [1, 2].map((index) =>
    rejection(store.write('client', [['b', bytes(`${index}`.repeat(90))]])),
  )
  for (const error of await Promise.all(failed)) {
    assert.equal(error.code, 'STORE_FAILED')
    assert.equal(error.retryable, true)
    assert.match(error.message, /'client' could not be written: ENOSPC: no space left on device/)
  }
  assert.equal(statSync(fileIn(folder)).size, size)
  left = Number.POSITIVE_INFINITY
  await store.write('client', [['c', bytes('3')]])
  await store.close()
  assert.deepEqual(await contents(folder), { a: '1', c: '3' })
})

// ------------------------------------------------------------------------------------------------ locks

test('a second process with the same client is told, and one that died is not in the way', async (t) => {
  const folder = folderOf(t)
  const writer = startWriter(folder)
  await writer.loaded()
  const error = await rejection(contents(folder, 'writer'))
  assert.equal(error.code, 'STORE_FAILED')
  assert.equal(error.retryable, true)
  assert.match(
    error.message,
    new RegExp(`client 'writer' is in use by process ${writer.child.pid} on `),
  )
  assert.match(error.message, /end that one, or choose another clientId \(lock file .*\.lock\)$/)
  assert.deepEqual(await contents(folder, 'someone else'), {})
  writer.child.kill('SIGKILL')
  await writer.closed
  assert.ok(existsSync(fileIn(folder, '.lock')))
  await contents(folder, 'writer')
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.includes('.lock')),
    [],
  )
})

test("of two processes that take over a dead one's lock, one gets it", async (t) => {
  const folder = folderOf(t)
  for (let round = 0; round < 5; round++) {
    const dead = startWriter(folder)
    await dead.loaded()
    dead.child.kill('SIGKILL')
    await dead.closed
    const writers = Array.from({ length: 3 }, () => startWriter(folder))
    // Those that do not get it end with an error, which goes to standard error.
    for (const { child } of writers) child.stderr.unpipe(process.stderr).resume()
    const ends = writers.map(({ closed }) => closed)
    const survivors = new Set(writers)
    for (const writer of writers) writer.closed.then(() => survivors.delete(writer))
    while (survivors.size > 1) await Promise.race([...survivors].map(({ closed }) => closed))
    await sleep(20)
    const [winner] = survivors
    assert.ok(winner !== undefined, `round ${round}`)
    await winner.loaded()
    winner.child.kill('SIGKILL')
    await Promise.all(ends)
  }
})

test('another store of the same process is told', async (t) => {
  const folder = folderOf(t)
  const store = storeOf(t, folder)
  await store.load('client')
  const error = await rejection(contents(folder))
  assert.match(error.message, /is in use by another store of this process/)
  await store.close()
  await contents(folder)
})

test('locks of other machines, of earlier starts and of numbers that are used again', async (t) => {
  const folder = folderOf(t)
  await contents(folder)
  const path = fileIn(folder).replace(/log$/, 'lock')
  const own = { pid: process.pid, began: '1', host: hostname(), boot: '', space: '' }
  const minutes = (count) => new Date(Date.now() - count * 60_000)
  const lock = async (fields, age) => {
    writeFileSync(
      path,
      typeof fields === 'string' ? fields : JSON.stringify({ ...own, token: 'x', ...fields }),
    )
    utimesSync(path, minutes(age), minutes(age))
    const error = await contents(folder).then(
      () => undefined,
      (error) => error,
    )
    rmSync(path, { force: true })
    return error?.message
  }
  assert.match(await lock({ host: 'elsewhere', pid: 7 }, 0), /process 7 on elsewhere/)
  assert.equal(await lock({ host: 'elsewhere', pid: 7 }, 2), undefined)
  assert.match(await lock('not a lock', 0), /in use/)
  assert.equal(await lock('not a lock', 2), undefined)
  if (process.platform !== 'linux') return
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  assert.equal(await lock({ boot: 'an earlier start', pid: 1 }, 0), undefined)
  const space = (await import('node:fs')).readlinkSync('/proc/self/ns/pid')
  assert.equal(await lock({ boot, space, pid: process.ppid, began: '1' }, 0), undefined)
  assert.equal(await lock({ boot, space, pid: process.pid, began: '1' }, 0), undefined)
  assert.match(await lock({ boot, space: 'another container', pid: 1 }, 0), /process 1 on/)
  assert.equal(await lock({ boot, space, pid: 4_194_999 }, 0), undefined)
})

test('a process that was killed holds no lock, even if its parent has not asked for its end', async (t) => {
  if (process.platform !== 'linux') return t.skip('only Linux tells of such a process')
  const folder = folderOf(t)
  // The shell becomes a program that never asks: what it started stays in the table of processes.
  const script = `"$0" "$1" "$2" 0 10 1 & echo "pid $!"; exec sleep 600`
  const parent = spawn('sh', ['-c', script, process.execPath, WRITER, folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => parent.kill('SIGKILL'))
  let said = ''
  parent.stdout.on('data', (data) => (said += data))
  await until(() => /^pid \d+$/m.test(said) && /^loaded/m.test(said))
  const pid = Number(/^pid (\d+)$/m.exec(said)[1])
  process.kill(pid, 'SIGKILL')
  await until(() => / Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1')))
  const store = new FileStore(folder)
  await store.load('writer')
  await store.close()
})

test('a lock that another machine took over ends the writing', async (t) => {
  const folder = folderOf(t)
  const store = storeOf(t, folder)
  await store.write('client', [['a', bytes('1')]])
  const path = fileIn(folder, '.lock')
  writeFileSync(path, JSON.stringify({ pid: 1, host: 'elsewhere', token: 'other' }))
  const { now } = Date
  t.after(() => {
    Date.now = now
  })
  Date.now = () => now() + 120_000
  const error = await rejection(store.write('client', [['a', bytes('2')]]))
  assert.match(error.message, /Another process has taken over the lock/)
  Date.now = now
  await store.close()
  // The lock is not ours to remove.
  assert.ok(existsSync(path))
})

// ------------------------------------------------------------------------------------------------ encryption

const hooks = (key) => ({
  async encrypt(plain) {
    const iv = randomBytes(12)
    const cipher = createCipheriv('aes-256-gcm', key, iv)
    return Buffer.concat([iv, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
  },
  async decrypt(stored) {
    const decipher = createDecipheriv('aes-256-gcm', key, stored.subarray(0, 12))
    decipher.setAuthTag(stored.subarray(-16))
    return Buffer.concat([decipher.update(stored.subarray(12, -16)), decipher.final()])
  },
})

test('encrypt and decrypt: nothing is in the clear, and another key opens nothing', async (t) => {
  const folder = folderOf(t)
  const options = hooks(randomBytes(32))
  const plain = new FileStore(folder)
  await plain.write('client', [['secret/key', bytes('secret value')]])
  await plain.close()
  assert.ok(readFileSync(fileIn(folder)).includes('secret'))
  // What was plain is encrypted from then on.
  assert.deepEqual(await contents(folder, 'client', options), { 'secret/key': 'secret value' })
  assert.ok(!readFileSync(fileIn(folder)).includes('secret'))
  const store = new FileStore(folder, options)
  for (let index = 0; index < 700; index++)
    store.write('client', [['other secret', Buffer.alloc(4_000, 'secret ')]])
  await store.write('client', [['last', bytes('secret')]])
  await store.close()
  assert.ok(!readFileSync(fileIn(folder)).includes('secret'))
  const found = await contents(folder, 'client', options)
  assert.deepEqual(Object.keys(found), ['last', 'other secret', 'secret/key'])
  const wrong = await rejection(contents(folder, 'client', hooks(randomBytes(32))))
  assert.match(wrong.message, /could not be decrypted: is it the right key/)
  assert.equal(wrong.code, 'STORE_FAILED')
  const none = await rejection(contents(folder))
  assert.match(none.message, /is encrypted: give the options encrypt and decrypt/)
})

test('an encrypt that fails rejects its write, and nothing else', async (t) => {
  const folder = folderOf(t)
  let fail = false
  const options = {
    encrypt: (plain) => {
      if (fail) throw new Error('no key')
      return plain
    },
    decrypt: (stored) => stored,
  }
  const store = storeOf(t, folder, options)
  await store.write('client', [['a', bytes('1')]])
  fail = true
  const error = await rejection(store.write('client', [['b', bytes('2')]]))
  assert.equal(error.code, 'STORE_FAILED')
  assert.equal(error.cause.message, 'no key')
  fail = false
  await store.write('client', [['c', bytes('3')]])
  await store.close()
  assert.deepEqual(await contents(folder, 'client', options), { a: '1', c: '3' })
})

// ------------------------------------------------------------------------------------------------ mistakes

test('mistakes of the caller', async (t) => {
  const folder = folderOf(t)
  const FileStore = /** @type {any} */ (stores.FileStore)
  /** @type {[() => unknown, string][]} */
  const wrong = [
    [() => new FileStore(''), 'path'],
    [() => new FileStore(5), 'path'],
    [() => new FileStore(new URL('https://h/')), 'path'],
    [() => new FileStore(folder, { foo: 1 }), 'foo'],
    [() => new FileStore(folder, { encrypt: () => {} }), 'decrypt'],
    [() => new FileStore(folder, { encrypt: 1, decrypt: 1 }), 'encrypt'],
  ]
  for (const [make, argument] of wrong)
    assert.throws(make, { name: 'InvalidArgumentError', code: 'INVALID_ARGUMENT', argument })
  const store = storeOf(t, folder)
  for (const call of [store.load(''), store.load(undefined), store.write('', [])])
    assert.equal((await rejection(call)).argument, 'clientId')
  assert.throws(() => new IndexedDBStore(), { name: 'NotSupportedError' })
  const blocked = join(folder, 'a file')
  writeFileSync(blocked, '')
  const error = await rejection(new FileStore(blocked).load('client'))
  assert.equal(error.code, 'STORE_FAILED')
  assert.match(error.message, /cannot be opened in .*EEXIST/)
  mkdirSync(join(folder, 'x'))
})

test('the web form of the entry has both names', async () => {
  const web = await import('../../pkg/stores.js')
  assert.throws(() => new web.FileStore('x'), { name: 'NotSupportedError' })
  assert.throws(() => new web.IndexedDBStore(), { name: 'NotSupportedError' })
})
