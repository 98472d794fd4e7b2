// PREPARE, EXECUTE and DEALLOCATE by the extended protocol: statements whose text names another, and the portals they are bound to.

import * as frontend from '../../protocol/frontend.js'
import { quoteIdentifier } from '../../protocol/sql.js'
import { Note } from '../note.js'
import * as request from '../outstanding.js'
import type { Named } from './named.js'
import { Done, Incomplete, Later } from './outcome.js'
import { noteOf } from './prepared-notes.js'
import { absentName, commandName, takenName } from './reserved-names.js'
import type { ServerStatements } from './server-statements.js'
import { type CommandText, mayBeCommand, preparedText, readCommands } from './sql-command.js'
import { CommandNote } from './sql-notes.js'
import { SqlReader } from './sql-reader.js'
import { hasEscapes, isPrepare, longestText } from './sql-statements.js'
import type { Statement } from './statement.js'
import { parseOf } from './statement-provision.js'

/** Such a text as it is sent now: with a name in it that servers know. */
export interface Resolved {
  readonly source: CommandText
  readonly text: string
  readonly reserved: string
  /** What it is for: to be on the server when it is executed; null: none, or one that is yet to be made. */
  readonly statement: Statement | null
}

const closeCommand = frontend.closeStatement(commandName)

/** Most portals with a command in them that are told apart. */
const mostPortals = 100

/** The note of a Bind where portals are told apart: skipped, it leaves the portal bound as it was. */
class BoundNote extends Note {
  private readonly inner: Note | null
  private readonly portals: SqlPortals
  private readonly portal: string
  private readonly before: Resolved | null | undefined

  constructor(portals: SqlPortals, portal: string, before: Resolved | null | undefined, inner: Note | null) {
    super()
    this.portals = portals
    this.portal = portal
    this.before = before
    this.inner = inner
  }

  override undo(): void {
    this.portals.set(this.portal, this.before)
  }

  override inOwnWords(error: Buffer): Buffer | null {
    return this.inner === null ? null : this.inner.inOwnWords(error)
  }

  override correct(error: Buffer, isMissing: boolean, server: ServerStatements): boolean {
    return this.inner?.correct(error, isMissing, server) === true
  }
}

export class SqlPortals extends SqlReader {
  /** What the unnamed statement would do, where it is a command. */
  unnamed: Resolved | null = null
  /** Commands that are bound, by portal; those of the server that the client has. Null: it has run, and runs once only. */
  private readonly portals = new Map<string, Resolved | null>()
  private portalsOf: unknown = null

  /** The one command that the Parse at hand is, whose text begins at `start`; null: it is none. */
  readParse(start: number): CommandText | null {
    const { chunk } = this.cutter
    const { end } = this.frames
    if (end > chunk.length || !mayBeCommand(chunk[start]!, chunk[start + 1]!, chunk[start + 2]!)) return null
    const textEnd = chunk.indexOf(0, start)
    if (textEnd < 0 || textEnd >= end) return null
    const text = chunk.toString('latin1', start, textEnd)
    const [command, ...others] = readCommands(text, hasEscapes(this.client)) ?? []
    if (command === undefined || others.length > 0 || command.verb === 'reset') return null
    return { text, command, types: Buffer.from(chunk.subarray(textEnd + 1, end)) }
  }

  /** How much of a Parse must be there, where its text may be a command. */
  lengthNeeded(start: number, length: number): number {
    const { chunk } = this.cutter
    if (chunk.length < start + 3 || !mayBeCommand(chunk[start]!, chunk[start + 1]!, chunk[start + 2]!)) return 0
    return length <= longestText || isPrepare(chunk, start) ? length : 0
  }

  /** What the text is by now. */
  private resolve(source: CommandText): Resolved {
    const { text, command } = source
    const { statements } = this.client
    const named = this.provision.findForSql(command.name)
    let statement: Statement | null = null
    let reserved = absentName
    if (command.verb === 'prepare')
      reserved = statements.find(command.name) === undefined ? statements.newName() : takenName
    else if (named !== undefined) {
      statement = this.provision.current(named)
      reserved = statement.name
    }
    const sent = text.slice(0, command.start) + quoteIdentifier(reserved) + text.slice(command.end)
    return { source, text: sent, reserved, statement }
  }

  /** Sends a Parse without a name that is such a command, in place of the client's. */
  parseUnnamed(at: number, text: CommandText): void {
    const { out, cutter, frames } = this
    this.unnamed = this.resolve(text)
    out.collect(at)
    out.add(parseOf('', this.unnamed.text, text.types))
    cutter.from = frames.end
  }

  /** The same for one with a name: the statement is made anew each time it is bound, by then as its text is meant by then. */
  parseNamed(at: number, name: string, named: Named, text: CommandText): void {
    const { client, out, cutter, frames } = this
    named.command = text
    out.collect(at)
    out.put(closeCommand, request.CloseAdded, null)
    const note = noteOf.reuse(named.statement, name, client.statements)
    out.put(parseOf(commandName, this.resolve(text).text, text.types), request.Parse, note)
    cutter.from = frames.end
  }

  /** A Bind or Describe at `at` names such a statement: it is made, with what it is for. */
  make(at: number, text: CommandText): Resolved {
    const { out } = this
    const resolved = this.resolve(text)
    out.collect(at)
    out.put(closeCommand, request.CloseAdded, null)
    out.put(parseOf(commandName, resolved.text, text.types), request.ParseAdded, null)
    this.prepareFor(at, resolved)
    return resolved
  }

  /** What a command is for is there when it is bound or described. */
  prepareFor(at: number, { reserved, statement }: Resolved): void {
    if (reserved === takenName) this.provision.takeName(at)
    if (statement !== null) this.provision.provideInBatch(at, statement)
  }

  /**
   * A portal is bound to a command, or to something else.
   * @param note of the Bind
   * @returns the note that takes its place
   */
  attach(portal: string, resolved: Resolved | null, note: Note | null): Note {
    if (this.portalsOf !== this.client.server) this.portals.clear()
    this.portalsOf = this.client.server
    const before = this.portals.get(portal)
    this.set(portal, resolved ?? undefined)
    return new BoundNote(this, portal, before, note)
  }

  set(portal: string, resolved: Resolved | null | undefined): void {
    const { portals } = this
    if (resolved === undefined) portals.delete(portal)
    else if (portals.size < mostPortals) portals.set(portal, resolved)
  }

  /** There are portals with commands in them. */
  get hasPortals(): boolean {
    return this.portals.size > 0 && this.portalsOf === this.client.server
  }

  /** Deals with the Execute at `at`. */
  handleExecute(at: number): number {
    const { client, cutter, frames, names } = this
    const { chunk } = cutter
    const nameEnd = chunk.indexOf(0, at + 5)
    if (nameEnd < 0 || nameEnd >= frames.end) {
      if (frames.end <= chunk.length || frames.end - at > longestText) {
        client.owe(request.Execute, null)
        return Done
      }
      names.wanted = frames.end - at
      return Incomplete
    }
    const portal = chunk.toString('latin1', at + 5, nameEnd)
    const resolved = this.portals.get(portal)
    if (resolved !== undefined && client.dues.readies > 0) return Later
    const note = resolved ? this.execute(at, resolved) : null
    if (note === undefined) return names.broken('out_of_memory')
    if (resolved && resolved.source.command.verb !== 'execute') this.portals.set(portal, null)
    client.owe(request.Execute, note)
    return Done
  }

  /** undefined: memory for statements is used up. */
  private execute(at: number, { source, reserved, statement }: Resolved): CommandNote | undefined {
    const { command } = source
    const { client, out } = this
    const { statements } = client
    const known = client.server!.statements
    const note = new CommandNote(null)
    const named = statements.find(command.name)
    if (command.verb === 'prepare') {
      if (named !== undefined || reserved === takenName) {
        note.add(command, reserved, null, null)
        return note
      }
      const { body, sql } = preparedText(source.text, command)
      const made = statements.addOwn(command.name, reserved, body, sql)
      if (made === null) return undefined
      out.collect(at)
      out.evict()
      known.add(made)
      note.add(command, reserved, made, noteOf.prepare(made, command.name, statements))
      return note
    }
    if (statement !== null) this.provision.provideInBatch(at, statement)
    if (command.verb === 'deallocate' && statement !== null && named?.statement === statement) {
      note.add(command, reserved, statement, statements.deallocate(command.name, known))
      this.names.hasTaken = true
    } else {
      note.add(command, reserved, statement, null)
    }
    return note
  }
}
