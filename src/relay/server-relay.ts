// hot path
// Bytes from a server to its client: whole chunks as they come; and what ReadyForQuery and ParameterStatus bring about.

import type { Socket, SocketOwner } from '../io/socket.js'
import type { Counters } from '../observe/stats.js'
import * as backend from '../protocol/backend.js'
import { ConnectionLost } from '../protocol/conversation.js'
import { Cut, Message } from '../protocol/framing.js'
import type { ServerEvents } from './events.js'
import * as request from './outstanding.js'
import { OwnQuery } from './own-query.js'
import type { BlockedSource, ClientSide, ServerSide } from './pair.js'
import type { ParameterSet } from './parameters.js'
import { ServerAnswers } from './server-answers.js'
import * as messages from './server-messages.js'
import type { ServerStatements } from './statements/server-statements.js'

const nothing = Buffer.alloc(0)

export class ServerRelay extends ServerAnswers implements SocketOwner, ServerSide {
  /**
   * A Query or FunctionCall came in the midst of a batch of the extended protocol: PostgreSQL 18 may be left within its
   * transaction although it says that it is idle, and fail the next statement, whoever sends it.
   */
  isMixed = false
  /** A client's bytes wait for this server to take more. */
  blockedSource: BlockedSource | null = null
  /** The FATAL that it ended with, where its client was not told that; the body. */
  parting: Buffer | null = null
  private readonly events: ServerEvents
  private readonly counters: Counters
  // All that was owed has been answered; whoever waits for that is told when nothing else is found behind it.
  private isSettling = false
  // The pooler's own exchange that was answered last.
  private finished: OwnQuery | null = null

  constructor(
    socket: Socket,
    parameters: ParameterSet,
    statements: ServerStatements,
    counters: Counters,
    events: ServerEvents,
  ) {
    super(socket, parameters, statements)
    this.counters = counters
    this.events = events
    socket.hearsOut = true // its own FATAL says more than that it has gone
  }

  /** No message is half way. */
  get isBetweenMessages(): boolean {
    return this.frames.atBoundary
  }

  /** Nothing is owed, and no message is half way. */
  get isQuiet(): boolean {
    return this.owed.length === 0 && this.frames.atBoundary
  }

  onBytes(incoming: Buffer): void {
    this.counters.sent += incoming.length
    const chunk = this.frames.join(incoming)
    if (chunk === null) return
    this.take(chunk)
    if (this.isSettling && this.isQuiet && !this.closed) this.settle()
    const client = this.client
    if (client?.isHeldUp && !this.closed) client.onProgress()
  }

  /**
   * All is answered. Only now, at the end of what was read, may the server go to someone else: whatever stood behind the last
   * ReadyForQuery can't be an answer to what is asked next.
   */
  private settle(): void {
    this.isSettling = false
    const { finished, retry, refused } = this
    this.finished = null
    this.retry = null
    this.refused = null
    if (refused !== null && this.client === refused) refused.onRefusedAsReadOnly()
    if (retry !== null && this.client === retry) retry.runAgain()
    if (finished !== null) finished.finish(this.status)
    if (this.owed.length > 0 || this.closed) return
    this.client?.onServerQuiet(this.status, finished !== null)
  }

  /** The client that has this server is done, but the server is in the middle of a message: `settle` comes behind it. */
  settleLater(): void {
    this.isSettling = true
  }

  private take(chunk: Buffer): void {
    this.cutter.begin(chunk)
    let at = 0
    if (this.frames.bodyLeft > 0) {
      at = this.frames.skipBody(chunk)
      if (this.isDropping || this.recipient() === null) this.cutter.from = at
      if (this.frames.bodyLeft > 0) return this.send(at)
      this.isDropping = false
      this.addOmitted(at)
    }
    while (at < chunk.length) {
      const found = this.frames.next(chunk, at)
      if (found !== Message) {
        if (found === Cut) this.hold(at, 5)
        else this.desync(at, 'bad message length')
        return
      }
      const reach = this.reachNeeded()
      if (reach > chunk.length) return this.hold(at, reach - at)
      if (!this.handle(at)) return
      at = this.frames.skip(chunk)
      // Rows that are passed on change nothing here: those that follow go the way of the first.
      if (messages.isRow(this.frames.code) && this.owed.owner !== null) at = this.frames.skipLike(chunk, at)
    }
    this.send(chunk.length)
    if (this.frames.bodyLeft > 0) this.isDropping = this.cutter.from > chunk.length || this.recipient() === null
  }

  onDrain(): void {
    const source = this.blockedSource
    this.blockedSource = null
    if (source !== null) source.onServerDrain()
  }

  onGone(): void {
    this.closed = true
    this.events.onGone()
  }

  /** Closes without a word to the session; used by it. */
  close(): void {
    this.closed = true
    this.socket.end()
    this.finished?.fail(new ConnectionLost('closed'))
    this.finished = null
  }

  /** Puts in the answers that the pooler owes at the head (left-out Parse and Close), for a Flush that no server message follows. */
  answerOmitted(): void {
    if (this.frames.bodyLeft > 0) return // they go behind the message that is still coming in
    const { chunk, from } = this.cutter // may be called from within `onBytes`
    this.cutter.begin(nothing)
    this.addOmitted(0)
    this.send(0)
    this.cutter.begin(chunk)
    this.cutter.from = from
  }

  private reachNeeded(): number {
    const { code, bodyLength, end } = this.frames
    const { note } = this.owed
    const isOwn = note !== null && (note.needsWhole || note instanceof OwnQuery)
    return messages.reachNeeded(this.cutter.chunk, code, bodyLength, end, isOwn)
  }

  /** Deals with the message at `at`. False: the connection is being closed. */
  private handle(at: number): boolean {
    const code = this.frames.code
    const { inquiry } = this
    if (inquiry !== null && !inquiry.isAnswered) return this.handleInquired(at, code, inquiry)
    this.addOmitted(at)
    const kind = this.owed.kind
    if (code === backend.ErrorResponse && this.isParting(at)) return this.part(at)
    if (kind === 0 && !messages.isAsynchronous(code)) return this.handleUnasked(at, code)
    switch (code) {
      case backend.DataRow:
      case backend.CopyData:
        break
      case backend.ReadyForQuery:
        return this.handleReady(at)
      case backend.ErrorResponse:
        this.handleError(at)
        break
      case backend.ParameterStatus:
        this.handleParameter(at)
        break
      case backend.NotificationResponse:
        if (this.owed.note instanceof OwnQuery && this.client !== null) {
          this.drop(at) // amid what the pooler asked, it is still for the client that listens
          this.client.socket.write(this.cutter.chunk.subarray(at, this.frames.end))
          return true
        }
        break
      case backend.NoticeResponse:
        break
      default:
        if (code === backend.CommandComplete) this.noteCommand(at)
        if (kind === request.Query || kind === request.QueryInBatch) {
          if (code === backend.CopyInResponse) this.beginCopy()
          else if (code === backend.CommandComplete && this.copyIn && !this.endCopy(at)) return false
        } else if (!this.handleExtended(at, code)) return false
    }
    if (this.owed.note instanceof OwnQuery) this.tell(this.owed.note, at)
    else if (this.recipient() === null) this.drop(at)
    return true
  }

  /** Only a FATAL may come that nobody asked for, beside what is asynchronous; anything else is somebody's who is not known. */
  private handleUnasked(at: number, code: number): boolean {
    if (code !== backend.ErrorResponse) return this.desync(at, `unexpected ${String.fromCharCode(code)}`)
    const isFatal = messages.isFarewell(this.cutter.chunk, at, this.frames.end)
    if (this.frames.end <= this.cutter.chunk.length)
      this.events.onStrayError(this.cutter.chunk.subarray(at + 5, this.frames.end))
    if (!isFatal) return this.desync(at, 'unexpected error')
    this.tookLeaveOf = this.client
    if (this.client === null) this.drop(at)
    return true
  }

  /** Returns whether these are the server's last words, which its client is not told: it goes on. */
  private isParting(at: number): boolean {
    if (this.client === null || this.client.stake === null) return false
    return messages.isEndOfServer(this.cutter.chunk, at, this.frames.end)
  }

  /** The server is lost from here on, whenever it closes. */
  private part(at: number): boolean {
    this.send(at)
    this.parting = Buffer.from(this.cutter.chunk.subarray(at + 5, this.frames.end))
    this.onGone()
    return false
  }

  private handleReady(at: number): boolean {
    const failed = this.failed || this.queryFailed
    if (this.failed) this.skipFailed()
    const kind = this.owed.kind
    if (kind === 0 || !request.endsWithReady(kind) || this.frames.bodyLength !== 1 || this.copyIn) {
      return this.desync(at, 'unexpected ReadyForQuery')
    }
    this.failed = false
    this.queryFailed = false
    this.status = this.cutter.chunk[at + 5]!
    const note = this.owed.note
    const owner = this.owed.owner
    if (note instanceof OwnQuery) {
      this.drop(at)
      this.owed.shift()
      if (this.owed.length === 0) this.finished = note
      else note.finish(this.status)
    } else {
      if (note !== null) {
        this.send(at) // what the client may be told now comes behind it
        if (failed) note.undo(this.statements)
        else note.confirm(this.statements)
      }
      if (owner?.refusesBlocks && this.status !== backend.Idle) return this.refuseBlock(at, owner)
      if (owner === null) this.drop(at)
      else if (this.owed.isOthersNext()) this.send(this.frames.end)
      this.owed.shift()
    }
    this.addOmitted(this.frames.end)
    if (this.owed.length === 0) {
      this.send(this.frames.end) // before anybody else is linked
      this.isSettling = true
    }
    return !this.closed
  }

  /** What has been answered so far is the client's; that it is in a transaction block, it is not told. */
  private refuseBlock(at: number, owner: ClientSide): boolean {
    this.drop(at)
    this.send(this.frames.end)
    this.owed.shift()
    owner.refuseBlock()
    return !this.closed
  }

  protected handleParameter(at: number): void {
    const parameter = backend.readParameterStatus(this.cutter.chunk.subarray(at + 5, this.frames.end))
    if (parameter === undefined) return
    this.parameters.report(parameter.name, parameter.value)
    const owner = this.recipient()
    if (owner !== null) owner.parameters.report(parameter.name, parameter.value)
    this.events.onParameter(parameter.name, parameter.value)
  }

  private tell(ask: OwnQuery, at: number): void {
    if (this.frames.end <= this.cutter.chunk.length) {
      ask.onMessage(this.frames.code, this.cutter.chunk.subarray(at + 5, this.frames.end))
    } else {
      ask.onOverlong()
    }
    this.drop(at)
  }

  /** What came before is its owner's, and goes there. */
  protected desync(at: number, what: string): boolean {
    this.send(at)
    this.closed = true
    this.events.onDesync(what)
    return false
  }
}
