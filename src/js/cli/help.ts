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

/** A completion script for a shell; undefined if there is none for it. */
export function completionScript(shell: string | undefined): string | undefined {
  const commands = Object.keys(COMMANDS) as Command[]
  const flags = (command: Command): string[] =>
    OPTIONS.filter(({ commands }) => commands.includes(command)).flatMap(({ name, short }) => [
      `--${name}`,
      ...(short ? [`-${short}`] : []),
    ])
  switch (shell) {
    case 'bash':
      return [
        '_wasmqtt() {',
        '  local word=' + '"$' + '{COMP_WORDS[COMP_CWORD]}"',
        '  if [ "$COMP_CWORD" = 1 ]; then',
        `    COMPREPLY=($(compgen -W "${commands.join(' ')}" -- "$word")); return`,
        '  fi',
        '  case "$' + '{COMP_WORDS[1]}" in',
        ...commands.map(
          (each) =>
            `    ${each}) COMPREPLY=($(compgen -W "${flags(each).join(' ')}" -- "$word")) ;;`,
        ),
        '  esac',
        '}',
        'complete -o default -F _wasmqtt wasmqtt',
      ].join('\n')
    case 'zsh':
      return [
        '#compdef wasmqtt',
        '_wasmqtt() {',
        `  if (( CURRENT == 2 )); then compadd ${commands.join(' ')}; return; fi`,
        '  case $words[2] in',
        ...commands.map((each) => `    ${each}) compadd -- ${flags(each).join(' ')} ;;`),
        '  esac',
        '}',
        'compdef _wasmqtt wasmqtt',
      ].join('\n')
    case 'fish':
      return [
        ...commands.map(
          (each) =>
            `complete -c wasmqtt -f -n __fish_use_subcommand -a ${each} -d '${COMMANDS[each][1]}'`,
        ),
        ...OPTIONS.map(
          ({ name, short, help, value, commands }) =>
            `complete -c wasmqtt -n '__fish_seen_subcommand_from ${commands.join(' ')}' -l ${name}${short ? ` -s ${short}` : ''}${value ? ' -r' : ''} -d '${help.replace(/'/g, "\\'")}'`,
        ),
      ].join('\n')
    default:
      return undefined
  }
}
