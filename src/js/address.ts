import { invalid, unsupported } from './errors.js'
import { platform } from './platform.js'
import { careful, string } from './validate.js'
import { kind } from './wording.js'

/** A server to try. */
export interface Address {
  /** As it may be shown: without credentials. */
  url: string
  username: string | undefined
  password: string | undefined
}

const EXAMPLE = 'wss://example.org/mqtt'

/** The servers that a URL or a list of URLs names. `anyScheme`: the application makes the socket. */
export const addresses = careful((value: unknown, anyScheme: boolean): Address[] => {
  const list: unknown[] = Array.isArray(value) ? value : [value]
  if (list.length === 0) throw invalid('url', 'is an empty list')
  return list.map((each) => address(each, anyScheme))
})

function address(value: unknown, anyScheme: boolean): Address {
  const written = typeof value === 'string' ? string(value, 'url') : undefined
  const href = written ?? (value as URL | undefined)?.href
  if (typeof href !== 'string')
    throw invalid('url', `must be a string or a URL, as ${EXAMPLE}, not ${kind(value)}`)
  let url: URL
  try {
    url = new URL(href)
  } catch {
    // The error of the runtime quotes the URL, credentials included.
    throw invalid(
      'url',
      /^\w+:\/\//.test(href)
        ? 'has a host or a port that is not valid'
        : `is not an absolute URL, as ${EXAMPLE}`,
    )
  }
  const webSocket = /^wss?:$/.test(url.protocol)
  if (!webSocket && !anyScheme && !platform.speaks(url)) {
    if (/^mqtts?:$/.test(url.protocol))
      throw unsupported(`${url.protocol} URLs in this runtime, use ws: or wss:`)
    throw invalid('url', `must begin with ws: or wss:, not ${url.protocol}`)
  }
  const username = decoded(url.username)
  const password = decoded(url.password)
  url.username = url.password = url.hash = ''
  const hasPath =
    written === undefined ? url.pathname !== '/' : /^[^:]+:[/\\]*[^/\\?#]+[/\\]/.test(written)
  if (webSocket && !hasPath) url.pathname = '/mqtt'
  return { url: url.href, username, password }
}

function decoded(part: string): string | undefined {
  if (part === '') return undefined
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}
