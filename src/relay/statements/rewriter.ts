// hot path
// Puts messages of the pooler's own among those of a client, and other names into these.

import type { Cutter } from '../../io/cutter.js'
import { InFailedTransaction } from '../../protocol/backend.js'
import type { Frames } from '../../protocol/framing.js'
import * as frontend from '../../protocol/frontend.js'
import type { Note } from '../note.js'
import * as request from '../outstanding.js'
import type { OwnQuery } from '../own-query.js'
import type { ClientSide } from '../pair.js'
import { noteOf, type PreparedNote } from './prepared-notes.js'
import { closeTrying, tryingBytes } from './reserved-names.js'
import type { Statement } from './statement.js'

/** Code and length of a message that is rewritten, on their way to where pieces are gathered. */
const head = Buffer.alloc(5)

export class Rewriter {
  /** Most statements kept on a server (`max_prepared_statements`); 0: names are not touched. */
  limit = 0
  private readonly client: ClientSide
  private readonly frames: Frames
  private readonly cutter: Cutter

  constructor(client: ClientSide, frames: Frames, cutter: Cutter) {
    this.client = client
    this.frames = frames
    this.cutter = cutter
  }

  collect(to: number): void {
    this.client.collect(to)
  }

  add(bytes: Buffer): void {
    this.client.add(bytes)
  }

  /** Puts another name in place of what stands from `start` to `end` in the message at `at`; `name`: with its terminator. */
  replace(at: number, start: number, end: number, name: Buffer): void {
    this.collect(at)
    head[0] = this.cutter.chunk[at]!
    head.writeInt32BE(this.frames.bodyLength + 4 + name.length - (end + 1 - start), 1)
    this.add(head)
    this.cutter.from = at + 5
    this.collect(start)
    this.add(name)
    this.cutter.from = end + 1
  }

  /** A Parse of the pooler's own, behind what was collected. */
  addParse(statement: Statement, note: PreparedNote, kind: number): void {
    const { client } = this
    this.evict()
    client.counters.serverParses++
    const known = client.server!.statements
    // Where it is in doubt what the server has, it may have this one.
    if (known.hasUnknown) this.put(frontend.closeStatement(statement.name), request.CloseAdded, null)
    known.add(statement)
    this.put(statement.create, kind, note)
  }

  /**
   * The client's Parse at `at` of a statement that the server has: it is left out; in a transaction that has failed, or may
   * have, it goes under a name that is closed at once, since PostgreSQL refuses it there.
   */
  reuse(at: number, nameEnd: number, statement: Statement, note: PreparedNote): void {
    const server = this.client.server!
    server.statements.touch(statement)
    if (server.status !== InFailedTransaction && this.client.dues.readies === 0) {
      this.collect(at)
      this.cutter.from = this.frames.end
      return this.client.owe(request.ParseOmitted, note)
    }
    this.replace(at, at + 5, nameEnd, tryingBytes)
    this.client.owe(request.Parse, note)
    this.collect(this.frames.end)
    this.put(closeTrying, request.CloseAdded, null)
  }

  /** Makes room for one more statement on the server. */
  evict(): void {
    const { statements } = this.client
    const known = this.client.server!.statements
    for (let oldest = known.evict(this.limit - 1); oldest !== null; oldest = known.evict(this.limit - 1))
      this.put(frontend.closeStatement(oldest.name), request.CloseAdded, noteOf.evict(oldest, statements))
  }

  /** An exchange of the pooler's own before what is at `at`. */
  ask(at: number, bytes: Buffer, ask: OwnQuery): void {
    const server = this.client.server!
    this.collect(at)
    this.add(bytes)
    server.statements.unnamed = 0
    server.owed.push(request.Query, null, ask, this.client.dues)
  }

  /** A message of the pooler's own, in place of the client's or beside it, behind what was collected. */
  put(bytes: Buffer, kind: number, note: Note | null): void {
    this.add(bytes)
    this.client.owe(kind, note)
  }
}
