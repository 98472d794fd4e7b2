// A server is given the statements that SQL of a client names, before that SQL: as exchanges of the pooler's own, or amid a batch.

import { Idle } from '../../protocol/backend.js'
import * as frontend from '../../protocol/frontend.js'
import * as request from '../outstanding.js'
import { OwnQuery } from '../own-query.js'
import type { ClientSide } from '../pair.js'
import type { Named } from './named.js'
import { noteOf } from './prepared-notes.js'
import { makingName, takenName } from './reserved-names.js'
import type { Rewriter } from './rewriter.js'
import type { Statement } from './statement.js'

const closeTaken = frontend.closeStatement(takenName)
const makeTaken = frontend.emptyStatement(takenName)
const takeName = Buffer.concat([closeTaken, makeTaken, frontend.sync])

export class StatementProvision {
  private readonly client: ClientSide
  private readonly out: Rewriter

  constructor(client: ClientSide, out: Rewriter) {
    this.client = client
    this.out = out
  }

  /** What the name stands for on the server at hand. `isGone`: what it stood for has been taken away before, by another name. */
  current(named: Named, isGone = false): Statement {
    const { statements, server } = this.client
    if (isGone) return statements.separate(named)
    return server!.statements.has(named.statement) ? named.statement : this.fresh(named, true)
  }

  /** Names stand for something else on the server at hand, for now, than they do elsewhere. */
  private get isStrange(): boolean {
    const { server, session } = this.client
    return server!.statements.isStrange || session?.mayHold === true
  }

  /** Remembers a statement by the client's name. What its text means in a strange place, it means for this client alone. */
  remember(name: string, body: Buffer): Statement | null {
    const { statements } = this.client
    return this.isStrange ? statements.addOwn(name, statements.newName(), body, '') : statements.add(name, body)
  }

  /** What the client has by this name, which stands for what it always did where the place is strange no more. */
  find(name: string): Named | undefined {
    const { statements, server } = this.client
    const named = statements.find(name)
    if (named === undefined || named.origin === null || server!.status !== Idle || this.isStrange) return named
    statements.giveBack(named)
    return statements.find(name)
  }

  /** The same for SQL, to which statements that are such SQL themselves are not known. */
  findForSql(name: string): Named | undefined {
    const named = this.find(name)
    return named?.command === null ? named : undefined
  }

  /** What the name stands for, to be made on the server at hand, which lacks it. */
  fresh(named: Named, isDescribed: boolean): Statement {
    const { statements, server } = this.client
    if (this.isStrange) return statements.lend(named, true)
    if (server!.status !== Idle && statements.isReadAnew(named)) return statements.lend(named, false)
    return statements.reread(named, isDescribed)
  }

  /** Sees to it that the server has the statement, before what is at `at`. */
  provide(at: number, statement: Statement, keep = 0): void {
    const { client, out } = this
    const known = client.server!.statements
    if (known.has(statement)) return known.touch(statement)
    if (client.isInBatch) return this.provideInBatch(at, statement)
    client.counters.serverParses++
    this.makeRoom(at, keep)
    known.add(statement)
    const create = statement.isSql ? statement.create : Buffer.concat([statement.create, frontend.sync])
    // Where it is in doubt what the server has, it may have this one.
    if (known.hasUnknown)
      out.ask(at, Buffer.concat([frontend.closeStatement(statement.name), frontend.sync]), new OwnQuery())
    out.ask(
      at,
      create,
      new OwnQuery((answer) => {
        if (answer instanceof Error || answer.error !== undefined) known.remove(statement)
        else known.confirm(statement)
      }),
    )
  }

  /** The same amid messages of the extended protocol. */
  provideInBatch(at: number, statement: Statement): void {
    const { client, out } = this
    const known = client.server!.statements
    if (known.has(statement)) return known.touch(statement)
    out.collect(at)
    const note = noteOf.prepare(statement, '', client.statements)
    if (!statement.isSql) return out.addParse(statement, note, request.ParseAdded)
    out.evict()
    client.counters.serverParses++
    known.add(statement)
    out.put(frontend.closeStatement(makingName), request.CloseAdded, null)
    out.put(parseOf(makingName, textOf(statement.create), noTypes), request.ParseAdded, null)
    out.put(frontend.bindNothing(makingName, makingName), request.BindAdded, null)
    out.put(frontend.executePortal(makingName), request.ExecuteAdded, note)
    out.put(frontend.closePortal(makingName), request.CloseAdded, null)
  }

  /** `max_prepared_statements` holds for those made by SQL, too; `keep`: the latest that are needed at once. */
  makeRoom(at: number, keep: number): void {
    const { client, out } = this
    const { statements } = client.server!
    const most = Math.max(out.limit - 1, keep)
    for (let oldest = statements.evict(most); oldest !== null; oldest = statements.evict(most)) {
      const evicted = oldest
      out.collect(at)
      if (client.isInBatch)
        out.put(frontend.closeStatement(evicted.name), request.CloseAdded, noteOf.evict(evicted, client.statements))
      else
        out.ask(
          at,
          Buffer.concat([frontend.closeStatement(evicted.name), frontend.sync]),
          new OwnQuery(() => statements.release(evicted)),
        )
    }
  }

  /** The name that is to be found taken is taken. */
  takeName(at: number): void {
    const { out, client } = this
    if (!client.isInBatch) return out.ask(at, takeName, new OwnQuery())
    out.collect(at)
    out.put(closeTaken, request.CloseAdded, null)
    out.put(makeTaken, request.ParseAdded, null)
  }
}

export const noTypes: Buffer = Buffer.alloc(2)

/** A Parse of a text that is a character a byte. */
export function parseOf(name: string, text: string, types: Buffer): Buffer {
  return frontend.message(frontend.Parse, Buffer.concat([Buffer.from(`${name}\0${text}\0`, 'latin1'), types]))
}

/** The text of a Query. */
function textOf(query: Buffer): string {
  return query.toString('latin1', 5, query.length - 1)
}
