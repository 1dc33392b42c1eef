// Network namespaces of Linux, joined by a bridge: machines of their own for a cluster whose network can be cut. They need the rights of root.

import { spawnSync } from 'node:child_process'
import { findCommand } from '../../scripts/tools.mjs'

function ip(...args) {
  const { status, stderr } = spawnSync(findCommand('ip'), args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr}`)
}

/** Whether this process may make them. */
export const mayPartition = () => process.getuid?.() === 0 && findCommand('ip') !== undefined

/** A network namespace with an address that the others, and this machine, can reach. */
class Namespace {
  #cut = []

  constructor(name, address) {
    this.name = name
    this.address = address
  }

  /** A command and its arguments, as what runs it here. @param {string[]} words */
  wrap(...words) {
    return [findCommand('ip'), 'netns', 'exec', this.name, ...words]
  }

  /** Sends nothing to others any more. What this machine sends still gets here, and is answered. */
  cutFrom(others) {
    this.#cut = others.map(({ address }) => `${address}/32`)
    for (const to of this.#cut) ip('-n', this.name, 'route', 'add', 'blackhole', to)
  }

  heal() {
    for (const to of this.#cut) ip('-n', this.name, 'route', 'del', 'blackhole', to)
    this.#cut = []
  }
}

/** Makes namespaces that end with the test. */
export function startNamespaces(t, count) {
  const id = `wq${process.pid % 100_000}`
  const network = `10.213.${process.pid % 250}`
  ip('link', 'add', id, 'type', 'bridge')
  t.after(() => ip('link', 'del', id))
  ip('addr', 'add', `${network}.1/24`, 'dev', id)
  ip('link', 'set', id, 'up')
  return Array.from({ length: count }, (_, index) => {
    const name = `${id}-${index}`
    const address = `${network}.${11 + index}`
    ip('netns', 'add', name)
    t.after(() => ip('netns', 'del', name))
    ip('link', 'add', `${id}v${index}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name)
    ip('link', 'set', `${id}v${index}`, 'master', id, 'up')
    ip('-n', name, 'addr', 'add', `${address}/24`, 'dev', 'eth0')
    ip('-n', name, 'link', 'set', 'eth0', 'up')
    ip('-n', name, 'link', 'set', 'lo', 'up')
    return new Namespace(name, address)
  })
}
