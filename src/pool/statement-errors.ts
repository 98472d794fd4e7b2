// How clients are told of a server's errors about prepared statements.

import { Ask } from './ask.js'
import { Named } from './client-statements.js'
import type { Note } from './notes.js'
import type { Statement } from './prepared.js'
import { PreparedNote } from './prepared-notes.js'
import { Renamed, reworded } from './reserved-names.js'
import { refusedAsStale, ShapeNote, staleError } from './statement-shape.js'

/**
 * The error with the client's own name for a statement in place of the server's; null where it is told as it came.
 * @param chunk has the whole ErrorResponse from `at` to `end`, or else it is too long to be one about a name
 * @param note of what failed
 */
export function inOwnWords(chunk: Buffer, at: number, end: number, note: Note | null): Buffer | null {
  if (note === null || note instanceof Ask || end > chunk.length) return null
  if (note === refusedAsStale) return staleError
  const error = chunk.subarray(at, end)
  if (note instanceof Renamed) return reworded(error, note.reserved, note.name)
  const statement = statementOf(note)
  return statement === null ? null : reworded(error, statement.name, (note as Named).name)
}

/** The statement that a message named, where it did so with a name of the client's. */
function statementOf(note: Note): Statement | null {
  const isNaming = note instanceof Named || note instanceof PreparedNote || note instanceof ShapeNote
  return isNaming && note.name !== '' ? note.statement : null
}
