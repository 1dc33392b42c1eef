// One line of JSON for each test: the names of its groups and its own, and how it went.
export default async function* reporter(source) {
  // Groups end after their tests, begin before them: names by depth.
  const names = []
  for await (const { type, data } of source) {
    if (type === 'test:start') names[data.nesting] = data.name
    if (type !== 'test:pass' && type !== 'test:fail') continue
    if (data.details?.type === 'suite') continue
    const path = [...names.slice(0, data.nesting), data.name]
    const ok = type === 'test:pass'
    const { error } = data.details ?? {}
    const why = ok ? '' : String(error?.cause?.message ?? error?.message ?? error).split('\n')[0]
    const skipped = data.skip !== undefined || data.todo !== undefined
    yield `${JSON.stringify({ test: data.name, path, ok, skipped, why })}\n`
  }
}
