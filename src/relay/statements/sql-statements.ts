// PREPARE, EXECUTE and DEALLOCATE in a Query: the same names as in messages, so that they hold on whatever server a client gets.

import * as frontend from '../../protocol/frontend.js'
import { quoteIdentifier } from '../../protocol/sql.js'
import * as request from '../outstanding.js'
import type { ClientSide } from '../pair.js'
import { statementLimit } from './client-statements.js'
import { mayAnyChangeNames, mayChangeNames } from './name-resolution.js'
import { Done, Incomplete, Later, Wait } from './outcome.js'
import { noteOf } from './prepared-notes.js'
import { absentName, takenName } from './reserved-names.js'
import { type Command, mayBeCommand, preparedText, readCommands } from './sql-command.js'
import { CommandNote } from './sql-notes.js'
import { SqlReader } from './sql-reader.js'
import type { Statement } from './statement.js'

/** Longer texts are passed on as they are, where they do not begin with the word PREPARE. */
export const longestText = 256 * 1024

export class SqlStatements extends SqlReader {
  /** Deals with the Query at `at`. */
  handleQuery(at: number): number {
    const { frames, client } = this
    const { chunk } = this.cutter
    const server = client.server!
    const kind = client.isInBatch ? request.QueryInBatch : request.Query
    const { end } = frames
    if (end > chunk.length && end - at <= (isPrepare(chunk, at + 5) ? statementLimit : longestText)) {
      this.names.wanted = end - at
      return Incomplete
    }
    let commands: readonly Command[] | null = null
    let text = ''
    if (mayChangeNames(chunk, at + 5, end)) server.statements.isStrange = true
    if (end <= chunk.length && this.mayHaveCommands(at + 5, end)) {
      text = chunk.toString('latin1', at + 5, end - 1)
      if (mayAnyChangeNames(text)) server.statements.isStrange = true
      commands = readCommands(text, hasEscapes(this.client))
    }
    if (commands === null || server.copyIn) {
      client.owe(kind, client.note)
      return Done
    }
    // What its names stand for may hang on the answers to what was sent before.
    if (kind === request.Query ? client.dues.length > 0 : client.dues.readies > 0) return Later
    if (commands.length === 1 && commands[0]!.verb === 'reset') {
      client.owe(kind, client.note)
      return this.wait(kind) // no name is certain before that is answered
    }
    const note = new CommandNote(client.note)
    const query = this.rewrite(at, text, commands, note)
    if (query === null) return this.names.broken('out_of_memory')
    this.out.collect(at)
    this.out.add(query)
    this.cutter.from = end
    const waits = commands.some(({ verb }) => verb === 'deallocate' || verb === 'reset')
    const isOnly = kind === request.Query && isAlone(text) && (waits || end === chunk.length)
    this.names.replay.keepQuery(isOnly ? note.used : null, at, end, server)
    client.owe(kind, note)
    return waits ? this.wait(kind) : Done
  }

  /** Amid a batch, which may have failed, no answer comes before its Sync: what is in later ones waits. */
  private wait(kind: number): number {
    if (kind === request.Query) return Wait
    this.names.hasTaken = true
    return Done
  }

  /** In one of the texts that follow each other in it, if not by its first word. */
  private mayHaveCommands(start: number, end: number): boolean {
    const { chunk } = this.cutter
    if (mayBeCommand(chunk[start]!, chunk[start + 1]!, chunk[start + 2]!)) return true
    const semicolon = this.cutter.nextSemicolon(start)
    return semicolon >= 0 && semicolon < end - 2
  }

  /** The Query with names that servers know; what it needs is sent before it. Null: memory for statements is used up. */
  private rewrite(at: number, text: string, commands: readonly Command[], note: CommandNote): Buffer | null {
    const { statements } = this.client
    const known = this.client.server!.statements
    for (const { name } of commands) {
      const statement = statements.get(name)
      if (statement !== undefined) known.touch(statement) // not to be what makes room for the others
    }
    const gone = new Set<Statement>()
    let query = ''
    let length = 0 // of it, in characters
    let from = 0
    for (const command of commands) {
      if (command.verb === 'reset') {
        // What stands behind it in the text finds nothing.
        statements.forgetAnswered()
        known.forgetAnswered()
        known.hasUnknown = true // should it not come to that
        continue
      }
      const reserved =
        command.verb === 'prepare'
          ? this.prepare(at, text, command, note, commands.length)
          : this.use(at, command, note, gone, commands.length)
      if (reserved === null) return null
      const before = text.slice(from, command.start)
      const name = quoteIdentifier(reserved)
      length += this.charactersIn(before)
      note.moved(length, name.length - this.charactersIn(text.slice(command.start, command.end)))
      length += name.length
      query += before + name
      from = command.end
    }
    return frontend.message(frontend.Query, Buffer.from(`${query}${text.slice(from)}\0`, 'latin1'))
  }

  /** Of a text that is a byte a character here. */
  private charactersIn(bytes: string): number {
    const encoding = this.client.parameters.get('client_encoding')
    return encoding === 'UTF8' ? bytes.replaceAll(/[\x80-\xbf]/g, '').length : bytes.length
  }

  private prepare(at: number, text: string, command: Command, note: CommandNote, keep: number): string | null {
    const { client } = this
    const { statements } = client
    if (statements.get(command.name) !== undefined) {
      // PostgreSQL itself refuses it: with a name that is taken there, too.
      this.provision.takeName(at)
      note.add(command, takenName, null, null)
      return takenName
    }
    const { body, sql } = preparedText(text, command)
    const statement = statements.addOwn(command.name, statements.newName(), body, sql)
    if (statement === null) return null
    this.provision.makeRoom(at, keep)
    client.server!.statements.add(statement)
    note.add(command, statement.name, statement, noteOf.prepare(statement, command.name, statements))
    return statement.name
  }

  /** EXECUTE and DEALLOCATE: the server is given the statement first where it lacks it. */
  private use(at: number, command: Command, note: CommandNote, gone: Set<Statement>, keep: number): string {
    const { statements, server } = this.client
    const named = this.provision.findForSql(command.name)
    if (named === undefined) {
      note.add(command, absentName, null, null)
      return absentName
    }
    const statement = this.provision.current(named, gone.has(named.statement))
    this.provision.provide(at, statement, keep)
    if (command.verb === 'execute') {
      note.add(command, statement.name, statement, null)
    } else {
      note.add(command, statement.name, statement, statements.deallocate(command.name, server!.statements))
      gone.add(statement)
    }
    return statement.name
  }
}

/** Returns whether the text has one statement only. (Where it has a semicolon in a string, it is taken to have several.) */
function isAlone(text: string): boolean {
  return !text.trimEnd().slice(0, -1).includes(';')
}

export function isPrepare(chunk: Buffer, start: number): boolean {
  return chunk.length >= start + 7 && /^prepare$/i.test(chunk.toString('latin1', start, start + 7))
}

/** Returns whether a backslash means something in the plain strings of this client. */
export function hasEscapes(client: Pick<ClientSide, 'parameters'>): boolean {
  return client.parameters.get('standard_conforming_strings') === 'off'
}
