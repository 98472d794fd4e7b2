// The first packets of a client: TLS or requests for it, up to the StartupMessage or CancelRequest.
// https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL

import type { TLSSocket } from 'node:tls'
import { acceptTls, applicationProtocol, clientCertificate, describeTls } from '../io/tls.js'
import type { LogPeer } from '../observe/log.js'
import { ConnectionLost } from '../protocol/conversation.js'
import { PgError } from '../protocol/errors.js'
import { type CancelRequest, maxStartupPacket, readStartupPacket, type StartupMessage } from '../protocol/frontend.js'
import type { MessageReader } from '../relay/message-reader.js'
import type { Context } from '../server/context.js'
import type { ClientTls } from '../server/tls-files.js'
import type { Arrival } from './arrivals.js'
import { traceStartup } from './trace.js'

export interface Negotiated {
  readonly packet: StartupMessage | CancelRequest
  readonly arrival: Arrival
}

const yes = Buffer.from('S')
const no = Buffer.from('N')

/** TLS handshakes begin with this byte; the length of a startup packet would be absurd. */
const handshakeRecord = 0x16

/**
 * At most one SSLRequest and one GSSENCRequest are answered (PostgreSQL CVE-2026-6479).
 * @throws PgError, ConnectionLost
 */
export async function negotiateStartup(
  reader: MessageReader,
  arrival: Arrival,
  context: Context,
  who: LogPeer,
): Promise<Negotiated> {
  let current = arrival
  if (arrival.tls !== '')
    checkCertified(arrival, context) // encrypted when it was handed to us
  else if ((await reader.peek()) === handshakeRecord) current = await acceptDirect(reader, arrival, context, who)
  const asked = new Set<string>()
  for (;;) {
    const packet = readStartupPacket(await reader.readStartup(maxStartupPacket))
    if (packet.kind === 'cancel') return { packet, arrival: current }
    if (packet.kind === 'startup') {
      if (mustEncrypt(current, context)) throw new PgError('ssl_required')
      traceStartup(context, packet.parameters, who)
      return { packet, arrival: current }
    }
    if (asked.has(packet.kind) || current.tls !== '') throw new PgError('startup_twice')
    asked.add(packet.kind)
    // What came behind the request was sent in the clear, and must not be taken for encrypted (CVE-2021-3935).
    if (reader.rest.length > 0) {
      throw new PgError(packet.kind === 'ssl' ? 'bytes_after_ssl_request' : 'bytes_after_gss_request')
    }
    const clients = packet.kind === 'ssl' && arrival.kind === 'tcp' ? context.tls.clients : undefined
    reader.write(clients === undefined ? no : yes)
    if (clients !== undefined) current = (await encrypt(reader, arrival, clients, context, who)).arrival
  }
}

function mustEncrypt(arrival: Arrival, context: Context): boolean {
  return arrival.kind === 'tcp' && arrival.tls === '' && context.tls.mustEncrypt
}

function checkCertified({ isCertified }: Arrival, context: Context): void {
  if (context.tls.clients?.requiresCertificate && !isCertified) throw new PgError('client_certificate')
}

/**
 * TLS without an SSLRequest (`sslnegotiation=direct`). ALPN tells that it is PostgreSQL that is spoken: without it an
 * attacker could have a browser's HTTPS request end up here (ALPACA). PostgreSQL refuses that, too.
 */
async function acceptDirect(reader: MessageReader, arrival: Arrival, context: Context, who: LogPeer): Promise<Arrival> {
  const { clients } = context.tls
  if (clients === undefined || arrival.kind !== 'tcp') throw refused('TLS is off', context, who)
  const { secured, arrival: encrypted } = await encrypt(reader, arrival, clients, context, who)
  if (secured.alpnProtocol !== applicationProtocol) throw refused('direct TLS without ALPN', context, who)
  return encrypted
}

async function encrypt(
  reader: MessageReader,
  arrival: Arrival,
  clients: ClientTls,
  context: Context,
  who: LogPeer,
): Promise<{ secured: TLSSocket; arrival: Arrival }> {
  const begun = reader.rest
  const { context: secureContext, asksCertificate, binding } = clients
  const secured = await reader
    .encrypt((stream) => acceptTls(stream, { context: secureContext, asksCertificate, begun }))
    .catch((error: Error) => {
      throw refused(error.message, context, who)
    })
  const certificate = clientCertificate(secured)
  if (clients.requiresCertificate && certificate.verdict !== 'trusted') {
    context.log.info(`client certificate refused: ${certificate.verdict}`, who)
    throw new PgError('client_certificate')
  }
  const { commonName: certificateName } = certificate
  const isCertified = certificate.verdict === 'trusted'
  const tls = describeTls(secured)
  return { secured, arrival: { ...arrival, tls, certificateName, isCertified, channelBinding: binding } }
}

/** To be closed without a word: the other side does not speak PostgreSQL's protocol, or not yet. */
function refused(reason: string, context: Context, who: LogPeer): ConnectionLost {
  context.log.info(`TLS handshake failed: ${reason}`, who)
  return new ConnectionLost('TLS handshake failed')
}
