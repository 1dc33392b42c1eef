// The command line: wasmqtt pub | sub | request | respond | bench | broker | completion.
import { version } from '../api.js'
import { bench } from './bench.js'
import { broker } from './broker.js'
import { COMMANDS, completionScript, helpText } from './help.js'
import { type Command, type Given, readArguments, UsageError } from './options.js'
import { pub } from './pub.js'
import { request, respond } from './requests.js'
import { EXIT } from './run.js'
import { sub } from './sub.js'

const RUN: Record<Command, (given: Given) => number | Promise<number>> = {
  pub,
  sub,
  request,
  respond,
  bench,
  broker,
  completion: ({ positionals }) => {
    const script = completionScript(positionals[0])
    if (script === undefined) throw new UsageError('completion is for bash, zsh and fish')
    console.log(script)
    return EXIT.ok
  },
}

async function main([word, ...rest]: string[]): Promise<number> {
  const isTerminal = process.stdout.isTTY === true
  if (word === '--version') {
    console.log(version)
    return EXIT.ok
  }
  if (word === undefined || word === '--help' || word === 'help') {
    const asked = rest[0] as Command | undefined
    console.log(helpText(asked !== undefined && asked in COMMANDS ? asked : undefined, isTerminal))
    return word === undefined ? EXIT.usage : EXIT.ok
  }
  if (!(word in COMMANDS)) throw new UsageError(`there is no command ${word}: see wasmqtt --help`)
  const command = word as Command
  const given = readArguments(command, rest)
  if (given.values.help === true) {
    console.log(helpText(command, isTerminal))
    return EXIT.ok
  }
  return RUN[command](given)
}

// Whoever reads the output may stop: that is no mistake.
process.stdout.on('error', ({ code }) => process.exit(code === 'EPIPE' ? EXIT.ok : EXIT.failed))

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code
  },
  (error: unknown) => {
    console.error(`Error: ${error instanceof Error ? error.message : error}`)
    process.exitCode = error instanceof UsageError ? EXIT.usage : EXIT.failed
  },
)
