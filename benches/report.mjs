/** Renders results as tables and pictures. */
import { clients } from './clients.mjs'

const RUNTIMES = { node: 'Node', chromium: 'Chromium' }
const peer = (name) => !clients[name].ours && !clients[name].floor
const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1]

/** The best round, if the scenario is decided by it; otherwise the median. */
const figure = ({ scenario }, values) =>
  values.length ? (scenario.best ? Math.min(...values) : median(values)) : undefined
const short = (x) => (x === undefined ? '' : x.toFixed(x < 10 ? 2 : x < 100 ? 1 : 0))

export function markdown(results) {
  const parts = ['# Benchmark results', head(results.meta), '![CPU per message](results.svg)']
  return `${[...parts, ...sections(results).map(({ text }) => text)].join('\n\n')}\n`
}

/** Returns the text of RESULTS.md with these results: each section in place of the one with its heading, or at the end. */
export function rewritten(text, results) {
  const { meta } = results
  const whole = Object.keys(RUNTIMES).every((runtime) =>
    results.rows.some((row) => placeOf(row) === runtime),
  )
  if (whole) text = text.replace(/(?<=^# .*\n\n)[\s\S]*?(?=\n\n!\[)/, () => head(meta))
  for (const { heading, text: section } of sections(results)) {
    const start = text.indexOf(`${heading}\n`)
    const end = text.indexOf('\n## ', start)
    const before = start < 0 ? `${text}\n` : text.slice(0, start)
    const after = start < 0 || end < 0 ? '' : text.slice(end)
    text = `${before}${whole ? section : section.replace('\n\n', () => `\n\n${head(meta)}\n\n`)}\n${after}`
  }
  return text
}

/** Where a row was measured: a runtime, or through which broker. */
const placeOf = ({ broker, runtime }) => broker ?? runtime

function sections({ meta, rows }) {
  const places = new Set(rows.map(placeOf))
  return [...places].map((place) => {
    const mine = rows.filter((row) => placeOf(row) === place)
    const broker = meta.brokers[place]
    const heading = `## ${broker ? `Through ${broker.name}` : RUNTIMES[place]}`
    const parts = [
      heading,
      legend(mine[0], broker),
      table(mine),
      startTable(mine),
      verdicts(mine, meta),
    ]
    return { heading, text: parts.filter(Boolean).join('\n\n') }
  })
}

function head({ date, cpu, node, chromium, commit, versions, ours, rounds, short, timing }) {
  const peers = Object.entries(versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(', ')
  const lines = [
    `${date}, ${cpu}, Node ${node}${chromium ? `, Chromium ${chromium}` : ''}; wasmqtt ${ours?.version ?? 'not built'}, commit ${commit}; ${peers}.`,
    `Medians of ${rounds} ${rounds === 1 ? 'round' : 'rounds'}, with the clients interleaved and a fresh process or page for each measurement: ${timing.warm} ms of warm-up, then about ${timing.target} ms that are measured.`,
  ]
  if (short) lines.push('**This is the short form, and too short to be quoted.**')
  if (ours && !ours.bufferutil)
    lines.push('**wasmqtt did not find `bufferutil` on Node, so it masked in JavaScript.**')
  return lines.join('\n')
}

function legend({ runtime }, broker) {
  const common =
    'CPU µs of the client per message, unless a row says otherwise. “× best peer” is the cost of the best peer divided by the cost of wasmqtt.'
  if (broker)
    return `${broker.version ? `Version ${broker.version}. ` : ''}${common} In brackets: thousands of messages per second from the publisher to the subscriber, one of which is the client and the other a process that is not measured. For “there and back”: half of the messages, and 99 of 100, took no longer than this.`
  const floors = `${common} “× floor” is the cost of wasmqtt divided by the cost of the floor.`
  return runtime === 'node'
    ? `${floors} In brackets: without native masking (\`bufferutil\`), if the client sends through \`ws\`. The floor is a raw WebSocket that sends prepared bytes, with one message per frame or with frames of 16 KiB, whichever is better.`
    : `${floors} In brackets: thousands of messages per second. The CPU time is that of the renderer.`
}

function table(rows) {
  const node = placeOf(rows[0]) === 'node'
  const names = Object.keys(clients).filter(
    (name) =>
      rows.some((row) => row.clients[name]) &&
      !clients[name].start &&
      !(node && name === 'floor-frames'),
  )
  const columns = [
    ['scenario', ({ scenario: { name, unit } }) => name + (unit ? `, ${unit}` : '')],
    ...names.map((name) => [
      clients[name].label,
      (row) => cell(row, node && name === 'floor' ? bestFloor(row) : name),
    ]),
    ['× best peer', (row) => short(compare(row).ratio)],
    ...(names.some((name) => clients[name].floor)
      ? [['× floor', (row) => short(compare(row).above)]]
      : []),
    ...(rows.some(({ scenario }) => scenario.target)
      ? [['target', ({ scenario }) => scenario.target ?? '']]
      : []),
  ]
  return grid(
    columns.map(([title]) => title),
    rows.map((row) => columns.map(([, content]) => content(row))),
  )
}

const grid = (header, body) => {
  const line = (cells) => `| ${cells.join(' | ')} |`
  return [line(header), `|---|${'--:|'.repeat(header.length - 1)}`, ...body.map(line)].join('\n')
}

/** In a page, what counts is also when the work begins that a preload does before the import. */
function startTable(rows) {
  const row = rows.find(({ scenario, runtime }) => scenario.kind === 'start' && runtime !== 'node')
  if (!row) return undefined
  const body = Object.entries(row.clients)
    .filter(([, { values }]) => values.length)
    .map(([name, { values, tails }]) => [
      clients[name].label,
      short(median(values)),
      short(median(tails)),
      short(Math.min(...tails)),
      values.length,
    ])
  return grid(
    ['start, ms', 'import to CONNACK', 'navigation to CONNACK', 'least', 'measurements'],
    body,
  )
}

function cell(row, name) {
  const client = row.clients[name]
  if (!client) return '–'
  const value = figure(row, client.values)
  if (value === undefined) return 'fails'
  if (client.plain.length) return `${short(value)} (${short(figure(row, client.plain))})`
  if (row.broker && client.tails.length) return `${short(value)} / ${short(median(client.tails))}`
  return placeOf(row) !== 'node' && client.rates.length
    ? `${short(value)} (${short(median(client.rates) / 1_000)})`
    : short(value)
}

function bestFloor(row) {
  const floors = Object.keys(row.clients).filter(
    (name) => clients[name].floor && row.clients[name].values.length,
  )
  return (
    floors.sort(
      (a, b) => figure(row, row.clients[a].values) - figure(row, row.clients[b].values),
    )[0] ?? 'floor'
  )
}

function compare(row) {
  const value = (name) => figure(row, row.clients[name]?.values ?? [])
  const ours = value('wasmqtt')
  const peers = Object.keys(row.clients).filter((name) => peer(name) && value(name) !== undefined)
  const best = peers.sort((a, b) => value(a) - value(b))[0]
  const floor = value(bestFloor(row))
  return { best, ratio: ours && best && value(best) / ours, above: ours && floor && ours / floor }
}

/** What the table does not say: the noise, the peers that are ahead, missed targets, and failures. The short form has only failures. */
function verdicts(rows, meta) {
  const lines = []
  const spreads = rows.flatMap((row) =>
    Object.values(row.clients)
      .filter(({ values }) => values.length > 1)
      .map(({ values }) => (Math.max(...values) - Math.min(...values)) / 2 / median(values)),
  )
  if (spreads.length)
    lines.push(
      `Noise: half of the range over the rounds is ${(100 * median(spreads)).toFixed(0)} % of the median in the middle case.`,
    )
  for (const row of rows) {
    const { best, ratio } = compare(row)
    const ours = row.clients.wasmqtt && figure(row, row.clients.wasmqtt.values)
    if (ratio < 1 && !meta.short)
      lines.push(
        `${clients[best].label} is ahead in “${row.scenario.name}”: ${short(figure(row, row.clients[best].values))} against ${short(ours)}.`,
      )
    if (ours > row.scenario.target && !meta.short)
      lines.push(
        `Target missed in “${row.scenario.name}”: ${short(ours)} instead of ${row.scenario.target}.`,
      )
    for (const [name, { errors }] of Object.entries(row.clients)) {
      if (errors.length)
        lines.push(
          `${clients[name].label} failed in “${row.scenario.name}”: ${errors[0].split('\n')[0]}.`,
        )
    }
  }
  return lines.map((line) => `- ${line}`).join('\n')
}

// ---------------------------------------------------------------------------------------------- pictures

const FONT = 'font-family="system-ui, sans-serif"'
const escapeXml = (text) => String(text).replace(/[<&>]/g, (c) => `&#${c.charCodeAt(0)};`)
const text = (x, y, content, more = '') =>
  `<text x="${x}" y="${y}" ${more}>${escapeXml(content)}</text>`
const picture = (
  width,
  height,
  content,
) => `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" ${FONT} font-size="11" fill="#212529">
<rect width="100%" height="100%" fill="#fff"/>
${content.join('\n')}
</svg>
`

const placeName = (place, { brokers, ...meta }) =>
  brokers[place]
    ? `${brokers[place].name} ${brokers[place].version}`
    : `${RUNTIMES[place]} ${Number.parseInt(meta[place], 10)}`

/** Draws bars on a logarithmic axis, one group per scenario. */
export function svg({ meta, rows }) {
  const bar = 11
  const panel = 640
  const left = 20
  const width = panel - 170
  const content = []
  let height = 0
  const places = [...new Set(rows.map(placeOf))]
  places.forEach((place, column) => {
    const mine = rows.filter((row) => placeOf(row) === place && !row.scenario.unit)
    const values = mine
      .flatMap((row) => Object.values(row.clients).map(({ values }) => figure(row, values)))
      .filter((value) => value > 0)
    const low = Math.log10(Math.min(...values)) - 0.1
    const scale = (value) =>
      ((Math.log10(value) - low) / (Math.log10(Math.max(...values)) - low)) * width
    const x = column * panel + left
    let y = 50
    content.push(
      text(
        x,
        20,
        `${placeName(place, meta)}: CPU µs per message, logarithmic, less is better`,
        'font-size="14" font-weight="600"',
      ),
    )
    for (const row of mine) {
      content.push(text(x, y, row.scenario.name, 'font-weight="600"'))
      y += 5
      for (const [name, client] of Object.entries(clients)) {
        const value = row.clients[name] && figure(row, row.clients[name].values)
        if (!value) continue
        const length = Math.max(1, scale(value))
        content.push(
          `<rect x="${x}" y="${y}" width="${length.toFixed(1)}" height="${bar - 2}" fill="${client.color}"/>`,
          text(x + length + 4, y + bar - 3, `${short(value)}  ${client.label}`, 'font-size="9"'),
        )
        y += bar
      }
      y += 16
    }
    height = Math.max(height, y)
  })
  return picture(panel * places.length, height, content)
}

// ---------------------------------------------------------------------------------------------- growth

export function growthMarkdown({ meta, curves, soak }) {
  const parts = [
    '# Cost as work grows',
    `${meta.date}, ${meta.cpu}, Node ${meta.node}, commit ${meta.commit}. CPU µs of the client per message; in brackets the resident memory of the process in MB.`,
    '![cost as work grows](growth.svg)',
  ]
  for (const { name, x, points } of curves) {
    const names = [...new Set(points.map(({ client }) => client))]
    const rows = [...new Set(points.map((point) => point.x))].map((at) => [
      at.toLocaleString('en'),
      ...names.map((client) =>
        growthCell(points.find((point) => point.x === at && point.client === client)),
      ),
    ])
    parts.push(
      `## ${name}`,
      [
        [x, ...names.map((client) => clients[client].label)],
        ['--:', ...names.map(() => '--:')],
        ...rows,
      ]
        .map((cells) => `| ${cells.join(' | ')} |`)
        .join('\n'),
    )
  }
  for (const { client, error, samples } of soak) {
    parts.push(`## ${clients[client].label} over time`, error ?? soakTable(samples))
  }
  return `${parts.join('\n\n')}\n`
}

function growthCell(point) {
  if (!point) return '–'
  const { error, value, drain, bytes, rss } = point
  if (error) return 'fails'
  if (drain !== undefined)
    return `${short(value)} to queue, ${short(drain)} to drain, ${short(bytes)} B each`
  return `${short(value)} (${short(rss / 1e6)})`
}

/** Returns a table of the first sample, the last, and eight between. */
function soakTable(samples) {
  const some = samples.filter(
    (_, i) => i % Math.ceil(samples.length / 9) === 0 || i === samples.length - 1,
  )
  const rows = some.map(({ at, value, rss, heap, wasm }) =>
    [at, value, rss / 1e6, heap / 1e6, wasm && wasm / 1e6].map(short),
  )
  const total = samples.reduce((sum, { messages }) => sum + messages, 0)
  const heading = [['seconds', 'CPU µs', 'RSS MB', 'heap MB', 'wasm MB'], Array(5).fill('--:')]
  const table = [...heading, ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
  return `${table}\n\n${total.toLocaleString('en')} messages, QoS 2, half in each direction.`
}

/** Draws a small chart for each curve, with logarithmic axes, and for a soak the CPU time and the memory over time. */
export function growthSvg({ curves, soak }) {
  const width = 380
  const height = 240
  const charts = curves.flatMap(({ name, x, points }) => {
    const chart = (what, y) => ({
      title: `${name}: ${what} over ${x}`,
      log: true,
      lines: lines(points, y),
    })
    if (points.every(({ drain }) => drain === undefined))
      return chart('CPU µs', ({ value }) => value)
    return [chart('µs to queue', ({ value }) => value), chart('µs to drain', ({ drain }) => drain)]
  })
  if (soak.some(({ samples }) => samples)) {
    const points = soak.flatMap(({ client, samples = [] }) =>
      samples.map((sample) => ({ ...sample, client, x: sample.at })),
    )
    charts.push(
      { title: 'QoS 2 traffic: CPU µs over seconds', lines: lines(points, ({ value }) => value) },
      {
        title: 'QoS 2 traffic: resident MB over seconds',
        lines: lines(points, ({ rss }) => rss / 1e6),
      },
    )
  }
  const content = charts.map(
    (chart, i) =>
      `<g transform="translate(${(i % 3) * width} ${Math.floor(i / 3) * height})">${lineChart(chart, width, height)}</g>`,
  )
  return picture(3 * width, Math.ceil(charts.length / 3) * height, content)
}

function lines(points, y) {
  const names = [...new Set(points.map(({ client }) => client))]
  return names.map((client) => ({
    client,
    points: points
      .filter((point) => point.client === client && !point.error)
      .map((point) => [point.x, y(point)]),
  }))
}

function lineChart({ title, log, lines }, width, height) {
  const all = lines.flatMap(({ points }) => points)
  if (!all.length) return ''
  const place = log ? Math.log10 : (value) => value
  const axis = (values, from, to) => {
    const low = place(Math.min(...values))
    const span = place(Math.max(...values)) - low || 1
    return (value) => from + ((place(value) - low) / span) * (to - from)
  }
  const highest = Math.max(...all.map(([, y]) => y))
  const lowest = log ? Math.min(0.1, ...all.map(([, y]) => y)) : 0
  const ends = all.map(([x]) => x)
  const x = axis(ends, 45, width - 30)
  const y = axis([lowest, highest], height - 35, 35)
  const parts = [text(10, 18, title, 'font-weight="600"')]
  for (const value of [lowest, highest])
    parts.push(
      `<path d="M45 ${y(value)}H${width - 30}" stroke="#dee2e6"/>`,
      text(40, y(value) + 4, short(value), 'text-anchor="end" font-size="9"'),
    )
  for (const value of new Set([Math.min(...ends), Math.max(...ends)]))
    parts.push(
      text(
        x(value),
        height - 20,
        Math.round(value).toLocaleString('en'),
        'text-anchor="middle" font-size="9"',
      ),
    )
  lines.forEach(({ client, points }, i) => {
    if (!points.length) return
    const { color, label } = clients[client]
    parts.push(
      `<polyline points="${points.map(([px, py]) => `${x(px).toFixed(1)},${y(py).toFixed(1)}`).join(' ')}" fill="none" stroke="${color}" stroke-width="2"/>`,
    )
    parts.push(text(50 + i * 110, height - 5, label, `fill="${color}" font-size="10"`))
  })
  return parts.join('')
}
