// Runs the checks against a broker, judges what failed by what is known of it, and writes the table.

import { Bench, checks, runCheck } from './checks.mjs'
import { explain } from './known-faults.mjs'

/** Checks that run at the same time. More would make slow ones late on a busy machine. */
const AT_ONCE = 10

/**
 * @typedef {object} Outcome
 * @property {string} check
 * @property {4 | 5} version
 * @property {'WebSocket' | 'TCP'} transport
 * @property {'as expected' | 'not offered' | 'fault' | 'ours'} result `ours` is also what is not known yet: each failure must be explained.
 * @property {string} [reason]
 * @property {import('./known-faults.mjs').Fault} [fault]
 */

/**
 * @param {import('./brokers.mjs').Kind} kind
 * @param {(check: import('./checks.mjs').Check) => boolean} [wanted]
 */
export async function checkBroker(kind, wanted = () => true) {
  /** @type {(() => any)[]} */
  const ends = []
  const began = Date.now()
  try {
    const broker = await kind.run({ after: (end) => ends.push(end) })
    /** @type {Outcome[]} */
    const outcomes = []
    const jobs = jobsOf(broker).filter(({ check }) => wanted(check))
    const shared = jobs.filter(({ check }) => !check.alone)
    const next = shared[Symbol.iterator]()
    const worker = async () => {
      for (const job of next) outcomes.push(await judge(broker, job))
    }
    await Promise.all(Array.from({ length: AT_ONCE }, worker))
    for (const job of jobs.filter(({ check }) => check.alone))
      outcomes.push(await judge(broker, job))
    const { name, version } = broker
    return { name, version, outcomes, seconds: (Date.now() - began) / 1_000 }
  } finally {
    for (const end of ends.reverse()) await end()
  }
}

function jobsOf(broker) {
  const jobs = []
  for (const version of broker.versions)
    for (const transport of /** @type {const} */ (['WebSocket', 'TCP'])) {
      if (broker.url(transport, version) === undefined) continue
      for (const [index, check] of checks.entries())
        if (!check.only || check.only.includes(version))
          jobs.push({ check, version, transport, id: `${transport[0]}${version}-${index}` })
    }
  return jobs
}

/** @returns {Promise<Outcome>} */
async function judge(broker, { check, version, transport, id }) {
  const base = { check: check.name, version, transport }
  // A check that fails runs again, twice: what a busy machine did not do in time is no fault of anybody.
  for (let attempt = 1; ; attempt++) {
    const bench = new Bench(broker, transport, version, `${id}-${attempt}`)
    const { result, reason } = await runCheck(check, bench)
    if (result === 'passed') return { ...base, result: 'as expected' }
    if (result === 'not offered') return { ...base, result: 'not offered', reason }
    const fault = explain(broker, check.name, version, reason)
    if (fault)
      return {
        ...base,
        result: fault.notOffered ? 'not offered' : 'fault',
        reason: fault.notOffered ?? reason,
        fault,
      }
    if (attempt === 3) return { ...base, result: 'ours', reason }
  }
}

export function summary({ name, version, outcomes, seconds }) {
  const count = (wanted) => outcomes.filter(({ result }) => result === wanted).length
  const lines = [
    `${name} ${version}: ${outcomes.length} checks in ${seconds.toFixed(0)} s: ${count('as expected')} as expected, ${count('not offered')} not offered, ${count('fault')} the broker's fault, ${count('ours')} unexplained`,
  ]
  for (const { result, check, version, transport, reason } of outcomes)
    if (result === 'ours')
      lines.push(`  MQTT ${version === 5 ? '5' : '3.1.1'}, ${transport}: ${check}: ${reason}`)
  return lines.join('\n')
}

const MARKS = { 'as expected': '✓', 'not offered': '–', ours: '**ours**' }

/** The page docs/brokers.md. */
export function page(reports) {
  const notes = []
  const noteOf = (name, fault) => {
    const text = `**${name}**: ${fault.fault} (${fault.paragraph}). ${fault.client}`
    if (!notes.includes(text)) notes.push(text)
    return `[${notes.indexOf(text) + 1}](#${notes.indexOf(text) + 1})`
  }
  const columns = reports.flatMap((report) =>
    [5, 4].flatMap((version) => {
      const outcomes = report.outcomes.filter((outcome) => outcome.version === version)
      return outcomes.length > 0 ? [{ report, version, outcomes }] : []
    }),
  )
  const cell = ({ report, outcomes }, check) => {
    const own = outcomes.filter((outcome) => outcome.check === check.name)
    if (own.length === 0) return ''
    // The worst of the two transports counts.
    const worst = ['ours', 'fault', 'not offered', 'as expected']
      .map((result) => own.find((outcome) => outcome.result === result))
      .find(Boolean)
    return worst.result === 'fault' ? noteOf(report.name, worst.fault) : MARKS[worst.result]
  }
  const rows = checks.map(
    (check) => `| ${check.name} | ${columns.map((column) => cell(column, check)).join(' | ')} |`,
  )
  const total = (wanted) =>
    columns
      .map(({ outcomes }) => outcomes.filter(({ result }) => result === wanted).length)
      .join(' | ')
  return `# Brokers

The same checks are played against each broker with this client, over WebSocket and over TCP, in each version of MQTT that the broker speaks.
\`npm run test:brokers -- --write\` runs them and makes this page; it was made on ${new Date().toISOString().slice(0, 10)}.

✓ as expected. – the broker does not offer it, and the client says so. A number: the broker does not do what the specification asks; the
note says which paragraph that is and how the client copes. **ours**: a fault of this client, or one that nobody has explained yet. The worse
result of the two transports counts.

| | ${columns.map(({ report, version }) => `${report.name} ${report.version}, MQTT ${version === 5 ? '5' : '3.1.1'}`).join(' | ')} |
|---|${columns.map(() => ':-:').join('|')}|
${rows.join('\n')}
| *checks, both transports* | ${columns.map(({ outcomes }) => outcomes.length).join(' | ')} |
| *as expected* | ${total('as expected')} |
| *not offered* | ${total('not offered')} |
| *the broker's fault* | ${total('fault')} |
| *ours* | ${total('ours')} |

## Notes

${notes.map((note, index) => `${index + 1}. <a id="${index + 1}"></a>${note}`).join('\n')}
`
}
