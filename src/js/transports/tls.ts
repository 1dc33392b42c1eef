// The option `tls` as Node's TLS takes it: for mqtts: and wss: alike.
import { createPrivateKey } from 'node:crypto'
import type { ConnectionOptions } from 'node:tls'
import type { TlsOptions } from '../types/connecting.js'
import { TransportError } from './failure.js'

/** The options for tls.connect(). Certificates and keys in DER are turned into PEM, which is all that Node takes. */
export function tlsOptions(tls: TlsOptions | undefined): ConnectionOptions {
  const options: ConnectionOptions = {}
  if (tls === undefined) return options
  const { ca, cert, key, passphrase, servername, rejectUnauthorized, alpnProtocols } = tls
  if (ca !== undefined) options.ca = certificatePem(ca)
  if (cert !== undefined) options.cert = certificatePem(cert)
  if (key !== undefined) options.key = keyPem(key, passphrase)
  if (passphrase !== undefined) options.passphrase = passphrase
  if (servername !== undefined) options.servername = servername
  if (rejectUnauthorized !== undefined) options.rejectUnauthorized = rejectUnauthorized
  if (alpnProtocols !== undefined) options.ALPNProtocols = alpnProtocols
  return options
}

/** The first byte of a structure in DER, and of no text in PEM. */
const SEQUENCE = 0x30

function certificatePem(given: string | Uint8Array): string | Buffer {
  const bytes = Buffer.from(given as Uint8Array)
  if (typeof given === 'string' || bytes[0] !== SEQUENCE)
    return typeof given === 'string' ? given : bytes
  const lines = bytes.toString('base64').replace(/.{64}(?=.)/g, '$&\n')
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`
}

function keyPem(given: string | Uint8Array, passphrase: string | undefined): string | Buffer {
  if (typeof given === 'string') return given
  const bytes = Buffer.from(given)
  if (bytes[0] !== SEQUENCE) return bytes
  let cause: unknown
  for (const type of ['pkcs8', 'pkcs1', 'sec1'] as const) {
    try {
      const key = createPrivateKey({ key: bytes, format: 'der', type, passphrase })
      return key.export({ type: 'pkcs8', format: 'pem' })
    } catch (thrown) {
      cause ??= thrown
    }
  }
  throw new TransportError('tls.key cannot be read', { retryable: false }, cause)
}
