// Why a connection could not be made, in words for people. Knows the errors of Node, Deno and Bun by their codes, and imports none of their modules.
import { withoutValues } from '../wording.js'

/** What a TransportError adds to the ConnectError that it is the cause of. */
export interface FailureFields {
  /** The ConnectError takes the whole explanation from the TransportError's message. */
  what: undefined
  /** Of an HTTP answer that was no upgrade to WebSocket. */
  status?: number
  /** Absent where a retry may succeed. */
  retryable?: false
}

/**
 * Why a socket could not be opened, or why it broke: one line that says what happened, and what to do where that is known. `cause` is the error of
 * the runtime.
 */
export class TransportError extends Error {
  readonly fields: FailureFields

  constructor(message: string, fields: Omit<FailureFields, 'what'> = {}, cause?: unknown) {
    super(message.replace(/\s+/g, ' ').trim(), { cause })
    this.fields = { what: undefined, ...fields }
  }
}
Object.defineProperty(TransportError.prototype, 'name', { value: 'TransportError' })

/** How far a socket came before it failed. */
export type Stage = 'opening' | 'open'

interface RuntimeError {
  code?: unknown
  message?: unknown
  syscall?: unknown
}

/** Explains an error that a runtime's socket, TLS or HTTP reported for a URL. An error that nobody knows keeps its own message, as one line. */
export function explain(thrown: unknown, url: URL, stage: Stage = 'opening'): TransportError {
  if (thrown instanceof TransportError) return thrown
  const { code, message } = Object(thrown) as RuntimeError
  const words = typeof message === 'string' ? message : ''
  const name = typeof code === 'string' ? code : ''
  const seen = new Seen(name, words, url, stage)
  const failure =
    certificate(seen) ?? handshake(seen) ?? subprotocol(seen) ?? network(seen) ?? credentials(seen)
  if (failure !== undefined) return new TransportError(failure.text, failure.fields, thrown)
  return new TransportError(readable(words) || name || 'the connection failed', {}, thrown)
}

/** Explains an HTTP answer that was no upgrade to WebSocket. `phrase`: the standard name of the status. `location`: where a redirect leads. */
export function explainStatus(
  status: number,
  phrase: string | undefined,
  url: URL,
  location?: string,
): TransportError {
  const answer = `the server answered HTTP ${status}${phrase ? ` (${phrase})` : ''}`
  const advice = statusAdvice(status, url, location)
  const final = status === 401 || status === 403 || status === 404
  return new TransportError(
    `${answer}: ${advice}`,
    final ? { status, retryable: false } : { status },
  )
}

function statusAdvice(status: number, url: URL, location: string | undefined): string {
  if (status >= 300 && status < 400) {
    const target = location === undefined ? 'another address' : shownUrl(location, url)
    return `it redirects to ${target}, and redirects are not followed: give that URL`
  }
  switch (status) {
    case 200:
      return `this is a web server, no WebSocket: check the port and the path '${url.pathname}'`
    case 401:
      return 'it wants credentials in the HTTP request: set websocket.headers'
    case 403:
      return 'it or a proxy in front of it refuses this client: check its credentials, and which origins it allows'
    case 404:
      return `there is nothing at the path '${url.pathname}': check the path of the URL`
    case 407:
      return 'a proxy wants credentials'
    case 429:
      return 'it gets too many requests: try again later'
    case 502:
    case 503:
    case 504:
      return 'a proxy cannot reach the MQTT server behind it: check that the server is running, or try again later'
    default:
      return 'it refuses the WebSocket'
  }
}

/** An address as it may be shown: without credentials and without the values of its query. */
function shownUrl(address: string, base: URL): string {
  try {
    const url = new URL(address, base.href.replace(/^ws/, 'http'))
    url.username = url.password = url.hash = ''
    return withoutValues(url.href.replace(/^http/, 'ws'))
  } catch {
    return 'another address'
  }
}

// ------------------------------------------------------------------------------------------------ one kind each

interface Failure {
  text: string
  fields: Omit<FailureFields, 'what'>
}

/** An error of the runtime, and what it happened to. */
class Seen {
  readonly code: string
  readonly message: string
  readonly url: URL
  readonly stage: Stage

  constructor(code: string, message: string, url: URL, stage: Stage) {
    this.code = code
    this.message = message
    this.url = url
    this.stage = stage
  }

  get scheme(): string {
    return this.url.protocol.slice(0, -1)
  }

  get secure(): boolean {
    return this.scheme === 'wss' || this.scheme === 'mqtts'
  }

  get webSocket(): boolean {
    return this.scheme === 'ws' || this.scheme === 'wss'
  }

  get host(): string {
    return this.url.hostname
  }

  get port(): string {
    return this.url.port || { ws: '80', wss: '443', mqtt: '1883', mqtts: '8883' }[this.scheme] || ''
  }

  /** The code in brackets, for those who look for it. */
  get coded(): string {
    return this.code === '' ? '' : ` (${this.code})`
  }

  /** The same server in another scheme, as advice: `mqtt://host:1883`. */
  as(scheme: string): string {
    return `${scheme}://${this.url.host}`
  }
}

const FINAL = { retryable: false } as const

/** Why OpenSSL does not trust a certificate, by its error codes. */
const DISTRUST: Record<string, string> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: 'it is self-signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'its chain ends with a self-signed certificate',
  UNABLE_TO_GET_ISSUER_CERT: 'its issuer is not known',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its issuer is not known',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its issuer is not known',
  CERT_UNTRUSTED: 'its issuer is not trusted',
  CERT_REJECTED: 'its issuer is rejected',
  CERT_SIGNATURE_FAILURE: 'its signature is wrong',
  CERT_REVOKED: 'it is revoked',
  CERT_HAS_EXPIRED: 'it has expired',
  CERT_NOT_YET_VALID: 'it is not valid yet',
  INVALID_CA: 'its issuer is no certificate authority',
  INVALID_PURPOSE: 'it is not meant for servers',
  PATH_LENGTH_EXCEEDED: 'its chain is too long',
  CERT_CHAIN_TOO_LONG: 'its chain is too long',
}

/** Our verdict on the server's certificate, or the server's on ours. */
function certificate({ code, message, host }: Seen): Failure | undefined {
  // Deno's TLS has no codes of its own.
  const deno = /invalid peer certificate: (.+)/i.exec(message)?.[1] ?? ''
  const name =
    code === 'ERR_TLS_CERT_ALTNAME_INVALID' ||
    code === 'HOSTNAME_MISMATCH' ||
    /NotValidForName|not valid for name/i.test(deno)
  if (name) {
    const asked = /Host: (.+?)\. is not/.exec(message)?.[1] ?? host
    const text = `the certificate is not for '${asked}'${wrongNames(message)}: check the host name, or set tls.servername`
    return { text, fields: FINAL }
  }
  const reason =
    DISTRUST[code] ??
    (/UnknownIssuer/i.test(deno)
      ? 'its issuer is not known'
      : /Expired/i.test(deno)
        ? DISTRUST.CERT_HAS_EXPIRED
        : deno && readable(deno))
  if (reason) {
    const time = /EXPIRED|NOT_YET/i.test(code + deno)
    const advice = time
      ? "renew it, and check this machine's clock"
      : 'if it is the right one, give the certificate of its authority in tls.ca'
    const shown = code in DISTRUST ? ` (${words(code)})` : ''
    return {
      text: `the certificate of '${host}' is refused, ${reason}${shown}: ${advice}`,
      fields: FINAL,
    }
  }
  const alert = /alert[ _](?:number (\d+)|.*)|SSL alert/i.test(message) || /_ALERT_/.test(code)
  const ours =
    /certificate[ _]required|bad[ _]certificate|certificate[ _](unknown|expired|revoked)|unknown[ _]ca|unsupported[ _]certificate/i
  if (alert && ours.test(`${code} ${message}`)) {
    const required = /certificate[ _]required/i.test(`${code} ${message}`)
    const what = required
      ? 'the server wants a client certificate: set tls.cert and tls.key'
      : 'the server refuses the client certificate: check tls.cert and tls.key'
    return { text: what, fields: FINAL }
  }
  return undefined
}

/** 'DEPTH_ZERO_SELF_SIGNED_CERT' as 'self-signed certificate', the others in the words of their code. */
function words(code: string): string {
  return /SELF_SIGNED/.test(code)
    ? code === 'DEPTH_ZERO_SELF_SIGNED_CERT'
      ? 'self-signed certificate'
      : 'self-signed certificate in certificate chain'
    : code.toLowerCase().replaceAll('_', ' ')
}

/** The names that the certificate is for, as Node tells them: "Host: a.example. is not in the cert's altnames: DNS:b.example". */
function wrongNames(message: string): string {
  const names = /^.*(?:altnames|list|cn): (.*)$/is.exec(message)?.[1]
  return names === undefined ? '' : ` but for ${readable(names).slice(0, 200)}`
}

/** TLS or HTTP that the other side does not speak. */
function handshake(seen: Seen): Failure | undefined {
  const { code, message, secure, webSocket } = seen
  const text = `${code} ${message}`
  const plain = webSocket ? 'ws' : 'mqtt'
  if (/no[ _]application[ _]protocol/i.test(text))
    return failure('the server knows none of the protocols of tls.alpnProtocols')
  if (/unrecognized[ _]name/i.test(text))
    return failure(
      `the server does not know the name '${seen.host}': check it, or set tls.servername`,
    )
  if (/alert.*protocol[ _]version|unsupported[ _]protocol/i.test(text))
    return failure('the server and this runtime have no version of TLS in common')
  if (/handshake[ _]failure/i.test(text))
    return failure(
      'the server refuses the TLS handshake: it may want a client certificate (tls.cert and tls.key) or other ciphers',
    )
  if (
    /wrong[ _]version[ _]number|packet[ _]length[ _]too[ _]long|InvalidContentType|corrupt message|record[ _]layer/i.test(
      text,
    ) ||
    (secure && code === 'EPROTO')
  )
    return failure(
      `the server does not speak TLS on port ${seen.port}: check the port, or use ${seen.as(plain)} for a connection without TLS`,
    )
  if (/^HPE_/.test(code) || /Parse Error/i.test(message))
    return failure(
      `the server did not answer in HTTP: port ${seen.port} is no WebSocket port. MQTT over TCP has ${seen.as(secure ? 'mqtts' : 'mqtt')}`,
    )
  if (
    /ECONNRESET|EPIPE|EOF/.test(code) ||
    /hang up|disconnected before|connection reset/i.test(message)
  )
    return hungUp(seen)
  return undefined
}

/** The connection was there, and the server ended it without a word. */
function hungUp(seen: Seen): Failure {
  const { secure, webSocket, message, stage } = seen
  if (stage === 'open') return failure(`the connection was reset${seen.coded}`)
  if (secure && (!webSocket || /TLS|secure/i.test(message)))
    return failure(
      `the server closed the connection in the TLS handshake${seen.coded}: check that port ${seen.port} is a TLS port`,
    )
  if (webSocket)
    return failure(
      `the server closed the connection instead of answering in HTTP${seen.coded}: check that port ${seen.port} is a WebSocket port${secure ? ' with TLS' : ''}. MQTT over TCP has ${seen.as(secure ? 'mqtts' : 'mqtt')}`,
    )
  return failure(`the server closed the connection at once${seen.coded}`)
}

/** WebSocket subprotocols, in the words of `ws`. */
function subprotocol({ message }: Seen): Failure | undefined {
  const how = /^Server sent (no|an invalid) subprotocol|Mismatch client protocol/.exec(message)
  if (how === null) return undefined
  const chose =
    how[1] === 'no' ? 'chose no subprotocol' : 'chose a subprotocol that was not offered'
  return failure(
    `the server ${chose}: check that the path leads to an MQTT server, or set websocket.protocols to what it speaks`,
  )
}

/** Name resolution, routes, ports and paths. */
function network(seen: Seen): Failure | undefined {
  const { code, coded, host, port, url } = seen
  const path = url.protocol === 'unix:'
  const target = path ? `'${url.pathname}'` : `${host}:${port}`
  switch (code) {
    case 'ECONNREFUSED':
      return failure(
        `nothing listens at ${target}${coded}: check that the server is running${path ? '' : ', and the port'}`,
      )
    case 'ENOTFOUND':
    case 'EAI_NONAME':
    case 'EAI_NODATA':
      return failure(`the name '${host}' was not found${coded}: check its spelling`)
    case 'EAI_AGAIN':
    case 'ESERVFAIL':
    case 'ETIMEOUT':
      return failure(
        `the name '${host}' could not be looked up${coded}: check the network and its DNS`,
      )
    case 'ETIMEDOUT':
      return failure(
        `${target} does not answer${coded}: check the address, and firewalls on the way`,
      )
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'ENETDOWN':
    case 'EADDRNOTAVAIL':
      return failure(`there is no way to ${target}${coded}: check the network`)
    case 'ENOENT':
      return failure(`there is no socket at ${target}${coded}: check the path`)
    case 'ENOTSOCK':
      return failure(`${target} is no socket${coded}: check the path`)
    case 'EACCES':
    case 'EPERM':
      return failure(`this process may not connect to ${target}${coded}`)
    case 'EMFILE':
    case 'ENFILE':
      return failure(`this process has too many files open${coded}`)
    default:
      return undefined
  }
}

/** Certificates and keys of the option tls that cannot be used. */
function credentials({ code, message }: Seen): Failure | undefined {
  const text = `${code} ${message}`
  if (
    /no[ _]start[ _]line|PEM routines|DECODER routines|bad[ _]base64|asn1|wrong tag/i.test(text)
  ) {
    const what = 'a certificate or key of the option tls cannot be read: PEM or DER is expected'
    return { text: what, fields: FINAL }
  }
  if (/bad[ _]decrypt|interrupted or cancelled|passphrase|bad[ _]password/i.test(text))
    return { text: 'the key cannot be decrypted: check tls.passphrase', fields: FINAL }
  if (/key[ _]values[ _]mismatch/i.test(text))
    return { text: 'tls.key does not belong to tls.cert', fields: FINAL }
  return undefined
}

function failure(text: string): Failure {
  return { text, fields: {} }
}

/** The message of an error that nobody knows, without what OpenSSL dumps: '80BC…:error:0A00010B:SSL routines:ssl3_get_record:wrong version number:../deps/…:'. */
function readable(message: string): string {
  const dump = /error:[0-9A-F]+:[^:]*:[^:]*:([^:\n]+)/i.exec(message)
  return (dump?.[1] ?? message).replace(/\s+/g, ' ').trim()
}
