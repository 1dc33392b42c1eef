// Checks that the tag of a release, the version of package.json and CHANGELOG.md agree, and prints the section of the changelog, which becomes
// the text of the release: node scripts/release.mjs v1.2.3
// `node scripts/release.mjs --prepare 1.2.3` writes the version into both files and gives what is unreleased that version and today's date.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isMain, main, Problem, root, run } from './tools.mjs'

const CHANGELOG = join(root, 'CHANGELOG.md')
const UNRELEASED = '## [Unreleased]'

/** Returns what the changelog says about the version of a tag. Throws a Problem if tag, version and changelog do not agree. */
export function notesOf(tag, version, changelog) {
  if (tag !== `v${version}`)
    throw new Problem(`The tag is ${tag}, but package.json has the version ${version}.`)
  const sections = changelog.split(/^(?=## )/m)
  const section = sections.find(
    (text) => text.startsWith(`## [${version}] - `) && /^## \S+ - \d{4}-\d\d-\d\d$/m.test(text),
  )
  if (section === undefined)
    throw new Problem(`CHANGELOG.md has no section "## [${version}] - date".`)
  return `${section.slice(section.indexOf('\n')).trim()}\n`
}

/** Gives what is unreleased a version and a date. */
function prepared(changelog, version, date) {
  if (!changelog.includes(UNRELEASED)) throw new Problem(`CHANGELOG.md has no "${UNRELEASED}".`)
  return changelog.replace(UNRELEASED, `${UNRELEASED}\n\n## [${version}] - ${date}`)
}

if (isMain(import.meta))
  main(async () => {
    const [first, second] = process.argv.slice(2)
    const changelog = readFileSync(CHANGELOG, 'utf8')
    if (first !== '--prepare') {
      const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
      process.stdout.write(notesOf(first, version, changelog))
      return
    }
    await run('npm', ['version', second, '--no-git-tag-version', '--allow-same-version'])
    const date = new Date().toISOString().slice(0, 10)
    writeFileSync(CHANGELOG, prepared(changelog, second, date))
  })
