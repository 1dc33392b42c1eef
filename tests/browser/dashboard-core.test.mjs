// The parts of the dashboard that need no page: numbers, JSON, bytes, presence, memory. Bundled as the page is, and run in Node.
import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { before, describe, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { build } from 'esbuild'
import { root } from '../../scripts/tools.mjs'

let core
before(async () => {
  const outfile = join(root, 'target', 'dashboard-core.mjs')
  mkdirSync(join(root, 'target'), { recursive: true })
  const names = ['json', 'text', 'model', 'presence', 'series']
  const contents = names.map((name) => `export * from './${name}.ts'`).join('\n')
  await build({
    stdin: { contents, resolveDir: join(root, 'www', 'src', 'core'), loader: 'ts' },
    outfile,
    bundle: true,
    format: 'esm',
  })
  // The model counts seconds as long as its page is there: that must not keep this process alive.
  const { setInterval } = globalThis
  Object.assign(globalThis, {
    setInterval: (/** @type {() => void} */ work, /** @type {number} */ ms) =>
      setInterval(work, ms).unref(),
  })
  core = await import(`${pathToFileURL(outfile)}?${Date.now()}`)
})

const bytes = (text) => new TextEncoder().encode(text)
const message = (topic, payload, options) => ({
  topic,
  payload: typeof payload === 'string' ? bytes(payload) : payload,
  qos: 0,
  retain: false,
  dup: false,
  properties: undefined,
  ...options,
})

describe('numbers', () => {
  test('ticks are few and different, whatever a double can tell apart', () => {
    const pairs = [
      [1e16, 1e16 + 2],
      [9007199254740992, 9007199254740994],
      [-Number.MAX_VALUE / 4, Number.MAX_VALUE / 4],
      [0, Number.MIN_VALUE],
      [5e-324, 1e-323],
      [1, 1 + Number.EPSILON],
      [-1e-300, 1e300],
      [3, 3],
      [0.1, 0.7],
      [-17, 1_000_000],
    ]
    for (const [low, high] of pairs) {
      const ticks = core.niceTicks(low, high, 5)
      assert.ok(ticks.length >= 1 && ticks.length <= 8, `${low}..${high}: ${ticks}`)
      assert.equal(new Set(ticks).size, ticks.length, `${ticks}`)
      const [from, to] = core.roomyRange(low, high)
      assert.ok(from < to && Number.isFinite(to - from), `${from}..${to}`)
    }
    assert.deepEqual(core.niceTicks(0, 100, 5), [0, 20, 40, 60, 80, 100])
  })

  test('labels tell neighbours apart', () => {
    assert.equal(core.number(1234567, 10), '1234567')
    assert.equal(core.number(21.437, 1), '21.437')
    assert.equal(core.number(1e16 + 2, 2), '10000000000000002')
    assert.equal(core.number(0.1 + 0.2), '0.3')
  })

  test('the mean of the largest doubles is finite', () => {
    const model = new core.Model()
    const series = new core.Series(model, 'a', '')
    for (let n = 0; n < 3; n++) model.add(message('a', '1.7e308'), false)
    assert.equal(series.summary(0, 1e12).mean, 1.7e308)
  })

  test('a line has a gap where the connection was gone, and where nothing came for long', (t) => {
    t.mock.timers.enable({ apis: ['Date'], now: 1e12 })
    const model = new core.Model()
    const series = new core.Series(model, 'a', '')
    const come = (after) => {
      t.mock.timers.tick(after)
      model.add(message('a', '1'), false)
    }
    for (let n = 0; n < 3; n++) come(1_000)
    series.gap()
    series.gap()
    come(1_000)
    come(60_000)
    const drawn = series.values.map((value) => (Number.isNaN(value) ? '-' : value)).join('')
    assert.equal(drawn, '111-1-1')
    assert.ok(series.at.every((at, n) => n === 0 || at >= series.at[n - 1]))
  })

  test('a line keeps its extremes while it is thinned out', () => {
    const model = new core.Model()
    const series = new core.Series(model, 'a', '')
    model.add(message('a', '-5000'), false)
    for (let n = 0; n < 60_000; n++)
      model.add(message('a', String(n === 100 ? 9_999 : n % 10)), false)
    assert.ok(series.at.length <= 20_000)
    const { min, max } = series.summary(0, 1e12)
    assert.deepEqual([min, max], [-5_000, 9_999])
  })
})

describe('JSON', () => {
  test('keeps digits, order, duplicates', () => {
    const read = core.parseJson('{"b":1.50,"a":9007199254740993,"b":[1e400,"\\u00e9",null]}')
    assert.deepEqual(
      read.members.map(([name]) => name),
      ['b', 'a', 'b'],
    )
    assert.equal(read.members[0][1].text, '1.50')
    assert.equal(read.members[1][1].text, '9007199254740993')
    assert.equal(read.members[2][1].items[0].text, '1e400')
    assert.equal(read.members[2][1].items[1].value, 'é')
  })

  test('agrees with JSON.parse about what is JSON', () => {
    const texts = [
      '',
      ' ',
      '1',
      '01',
      '-',
      '-0',
      '1.',
      '.5',
      '1e',
      '1e5',
      '"a',
      '"\t"',
      '"\\x"',
      '[',
      '[]',
      '[1,]',
      '[,1]',
      '[1 2]',
      '{}',
      '{"a"}',
      '{"a":}',
      '{"a":1,}',
      '{a:1}',
      '{"a":1}}',
      'nul',
      'null',
      'truefalse',
      '[[]]',
      ' {"a" : [ 1 , { } ] } ',
      '"\\ud800"',
      '1 1',
    ]
    const outcome = (read) => {
      try {
        read()
        return true
      } catch (error) {
        assert.ok(error instanceof SyntaxError)
        return false
      }
    }
    for (const text of texts)
      assert.equal(
        outcome(() => core.parseJson(text)),
        outcome(() => JSON.parse(text)),
        JSON.stringify(text),
      )
  })

  test('a hundred thousand levels are read without recursion', () => {
    const deep = 100_000
    const began = performance.now()
    let at = core.parseJson('['.repeat(deep) + ']'.repeat(deep))
    let levels = 0
    for (; at; at = at.items[0]) levels++
    assert.equal(levels, deep)
    assert.ok(performance.now() - began < 2_000)
  })

  test('a number is found wherever it is', () => {
    const payload = bytes('{"a":{"x/y":[{"t":21.5}]},"on":true}')
    const path = ['a', 'x/y', 0, 't'].reduce(core.pointer, '')
    assert.equal(core.numberAt(payload, path), 21.5)
    assert.equal(core.pointerLabel(path), 'a.x/y[0].t')
    const tree = core.parseJson('{"a":0,"a":{"x/y":[{"t":21.50}]},"on":true}')
    assert.deepEqual(core.valueAt(tree, path), { kind: 'number', text: '21.50' })
    for (const none of ['/b', '/a/x/y', '/on/t', `${path}/deeper`, '/a/x~1y/1'])
      assert.equal(core.valueAt(tree, none), undefined, none)
    assert.equal(core.numberAt(payload, '/on'), 1)
    assert.equal(core.numberAt(payload, '/b/c'), undefined)
    assert.equal(core.numberAt(bytes('1e999'), ''), undefined)
    assert.equal(core.numberAt(bytes('ON'), ''), 1)
    assert.equal(core.numberAt(bytes('21.5 °C'), ''), undefined)
    // A large document is not read to find out that it is no number by itself.
    assert.equal(core.numberAt(bytes(`${' '.repeat(2_000)}1`), ''), undefined)
    assert.equal(core.numberAt(bytes(`${' '.repeat(2_000)}{"a":1}`), '/a'), 1)
  })
})

describe('bytes', () => {
  test('a preview that is cut inside a character is text all the same', () => {
    const text = `x${'é'.repeat(2_000)}`
    assert.match(core.preview(bytes(text), 100), /^xé{99}…$/)
    assert.equal(core.asText(bytes(text).subarray(0, 2), true), 'x')
    assert.equal(core.asText(bytes(text).subarray(0, 2)), undefined)
  })

  test('rows of bytes are whole, and bytes come back from digits', () => {
    assert.equal(
      core.hexRow(bytes('0123456789abcdefgh'), 16).trimEnd(),
      `000010  67 68${' '.repeat(45)}gh`,
    )
    assert.deepEqual(core.fromHex('48 65:6c'), bytes('Hel'))
    assert.equal(core.fromHex('4'), undefined)
  })

  test('what turns a line round is shown by its number', () => {
    assert.equal(core.visible('a\u202Eb\n'), 'a⟨U+202E⟩b⟨U+000A⟩')
  })
})

describe('presence', () => {
  test('the conventions are recognised', () => {
    const cases = [
      ['home/lamp/status', 'online', 'home/lamp', 'online'],
      ['tele/plug-3/LWT', 'Offline', 'plug-3', 'offline'],
      ['zigbee2mqtt/door/availability', '{"state":"online"}', 'zigbee2mqtt/door', 'online'],
      ['homie/sensor/$state', 'lost', 'sensor', 'offline'],
      ['homie/5/sensor/$state', 'sleeping', 'sensor', 'asleep'],
      ['shellies/plug/online', 'true', 'shellies/plug', 'online'],
      ['spBv1.0/plant/NDEATH/line1', '\u0008', 'plant/line1', 'offline'],
      ['spBv1.0/plant/DBIRTH/line1/robot', '', 'plant/line1/robot', 'online'],
      ['spBv1.0/STATE/scada', '{"online":false,"timestamp":1}', 'STATE/scada', 'offline'],
    ]
    for (const [topic, payload, name, state] of cases) {
      const found = core.announced(topic, bytes(payload))
      assert.deepEqual([found?.name, found?.state], [name, state], topic)
    }
    assert.equal(core.announced('home/lamp/status', bytes('{"watts":3}')), undefined)
    assert.equal(core.announced('home/status', bytes('fine')), undefined)
  })

  test('a stored announcement says nothing about since when, and none of 250 is left out', () => {
    const model = new core.Model()
    const devices = new core.Devices(model)
    for (let n = 0; n < 250; n++)
      model.add(message(`d/${n}/status`, 'online', { retain: true }), true)
    assert.equal(devices.all.size, 250)
    const [device] = devices.all.values()
    assert.equal(device.since, undefined)
    model.add(message('d/0/status', 'offline'), false)
    assert.ok(device.since && device.lost)
    model.add(message('d/0/status', ''), false)
    assert.equal(devices.all.size, 249)
  })
})

describe('memory', () => {
  test('each topic keeps its last hundred, whatever a busy neighbour does', () => {
    const model = new core.Model()
    for (let n = 0; n < 100; n++) model.add(message('quiet', String(n)), false)
    for (let n = 0; n < 50_000; n++) model.add(message('busy', String(n)), false)
    assert.equal(model.topics.get('quiet').history().length, 100)
    assert.equal(model.topics.get('busy').history().length, 100)
    assert.equal(new TextDecoder().decode(model.topics.get('busy').last.payload), '49999')
  })

  test('large payloads of one topic leave the others alone, and all of it is bounded', () => {
    const model = new core.Model()
    for (let n = 0; n < 100; n++) model.add(message('quiet', String(n)), false)
    const large = new Uint8Array(2_000_000)
    for (let n = 0; n < 200; n++) model.add(message(`large/${n % 3}`, large), false)
    assert.equal(model.topics.get('quiet').history().length, 100)
    assert.ok(model.cost < 110e6, `${model.cost}`)
    assert.equal(model.topics.get('large/0').last.cut, false)
    for (let n = 0; n < 200; n++) model.add(message(`many/${n}`, large), false)
    assert.ok(model.cost < 110e6, `${model.cost}`)
    assert.equal(model.topics.get('quiet').history().length, 100)
    const cut = [...model.topics.values()].find(({ last }) => last.cut).last
    assert.deepEqual([cut.size, cut.payload.length], [2_000_000, 1_024])
  })

  test('what the broker retains outlives a live message, and an empty one ends it', () => {
    const model = new core.Model()
    model.add(message('a/b', 'kept', { retain: true }), true)
    model.add(message('a/b', 'live'), false)
    const topic = model.topics.get('a/b')
    assert.equal(topic.retained.state, 'kept')
    assert.equal(new TextDecoder().decode(topic.retained.entry.payload), 'kept')
    model.doubtRetained()
    assert.equal(topic.retained.state, 'unsure')
    model.add(message('a/b', '', { retain: true }), false)
    assert.equal(topic.retained.state, 'none')
    assert.equal(model.retainedIn(model.root).length, 0)
  })

  test('the messages of a branch are those of its topics, in order', () => {
    const model = new core.Model()
    for (let n = 0; n < 30; n++) model.add(message(n % 3 ? 'a/x' : 'a/y/z', String(n)), false)
    for (let n = 0; n < 6_000; n++) model.add(message('b', String(n)), false)
    model.follow('a')
    assert.deepEqual(
      model.followed().map(({ seq }) => seq),
      Array.from({ length: 30 }, (_, n) => n + 1),
    )
    model.add(message('a/x', 'new'), false)
    assert.equal(model.followed().length, 31)
    model.follow('later')
    assert.equal(model.followed().length, 0)
    model.add(message('later/on', '1'), false)
    assert.equal(model.followed().length, 1)
    model.follow('')
    assert.equal(model.followed().length, 5_000)
  })
})
