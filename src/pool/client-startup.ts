// The first packets of a client: requests for encryption, answered, up to the StartupMessage or CancelRequest.

import { X509Certificate } from 'node:crypto'
import { Socket } from '../io/socket.js'
import { acceptTls, describeTls, endPointBinding } from '../io/tls.js'
import { ConnectionLost } from '../protocol/conversation.js'
import { PgError } from '../protocol/errors.js'
import { type CancelRequest, maxStartupPacket, readStartupPacket, type StartupMessage } from '../protocol/frontend.js'
import type { Context } from './context.js'
import { MessageReader } from './reader.js'

/** Where a client comes from, and how its connection is protected. */
export interface Arrival {
  readonly kind: 'tcp' | 'unix'
  /** Empty for a Unix socket. */
  readonly address: string
  readonly port: number
  readonly localAddress: string
  readonly localPort: number
  /** As log lines have it: `10.0.0.1:51234`, `[::1]:51234`, `unix`. */
  readonly description: string
  /** `TLSv1.3/TLS_AES_256_GCM_SHA384`, or '' without TLS. */
  readonly tls: string
  /** Common name of the client's certificate, where it showed one that was checked. */
  readonly certificateName: string | undefined
  /** Came by a Unix socket that only processes of the pooler's own user can open. */
  readonly isOwnUser: boolean
  /** `tls-server-end-point` data of the connection. */
  readonly channelBinding: Buffer | undefined
}

export interface Negotiated {
  readonly packet: StartupMessage | CancelRequest
  readonly reader: MessageReader
  readonly arrival: Arrival
}

const yes = Buffer.from('S')
const no = Buffer.from('N')

/**
 * At most one SSLRequest and one GSSENCRequest are answered (PostgreSQL CVE-2026-6479).
 * @throws PgError, ConnectionLost
 */
export async function negotiateStartup(reader: MessageReader, arrival: Arrival, context: Context): Promise<Negotiated> {
  let current = { reader, arrival }
  const asked = new Set<string>()
  for (;;) {
    const packet = readStartupPacket(await current.reader.readStartup(maxStartupPacket))
    if (packet.kind === 'cancel') return { packet, ...current }
    if (packet.kind === 'startup') {
      if (mustEncrypt(current.arrival, context)) throw new PgError('ssl_required')
      return { packet, ...current }
    }
    if (asked.has(packet.kind) || current.arrival.tls !== '') throw new PgError('startup_twice')
    asked.add(packet.kind)
    // What came behind the request was sent in the clear, and must not be taken for encrypted (CVE-2021-3935).
    if (current.reader.rest.length > 0) {
      throw new PgError(packet.kind === 'ssl' ? 'bytes_after_ssl_request' : 'bytes_after_gss_request')
    }
    if (packet.kind === 'ssl' && arrival.kind === 'tcp' && context.tls.clients !== undefined) {
      current = await encrypt(current.reader, current.arrival, context)
    } else {
      current.reader.write(no)
    }
  }
}

function mustEncrypt(arrival: Arrival, context: Context): boolean {
  const mode = context.config.settings.client_tls_sslmode
  return arrival.kind === 'tcp' && arrival.tls === '' && ['require', 'verify-ca', 'verify-full'].includes(mode)
}

async function encrypt(
  reader: MessageReader,
  arrival: Arrival,
  context: Context,
): Promise<{ reader: MessageReader; arrival: Arrival }> {
  const mode = context.config.settings.client_tls_sslmode
  reader.write(yes)
  const secured = await acceptTls(reader.socket.release(), {
    context: context.tls.clients!,
    clientCertificate: mode === 'verify-ca' || mode === 'verify-full' ? 'require' : 'none',
  }).catch((error: Error) => {
    context.log.debug(`TLS handshake failed: ${error.message}`)
    throw new ConnectionLost('TLS handshake failed')
  })
  const certificate = context.tls.certificate
  return {
    reader: new MessageReader(Socket.over(secured, reader)),
    arrival: {
      ...arrival,
      tls: describeTls(secured),
      certificateName: secured.authorized ? commonName(secured.getPeerCertificate().subject?.CN) : undefined,
      channelBinding: certificate && endPointBinding(new X509Certificate(certificate)),
    },
  }
}

function commonName(name: string | string[] | undefined): string | undefined {
  return typeof name === 'string' ? name : undefined
}
