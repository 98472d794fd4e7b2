// hot path
// An exchange that is kept until it has begun well: where its prepared statement's plan has gone stale, it is run again.

import type { Cutter } from '../io/cutter.js'
import { Idle } from '../protocol/backend.js'
import * as frontend from '../protocol/frontend.js'
import { Ask } from './ask.js'
import * as exchange from './exchange.js'
import type { Statement } from './prepared.js'
import type { ServerRelay } from './server-relay.js'

/** Longest exchange that is kept, bytes. */
const longest = 16 * 1024

/**
 * PostgreSQL refuses a statement whose result type has changed since it was prepared ("cached plan must not change result
 * type"). An exchange that begins with its Bind or Describe, outside of a transaction, can simply be run again on a fresh
 * statement; but only where it asks for a Describe: a client that relies on an older one would misread the rows.
 */
export class SecondRun {
  /** The exchange at hand is the second run of one that had failed. */
  isUnderWay = false
  private kept: Buffer | null = null
  private statement: Statement | null = null
  private readonly cutter: Cutter
  // Where in the chunk an exchange begins that may be run again; -1: none.
  private from = -1
  private chunk: Buffer | null = null
  private room: Buffer = Buffer.alloc(0)

  constructor(cutter: Cutter) {
    this.cutter = cutter
  }

  /** Is the exchange under way kept? */
  get isPossible(): boolean {
    return this.kept !== null
  }

  /** The exchange has been answered in part, and can't be run again. */
  giveUp(): void {
    this.kept = null
  }

  /** A Bind or Describe at `at` names this statement. */
  uses(statement: Statement, at: number, server: ServerRelay): void {
    if (isFirst(server)) {
      this.kept = null
      this.from = server.status === Idle ? at : -1
      this.chunk = this.cutter.chunk
      this.statement = statement
    } else if (statement !== this.statement) {
      this.from = -1
    }
  }

  /** The Sync of the exchange is at `at` and ends at `end`: keeps it, where it is one that can be run again. */
  keep(at: number, end: number, server: ServerRelay): void {
    const { from, cutter } = this
    this.from = -1
    const isSecond = this.isUnderWay
    this.isUnderWay = false
    if (from < 0 || isSecond || this.chunk !== cutter.chunk) return
    if (from >= at || end !== cutter.chunk.length || end - from > longest) return
    if (!describesFirst(server)) return
    // The room of the latest one is used again where it fits: a client's exchanges are mostly alike.
    if (this.room.length !== end - from) this.room = Buffer.allocUnsafe(end - from)
    cutter.chunk.copy(this.room, 0, from, end)
    this.kept = this.room
  }

  /** The exchange, once; the server is made to forget its statement. */
  take(server: ServerRelay): Buffer | null {
    const { kept, statement } = this
    this.kept = null
    if (kept === null || statement === null) return null
    server.statements.remove(statement)
    server.ask(Buffer.concat([frontend.closeStatement(statement.name), frontend.sync]), new Ask(ignore))
    this.isUnderWay = true
    return kept
  }
}

/** Has nothing been sent to the server that it still has to answer? A Parse that was left out may stand before. */
function isFirst(server: ServerRelay): boolean {
  for (let i = 0; i < server.owed.length; i++) if (server.owed.kindAt(i) !== exchange.ParseOmitted) return false
  return true
}

/** Is the client told of rows before it is given any? */
function describesFirst({ owed }: ServerRelay): boolean {
  for (let i = 0; i < owed.length; i++) {
    const kind = owed.kindAt(i)
    if (kind === exchange.Describe || kind === exchange.Execute) return kind === exchange.Describe
  }
  return false
}

function ignore(): void {}
