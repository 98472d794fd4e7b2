// hot path
// An exchange that is kept until it has begun well: where its prepared statement's plan has gone stale, or it is gone, it is run again.

import type { Cutter } from '../../io/cutter.js'
import { Idle } from '../../protocol/backend.js'
import * as frontend from '../../protocol/frontend.js'
import * as request from '../outstanding.js'
import { OwnQuery } from '../own-query.js'
import type { ClientSide, ServerSide } from '../pair.js'
import type { Statement } from './statement.js'

/** Longest exchange that is kept, bytes. */
const longest = 16 * 1024

/** Where exchanges are kept while they are under way: a client has one only for so long. */
const rooms: Buffer[] = []

/**
 * PostgreSQL refuses a statement whose result type has changed since it was prepared ("cached plan must not change result
 * type"), and one that is gone: deallocated by SQL that nobody here has seen, such as in a DO. An exchange that begins with its
 * Bind or Describe, outside of a transaction, can simply be run again on a fresh statement. Where the plan was stale, only if it
 * asks for a Describe: a client that relies on an older one would misread the rows.
 */
export class Replay {
  /** The exchange at hand is the second run of one that had failed. */
  isUnderWay = false
  /** The client is told of rows, by the exchange that is kept or run again, before it is given any. */
  isDescribed = false
  private room: Buffer | null = null
  private length = 0
  private statement: Statement | null = null
  private readonly cutter: Cutter
  // Where in the chunk an exchange begins that may be run again; -1: none.
  private from = -1
  private chunk = 0

  constructor(cutter: Cutter) {
    this.cutter = cutter
  }

  /** Returns whether the exchange under way is kept, and it would do to run it again. */
  isPossible(isStale: boolean): boolean {
    return this.room !== null && (this.isDescribed || !isStale)
  }

  /** The exchange has been answered in part, and can't be run again. */
  giveUp(): void {
    if (this.room !== null) rooms.push(this.room)
    this.room = null
  }

  /** A Bind or Describe at `at` names this statement. */
  uses(statement: Statement, at: number, { dues, server }: ClientSide): void {
    // A Parse that was left out may stand before.
    if (dues.length === dues.omitted) {
      this.giveUp()
      this.from = server!.status === Idle ? at : -1
      this.chunk = this.cutter.number
      this.statement = statement
    } else if (statement !== this.statement) {
      this.from = -1
    }
  }

  /** The Sync of the exchange is at `at` and ends at `end`: keeps it, where it is one that can be run again. */
  keep(at: number, end: number, client: ClientSide): void {
    const { from, cutter } = this
    // One that was kept before is not the only one under way any more, or has been answered.
    this.giveUp()
    this.from = -1
    const isSecond = this.isUnderWay
    this.isUnderWay = false
    if (from < 0 || isSecond || this.chunk !== cutter.number) return
    if (from >= at || end !== cutter.chunk.length || end - from > longest) return
    this.isDescribed = describesFirst(client)
    this.copy(from, end)
  }

  /** The Query at `at` is an EXECUTE or DEALLOCATE of this statement, and all that is sent for now; null: it is something else. */
  keepQuery(statement: Statement | null, at: number, end: number, server: ServerSide): void {
    const isSecond = this.isUnderWay
    this.isUnderWay = false
    this.giveUp()
    if (isSecond || statement === null || server.status !== Idle || end - at > longest) return
    this.statement = statement
    this.isDescribed = true
    this.copy(at, end)
  }

  private copy(from: number, end: number): void {
    this.giveUp()
    this.room = rooms.pop() ?? Buffer.allocUnsafeSlow(longest)
    this.length = end - from
    this.cutter.chunk.copy(this.room, 0, from, end)
  }

  /** The exchange, once; the server is made to forget its statement. */
  take(server: ServerSide): Buffer | null {
    const { room, statement } = this
    if (room === null || statement === null) return null
    const bytes = Buffer.from(room.subarray(0, this.length))
    this.giveUp()
    server.statements.remove(statement)
    server.ask(Buffer.concat([frontend.closeStatement(statement.name), frontend.sync]), new OwnQuery())
    this.isUnderWay = true
    return bytes
  }
}

/** Returns whether the client is told of rows before it is given any. */
function describesFirst({ dues, server }: ClientSide): boolean {
  const { owed } = server!
  for (let i = owed.length - dues.length; i < owed.length; i++) {
    const kind = owed.kindAt(i)
    if (kind === request.Describe || kind === request.Execute) return kind === request.Describe
  }
  return false
}
