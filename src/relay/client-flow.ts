// hot path
// When a client's bytes are looked at, what follows when all that it sent is answered, and when it may leave.

import type { Socket, SocketOwner } from '../io/socket.js'
import type { Counters } from '../observe/stats.js'
import { Idle } from '../protocol/backend.js'
import type { Condition } from '../protocol/errors.js'
import { endsCopy, isSyncPoint } from '../protocol/frontend.js'
import { ClientOutput } from './client-output.js'
import type { ClientEvents } from './events.js'
import { Dues, Execute } from './outstanding.js'
import type { ServerSide } from './pair.js'

/** What has been heard last of a client: nothing yet; its Terminate; the end of its stream; what no client may say. */
const Staying = 0
export const Terminated = 1
export const HalfClosed = 2
export const Violated = 3

/** A COPY FROM STDIN that the client may have asked for: none; in the batch at hand; in what was sent up to a sync point. */
export const NoCopy = 0
export const CopyBegun = 1
export const CopySent = 2

export abstract class ClientFlow extends ClientOutput implements SocketOwner {
  readonly counters: Counters
  /** What the server owes it. */
  readonly dues: Dues = new Dues()
  /** The server that waits for this client to read. */
  blockedServer: { readonly socket: Socket } | null = null
  /** It leaves without waiting for answers: a replication may never end. */
  leavesAtOnce = false
  /** Nothing more is looked at until what was sent has been answered. */
  stalled = false
  /** Nor until that has run again. */
  protected runsAgain = false
  // SUSPEND: nothing more is read.
  private isSuspended = false
  // Messages of the extended protocol were sent, and no Sync behind them yet.
  protected unsynced = false
  // The latest of them is a Flush.
  protected flushed = false
  protected copy: number = NoCopy
  protected closed = false
  protected readonly events: ClientEvents
  protected leaving: number = Staying
  // It has said Terminate, or what no client may say: nothing behind that is looked at, not even what had to wait.
  private hasEnded = false
  private condition: Condition = 'bad_packet_header'
  private detail = ''

  constructor(socket: Socket, counters: Counters, events: ClientEvents, maxPacketSize: number) {
    super(socket, maxPacketSize)
    this.counters = counters
    this.events = events
    socket.outlastPeer()
  }

  /** Looks at the messages of a chunk. */
  protected abstract take(chunk: Buffer): void

  /** It is between two messages, and nothing of what it sent waits. */
  get isIdle(): boolean {
    return this.backlog.length === 0 && !this.unsynced && !this.stalled && this.frames.atBoundary
  }

  /** It is amid messages of the extended protocol that no Sync has closed yet. */
  get isInBatch(): boolean {
    return this.unsynced
  }

  /** All that the server was sent is complete, so that it waits for nothing more. */
  get sentWhole(): boolean {
    return !this.unsynced && this.frames.bodyLeft === 0
  }

  /** It waits for something that a server's answer may bring. */
  get isHeldUp(): boolean {
    return this.stalled || this.leaving !== Staying
  }

  onBytes(chunk: Buffer): void {
    this.counters.received += chunk.length
    if (this.leaving !== Staying) return
    if (this.backlog.length > 0 || this.stalled) this.keep(chunk, 0)
    else this.take(chunk)
  }

  onDrain(): void {
    const server = this.blockedServer
    this.blockedServer = null
    if (server !== null) server.socket.resume()
    if (this.server === null) this.resume()
    else if (this.leaving !== Staying) this.leaveWhenDone()
  }

  onGone(): void {
    this.closed = true
    this.events.onGone()
  }

  /** The client sends no more, and may still read: what it has asked for is carried out. */
  onHalfClosed(): void {
    this.leave(HalfClosed)
  }

  /** The server took what it had been sent. */
  onServerDrain(): void {
    if (!this.closed && !this.isSuspended) this.socket.resume()
  }

  suspend(): void {
    this.isSuspended = true
    this.socket.pause()
  }

  endSuspension(): void {
    this.isSuspended = false
    this.resume()
  }

  /** All that was sent has been answered; `isAsk`: the last of it was the pooler's own. */
  onServerQuiet(status: number, isAsk: boolean): void {
    this.unsynced = false // a Query closes a batch as a Sync does, where nothing in it failed
    if (status === Idle) this.server!.statements.isStrange = false
    if (!isAsk) this.events.onAnswered(status)
    if (this.isIdle) this.events.onQuiet(status)
    if (this.leaving !== Staying) this.leaveWhenDone()
  }

  /** The server has answered something. */
  onProgress(): void {
    const server = this.server!
    if (this.copy === CopySent ? !this.isToAnswer(server) : this.dues.readies === 0) this.wake()
    else if (this.stalled && server.isReadingCopy) server.refuseInCopy()
    if (this.leaving !== Staying) this.leaveWhenDone()
  }

  /** Returns whether there will be another ReadyForQuery, with nothing more being sent. */
  protected isToAnswer(server: ServerSide): boolean {
    return this.dues.readies > 0 || (this.dues.inBatch > 0 && !server.failed)
  }

  protected leave(how: number): void {
    const isFirst = this.leaving === Staying
    if (isFirst || how === Violated) this.leaving = how
    if (how !== HalfClosed) this.hasEnded = true
    if (isFirst) this.finish()
    else this.leaveWhenDone()
  }

  /** All that will come has been sent on, or waits. */
  private finish(): void {
    if (this.isBetweenMessages) this.server?.urgeCopy()
    this.leaveWhenDone()
  }

  /** Ends with an error, when what came before has been answered. */
  protected endWith(condition: Condition, detail: string): void {
    this.condition = condition
    this.detail = detail
    this.leave(Violated)
  }

  /** What it had left open is not: there is nothing more to wait for. */
  protected leaveNow(): void {
    this.leavesAtOnce = true
    this.leaveWhenDone()
  }

  /**
   * Ends when all has been answered that the client had asked for. What no sync point closes is not waited for, and a COPY
   * without an end is given one: PostgreSQL takes them back.
   */
  private leaveWhenDone(): void {
    if (this.closed) return
    const { server } = this
    if (!this.leavesAtOnce) {
      if (this.stalled || this.backlog.length > 0 || server?.isBetweenMessages === false) return
      if (this.socket.blocked) return // it has yet to read what it was answered
      if (server?.isReadingCopy && this.isBetweenMessages) server.refuseInCopy()
      if (server !== null && !this.isInCopy(server) && this.isAnswerDue(server)) return
    }
    if (this.leaving === Violated) this.events.onViolation(this.condition, this.detail)
    else if (this.leaving === Terminated) this.events.onTerminate()
    else this.events.onGone()
  }

  /**
   * Returns whether the server is in a COPY of which nothing will be told. It reads on, its end may have been begun and no
   * more; or it has come to the end in a batch, and keeps that to itself while a message of which a part is missing stands
   * behind it.
   */
  private isInCopy(server: ServerSide): boolean {
    const { copyIn, owed } = server
    const { copyEnds } = this.dues
    if (!copyIn || copyEnds === 0 || this.isBetweenMessages) return copyIn && copyEnds === 0
    return owed.kind === Execute || (endsCopy(this.frames.code) && copyEnds === 1)
  }

  /** Returns whether more will be answered of what was sent: not a message without its end, nor what stands behind the last Flush. */
  private isAnswerDue(server: ServerSide): boolean {
    const { failed, inquiry } = server
    const { dues } = this
    // What the inquiry waits for, the end of a message, will not come.
    if (inquiry !== null && inquiry.ask === null && !this.isBetweenMessages) return false
    if (this.unsynced && this.flushed && !failed && dues.length > 0) return true
    const isCut = !this.isBetweenMessages && isSyncPoint(this.frames.code)
    return dues.readies + (failed ? 0 : dues.inBatch) > (isCut ? 1 : 0)
  }

  /** What the client sent may have to wait for earlier answers; these are all there now. */
  private wake(): void {
    if (!this.stalled || this.runsAgain) return
    this.stalled = false
    if (this.copy === CopySent) this.copy = NoCopy
    this.resume()
    this.releaseIfQuiet()
  }

  /** What was sent last needs no answer; should the server have answered all else before, it is not needed any more. */
  protected releaseIfQuiet(): void {
    const server = this.server
    if (server === null || this.dues.length > 0 || !this.isIdle) return
    if (server.isQuiet) this.events.onQuiet(server.status)
    else server.settleLater()
  }

  /** Goes on with what waited; called when a server was linked, or to try again for one. */
  resume(): void {
    if (this.closed || this.stalled) return
    const waiting = this.backlog.take()
    for (let i = 0; i < waiting.length && !this.hasEnded; i++) {
      if (this.backlog.length > 0 || this.stalled) this.keep(waiting[i]!, 0)
      else this.take(waiting[i]!)
      if (this.closed) return
    }
    if (this.leaving !== Staying) return this.finish()
    if (this.isSuspended || this.backlog.isFull) return
    if (this.server === null || !this.isBlockedBy(this.server)) this.socket.resume()
  }

  /** Reads and says nothing any more. */
  close(): void {
    this.closed = true
    this.backlog.take()
    this.frames.forget()
  }
}
