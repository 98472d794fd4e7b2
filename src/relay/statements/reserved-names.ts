// Names of prepared statements that are the pooler's alone, and the way back: an error about one of them, told with the client's own.

import { randomBytes } from 'node:crypto'
import { ErrorResponse } from '../../protocol/backend.js'
import { closeStatement } from '../../protocol/frontend.js'

/** Begins all names that servers know; for those who watch pg_prepared_statements it is pgbouncer's. */
export const prefix = 'PGBOUNCER_'

/** Not to be guessed, so that no SQL in a DO or a function makes a statement under one of these by chance. */
const secret = randomBytes(12).toString('hex')

/** No statement is ever made under it: what names a statement that its client does not have, is sent with this name. */
export const absentName: string = `${prefix}absent_${secret}`
/** Made, without text, where a name is to be found taken. */
export const takenName: string = `${prefix}taken_${secret}`
/** The statement of a client whose text is a PREPARE, EXECUTE or DEALLOCATE, while it is bound or described. */
export const commandName: string = `${prefix}command_${secret}`
/** Statement and portal of a PREPARE that the pooler puts in. */
export const makingName: string = `${prefix}making_${secret}`

/** Of a statement that the server has already, to be found fault with once more. */
const tryingName = `${prefix}trying_${secret}`
export const tryingBytes: Buffer = Buffer.from(`${tryingName}\0`)
export const closeTrying: Buffer = closeStatement(tryingName)

/** For rewritten messages, with a terminator. */
export const absentBytes: Buffer = Buffer.from(`${absentName}\0`)
export const takenBytes: Buffer = Buffer.from(`${takenName}\0`)
export const commandBytes: Buffer = Buffer.from(`${commandName}\0`)

/** An error about a name says little more; what is longer is not looked through. Bytes. */
const longestError = 16 * 1024

/**
 * An ErrorResponse with the client's own name in its message in place of `reserved`; null where that is not in it. The text may
 * be in any language (`lc_messages`); the name stands in it as it was sent. Whatever else the error quotes stays as it is.
 * https://www.postgresql.org/docs/current/protocol-error-fields.html
 * @param error the whole message, with its header
 * @param name a character a byte
 */
export function reworded(error: Buffer, reserved: string, name: string): Buffer | null {
  const text = error.length > longestError ? -1 : fieldOf(error, 0x4d) // M
  if (text < 0) return null
  const end = error.indexOf(0, text)
  let at = error.indexOf(reserved, text, 'latin1')
  while (at >= 0 && at < end && !standsAlone(error, at, reserved.length)) at = error.indexOf(reserved, at + 1, 'latin1')
  if (at < 0 || at >= end) return null
  const own = Buffer.from(name, 'latin1')
  const told = Buffer.concat([error.subarray(0, at), own, error.subarray(at + reserved.length)])
  told.writeInt32BE(told.length - 1, 1)
  return told
}

/**
 * An ErrorResponse with the place that it points to (field P, characters from 1) as it is in the client's own text; null where it
 * points nowhere, or before all names.
 * @param moves where in the text that was sent another name stands, and how much longer that is, characters
 */
export function movedBack(error: Buffer, moves: readonly (readonly [from: number, by: number])[]): Buffer | null {
  const start = fieldOf(error, 0x50) // P
  if (start < 0) return null
  const end = error.indexOf(0, start)
  const position = Number(error.toString('latin1', start, end))
  let own = position
  for (const [from, by] of moves) if (position - 1 > from) own -= by
  if (own === position || !(own > 0)) return null
  const told = Buffer.concat([error.subarray(0, start), Buffer.from(String(own)), error.subarray(end)])
  told.writeInt32BE(told.length - 1, 1)
  return told
}

/** Where the text of a field begins; -1 where there is none. */
function fieldOf(error: Buffer, code: number): number {
  if (error[0] !== ErrorResponse) return -1
  let at = 5
  while (at < error.length && error[at] !== 0) {
    if (error[at] === code) return at + 1
    const end = error.indexOf(0, at)
    if (end < 0) return -1
    at = end + 1
  }
  return -1
}

/** Returns whether it is a name of its own, and not the beginning of a longer one, as PGBOUNCER_1 is of PGBOUNCER_12. */
function standsAlone(text: Buffer, at: number, length: number): boolean {
  return !isNamePart(text[at - 1]!) && !isNamePart(text[at + length]!)
}

function isNamePart(code: number): boolean {
  return (
    (code >= 0x30 && code <= 0x39) || (code >= 0x41 && code <= 0x5a) || (code >= 0x61 && code <= 0x7a) || code === 0x5f
  )
}
