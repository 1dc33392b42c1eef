// `npm start`: builds what changed, then runs a broker, a fleet of simulated devices and the dashboard, all on loopback.
import { fork } from 'node:child_process'
import { createReadStream, readFileSync, statSync } from 'node:fs'
import { createServer } from 'node:http'
import { extname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { buildDashboard, site } from '../www/build.mjs'
import { freePort, HOST, listen, startBroker } from './broker.mjs'
import { build } from './build.mjs'
import { bold, main, Problem, root, stopChild } from './tools.mjs'

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
}

const USAGE = `npm start -- [options]
  --port N         the port of the dashboard (8080)
  --broker-port N  the WebSocket port of the broker (9001)
  --tcp-port N     the TCP port of the broker (1883)
  --broker NAME    embedded or mosquitto (embedded)
  --crash-every S  seconds between two crashes of the garage door (30)
Port 0 means any free port.`

main(async () => {
  /** @type {import('node:util').ParseArgsConfig['options']} */
  const options = { help: { type: 'boolean', default: false }, broker: { type: 'string' } }
  for (const [name, value] of Object.entries({
    port: '8080',
    'broker-port': '9001',
    'tcp-port': '1883',
    'crash-every': '30',
  }))
    options[name] = { type: 'string', default: value }
  const { values } = parseArgs({ options })
  if (values.help) return console.log(USAGE)

  const stops = []
  let stopping
  const stop = (code) => {
    stopping ??= (async () => {
      for (const step of stops.reverse()) await step()
      process.exit(code)
    })()
  }
  const fail = (error) => {
    if (stopping) return
    console.error(error instanceof Problem ? `\n${error.message}` : error)
    stop(1)
  }
  process
    .on('SIGINT', () => stop(0))
    .on('SIGTERM', () => stop(0))
    .on('SIGHUP', () => stop(0))
  // When npm is asked to end, it ends its shell, but not this process.
  const parent = process.ppid
  if (process.env.npm_lifecycle_event)
    setInterval(() => process.ppid !== parent && stop(0), 250).unref()
  await run(values, stops, fail).catch(fail)
})

async function run(values, stops, fail) {
  await build()
  await buildDashboard()
  const websocketPort = await port(values, 'broker-port', 'WebSocket')
  const tcpPort = await port(values, 'tcp-port', 'MQTT')
  const broker = await startBroker({ kind: values.broker, websocketPort, tcpPort, onExit: fail })
  stops.push(broker.stop)

  const fleet = fork(join(root, 'scripts', 'fleet.mjs'), [broker.url, values['crash-every']])
  stops.push(() => stopChild(fleet))
  fleet.on('exit', () => fail(new Problem('The fleet ended by itself.')))

  const { url, name, speaks, limits } = broker
  const first = {
    topic: 'home/living-room/climate/temperature',
    charts: [
      ['home/utility/meter/power', '/watts'],
      ['home/living-room/climate/temperature', ''],
    ],
  }
  const server = createServer(serve({ url, name, limits, ...first }))
  const pagePort = await listen(server, await port(values, 'port', 'web'))
  stops.push(() => {
    server.close()
    server.closeAllConnections()
  })

  console.log(`
${bold('wasmqtt is running.')} Ctrl-C stops it.

  Dashboard  ${bold(`http://${HOST}:${pagePort}/`)}
  Broker     ${[`${name}, ${speaks}: ${url} and mqtt://${HOST}:${tcpPort}`, ...limits].join('\n             ')}
  Fleet      five devices under home/; the one in the garage crashes every ${values['crash-every']} seconds

Try
  mosquitto_sub -p ${tcpPort} -t 'home/#' -v          or: npx mqtt sub -p ${tcpPort} -t 'home/#' -v
  mosquitto_pub -p ${tcpPort} -t home/kitchen/lamp/set -m off
  and the same topic in the dashboard's publish form; the lamp answers on home/kitchen/lamp/state.
`)
}

async function port(values, name, what) {
  const wanted = Number(values[name])
  if (!Number.isInteger(wanted) || wanted < 0 || wanted > 65_535)
    throw new Problem(`--${name} is a port number, not ${JSON.stringify(values[name])}.`)
  const taken = await freePort(wanted)
  if (wanted !== 0 && taken !== wanted)
    console.log(
      `Port ${wanted} is in use: the ${what} port is ${taken} this time (--${name} picks one).`,
    )
  return taken
}

/**
 * Serves the built dashboard. A meta element tells its pages the URL of the broker, because the ports may differ. On any other host the element
 * is absent, and the page asks for the URL.
 */
function serve(broker) {
  const headers = {
    'cache-control': 'no-cache',
    'x-content-type-options': 'nosniff',
    'cross-origin-opener-policy': 'same-origin',
    'content-security-policy': "frame-ancestors 'none'",
  }
  const content = JSON.stringify(broker).replace(/[&"<]/g, (sign) => `&#${sign.charCodeAt(0)};`)
  return (request, response) => {
    const end = (status, text) =>
      response
        .writeHead(status, { ...headers, 'content-type': 'text/plain; charset=utf-8' })
        .end(text)
    if (request.method !== 'GET' && request.method !== 'HEAD') return end(405, 'Only GET and HEAD')
    // The path of a URL contains no '..', and percent-encoding is not decoded here.
    const { pathname } = new URL(request.url, 'http://localhost')
    const path = join(site, pathname.endsWith('/') ? `${pathname}index.html` : pathname)
    const info = statSync(path, { throwIfNoEntry: false })
    const type = TYPES[extname(path)]
    if (!info?.isFile() || !type) return end(404, 'Not found')
    if (type === TYPES['.html']) {
      const page = readFileSync(path, 'utf8')
      const told = page.replace(
        '<title>',
        () => `<meta name="broker" content="${content}">\n  <title>`,
      )
      response.writeHead(200, { ...headers, 'content-type': type })
      return response.end(request.method === 'HEAD' ? undefined : told)
    }
    response.writeHead(200, { ...headers, 'content-type': type, 'content-length': info.size })
    if (request.method === 'HEAD') return response.end()
    createReadStream(path).pipe(response)
  }
}
