// What a frontend sends: message codes, the startup packets, and writers for what the pooler sends to servers.
// https://www.postgresql.org/docs/current/protocol-message-formats.html

import { serialize } from 'pg-protocol'
import { bytesOf, textOf } from './byte-text.js'
import { PgError } from './errors.js'
import { message } from './message.js'

export const Bind = 0x42 // B
export const Close = 0x43 // C
export const CopyData = 0x64 // d
export const CopyDone = 0x63 // c
export const CopyFail = 0x66 // f
export const Describe = 0x44 // D
export const Execute = 0x45 // E
export const Flush = 0x48 // H
export const FunctionCall = 0x46 // F
export const Parse = 0x50 // P
/** PasswordMessage, SASLInitialResponse, SASLResponse and GSSResponse share a code. */
export const Password = 0x70 // p
export const Query = 0x51 // Q
export const Sync = 0x53 // S
export const Terminate = 0x58 // X

/** PostgreSQL's limits for what follows the code of a message, bytes: PQ_SMALL_MESSAGE_LIMIT, PQ_LARGE_MESSAGE_LIMIT. */
const smallMessage = 10_000
const largeMessage = 0x3ffffffe

/**
 * Longest body of a message after login, bytes, as PostgreSQL 14 and later have it: they close the connection without a word
 * where it is longer.
 */
export function longestBody(code: number): number {
  switch (code) {
    case Close:
    case CopyDone:
    case CopyFail:
    case Describe:
    case Execute:
    case Flush:
    case Sync:
    case Terminate:
      return smallMessage - 4
    default:
      return largeMessage - 4
  }
}

/** Returns whether it is answered by a ReadyForQuery. */
export function isSyncPoint(code: number): boolean {
  return code === Query || code === FunctionCall || code === Sync
}

/** Returns whether the client ends a COPY FROM STDIN with it, one way or the other. */
export function endsCopy(code: number): boolean {
  return code === CopyDone || code === CopyFail
}

/** What the first, codeless packet of a connection asks for. */
export const requestCode = { ssl: 80877103, gss: 80877104, cancel: 80877102 } as const

/** PostgreSQL's own limit for a startup packet (MAX_STARTUP_PACKET_LENGTH). */
export const maxStartupPacket = 10_000

export interface StartupMessage {
  readonly kind: 'startup'
  /** Protocol version asked for, 3.minor. */
  readonly minor: number
  /** As sent, in order; `user`, `database`, `replication`, `options`, `_pq_.*` and settings. A repeated name: last wins. */
  readonly parameters: ReadonlyMap<string, string>
}

export interface CancelRequest {
  readonly kind: 'cancel'
  readonly pid: number
  /** 4 bytes in protocol 3.0, up to 256 in 3.2; none where the packet was not a whole one. */
  readonly secret: Buffer
}

export type StartupPacket = StartupMessage | CancelRequest | { readonly kind: 'ssl' | 'gss' }

/**
 * Reads a startup packet without its length word.
 * @throws PgError for a layout or version that can't be served
 */
export function readStartupPacket(body: Buffer): StartupPacket {
  if (body.length < 4) throw new PgError('bad_startup_layout')
  const code = body.readInt32BE(0)
  if (code === requestCode.ssl && body.length === 4) return { kind: 'ssl' }
  if (code === requestCode.gss && body.length === 4) return { kind: 'gss' }
  if (code === requestCode.cancel) {
    // What is none is answered as a wrong key is: not at all.
    if (body.length < 12 || body.length > 8 + 256) return { kind: 'cancel', pid: 0, secret: Buffer.alloc(0) }
    return { kind: 'cancel', pid: body.readInt32BE(4), secret: Buffer.from(body.subarray(8)) }
  }
  const major = code >>> 16
  if (major === 2) throw new PgError('old_protocol')
  if (major !== 3) throw new PgError('unsupported_protocol', `${major}.${code & 0xffff}`)
  return { kind: 'startup', minor: code & 0xffff, parameters: readParameters(body) }
}

function readParameters(body: Buffer): Map<string, string> {
  if (body.length === 4 || body[body.length - 1] !== 0) throw new PgError('bad_startup_layout')
  const parameters = new Map<string, string>()
  let at = 4
  while (at < body.length - 1) {
    const nameEnd = body.indexOf(0, at)
    const valueEnd = body.indexOf(0, nameEnd + 1)
    if (nameEnd === at || valueEnd < 0 || valueEnd === body.length - 1) throw new PgError('bad_startup_layout')
    parameters.set(textOf(body.subarray(at, nameEnd)), textOf(body.subarray(nameEnd + 1, valueEnd)))
    at = valueEnd + 1
  }
  return parameters
}

/** A CancelRequest for a server; pg-protocol's writer knows 4-byte keys only. */
export function cancelRequest(pid: number, secret: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(12 + secret.length)
  bytes.writeInt32BE(bytes.length, 0)
  bytes.writeInt32BE(requestCode.cancel, 4)
  bytes.writeInt32BE(pid, 8)
  secret.copy(bytes, 12)
  return bytes
}

/** StartupMessage for a server. pg-protocol's own writer always adds client_encoding, so it is written here. */
export function startupMessage(parameters: Readonly<Record<string, string>>, minor = 0): Buffer {
  const text = Object.entries(parameters).map(([name, value]) => `${name}\0${value}\0`)
  const body = bytesOf(`${text.join('')}\0`)
  const bytes = Buffer.allocUnsafe(8 + body.length)
  bytes.writeInt32BE(bytes.length, 0)
  bytes.writeInt32BE((3 << 16) | minor, 4)
  body.copy(bytes, 8)
  return bytes
}

export { message }

export const sslRequest = (): Buffer => serialize.requestSsl()
// pg-protocol writes texts as UTF-8, so what may have other bytes is written here.
export const password = (text: string): Buffer => message(Password, `${text}\0`)
export const saslInitialResponse = (mechanism: string, first: string): Buffer =>
  serialize.sendSASLInitialResponseMessage(mechanism, first)
export const saslResponse = (text: string): Buffer => serialize.sendSCRAMClientFinalMessage(text)
export const query = (text: string): Buffer => message(Query, `${text}\0`)
export const terminate = (): Buffer => serialize.end()

/** Parse, Bind, Describe, Execute, Sync of one unnamed statement with text parameters. */
export function extendedQuery(text: string, values: readonly (string | null)[]): Buffer {
  return Buffer.concat([
    message(Parse, `\0${text}\0\0\0`), // unnamed, no types
    bindTexts(values),
    serialize.describe({ type: 'P' }),
    serialize.execute({}),
    serialize.sync(),
  ])
}

/** Bind of the unnamed statement to the unnamed portal, all values and results as text. */
function bindTexts(values: readonly (string | null)[]): Buffer {
  const head = Buffer.alloc(6) // the two names, no format codes, and how many values
  head.writeInt16BE(values.length, 4)
  const parts = values.flatMap((value) => {
    const length = Buffer.allocUnsafe(4)
    const bytes = value === null ? undefined : bytesOf(value)
    length.writeInt32BE(bytes?.length ?? -1)
    return bytes === undefined ? [length] : [length, bytes]
  })
  return message(Bind, Buffer.concat([head, ...parts, Buffer.alloc(2)]))
}

/** The zero-terminated text that begins at `at`, or undefined where it has no end. */
export function readText(body: Buffer, at: number): string | undefined {
  const end = body.indexOf(0, at)
  return end < 0 ? undefined : textOf(body.subarray(at, end))
}

export const sync: Buffer = message(Sync)

// Names of statements are a character a byte (latin1): not every client speaks UTF-8.

export function closeStatement(name: string): Buffer {
  return message(Close, Buffer.from(`S${name}\0`, 'latin1'))
}

/** The Parse of a statement without text. */
export function emptyStatement(name: string): Buffer {
  return message(Parse, Buffer.from(`${name}\0\0\0\0`, 'latin1'))
}

export function closePortal(name: string): Buffer {
  return message(Close, Buffer.from(`P${name}\0`, 'latin1'))
}

/** Bind of a statement without parameters. */
export function bindNothing(portal: string, name: string): Buffer {
  return message(Bind, Buffer.concat([Buffer.from(`${portal}\0${name}\0`, 'latin1'), Buffer.alloc(6)]))
}

/** Execute of all that a portal gives. */
export function executePortal(name: string): Buffer {
  return message(Execute, Buffer.concat([Buffer.from(`${name}\0`, 'latin1'), Buffer.alloc(4)]))
}

/** Describe of a statement, and Flush: the answer is waited for. */
export function askForRows(name: string): Buffer {
  return Buffer.concat([message(Describe, Buffer.from(`S${name}\0`, 'latin1')), message(Flush)])
}
