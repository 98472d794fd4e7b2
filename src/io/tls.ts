// TLS on both sides: a plain connection handed over to Node's tls, and what channel binding needs of it.

import { createHash, type X509Certificate } from 'node:crypto'
import { isIP, type Socket as NetSocket } from 'node:net'
import type { Duplex } from 'node:stream'
import { checkServerIdentity, connect, createSecureContext, type SecureContext, TLSSocket } from 'node:tls'

export interface TlsMaterial {
  /** PEM. */
  readonly ca?: Buffer | undefined
  readonly cert?: Buffer | undefined
  readonly key?: Buffer | undefined
  /** Versions allowed, oldest first. */
  readonly protocols: readonly ('TLSv1' | 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3')[]
  /** OpenSSL list for TLS 1.2 and older, and the suites of 1.3; undefined: Node's own. */
  readonly ciphers?: string | undefined
  readonly tls13Ciphers?: string | undefined
  readonly curve?: string | undefined
}

/** @throws Error of OpenSSL for certificates, keys or ciphers it does not take */
export function makeContext(material: TlsMaterial): SecureContext {
  const { ca, cert, key, protocols, ciphers, tls13Ciphers, curve } = material
  const suites = [tls13Ciphers, ciphers].filter((list) => list !== undefined && list !== '').join(':')
  return createSecureContext({
    ...(ca && { ca }),
    ...(cert && { cert }),
    ...(key && { key }),
    ...(suites !== '' && { ciphers: suites }),
    ...(curve !== undefined && { ecdhCurve: curve }),
    minVersion: protocols[0] ?? 'TLSv1.2',
    maxVersion: protocols.at(-1) ?? 'TLSv1.3',
  })
}

export interface ConnectTls {
  readonly context: SecureContext
  /** As configured: for SNI and, with `full`, for the name in the certificate. */
  readonly host: string
  readonly verify: 'none' | 'ca' | 'full'
}

/** Speaks TLS to a server over a connection that is given up to it. Rejects where the handshake or the check fails. */
export function connectTls(stream: Duplex, { context, host, verify }: ConnectTls): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const secured = connect({
      socket: stream as NetSocket,
      secureContext: context,
      host,
      ...(isIP(host) === 0 && { servername: host }),
      ALPNProtocols: ['postgresql'],
      rejectUnauthorized: verify !== 'none',
      checkServerIdentity: (name, certificate) =>
        verify === 'full' ? checkServerIdentity(name || host, certificate) : undefined,
    })
    settle(secured, 'secureConnect', resolve, reject)
  })
}

export interface AcceptTls {
  readonly context: SecureContext
  /** Ask clients for a certificate, and refuse those without a good one. */
  readonly clientCertificate: 'none' | 'ask' | 'require'
}

/** Speaks TLS to a client over a connection that is given up to it. Rejects where the handshake fails. */
export function acceptTls(stream: Duplex, { context, clientCertificate }: AcceptTls): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const secured = new TLSSocket(stream as NetSocket, {
      isServer: true,
      secureContext: context,
      requestCert: clientCertificate !== 'none',
      rejectUnauthorized: clientCertificate === 'require',
      ALPNProtocols: ['postgresql'],
    })
    settle(secured, 'secure', resolve, reject)
  })
}

function settle(
  secured: TLSSocket,
  event: string,
  resolve: (socket: TLSSocket) => void,
  reject: (error: Error) => void,
): void {
  const failed = (error?: Error): void => {
    secured.destroy()
    reject(error ?? new Error('connection lost during TLS handshake'))
  }
  secured.on('error', failed)
  secured.once('close', failed)
  secured.once(event, () => {
    secured.off('error', failed)
    secured.off('close', failed)
    secured.on('error', () => {}) // whoever owns it next adds its own
    resolve(secured)
  })
}

/** As log lines and SHOW CLIENTS give it: `TLSv1.3/TLS_AES_256_GCM_SHA384`. */
export function describeTls(socket: TLSSocket): string {
  return `${socket.getProtocol() ?? 'TLS'}/${socket.getCipher().standardName}`
}

/** `tls-server-end-point` of a certificate, RFC 5929 section 4.1: its hash, with SHA-256 in place of MD5 and SHA-1. */
export function endPointBinding(certificate: X509Certificate): Buffer | undefined {
  const algorithm = (certificate as { signatureAlgorithm?: string }).signatureAlgorithm ?? ''
  const named = /sha-?(224|256|384|512)/i.exec(algorithm)?.[1]
  if (named === undefined && !/sha-?1|md5/i.test(algorithm)) return undefined
  return createHash(`sha${named ?? '256'}`)
    .update(certificate.raw)
    .digest()
}
