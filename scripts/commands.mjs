// Commands that the tests need and that only the system's package manager can install. Nothing here installs anything.
//
//   node scripts/commands.mjs    prints the Debian packages of the commands that are missing; .ci/run installs them
import { findCommand, isMain } from './tools.mjs'

/** Where a browser may be: its names in Debian, in Fedora, and in Google's own packages. */
const CHROMIUM = ['chromium', 'chromium-browser', 'google-chrome']

/** A command: the names that it may have, and the package of each system that has it. */
const COMMANDS = {
  chromium: { names: CHROMIUM, debian: 'chromium', fedora: 'chromium' },
  chromedriver: { debian: 'chromium-driver', fedora: 'chromedriver' },
  mosquitto: { debian: 'mosquitto', fedora: 'mosquitto', homebrew: 'mosquitto' },
  fish: { debian: 'fish', fedora: 'fish', homebrew: 'fish' },
  zsh: { debian: 'zsh', fedora: 'zsh', homebrew: 'zsh' },
  nginx: { debian: 'nginx', fedora: 'nginx', homebrew: 'nginx' },
  haproxy: { debian: 'haproxy', fedora: 'haproxy', homebrew: 'haproxy' },
  mosquitto_sub: { debian: 'mosquitto-clients', fedora: 'mosquitto', homebrew: 'mosquitto' },
}

const SYSTEMS = [
  { name: 'Debian', key: 'debian', install: 'sudo apt-get install --no-install-recommends' },
  { name: 'Fedora', key: 'fedora', install: 'sudo dnf install' },
  { name: 'macOS', key: 'homebrew', install: 'brew install' },
]

/** The path of Chromium, or undefined where there is none. */
export const findChromium = () => findCommand(...CHROMIUM)

/** Those of `commands` that are not on the PATH. */
export function missing(commands) {
  return commands.filter((name) => !findCommand(...(COMMANDS[name].names ?? [name])))
}

/** How to install `commands`, a line for each system. */
export function howToInstall(commands) {
  return SYSTEMS.map(({ name, key, install }) => {
    const packages = packagesOf(commands, key)
    const others = commands.filter((command) => !COMMANDS[command][key])
    const lines = [
      ...(packages.length > 0 ? [`${install} ${packages.join(' ')}`] : []),
      ...(others.length > 0 ? [`put ${others.join(' and ')} on the PATH`] : []),
    ]
    return `  ${`${name}:`.padEnd(8)} ${lines.join(', and ')}`
  }).join('\n')
}

function packagesOf(commands, system) {
  return [...new Set(commands.map((command) => COMMANDS[command][system]))].filter(Boolean)
}

if (isMain(import.meta)) console.log(packagesOf(missing(Object.keys(COMMANDS)), 'debian').join(' '))
