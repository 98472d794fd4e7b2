// A connection to an LDAP server, encrypted where it is to be, before the LDAP client has it.
// RFC 4511 section 4.14 (StartTLS): done here, so that nothing that came in the clear is left in the client's buffers.

import { connect, isIP, type Socket } from 'node:net'
import { connect as tlsConnect } from 'node:tls'
import type { LdapOptions } from './ldap-options.js'
import type { LdapTrusts } from './ldap-trust.js'

/**
 * @param server `ldap://host:port` or `ldaps://host:port`
 * @param trusts whom to trust, and how, with TLS
 * @param signal closes the connection, whoever has it then
 */
export async function openLdap(
  server: string,
  options: LdapOptions,
  trusts: LdapTrusts,
  signal: AbortSignal,
): Promise<Socket> {
  const { hostname, port, protocol } = new URL(server)
  const host = hostname.replace(/^\[|\]$/g, '')
  const isEncrypted = protocol === 'ldaps:'
  const trust = isEncrypted || options.startTls ? await trusts.of(options.caFile) : undefined
  signal.throwIfAborted() // nothing is opened for a login that has ended meanwhile
  const socket = connect({ host, port: Number(port) || (isEncrypted ? 636 : 389) })
  const abort = (): void => void socket.destroy(new Error('no answer in time'))
  signal.addEventListener('abort', abort)
  socket.once('close', () => signal.removeEventListener('abort', abort))
  try {
    await event(socket, 'connect', socket)
    if (trust === undefined) return socket
    if (options.startTls) await requestTls(socket)
    const secured = tlsConnect({ socket, host, ...(isIP(host) === 0 && { servername: host }), ...trust })
    await event(secured, 'secureConnect', socket)
    return secured
  } catch (error) {
    socket.destroy()
    throw error
  }
}

/** Resolves with an event; rejects with an error, or when `below` is closed. */
function event(socket: Socket, name: 'connect' | 'secureConnect', below: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once(name, () => resolve())
    socket.on('error', reject) // stays: an error that nobody listens to would end the process
    below.once('close', () => reject(new Error('connection lost')))
  })
}

/** ExtendedRequest 1.3.6.1.4.1.1466.20037, message 1. */
const startTls = Buffer.concat([Buffer.from('301d02010177188016', 'hex'), Buffer.from('1.3.6.1.4.1.1466.20037')])
const longestAnswer = 4096

async function requestTls(socket: Socket): Promise<void> {
  socket.write(startTls)
  let answer: Buffer = Buffer.alloc(0)
  for (;;) {
    const message = element(answer, 0)
    if (message !== undefined && message.end <= answer.length) {
      if (!isYes(answer, message.start)) throw new Error('the server refuses StartTLS')
      if (message.end < answer.length) throw new Error('unencrypted data after the answer to StartTLS')
      return
    }
    if (answer.length > longestAnswer) throw new Error('the server refuses StartTLS')
    answer = Buffer.concat([answer, await nextBytes(socket)])
  }
}

/** Message 1, ExtendedResponse, result code success. */
function isYes(answer: Buffer, start: number): boolean {
  const id = element(answer, start)
  const operation = id && element(answer, id.end)
  const result = operation && element(answer, operation.start)
  if (result === undefined || answer[id!.end] !== 0x78 || answer[operation!.start] !== 0x0a) return false
  return (
    answer.toString('hex', id!.start, id!.end) === '01' && answer.toString('hex', result.start, result.end) === '00'
  )
}

/** Where the content of the BER element at `at` begins and ends; undefined where its length is not all there. */
function element(bytes: Buffer, at: number): { readonly start: number; readonly end: number } | undefined {
  const first = bytes[at + 1]
  if (first === undefined) return undefined
  // Active Directory writes all its lengths in four bytes.
  const sizeBytes = first < 0x80 ? 0 : first & 0x7f
  const start = at + 2 + sizeBytes
  if (sizeBytes > 4 || start > bytes.length) return undefined
  return { start, end: start + (sizeBytes === 0 ? first : bytes.readUIntBE(at + 2, sizeBytes)) }
}

function nextBytes(socket: Socket): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const lost = (): void => reject(new Error('connection lost'))
    socket.once('data', (chunk: Buffer) => {
      socket.pause()
      socket.off('close', lost)
      resolve(chunk)
    })
    socket.once('close', lost)
    socket.resume()
  })
}
