// A connection to an LDAP server, encrypted where it is to be, before the LDAP client has it.
// RFC 4511 section 4.14 (StartTLS): done here, so that nothing that came in the clear is left in the client's buffers.

import { readFile } from 'node:fs/promises'
import { connect, isIP, type Socket } from 'node:net'
import { connect as tlsConnect } from 'node:tls'
import type { LdapOptions } from './ldap-options.js'

/**
 * @param server `ldap://host:port` or `ldaps://host:port`
 * @param signal closes the connection, whoever has it then
 */
export async function openLdap(server: string, options: LdapOptions, signal: AbortSignal): Promise<Socket> {
  const { hostname, port, protocol } = new URL(server)
  const host = hostname.replace(/^\[|\]$/g, '')
  const isEncrypted = protocol === 'ldaps:'
  const ca = options.caFile === undefined ? undefined : await readFile(options.caFile)
  const socket = connect({ host, port: Number(port) || (isEncrypted ? 636 : 389) })
  const abort = (): void => void socket.destroy(new Error('no answer in time'))
  signal.addEventListener('abort', abort)
  socket.once('close', () => signal.removeEventListener('abort', abort))
  try {
    await event(socket, 'connect', socket)
    if (!isEncrypted && !options.startTls) return socket
    if (options.startTls) await requestTls(socket)
    const secured = tlsConnect({ socket, host, ...(isIP(host) === 0 && { servername: host }), ...(ca && { ca }) })
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
/** Where the answer's result code is, if it is short enough for lengths of one byte; 0 is success. */
const longestAnswer = 127 + 2

async function requestTls(socket: Socket): Promise<void> {
  socket.write(startTls)
  let answer: Buffer = Buffer.alloc(0)
  while (answer.length < 2 || answer.length < 2 + answer[1]!) {
    answer = Buffer.concat([answer, await nextBytes(socket)])
    if (answer.length > longestAnswer || (answer[1] ?? 0) > 127) throw new Error('the server refuses StartTLS')
  }
  // LDAPMessage of message 1, ExtendedResponse, resultCode success; and nothing behind it.
  const isYes = answer[0] === 0x30 && answer.subarray(2, 6).equals(Buffer.from('02010178', 'hex'))
  const isWhole = answer.length === 2 + answer[1]!
  if (!isYes || !answer.subarray(7, 10).equals(Buffer.from('0a0100', 'hex')))
    throw new Error('the server refuses StartTLS')
  if (!isWhole) throw new Error('unencrypted data after the answer to StartTLS')
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
