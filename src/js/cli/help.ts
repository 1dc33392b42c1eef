import { type Command, OPTIONS, type Option } from './options.js'

/** The commands, and a line for each. */
export const COMMANDS: Record<Command, [usage: string, what: string]> = {
  pub: ['-t topic (-m text | -f file | -l | -s | -n)', 'publish messages'],
  sub: ['-t filter…', 'subscribe and print what comes'],
  request: ['-t topic (-m text | -f file | -s | -n)', 'publish a request and print the response'],
  respond: ['-t filter (-m text | -f file | --exec command)', 'answer requests'],
  bench: ['[-t topic]', 'measure messages there and back'],
  broker: ['[-p port] [--tcp port]', 'run a broker for tests and demos'],
  completion: ['bash | zsh | fish', 'print a completion script'],
}

const COLUMN = 32

/** The help of everything, or of one command. Colours on a terminal only. */
export function helpText(command: Command | undefined, isTerminal: boolean): string {
  const bold = (text: string): string => (isTerminal ? `\x1b[1m${text}\x1b[0m` : text)
  if (command === undefined) {
    const list = Object.entries(COMMANDS).map(([name, [, what]]) => `  ${name.padEnd(12)}${what}`)
    return [
      bold('wasmqtt <command> [options]'),
      '',
      ...list,
      '',
      'wasmqtt <command> --help shows the options of a command.',
      'They are those of mosquitto_pub, mosquitto_sub and mosquitto_rr.',
      '',
      'Exit codes: 0 done, 1 failed, 2 wrong usage, 14 no connection, 27 timeout of -W, 130 Ctrl-C;',
      'a refused connection: 1 to 5 (MQTT 3.1.1) or 128 and up (MQTT 5), as in mosquitto.',
    ].join('\n')
  }
  const [usage, what] = COMMANDS[command]
  const options = OPTIONS.filter(({ commands }) => commands.includes(command))
  const groups = [...new Set(options.map(({ group }) => group))]
  const lines = [bold(`wasmqtt ${command} ${usage}`), what]
  for (const group of groups) {
    lines.push('', bold(group))
    for (const option of options.filter((each) => each.group === group)) lines.push(lineOf(option))
  }
  return lines.join('\n')
}

function lineOf({ name, short, value, help }: Option): string {
  const flags = `${short ? `-${short}, ` : '    '}--${name}${value ? ` ${value}` : ''}`
  return `  ${flags.padEnd(COLUMN)} ${help}`.trimEnd()
}

/** Shells that there are completion scripts for. */
const SHELLS: Record<string, () => string[]> = { bash, zsh, fish }

/** A completion script for a shell; undefined if there is none for it. */
export const completionScript = (shell: string | undefined): string | undefined =>
  shell !== undefined && Object.hasOwn(SHELLS, shell) ? SHELLS[shell]!().join('\n') : undefined

const commandNames = (): Command[] => Object.keys(COMMANDS) as Command[]
const optionsOf = (command: Command): Option[] =>
  OPTIONS.filter(({ commands }) => commands.includes(command))
const flagsOf = ({ name, short }: Option): string[] => [
  `--${name}`,
  ...(short ? [`-${short}`] : []),
]
const quoted = (text: string): string => `'${text.replace(/'/g, `'\\''`)}'`
const shells = Object.keys(SHELLS).join(' ')

/** Where there is nothing to offer, bash offers files. */
function bash(): string[] {
  const offer = (words: string): string => `COMPREPLY=($(compgen -W "${words}" -- "$word"))`
  const words = (command: Command): string =>
    [...(command === 'completion' ? [shells] : []), ...optionsOf(command).flatMap(flagsOf)].join(
      ' ',
    )
  return [
    '_wasmqtt() {',
    `  local word="\${COMP_WORDS[COMP_CWORD]}"`,
    `  if [ "$COMP_CWORD" = 1 ]; then ${offer(commandNames().join(' '))}; return; fi`,
    `  case "\${COMP_WORDS[1]}" in`,
    ...commandNames().map((each) => `    ${each}) ${offer(words(each))} ;;`),
    '  esac',
    '}',
    'complete -o default -F _wasmqtt wasmqtt',
  ]
}

/** To be sourced, or to be put into a folder of `fpath` as `_wasmqtt`. */
function zsh(): string[] {
  const commands = commandNames().map((each) => quoted(`${each}:${COMMANDS[each][1]}`))
  return [
    '#compdef wasmqtt',
    '_wasmqtt() {',
    '  if (( CURRENT == 2 )); then',
    `    local -a commands=(${commands.join(' ')})`,
    "    _describe 'command' commands",
    '    return',
    '  fi',
    '  local command=$words[2]',
    '  shift words',
    '  (( CURRENT-- ))',
    '  case $command in',
    ...commandNames().map(
      (each) =>
        `    ${each}) _arguments -S ${optionsOf(each).map(zshOption).join(' ')} ${each === 'completion' ? `'1:shell:(${shells})'` : "'*:file:_files'"} ;;`,
    ),
    '  esac',
    '}',
    'if [ "$funcstack[1]" = _wasmqtt ]; then _wasmqtt "$@"; else compdef _wasmqtt wasmqtt; fi',
  ]
}

function zshOption(option: Option): string {
  const { name, value, multiple, help } = option
  const flags = flagsOf(option)
  const text = `[${help.replace(/[[\]:\\]/g, '\\$&')}]`
  const action = value === 'file' || value === 'folder' ? '_files' : ' '
  const values = value === undefined ? [] : value.split(' ')
  const rest = values.map((each) => `:${each}:${action}`).join('')
  const before = multiple ? '*' : `(${flags.join(' ')})`
  return flags.length > 1
    ? `${quoted(before)}{${flags.join(',')}}${quoted(text + rest)}`
    : quoted(`${multiple ? '*' : ''}--${name}${text}${rest}`)
}

function fish(): string[] {
  const of = (commands: readonly Command[]): string =>
    `-n '__fish_seen_subcommand_from ${commands.join(' ')}'`
  return [
    ...commandNames().map(
      (each) =>
        `complete -c wasmqtt -f -n __fish_use_subcommand -a ${each} -d ${quoted(COMMANDS[each][1])}`,
    ),
    `complete -c wasmqtt -f ${of(['completion'])} -a ${quoted(shells)}`,
    ...OPTIONS.map(
      ({ name, short, help, value, commands }) =>
        `complete -c wasmqtt ${of(commands)} -l ${name}${short ? ` -s ${short}` : ''}${value ? ' -r' : ''} -d ${quoted(help)}`,
    ),
  ]
}
