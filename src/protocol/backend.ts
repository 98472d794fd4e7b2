// What a backend sends: message codes, and writers for the messages the pooler makes itself.
// https://www.postgresql.org/docs/current/protocol-message-formats.html

import { bytesOf, textOf } from './byte-text.js'
import type { PgError } from './errors.js'
import { message } from './message.js'

export const AuthenticationRequest = 0x52 // R
export const BackendKeyData = 0x4b // K
export const BindComplete = 0x32 // 2
export const CloseComplete = 0x33 // 3
export const CommandComplete = 0x43 // C
export const CopyData = 0x64 // d
export const CopyDone = 0x63 // c
export const CopyInResponse = 0x47 // G
export const CopyOutResponse = 0x48 // H
export const CopyBothResponse = 0x57 // W
export const DataRow = 0x44 // D
export const EmptyQueryResponse = 0x49 // I
export const ErrorResponse = 0x45 // E
export const FunctionCallResponse = 0x56 // V
export const NegotiateProtocolVersion = 0x76 // v
export const NoData = 0x6e // n
export const NoticeResponse = 0x4e // N
export const NotificationResponse = 0x41 // A
export const ParameterDescription = 0x74 // t
export const ParameterStatus = 0x53 // S
export const ParseComplete = 0x31 // 1
export const PortalSuspended = 0x73 // s
export const ReadyForQuery = 0x5a // Z
export const RowDescription = 0x54 // T

/** Transaction status in ReadyForQuery: idle, in a transaction, in a failed transaction. */
export const Idle = 0x49 // I
export const InTransaction = 0x54 // T
export const InFailedTransaction = 0x45 // E

/** The kinds of AuthenticationRequest. */
export const authentication = {
  ok: 0,
  cleartextPassword: 3,
  md5Password: 5,
  sasl: 10,
  saslContinue: 11,
  saslFinal: 12,
} as const

export function authenticationRequest(kind: number, rest: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.allocUnsafe(4)
  head.writeInt32BE(kind)
  return message(AuthenticationRequest, Buffer.concat([head, rest]))
}

/** AuthenticationSASL with the mechanisms offered, best first. */
export function authenticationSasl(mechanisms: readonly string[]): Buffer {
  return authenticationRequest(authentication.sasl, Buffer.from(`${mechanisms.join('\0')}\0\0`))
}

export function parameterStatus(name: string, value: string): Buffer {
  return message(ParameterStatus, `${name}\0${value}\0`)
}

/** `key`: 4 bytes of PID, and a secret of 4 bytes in protocol 3.0, 4 to 256 in 3.2. */
export function backendKeyData(key: Buffer): Buffer {
  return message(BackendKeyData, key)
}

/**
 * The protocol version that is going to be spoken, 3.minor, and the `_pq_.` options that are not known. The page says
 * "newest minor protocol version supported", but PostgreSQL sends the whole version, major in the upper 16 bits, and
 * not more than was asked for (SendNegotiateProtocolVersion); libpq takes a bare minor for a version before 3.0.
 */
export function negotiateProtocolVersion(minor: number, unknownOptions: readonly string[]): Buffer {
  const head = Buffer.allocUnsafe(8)
  head.writeInt32BE((3 << 16) | minor)
  head.writeInt32BE(unknownOptions.length, 4)
  return message(
    NegotiateProtocolVersion,
    Buffer.concat([head, bytesOf(unknownOptions.map((name) => `${name}\0`).join(''))]),
  )
}

const ready = new Map(
  [Idle, InTransaction, InFailedTransaction].map((status) => [status, message(ReadyForQuery, Buffer.of(status))]),
)

export function readyForQuery(status: number = Idle): Buffer {
  return ready.get(status)!
}

/** Fields S, C and M only, as pgbouncer sends them, and what else is given. */
export function errorResponse(
  error: Pick<PgError, 'severity' | 'sqlstate' | 'message'>,
  fields: Readonly<Record<string, string>> = {},
): Buffer {
  return report(ErrorResponse, { S: error.severity, C: error.sqlstate, M: error.message, ...fields })
}

/** `fields`: one-letter field types and their values, e.g. `{ S: 'NOTICE', C: '00000', M: 'text', D: 'detail' }`. */
export function noticeResponse(text: string, fields: Readonly<Record<string, string>> = {}): Buffer {
  return report(NoticeResponse, { S: 'NOTICE', C: '00000', M: text, ...fields })
}

function report(code: number, fields: Readonly<Record<string, string>>): Buffer {
  const body = Object.entries(fields).map(([type, value]) => `${type}${value.replaceAll('\0', '')}\0`)
  return message(code, `${body.join('')}\0`)
}

export function commandComplete(tag: string): Buffer {
  return message(CommandComplete, `${tag}\0`)
}

export const parseComplete: Buffer = message(ParseComplete)
export const bindComplete: Buffer = message(BindComplete)
export const closeComplete: Buffer = message(CloseComplete)
export const noData: Buffer = message(NoData)
export const emptyQueryResponse: Buffer = message(EmptyQueryResponse)
export const portalSuspended: Buffer = message(PortalSuspended)

export interface ColumnDescription {
  readonly name: string
  readonly typeOid: number
  /** Bytes of a value, or -1 for a variable length. */
  readonly typeSize: number
  /** 0 text, 1 binary. */
  readonly format: 0 | 1
}

export function rowDescription(columns: readonly ColumnDescription[]): Buffer {
  const parts: Buffer[] = [int16(columns.length)]
  for (const column of columns) {
    const fixed = Buffer.alloc(18) // table oid and attribute number stay 0
    fixed.writeInt32BE(column.typeOid, 6)
    fixed.writeInt16BE(column.typeSize, 10)
    fixed.writeInt32BE(-1, 12)
    fixed.writeInt16BE(column.format, 16)
    parts.push(bytesOf(`${column.name}\0`), fixed)
  }
  return message(RowDescription, Buffer.concat(parts))
}

/** `values`: the bytes of each column, or null. */
export function dataRow(values: readonly (Buffer | null)[]): Buffer {
  const parts: Buffer[] = [int16(values.length)]
  for (const value of values) {
    parts.push(int32(value === null ? -1 : value.length))
    if (value !== null) parts.push(value)
  }
  return message(DataRow, Buffer.concat(parts))
}

/** Type oids of the parameters of a statement. */
export function parameterDescription(typeOids: readonly number[]): Buffer {
  return message(ParameterDescription, Buffer.concat([int16(typeOids.length), ...typeOids.map(int32)]))
}

function int16(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(2)
  bytes.writeInt16BE(value)
  return bytes
}

function int32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeInt32BE(value)
  return bytes
}

/** The fields of an ErrorResponse or NoticeResponse by their letter; tolerates missing terminators and fields. */
export function reportFields(body: Buffer): Map<string, string> {
  const fields = new Map<string, string>()
  let at = 0
  while (at < body.length && body[at] !== 0) {
    const end = body.indexOf(0, at + 1)
    const stop = end < 0 ? body.length : end
    fields.set(String.fromCharCode(body[at]!), textOf(body.subarray(at + 1, stop)))
    at = stop + 1
  }
  return fields
}

/** Name and value of a ParameterStatus, or undefined where there is no name; the value is undefined where it has no end. */
export function readParameterStatus(body: Buffer): { name: string; value: string | undefined } | undefined {
  const nameEnd = body.indexOf(0)
  if (nameEnd < 0) return undefined
  const valueEnd = body.indexOf(0, nameEnd + 1)
  const name = textOf(body.subarray(0, nameEnd))
  return { name, value: valueEnd < 0 ? undefined : textOf(body.subarray(nameEnd + 1, valueEnd)) }
}
