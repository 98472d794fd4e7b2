// TLS with a server: asked for and begun, or begun directly, before anything else is said on the connection.
// https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL

import { mustEncrypt } from '../config/choices.js'
import { endPointBinding } from '../io/end-point-binding.js'
import { applicationProtocol, connectTls, describeTls, tlsReason } from '../io/tls.js'
import { sslRequest } from '../protocol/frontend.js'
import type { MessageReader } from '../relay/message-reader.js'
import type { ServerTls } from './tls-files.js'

export interface SecuredServer {
  /** `TLSv1.3/TLS_AES_256_GCM_SHA384`. */
  readonly description: string
  /** `tls-server-end-point` data of the server's certificate. */
  readonly channelBinding: Buffer | undefined
}

/** There is no TLS to be had, where there must be, or it is not as it must be. */
export class TlsFailed extends Error {
  override readonly name = 'TlsFailed'
}

const willing = 0x53 // S
const unwilling = 0x4e // N

/**
 * @param host as configured: for SNI, and for the name in the certificate
 * @returns undefined where the connection stays in the clear
 * @throws TlsFailed, ConnectionLost
 */
export async function secureServer(
  reader: MessageReader,
  { mode, direct, context }: ServerTls,
  host: string,
): Promise<SecuredServer | undefined> {
  if (context === undefined) return undefined
  if (!direct && !(await isWilling(reader))) {
    if (mustEncrypt(mode)) throw new TlsFailed('server refused SSL')
    return undefined
  }
  const verify = mode === 'verify-full' ? 'full' : mode === 'verify-ca' ? 'ca' : 'none'
  const failed = (error: Error): Error => new TlsFailed(`TLS handshake failed: ${tlsReason(error)}`)
  const secured = await reader
    .encrypt(async (stream) => {
      const encrypted = await connectTls(stream, { context, host, verify })
      // With TLS 1.3 a server checks our certificate when for us the handshake is over.
      encrypted.once('error', (error) => reader.fail(failed(error)))
      return encrypted
    })
    .catch((error: Error) => {
      throw failed(error)
    })
  if (direct && secured.alpnProtocol !== applicationProtocol) {
    throw new TlsFailed('direct TLS connection was established without ALPN')
  }
  const certificate = secured.getPeerX509Certificate()
  return { description: describeTls(secured), channelBinding: certificate && endPointBinding(certificate) }
}

async function isWilling(reader: MessageReader): Promise<boolean> {
  reader.write(sslRequest())
  const answer = (await reader.take(1))[0]
  // More would have been sent in the clear, maybe by somebody in between (CVE-2021-23222). An ErrorResponse is not to be
  // trusted either (CVE-2024-10977), nor is it a reason to go on in the clear.
  if (answer !== willing && answer !== unwilling) throw new TlsFailed('unexpected answer to the SSL request')
  if (reader.rest.length > 0) throw new TlsFailed('received unencrypted data after SSL response')
  return answer === willing
}
