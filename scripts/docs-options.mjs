// Makes the page of all options of what TypeDoc read in the declarations.

/** The tables: the type, the title, and where the options are given. */
const TABLES = [
  ['ConnectOptions', 'Connecting', '`connect(url, options)`, `new Client(url, options)`'],
  ['ReconnectOptions', 'reconnect', 'the option `reconnect`'],
  ['QueueOptions', 'queue', 'the option `queue`'],
  ['Will', 'will', 'the option `will`'],
  ['PresenceOptions', 'presence', 'the option `presence`'],
  ['ConnectProperties', 'properties', 'the option `properties`'],
  ['WebSocketOptions', 'websocket', 'the option `websocket`'],
  ['TlsOptions', 'tls', 'the option `tls`'],
  ['PublishOptions', 'Publishing', '`publish(topic, payload, options)`'],
  ['PublishProperties', 'Properties of a message', '`properties` of a publish'],
  ['SubscribeOptions', 'Subscribing', '`subscribe(filter, options, handler)`'],
  ['IterateOptions', 'Iterating', '`messages(filter, options)`'],
  ['WatchOptions', 'Watching', '`watch(filter, options)`'],
  ['RequestOptions', 'Requesting', '`request(topic, payload, options)`'],
  ['RespondOptions', 'Responding', '`respond(filter, options, handler)`'],
  ['EndOptions', 'Ending', '`end(options)`'],
  ['CallOptions', 'Every call', 'every method that returns a promise'],
]

export function optionsPage(types) {
  const module = types.children.find(({ name }) => name === 'wasmqtt')
  const find = (name) => module.children.find((child) => child.name === name)
  const parts = TABLES.filter(([type]) => find(type) !== undefined).map(
    ([type, title, where]) => `## ${title}\n\nFor ${where}.\n\n${table(find(type))}`,
  )
  return `# Options

All options with their defaults. \`npm run docs\` makes this page of the declarations. Times are in milliseconds, except where MQTT itself has seconds.

${parts.join('\n\n')}
`
}

function table(type) {
  const fields = (type.children ?? type.type?.declaration?.children ?? []).filter(
    ({ flags, name }) => !flags?.isInherited && !name.startsWith('['),
  )
  const rows = fields.map(({ name, comment, inheritedFrom }) =>
    inheritedFrom ? undefined : `| \`${name}\` | ${defaultOf(comment)} | ${what(comment)} |`,
  )
  return ['| option | default | |', '|---|---|---|', ...rows.filter(Boolean)].join('\n')
}

const textOf = (parts = []) =>
  parts
    .map(({ text }) => text)
    .join('')
    .trim()
    .replaceAll(/\s*\n\s*/g, ' ')
    .replaceAll('|', '\\|')

function defaultOf(comment) {
  const tag = comment?.blockTags?.find((each) => /^@default/.test(each.tag))
  const text = textOf(tag?.content)
    .replace(/^```\w*\s*/, '')
    .replace(/\s*```$/, '')
  return text && `\`${text}\``
}

const what = (comment) => textOf(comment?.summary).replaceAll('<', '&lt;')
