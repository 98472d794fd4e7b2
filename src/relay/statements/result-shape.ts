// The result type of a prepared statement as clients were told it, so that nobody gets rows of another one.

import { createHash } from 'node:crypto'
import * as backend from '../../protocol/backend.js'
import type { Frames } from '../../protocol/framing.js'
import * as frontend from '../../protocol/frontend.js'
import { Note } from '../note.js'
import type { ClientStatements } from './client-statements.js'
import { isAbout, type Named } from './named.js'
import { reworded } from './reserved-names.js'
import type { ServerStatements } from './server-statements.js'
import { noRows, type Statement, telling } from './statement.js'

/** The note of a Describe, of a statement or of a portal that it was bound to. */
export class ShapeNote extends Note {
  private readonly statement: Statement
  /** Who is told; null: the pooler asks for itself. */
  private readonly client: ClientStatements | null
  /** By what name its client knows it. */
  private readonly name: string
  /** What the client was told before. */
  private readonly before: string | undefined

  constructor(statement: Statement, client: ClientStatements | null, name: string, before?: string) {
    super()
    this.statement = statement
    this.client = client
    this.name = name
    this.before = before
  }

  override get needsWhole(): boolean {
    return true
  }

  /** A RowDescription, or NoData, whose body is empty. */
  override see(body: Buffer, server: ServerStatements): void {
    const shape = body.length === 0 ? noRows : shapeOf(body)
    server.learn(this.statement, shape)
    this.client?.tell(this.name, this.statement, shape)
  }

  override undo(server: ServerStatements): void {
    if (this.client === null) server.setAsked(this.statement, false)
    else this.client.tell(this.name, this.statement, this.before)
  }

  override inOwnWords(error: Buffer): Buffer | null {
    return this.name === '' ? null : reworded(error, this.statement.name, this.name)
  }

  override correct(error: Buffer, isMissing: boolean, server: ServerStatements): boolean {
    return isMissing && isAbout(error, this.statement, server)
  }
}

/** The note for a client's own Describe, if it may tell of rows that the client was not told of before. */
export function noteOfDescribe(
  { statement, name, told }: Named,
  client: ClientStatements,
  server: ServerStatements,
): ShapeNote | null {
  const shape = server.shapeOf(statement)
  if (told !== undefined && (told === shape || told === telling)) return null
  client.tell(name, statement, told === undefined ? shape : telling)
  return new ShapeNote(statement, client, name, told)
}

/** PostgreSQL's own words, with the place in its source by which drivers know what to do about it. */
const staleError: Buffer = backend.errorResponse(
  { severity: 'ERROR', sqlstate: '0A000', message: 'cached plan must not change result type' },
  { F: 'plancache.c', R: 'RevalidateCachedQuery' },
)

class RefusedAsStale extends Note {
  override inOwnWords(): Buffer {
    return staleError
  }
}

/** The note of a Bind or Describe that the server is made to refuse: the client is told `staleError` in place of its words. */
export const refusedAsStale: Note = new RefusedAsStale()

/** Names, types and type modifiers of the columns, as PostgreSQL compares them; where they come from may change. */
function shapeOf(body: Buffer): string {
  const hash = createHash('sha256')
  if (body.length < 2) return ''
  let at = 2
  for (let left = body.readInt16BE(0); left > 0; left--) {
    const nameEnd = body.indexOf(0, at)
    if (nameEnd < 0 || nameEnd + 19 > body.length) break
    hash.update(body.subarray(at, nameEnd + 1)) // name
    hash.update(body.subarray(nameEnd + 7, nameEnd + 11)) // type
    hash.update(body.subarray(nameEnd + 13, nameEnd + 17)) // modifier
    at = nameEnd + 19
  }
  return hash.digest('base64')
}

/**
 * Returns whether the client is about to be told what rows there will be: by the very Describe at `at`, or one of the portal
 * right behind this Bind. `start`: where the statement's name stands.
 */
export function isShown(chunk: Buffer, { code, end }: Frames, at: number, start: number): boolean {
  if (code === frontend.Describe) return true
  const portal = start - at - 5 // length of its name, with the terminator
  if (chunk.length < end + 6 + portal || chunk[end] !== frontend.Describe || chunk[end + 5] !== 0x50) return false // P
  return chunk.compare(chunk, at + 5, start, end + 6, end + 6 + portal) === 0
}

/** Returns whether the Describe at `at`, whose name ends at `nameEnd`, is of this portal. */
export function isPortal(chunk: Buffer, at: number, nameEnd: number, portal: string): boolean {
  if (chunk[at + 5] !== 0x50) return false // P
  return portal === (nameEnd === at + 6 ? '' : chunk.toString('latin1', at + 6, nameEnd))
}
