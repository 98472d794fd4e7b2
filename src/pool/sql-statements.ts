// PREPARE, EXECUTE and DEALLOCATE as SQL: the same names as in the protocol, so that they hold on whatever server a client gets.

import * as frontend from '../protocol/frontend.js'
import { quoteIdentifier, singleStatement, type Token } from '../protocol/sql.js'
import { Ask } from './ask.js'
import type { ClientRelay } from './client-relay.js'
import type { Statement } from './prepared.js'
import { noteOf, type PreparedNote } from './prepared-notes.js'
import { absentName, Renamed, takenName } from './reserved-names.js'

/** Longer texts are passed on as they are. */
export const longestSqlStatement = 256 * 1024

/** What is sent in place of a Query, and what is to be known when it is answered; undefined: the Query as it is. */
export interface Rewritten {
  readonly query: Buffer
  readonly note: PreparedNote | Renamed | null
}

export interface Command {
  /** `reset`: DISCARD ALL and DEALLOCATE ALL, which name nothing. */
  readonly verb: 'prepare' | 'execute' | 'deallocate' | 'reset'
  readonly name: string
  /** Where the name stands in the text. */
  readonly start: number
  readonly end: number
}

/** May a Query whose text begins with this byte be one of the three? Blanks and comments may stand before the word. */
export function mayNameStatement(firstByte: number): boolean {
  switch (firstByte | 0x20) {
    case 0x70: // p
    case 0x65: // e
    case 0x64: // d
      return true
    default:
      return firstByte <= 0x20 || firstByte === 0x2f || firstByte === 0x2d // blank, / or -
  }
}

/** Rewrites a Query of a client whose server owes nothing; sends what has to come before it. */
export function rewriteQuery(client: ClientRelay, text: string, command: Command): Rewritten | undefined {
  if (command.verb === 'reset') return undefined
  return command.verb === 'prepare' ? rewritePrepare(client, text, command) : rewriteUse(client, text, command)
}

/** `text`: a character a byte (latin1), since only its client knows what encoding it is in. */
export function readCommand(text: string): Command | undefined {
  const tokens = singleStatement(text)
  const verb = tokens?.[0]?.kind === 'word' ? tokens[0].text : undefined
  if (tokens !== undefined && isReset(tokens)) return { verb: 'reset', name: '', start: 0, end: 0 }
  if (tokens === undefined || (verb !== 'prepare' && verb !== 'execute' && verb !== 'deallocate')) return undefined
  const skip = verb === 'deallocate' && isWord(tokens[1], 'prepare') && tokens.length > 2 ? 2 : 1
  const name = tokens[skip]
  if (name === undefined || (name.kind !== 'word' && name.kind !== 'quoted')) return undefined
  if (verb === 'prepare' && isWord(name, 'transaction')) return undefined
  if (verb === 'deallocate' && tokens.length > skip + 1) return undefined
  return { verb, name: name.text, start: name.start, end: name.end }
}

function isReset(tokens: readonly Token[]): boolean {
  const [verb, object, last] = tokens
  if (isWord(verb, 'deallocate') && isWord(object, 'prepare') && tokens.length === 3) return isWord(last, 'all')
  return (isWord(verb, 'deallocate') || isWord(verb, 'discard')) && tokens.length === 2 && isWord(object, 'all')
}

function isWord(token: Token | undefined, word: string): boolean {
  return token?.kind === 'word' && token.text === word
}

function rewritePrepare(client: ClientRelay, text: string, command: Command): Rewritten | undefined {
  const server = client.server!
  if (client.statements.get(command.name) !== undefined) {
    // PostgreSQL itself refuses it: with a name that is taken there, too.
    server.ask(takeName, new Ask(ignore))
    return { query: renamed(text, command, takenName), note: new Renamed(takenName, command.name) }
  }
  const rest = text.slice(command.end)
  const statement = client.statements.add(command.name, statementBody(rest), rest)
  if (statement === null) return undefined
  if (server.statements.has(statement)) {
    server.statements.remove(statement)
    server.ask(Buffer.concat([frontend.closeStatement(statement.name), frontend.sync]), new Ask(ignore))
  }
  makeRoom(client)
  server.statements.add(statement)
  return {
    query: renamed(text, command, statement.name),
    note: noteOf.prepare(statement, command.name, client.statements),
  }
}

/** EXECUTE and DEALLOCATE: the server is given the statement first where it lacks it. */
function rewriteUse(client: ClientRelay, text: string, command: Command): Rewritten | undefined {
  const named = client.statements.find(command.name)
  if (named === undefined) {
    return { query: renamed(text, command, absentName), note: new Renamed(absentName, command.name) }
  }
  const { statements } = client.server!
  const statement = statements.has(named.statement) ? named.statement : client.statements.reread(named, true)
  makeKnown(client, statement)
  if (command.verb === 'execute') return { query: renamed(text, command, statement.name), note: null }
  const note = client.statements.deallocate(command.name)
  statements.take(statement)
  return { query: renamed(text, command, statement.name), note }
}

/** `max_prepared_statements` holds for those made by SQL, too. */
function makeRoom(client: ClientRelay): void {
  const server = client.server!
  const { statements } = server
  const most = client.names.limit - 1
  for (let oldest = statements.evict(most); oldest !== null; oldest = statements.evict(most)) {
    const evicted = oldest
    const close = Buffer.concat([frontend.closeStatement(evicted.name), frontend.sync])
    server.ask(close, new Ask(() => statements.release(evicted)))
  }
}

function makeKnown(client: ClientRelay, statement: Statement): void {
  const server = client.server!
  if (server.statements.has(statement)) return server.statements.touch(statement)
  client.counters.serverParses++
  makeRoom(client)
  server.statements.add(statement)
  const bytes = statement.isSql ? statement.create : Buffer.concat([statement.create, frontend.sync])
  const done = (answer: unknown): void => {
    const failed = answer instanceof Error || (answer as { error?: unknown }).error !== undefined
    if (failed) server.statements.remove(statement)
    else server.statements.confirm(statement)
  }
  server.ask(bytes, new Ask(done))
}

/**
 * `[(types)] AS query`: without types it is what a Parse says, and shared with those who prepare it so; with types, which
 * only the server can look up, it stays SQL.
 */
function statementBody(rest: string): Buffer | undefined {
  const as = /^[ \t\n\r\f\v]+as\b/i.exec(rest)
  if (as === null) return undefined
  return Buffer.from(`${rest.slice(as[0].length).replace(/[ \t\n\r\f\v;]+$/, '')}\0\0\0`, 'latin1')
}

function renamed(text: string, command: Command, name: string): Buffer {
  return queryOf(`${text.slice(0, command.start)}${quoteIdentifier(name)}${text.slice(command.end)}`)
}

function queryOf(text: string): Buffer {
  return frontend.message(frontend.Query, Buffer.from(`${text}\0`, 'latin1'))
}

/** Makes a statement under the name that is to be found taken. */
const takeName = Buffer.concat([frontend.closeStatement(takenName), frontend.emptyStatement(takenName), frontend.sync])

function ignore(): void {}
