// A name of a client's, and what it stands for.

import { Note } from '../note.js'
import { reworded } from './reserved-names.js'
import type { ServerStatements } from './server-statements.js'
import type { CommandText } from './sql-command.js'
import type { Statement } from './statement.js'

/**
 * Also the note of a message that was sent with the statement's name in place of the client's. Where the name comes to stand for
 * another statement, it is another object: what is under way goes by the former.
 */
export class Named extends Note {
  readonly name: string
  readonly statement: Statement
  /** What the client was told of the rows that it gives: a digest, or `noRows`; undefined: nothing. */
  told: string | undefined
  /** What it stands for elsewhere, while that can't be made on the server at hand. */
  readonly origin: Statement | null
  /** Its text is a PREPARE, EXECUTE or DEALLOCATE, and goes to servers by way of `SqlPortals`. */
  command: CommandText | null = null

  constructor(name: string, statement: Statement, origin: Statement | null = null) {
    super()
    this.name = name
    this.statement = statement
    this.told = undefined
    this.origin = origin
  }

  override inOwnWords(error: Buffer): Buffer | null {
    return this.name === '' ? null : reworded(error, this.statement.name, this.name)
  }

  override correct(error: Buffer, isMissing: boolean, server: ServerStatements): boolean {
    return isMissing && isAbout(error, this.statement, server)
  }
}

/** The error names this statement, which the server has no more. */
export function isAbout(error: Buffer, statement: Statement, server: ServerStatements): boolean {
  if (reworded(error, statement.name, '') === null) return false
  server.remove(statement)
  return true
}
