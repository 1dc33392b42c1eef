// Page life in Chromium: tabs that are hidden, frozen, left and come back to, and a network that goes and comes.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startBroker, until } from '../js/scripted-broker.mjs'
import { servePages, startDevtools } from './devtools.mjs'

const LIMIT = { timeout: 120_000 }

/** A page with a client, its events, and a timer that sets itself again and again. */
const script = (url, options) => `<!doctype html><title>page</title><script type="module">
  import { Client } from '/index.js'
  window.events = []
  const client = (window.client = new Client('${url}', ${JSON.stringify({ protocolVersion: 5, ...options })}))
  client.on('state', (state) => events.push(state))
  for (const name of ['online', 'offline', 'pageshow'])
    addEventListener(name, ({ persisted }) => events.push(persisted ? name + ' from the cache' : name))
  for (const name of ['freeze', 'resume']) document.addEventListener(name, () => events.push(name))
  client.connect()
  const tick = () => {
    window.ticked = performance.now()
    setTimeout(tick, 500)
  }
  tick()
</script>`

/** A connected client in a tab of its own. */
async function connectedTab(t, options, args) {
  const broker = await startBroker(t)
  const address = await servePages(t, {
    '/': script(broker.url, options),
    '/other': '<!doctype html><title>other</title>',
  })
  const browser = await startDevtools(t, args)
  const tab = await browser.open(`${address}/`)
  const peer = await broker.accept()
  await peer.welcome()
  return { broker, browser, tab, peer, address }
}

/** Answers every PINGREQ. Returns when they came. */
function answerPings(peer) {
  const times = []
  const answer = async () => {
    for (let packet; (packet = await peer.next()); ) {
      if (packet.type !== 'pingreq') continue
      times.push(performance.now())
      peer.send({ type: 'pingresp' })
    }
  }
  void answer()
  return times
}

const offline = (tab, offline) =>
  tab.send('Network.emulateNetworkConditions', {
    offline,
    latency: 0,
    downloadThroughput: -1,
    uploadThroughput: -1,
  })

test(
  'a hidden tab keeps its connection, though timers fire once a minute there',
  LIMIT,
  async (t) => {
    const { browser, tab, peer } = await connectedTab(t, { keepalive: 2 }, [
      '--enable-features=IntensiveWakeUpThrottling:grace_period_seconds/1',
    ])
    const times = answerPings(peer)
    const other = await browser.open('about:blank')
    await other.show()
    await until(() => times.length > 0)
    assert.equal(await tab.run('document.visibilityState'), 'hidden')
    const throttled = async () => (await tab.run('performance.now() - window.ticked')) > 10_000
    const deadline = performance.now() + 60_000
    while (!(await throttled())) {
      assert.ok(performance.now() < deadline, 'the timers of the tab are delayed')
      await sleep(500)
    }
    const events = await tab.run('events')
    assert.equal(events.at(-1), 'connected', events.join())
    const gaps = times.slice(1).map((time, at) => time - (times[at] ?? 0))
    // A server gives one and a half times the keep-alive.
    assert.ok(Math.max(...gaps) < 3_000, gaps.map(Math.round).join())
    assert.ok(gaps.length >= 5)
  },
)

test('a network that goes and comes: the server is asked at once', LIMIT, async (t) => {
  const { broker, tab, peer } = await connectedTab(t, { reconnect: { minDelay: 600_000 } })
  await tab.send('Network.enable')
  for (const state of [true, false]) {
    await offline(tab, state)
    await peer.expect('pingreq')
    peer.send({ type: 'pingresp' })
  }
  await offline(tab, true)
  await peer.expect('pingreq')
  peer.drop()
  await until(() => !peer.isOpen)
  await sleep(300)
  assert.equal(await tab.run('client.state'), 'waiting')
  await offline(tab, false)
  const second = await broker.accept()
  await second.welcome()
})

test(
  'a tab that was frozen asks when it resumes, and is back at once if Chromium has cut it off',
  LIMIT,
  async (t) => {
    const { broker, tab, peer } = await connectedTab(t, { reconnect: { minDelay: 600_000 } })
    await tab.send('Page.setWebLifecycleState', { state: 'frozen' })
    await sleep(300)
    assert.deepEqual(peer.pending, [])
    await tab.send('Page.setWebLifecycleState', { state: 'active' })
    const back = async () => (await broker.accept()).welcome()
    await Promise.race([back(), peer.expect('pingreq')])
    if (peer.isOpen) peer.send({ type: 'pingresp' })
    await sleep(500)
    assert.equal(await tab.run('client.state'), 'connected')
    const events = await tab.run('events')
    assert.ok(events.indexOf('freeze') >= 0 && events.includes('resume'), events.join())
  },
)

test(
  'a page that comes back from the back/forward cache is connected at once',
  LIMIT,
  async (t) => {
    const { broker, tab, address } = await connectedTab(t, { reconnect: { minDelay: 600_000 } })
    await tab.send('Page.navigate', { url: `${address}/other` })
    while ((await tab.run('document.title')) !== 'other') await sleep(50)
    const { currentIndex, entries } = await tab.send('Page.getNavigationHistory')
    await tab.send('Page.navigateToHistoryEntry', { entryId: entries[currentIndex - 1].id })
    const second = await broker.accept()
    await second.welcome()
    while ((await tab.run('client.state')) !== 'connected') await sleep(50)
    const events = await tab.run('events')
    assert.ok(events.includes('pageshow from the cache'), events.join())
  },
)
