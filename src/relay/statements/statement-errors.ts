// How clients are told of a server's errors about prepared statements.

import { Ask } from '../ask.js'
import type { ClientRelay } from '../client-relay.js'
import { type ExchangeQueue, ExecuteAdded } from '../exchange.js'
import type { Note } from '../notes.js'
import { statementVerb } from '../server-words.js'
import { Named } from './client-statements.js'
import { hasChangedNames } from './name-resolution.js'
import type { ServerStatements, Statement } from './prepared.js'
import { PreparedNote } from './prepared-notes.js'
import { Renamed, reworded } from './reserved-names.js'
import { CommandNote } from './sql-notes.js'
import { BoundNote } from './sql-portals.js'
import { refusedAsStale, ShapeNote, staleError } from './statement-shape.js'

/**
 * The error with the client's own name for a statement in place of the server's; null where it is told as it came.
 * @param chunk has the whole ErrorResponse from `at` to `end`, or else it is too long to be one about a name
 * @param note of what failed
 */
export function inOwnWords(chunk: Buffer, at: number, end: number, note: Note | null): Buffer | null {
  if (note instanceof BoundNote) return inOwnWords(chunk, at, end, note.inner)
  if (note === null || note instanceof Ask || end > chunk.length) return null
  if (note === refusedAsStale) return staleError
  const error = chunk.subarray(at, end)
  if (note instanceof Renamed) return reworded(error, note.reserved, note.name)
  if (note instanceof CommandNote) return note.inOwnWords(error)
  const statement = statementOf(note)
  return statement === null ? null : reworded(error, statement.name, (note as Named).name)
}

/**
 * A command has been carried out for the head: the body of its CommandComplete is in `chunk` from `start`. A PREPARE or DEALLOCATE
 * that nobody here has seen coming leaves the server in doubt.
 */
export function seeCommand(
  chunk: Buffer,
  start: number,
  length: number,
  { kind, owner, note }: ExchangeQueue<ClientRelay, Note>,
  server: ServerStatements,
): void {
  if (hasChangedNames(chunk, start, length)) server.isStrange = true
  const verb = statementVerb(chunk, start, length)
  if (verb === '' || (note instanceof CommandNote && note.onCommand(verb, server))) return
  if (kind === ExecuteAdded || note instanceof Ask) return
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
  if (note instanceof BoundNote) return note.inner !== null && correct(chunk, at, end, note.inner, server)
  if (note instanceof Ask || note instanceof Renamed || end > chunk.length) return false
  const error = chunk.subarray(at, end)
  const isMissing = error.includes(missing)
  if (!isMissing && !error.includes(taken)) return false
  if (note instanceof PreparedNote) {
    if (isMissing || reworded(error, note.statement.name, '') === null) return false
    server.hasUnknown = true
    return true
  }
  if (!isMissing) return false
  const statement = note instanceof CommandNote ? note.about(error) : named(note, error)
  if (statement === null) return false
  server.remove(statement)
  return true
}

function named(note: Note, error: Buffer): Statement | null {
  if (!(note instanceof Named || note instanceof ShapeNote) || note.statement === null) return null
  return reworded(error, note.statement.name, '') === null ? null : note.statement
}

/** The statement that a message named, where it did so with a name of the client's. */
function statementOf(note: Note): Statement | null {
  const isNaming = note instanceof Named || note instanceof PreparedNote || note instanceof ShapeNote
  return isNaming && note.name !== '' ? note.statement : null
}
