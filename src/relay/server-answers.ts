// hot path
// What the answers of a server mean for what it owes: what each message completes, what an error skips, what is put in and left out.

import { gather } from '../io/gather.js'
import type { Socket } from '../io/socket.js'
import * as backend from '../protocol/backend.js'
import * as request from './outstanding.js'
import { OwnQuery } from './own-query.js'
import type { ClientSide } from './pair.js'
import type { ParameterSet } from './parameters.js'
import { ServerCopy } from './server-copy.js'
import * as messages from './server-messages.js'
import type { ServerStatements } from './statements/server-statements.js'
import { correct, inOwnWords, seeCommand } from './statements/statement-errors.js'

export abstract class ServerAnswers extends ServerCopy {
  readonly parameters: ParameterSet
  // Its exchange, which failed on a plan gone stale, is run again when that has been answered.
  protected retry: ClientSide | null = null

  // Its statement, refused as a write, may be run elsewhere when that has been answered.
  protected refused: ClientSide | null = null

  constructor(socket: Socket, parameters: ParameterSet, statements: ServerStatements) {
    super(socket, statements)
    this.parameters = parameters
  }

  /** The answers of the extended protocol, each matched with what was asked. */
  protected handleExtended(at: number, code: number): boolean {
    if (this.failed) return true // a CommandComplete of the past can't come; leave it to ReadyForQuery
    const { kind, owner } = this.owed
    const ended = request.endedBy(code)
    if (ended === 0) {
      if (kind === request.BadFlush) return this.desync(at, `unexpected ${String.fromCharCode(code)}`)
      if (code === backend.CopyInResponse) this.beginCopy()
      else if (request.likenessOf(kind) > 0 || messages.isStaleNext(this.cutter.chunk, code, this.frames.end))
        this.drop(at)
      return true // more of the same answer follows
    }
    if (ended === kind) {
      if (owner === null) this.drop(at)
      else if (kind === request.Bind || kind === request.Describe) owner.names.replay.giveUp()
      if (this.copyIn && !this.endCopy(at)) return false
    } else if (ended === request.likenessOf(kind)) {
      this.drop(at)
    } else {
      return this.desync(at, `unexpected ${String.fromCharCode(code)}`)
    }
    this.confirm(at)
    this.owed.shift()
    if (this.frames.end <= this.cutter.chunk.length) this.addOmitted(this.frames.end)
    return true
  }

  /** DISCARD ALL and DEALLOCATE ALL take all prepared statements with them; others may change what they give. */
  protected noteCommand(at: number): void {
    const { chunk } = this.cutter
    const length = this.frames.bodyLength
    if (messages.isDefinition(chunk, at + 5, length)) return this.statements.retireAll()
    if (messages.isSetting(chunk, at + 5, length)) this.parameters.doubt()
    seeCommand(chunk, at + 5, length, this.owed, this.statements)
    if (!messages.isReset(chunk, at + 5, length)) return
    this.statements.forgetAnswered()
    this.recipient()?.statements.forgetAnswered()
  }

  protected handleError(at: number): void {
    const { kind, owner, note } = this.owed
    const [chunk, end] = [this.cutter.chunk, this.frames.end]
    if (messages.isFarewell(chunk, at, end)) this.tookLeaveOf = this.recipient()
    else if (this.copyIn && owner !== null) this.endFailedCopy(at, owner)
    this.copyIn = false
    this.isRefusing = false
    if (this.closed) return
    const isStale = messages.isStalePlan(chunk, at, end)
    if (isStale) this.statements.retireAll()
    const isFirst = !this.failed
    if (isFirst && owner !== null && this.isToRunElsewhere(at, owner)) return
    if (kind === request.Query) this.queryFailed = true
    else if (kind !== request.QueryInBatch) this.failed = true
    if (!isFirst || note === null) return
    const isMissing = correct(chunk, at, end, note, this.statements)
    if ((isStale || isMissing) && owner !== null && this.owed.dues.readies === 1 && owner.waitToRunAgain(isStale)) {
      this.send(at)
      this.retry = owner
      this.owed.forget(owner)
      return
    }
    const told = inOwnWords(chunk, at, end, note)
    if (told === null) return
    this.drop(at)
    this.add(told)
  }

  /** A statement that was refused as a write: nothing of its answer has been passed on, and nothing is. */
  private isToRunElsewhere(at: number, owner: ClientSide): boolean {
    const { chunk } = this.cutter
    const { end } = this.frames
    if (owner.stake === null || !messages.isReadOnly(chunk, at, end) || this.owed.dues.readies !== 1) return false
    if (!messages.isPreamble(chunk, at) || !owner.waitToRunElsewhere()) return false
    const before = gather.take(owner.socket)
    owner.withhold(Buffer.concat([before, chunk.subarray(this.cutter.from, end)]))
    this.cutter.from = at
    if (this.owed.kind === request.Query) this.queryFailed = true
    else this.failed = true
    this.refused = owner
    this.owed.forget(owner)
    return true
  }

  /** The message at `at` answers the head, or nothing has to. */
  private confirm(at: number): void {
    const note = this.owed.note
    if (note === null || note instanceof OwnQuery) return
    if (note.needsWhole) note.see(this.cutter.chunk.subarray(at + 5, this.frames.end), this.statements)
    else note.confirm(this.statements)
  }

  /** After an error the server skips to the next Sync, Query and FunctionCall included: what stands before it will not be answered. */
  protected skipFailed(): void {
    let skipped = 0
    while (skipped < this.owed.length && this.owed.kindAt(skipped) !== request.Sync) skipped++
    for (let i = skipped - 1; i >= 0; i--) {
      // what was done last is undone first
      const note = this.owed.noteAt(i)
      if (note !== null && !(note instanceof OwnQuery)) note.undo(this.statements)
    }
    for (; skipped > 0; skipped--) this.owed.shift()
  }

  protected addOmitted(at: number): void {
    while (!this.failed) {
      const kind = this.owed.kind
      if (!request.isUnanswered(kind)) return
      if (kind !== request.CopyEnd && this.owed.owner !== null) {
        this.collect(at)
        this.add(kind === request.ParseOmitted ? backend.parseComplete : backend.closeComplete)
      }
      this.confirm(at)
      this.owed.shift()
    }
  }
}
