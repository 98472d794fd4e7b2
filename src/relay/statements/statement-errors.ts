// How clients are told of a server's errors about prepared statements, and what follows from these for what the server has.

import type { Note } from '../note.js'
import { ExecuteAdded, type Outstanding } from '../outstanding.js'
import { OwnQuery } from '../own-query.js'
import { statementVerb } from '../server-messages.js'
import { hasChangedNames } from './name-resolution.js'
import type { ServerStatements } from './server-statements.js'

/**
 * The error with the client's own name for a statement in place of the server's; null where it is told as it came.
 * @param chunk has the whole ErrorResponse from `at` to `end`, or else it is too long to be one about a name
 * @param note of what failed
 */
export function inOwnWords(chunk: Buffer, at: number, end: number, note: Note): Buffer | null {
  return end > chunk.length ? null : note.inOwnWords(chunk.subarray(at, end))
}

/**
 * A command has been carried out for the head: the body of its CommandComplete is in `chunk` from `start`. A PREPARE or DEALLOCATE
 * that nobody here has seen coming leaves the server in doubt.
 */
export function seeCommand(
  chunk: Buffer,
  start: number,
  length: number,
  { kind, owner, note }: Outstanding<{ readonly names: { readonly limit: number } }, Note>,
  server: ServerStatements,
): void {
  if (hasChangedNames(chunk, start, length)) server.isStrange = true
  const verb = statementVerb(chunk, start, length)
  if (verb === '' || note?.onCommand(verb, server)) return
  if (kind === ExecuteAdded || note instanceof OwnQuery) return
  if (owner === null || owner.names.limit > 0) server.hasUnknown = true
}

const missing = Buffer.from('\0C26000\0')
const taken = Buffer.from('\0C42P05\0')

/**
 * What an error says about a statement of ours, is so, whatever was thought before: the server lacks it, or has something else
 * under its name.
 * @returns whether it was thought otherwise
 */
export function correct(chunk: Buffer, at: number, end: number, note: Note, server: ServerStatements): boolean {
  if (end > chunk.length) return false
  const error = chunk.subarray(at, end)
  const isMissing = error.includes(missing)
  return (isMissing || error.includes(taken)) && note.correct(error, isMissing, server)
}
