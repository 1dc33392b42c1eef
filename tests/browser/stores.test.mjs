// IndexedDBStore in headless Chromium: reloads, tabs, and renderers that are killed.
import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { serveScripts, startChromium } from './chromium.mjs'

/** Pages that are reloaded, and renderers that are killed. `STORE_RELOADS=200 STORE_CRASHES=50 node --test …` is the long run. */
const RELOADS = Number(process.env.STORE_RELOADS ?? 20)
const CRASHES = Number(process.env.STORE_CRASHES ?? 6)

let server
before(async () => {
  server = await serveScripts()
})
after(() => server.close())

/** Makes pages that share what the browser keeps. */
async function startBrowser(t) {
  const browser = await startChromium(t)
  const context = await browser.newContext()
  return async () => {
    const page = await context.newPage()
    await page.goto(server.url)
    return page
  }
}

/**
 * Runs in a page: what a new store finds for a client, as text.
 *
 * @param {string[]} where the client, and the database if it is not the usual one
 * @returns {Promise<any>}
 */
async function contents(where) {
  const [clientId, name] = where
  const { IndexedDBStore } = await import('/pkg/stores.js')
  const store = new IndexedDBStore(name)
  const decoder = new TextDecoder()
  try {
    const found = await store.load(clientId)
    return found.map(([key, value]) => [key, decoder.decode(value)])
  } catch (error) {
    return {
      name: error.name,
      code: error.code,
      message: error.message,
      retryable: error.retryable,
    }
  } finally {
    await store.close()
  }
}

// Contract: 'wasmqtt/stores': new IndexedDBStore(name?) for browsers and workers, new FileStore(path) for Node (crash-safe).
test('changes are applied in order and outlive the page', async (t) => {
  const openPage = await startBrowser(t)
  const page = await openPage()
  const order = await page.evaluate(async () => {
    const { IndexedDBStore } = await import('/pkg/stores.js')
    const store = new IndexedDBStore()
    const bytes = (text) => new TextEncoder().encode(text)
    const empty = await store.load('client')
    const value = bytes('first')
    const done = []
    const first = store
      .write('client', [
        ['b', value],
        ['ü/☃', bytes('')],
        ['a', bytes('gone')],
        ['a', null],
        ['never', null],
      ])
      .then(() => done.push(1))
    value.fill(0)
    const second = store.write('client', []).then(() => done.push(2))
    const third = store.write('client', [['a', bytes('again')]]).then(() => done.push(3))
    await Promise.all([first, second, third])
    await store.write('client2', [['x', bytes('y')]])
    return [empty, done]
  })
  assert.deepEqual(order, [[], [1, 2, 3]])
  await page.reload()
  const expected = [
    ['a', 'again'],
    ['b', 'first'],
    ['ü/☃', ''],
  ]
  assert.deepEqual(await page.evaluate(contents, ['client']), expected)
  assert.deepEqual(await page.evaluate(contents, ['client2']), [['x', 'y']])
  assert.deepEqual(await page.evaluate(contents, ['client', 'another']), [])
})

// Contract: Applied in order, all or nothing. A null value deletes.
test('a write is all or nothing, and one that fails is followed by others', async (t) => {
  const page = await (await startBrowser(t))()
  const told = await page.evaluate(async () => {
    const { IndexedDBStore } = await import('/pkg/stores.js')
    const store = new IndexedDBStore('atomic', { durability: 'relaxed' })
    await store.write('client', [['a', new Uint8Array(1)]])
    const { put } = IDBObjectStore.prototype
    // The second record of the transaction does not fit.
    let count = 0
    IDBObjectStore.prototype.put = function (...args) {
      if (++count === 2) throw new DOMException('no space', 'QuotaExceededError')
      return put.apply(this, args)
    }
    const failed = store.write('client', [
      ['b', new Uint8Array(2)],
      ['c', new Uint8Array(3)],
    ])
    const error = await failed.catch((error) => error)
    IDBObjectStore.prototype.put = put
    await store.write('client', [['d', new Uint8Array(4)]])
    const found = await store.load('client')
    return [error.name, error.code, error.retryable, error.message, found.map(([key]) => key)]
  })
  assert.deepEqual(told.slice(0, 3), ['StoreError', 'STORE_FAILED', true])
  assert.match(told[3], /The store of client 'client' could not be written: no space/)
  assert.deepEqual(told[4], ['a', 'd'])
})

test('encrypt and decrypt: no value is in the clear', async (t) => {
  const page = await (await startBrowser(t))()
  const told = await page.evaluate(async () => {
    const { IndexedDBStore } = await import('/pkg/stores.js')
    const makeHooks = async () => {
      const key = await crypto.subtle.generateKey({ name: 'AES-GCM', length: 256 }, false, [
        'encrypt',
        'decrypt',
      ])
      return {
        async encrypt(plain) {
          const iv = crypto.getRandomValues(new Uint8Array(12))
          const sealed = await crypto.subtle.encrypt({ name: 'AES-GCM', iv }, key, plain)
          const stored = new Uint8Array(12 + sealed.byteLength)
          stored.set(iv)
          stored.set(new Uint8Array(sealed), 12)
          return stored
        },
        async decrypt(stored) {
          const iv = stored.subarray(0, 12)
          return new Uint8Array(
            await crypto.subtle.decrypt({ name: 'AES-GCM', iv }, key, stored.subarray(12)),
          )
        },
      }
    }
    const hooks = await makeHooks()
    const store = new IndexedDBStore('sealed', hooks)
    for (let n = 0; n < 20; n++)
      store.write('client', [['k', new TextEncoder().encode(`secret ${n}`)]])
    await store.write('client', [['l', new TextEncoder().encode('secret')]])
    await store.close()
    const raw = new IndexedDBStore('sealed')
    const texts = (found) => found.map(([, value]) => new TextDecoder().decode(value))
    const stored = texts(await raw.load('client'))
    await raw.close()
    const wrong = new IndexedDBStore('sealed', await makeHooks())
    const error = await wrong.load('client').catch((error) => error)
    await wrong.close()
    return [stored.join().includes('secret'), error.code, texts(await store.load('client'))]
  })
  assert.deepEqual(told, [false, 'STORE_FAILED', ['secret 19', 'secret']])
})

test('a second tab with the same client is told', async (t) => {
  const openPage = await startBrowser(t)
  const [one, other] = [await openPage(), await openPage()]
  await one.evaluate(async () => {
    const { IndexedDBStore } = await import('/pkg/stores.js')
    globalThis.store = new IndexedDBStore()
    await globalThis.store.load('client')
  })
  const told = await other.evaluate(contents, ['client'])
  assert.equal(told.code, 'STORE_FAILED')
  assert.equal(told.retryable, true)
  assert.match(
    told.message,
    /client 'client' is in use by another tab or worker: close that one, or/,
  )
  assert.deepEqual(await other.evaluate(contents, ['another client']), [])
  const waiting = other.evaluate(contents, ['client'])
  await sleep(200)
  await one.evaluate(() => globalThis.store.close())
  assert.deepEqual(await waiting, [])
  await one.evaluate(() => globalThis.store.load('client'))
  assert.equal((await other.evaluate(contents, ['client'])).code, 'STORE_FAILED')
  await one.close()
  assert.deepEqual(await other.evaluate(contents, ['client']), [])
})

test('somebody deletes the database', async (t) => {
  const page = await (await startBrowser(t))()
  const found = await page.evaluate(async () => {
    const { IndexedDBStore } = await import('/pkg/stores.js')
    const store = new IndexedDBStore('doomed')
    await store.write('client', [['a', new Uint8Array(1)]])
    await new Promise((resolve, reject) => {
      const request = indexedDB.deleteDatabase('doomed')
      request.onsuccess = resolve
      request.onerror = reject
    })
    await store.write('client', [['b', new Uint8Array(1)]])
    return (await store.load('client')).map(([key]) => key)
  })
  assert.deepEqual(found, ['b'])
})

// ------------------------------------------------------------------------------------------------ reloads and kills

/** Runs in a page: checks what is there, then writes until the page ends. Tells the number of each write that is kept. */
async function keepWriting() {
  const { IndexedDBStore } = await import('/pkg/stores.js')
  const store = new IndexedDBStore('endless')
  const encoder = new TextEncoder()
  const decoder = new TextDecoder()
  const found = new Map(await store.load('client'))
  const read = (key) => Number(decoder.decode(found.get(key)).trim())
  let n = found.size > 0 ? read('n') : 0
  if (found.size > 0) {
    // Write n sets a, b, c and n, and leaves m/(n - 9) to m/n.
    const numbers = ['a', 'b', 'c'].map(read)
    const rest = [...found.keys()].filter((key) => key.startsWith('m/')).sort()
    const expected = Array.from({ length: Math.min(10, n) }, (_, index) => `m/${n - index}`).sort()
    if (numbers.some((each) => each !== n) || String(rest) !== String(expected))
      throw new Error(`Write ${n} is not whole: ${numbers} ${rest}`)
  }
  const begin = n
  const work = async () => {
    for (;;) {
      const mine = ++n
      const value = encoder.encode(`${mine} ${' '.repeat((mine * 7919) % 2_000)}`)
      await store.write('client', [
        ['a', value],
        ['b', value],
        [`m/${mine}`, value],
        ['c', value],
        [`m/${mine - 10}`, null],
        ['n', value],
      ])
      globalThis.kept(mine)
    }
  }
  for (let each = 0; each < 16; each++) work().catch((error) => globalThis.kept(String(error)))
  return begin
}

/** Lets pages write for a random time and ends each; checks that the next one finds what was kept. */
async function endAgainAndAgain(t, rounds, newPage, end) {
  let kept = 0
  const problems = []
  const tell = (number) => {
    if (typeof number === 'string') problems.push(number)
    else kept = Math.max(kept, number)
  }
  for (let round = 0; ; round++) {
    const page = await newPage(tell)
    const before = kept
    const found = await page.evaluate(keepWriting)
    assert.ok(found >= before, `round ${round}: found ${found}, and ${before} was kept`)
    if (round === rounds) break
    await sleep(randomInt(150))
    await end(page)
  }
  assert.deepEqual(problems, [])
  assert.ok(kept > rounds, `${kept}`)
  t.diagnostic(`${rounds} rounds, ${kept} writes`)
}

test('reloads at random moments', async (t) => {
  const page = await (await startBrowser(t))()
  let tell
  await page.exposeFunction('kept', (number) => tell(number))
  const reload = async (listener) => {
    tell = listener
    return page
  }
  await endAgainAndAgain(t, RELOADS, reload, () => page.reload())
})

test('renderers that are killed at random moments', async (t) => {
  const openPage = await startBrowser(t)
  const another = async (listener) => {
    const page = await openPage()
    await page.exposeFunction('kept', listener)
    return page
  }
  await endAgainAndAgain(t, CRASHES, another, async (page) => {
    const crashed = new Promise((resolve) => page.once('crash', resolve))
    const session = await page.context().newCDPSession(page)
    session.send('Page.crash').catch(() => {})
    await crashed
    await page.close()
  })
})
