// TLS on both sides: a plain connection handed over to Node's tls.

import { constants, X509Certificate } from 'node:crypto'
import { isIP, type Socket as NetSocket } from 'node:net'
import type { Duplex } from 'node:stream'
import {
  checkServerIdentity,
  connect,
  createSecureContext,
  DEFAULT_CIPHERS,
  type SecureContext,
  type SecureContextOptions,
  TLSSocket,
} from 'node:tls'

type Version = 'TLSv1' | 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3'

export interface TlsMaterial {
  /** PEM, all three; without `ca`: the authorities that Node.js knows. */
  readonly ca?: Buffer | undefined
  readonly cert?: Buffer | undefined
  readonly key?: Buffer | undefined
  /** Versions allowed, oldest first. */
  readonly protocols: readonly Version[]
  /** OpenSSL list for TLS 1.2 and older, and the suites of 1.3; undefined: Node's own. */
  readonly ciphers?: string | undefined
  readonly tls13Ciphers?: string | undefined
  readonly curve?: string | undefined
}

/** What OpenSSL does not take, and of which part of the material. */
export class TlsMaterialError extends Error {
  override readonly name = 'TlsMaterialError'
  readonly part: keyof TlsMaterial

  constructor(part: keyof TlsMaterial, reason: string) {
    super(reason)
    this.part = part
  }
}

const versionBits: Readonly<Record<Version, number>> = {
  TLSv1: constants.SSL_OP_NO_TLSv1,
  'TLSv1.1': constants.SSL_OP_NO_TLSv1_1,
  'TLSv1.2': constants.SSL_OP_NO_TLSv1_2,
  'TLSv1.3': constants.SSL_OP_NO_TLSv1_3,
}
const versions = Object.keys(versionBits) as Version[]

/** As PostgreSQL: every connection begins anew, and its first handshake is its last. */
const alwaysOff = constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION

/** @throws TlsMaterialError */
export function makeContext(material: TlsMaterial): SecureContext {
  const { protocols, ca } = material
  if (ca !== undefined) tried('ca', () => new X509Certificate(ca)) // createSecureContext passes over what is no PEM
  const forbidden = versions.filter((version) => !protocols.includes(version)).map((version) => versionBits[version])
  const options = optionsOf(material)
  try {
    return createSecureContext({
      ...Object.assign({}, ...Object.values(options)),
      minVersion: protocols[0] ?? 'TLSv1.2',
      maxVersion: protocols.at(-1) ?? 'TLSv1.3',
      honorCipherOrder: true,
      secureOptions: forbidden.reduce((bits, bit) => bits | bit, alwaysOff),
    })
  } catch (error) {
    // OpenSSL does not say which of them it is about: the first that fails by itself.
    for (const part of Object.keys(options) as (keyof TlsMaterial)[]) {
      const needed = part === 'key' ? { ...options.cert, ...options.key } : options[part]
      tried(part, () => createSecureContext(needed))
    }
    throw new TlsMaterialError('protocols', tlsReason(error))
  }
}

/** What each part of the material is to createSecureContext. */
function optionsOf(material: TlsMaterial): Partial<Record<keyof TlsMaterial, SecureContextOptions>> {
  const { ca, cert, key, ciphers, tls13Ciphers, curve } = material
  const stranger = tls13Ciphers?.split(':').find((suite) => !isSuite(suite))
  if (stranger !== undefined) throw new TlsMaterialError('tls13Ciphers', `not a cipher suite of TLS 1.3: ${stranger}`)
  // Given only one of the lists, Node.js turns off the versions that belong to the other.
  const defaults = DEFAULT_CIPHERS.split(':')
  const suites = tls13Ciphers ?? defaults.filter(isSuite).join(':')
  const older = ciphers ?? defaults.filter((cipher) => !isSuite(cipher)).join(':')
  return {
    ...(cert && { cert: { cert } }),
    ...(key && { key: { key } }),
    ...(ca && { ca: { ca } }),
    tls13Ciphers: { ciphers: suites },
    ciphers: { ciphers: `${suites}:${older}` },
    ...(curve !== undefined && { curve: { ecdhCurve: curve } }),
  }
}

function isSuite(cipher: string): boolean {
  return cipher.startsWith('TLS_')
}

function tried(part: keyof TlsMaterial, attempt: () => unknown): void {
  try {
    attempt()
  } catch (error) {
    throw new TlsMaterialError(part, tlsReason(error))
  }
}

/** What an error says: OpenSSL's own word, without the number and the source file, nor the advice that Node.js adds. */
export function tlsReason(error: unknown): string {
  const { reason, message } = error as { reason?: string; message: string }
  return (reason ?? message).replace(/; if the root CA .*/, '')
}

/** A handshake that has not led to a connection. The message has nothing of the peer's. */
export class HandshakeFailed extends Error {
  override readonly name = 'HandshakeFailed'
}

/** Of the protocol that PostgreSQL speaks within TLS; direct TLS requires it. */
export const applicationProtocol = 'postgresql'

export interface ConnectTls {
  readonly context: SecureContext
  /** As configured: for SNI and, with `full`, for the name in the certificate. */
  readonly host: string
  readonly verify: 'none' | 'ca' | 'full'
}

/** Speaks TLS to a server over a connection that is given up to it. Rejects with HandshakeFailed. */
export function connectTls(stream: Duplex, { context, host, verify }: ConnectTls): Promise<TLSSocket> {
  return settled(
    () =>
      connect({
        socket: stream as NetSocket,
        secureContext: context,
        host,
        ...(isIP(host) === 0 && { servername: host }),
        ALPNProtocols: [applicationProtocol],
        rejectUnauthorized: verify !== 'none',
        checkServerIdentity: (_name, certificate) =>
          verify === 'full' && checkServerIdentity(host, certificate) !== undefined
            ? new Error(`certificate is not for ${host}`)
            : undefined,
      }),
    'secureConnect',
  )
}

export interface AcceptTls {
  readonly context: SecureContext
  /** OwnQuery clients for a certificate; `clientCertificate` tells what became of it. */
  readonly asksCertificate: boolean
  /** Bytes of the handshake that have been read already. */
  readonly begun: Buffer
}

/** Speaks TLS to a client over a connection that is given up to it. Rejects with HandshakeFailed. */
export function acceptTls(stream: Duplex, { context, asksCertificate, begun }: AcceptTls): Promise<TLSSocket> {
  if (begun.length > 0) stream.unshift(begun) // TLSSocket takes what the stream holds before it reads on
  return settled(
    () =>
      new TLSSocket(stream as NetSocket, {
        isServer: true,
        secureContext: context,
        requestCert: asksCertificate,
        rejectUnauthorized: false, // it would refuse only clients without any certificate
        ALPNProtocols: [applicationProtocol],
      }),
    'secure',
  )
}

function settled(begin: () => TLSSocket, event: 'secure' | 'secureConnect'): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const secured = begin()
    const failed = (error?: Error): void => {
      secured.destroy()
      reject(new HandshakeFailed(error instanceof Error ? tlsReason(error) : 'connection lost'))
    }
    secured.on('error', failed)
    secured.once('close', failed)
    secured.once(event, () => {
      secured.off('close', failed)
      resolve(secured) // `failed` goes on taking errors, without effect, for whoever is between two owners
    })
  })
}

/** What a client's certificate is worth: `trusted`, `absent`, or OpenSSL's code for what is wrong with it. */
export interface ClientCertificate {
  readonly verdict: string
  /** Its one common name, where it is trusted. */
  readonly commonName: string | undefined
}

/** The handle has the verdict; tls.Server is the only one to pass it on, and does not take single connections. */
type Verifying = TLSSocket & { _handle: { verifyError?: () => (Error & { code?: string }) | null | undefined } | null }

export function clientCertificate(secured: TLSSocket): ClientCertificate {
  const certificate = secured.getPeerCertificate()
  if (certificate?.raw === undefined) return { verdict: 'absent', commonName: undefined }
  const handle = (secured as Verifying)._handle
  if (typeof handle?.verifyError !== 'function') return { verdict: 'unverified', commonName: undefined }
  const error = handle.verifyError()
  if (error) return { verdict: error.code ?? error.message, commonName: undefined }
  const name: unknown = certificate.subject?.CN // an array where there are several
  return { verdict: 'trusted', commonName: typeof name === 'string' ? name : undefined }
}

/** As log lines and SHOW CLIENTS give it: `TLSv1.3/TLS_AES_256_GCM_SHA384`. */
export function describeTls(secured: TLSSocket): string {
  return `${secured.getProtocol() ?? 'TLS'}/${secured.getCipher().name}`
}
