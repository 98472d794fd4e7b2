// hot path
// Bytes from a client to its server: whole chunks as they come, rewritten only where they name a prepared statement.

import type { Socket } from '../io/socket.js'
import type { Clock } from '../observe/clock.js'
import type { Counters } from '../observe/stats.js'
import { errorResponse, Idle, InFailedTransaction, readyForQuery } from '../protocol/backend.js'
import { type Condition, PgError } from '../protocol/errors.js'
import { Cut, Message } from '../protocol/framing.js'
import * as frontend from '../protocol/frontend.js'
import { CopyBegun, CopySent, HalfClosed, NoCopy, Terminated, Violated } from './client-flow.js'
import { ClientLoss } from './client-loss.js'
import { CopySearch, isCopyText, isPartOfCopy, mayCopy } from './copy-in.js'
import type { ClientEvents, MessageWatch } from './events.js'
import type { Note } from './note.js'
import * as request from './outstanding.js'
import type { ClientSide, ServerSide } from './pair.js'
import type { ParameterSet } from './parameters.js'
import type { Stake } from './stake.js'
import type { ClientStatements } from './statements/client-statements.js'
import { Done, Incomplete, Later, Wait } from './statements/outcome.js'
import { StatementNames } from './statements/statement-names.js'

/** Where the text of a Parse has not begun within so many bytes, it may be anything. */
const longestBegin = 1024

export class ClientRelay extends ClientLoss implements ClientSide {
  readonly parameters: ParameterSet
  readonly statements: ClientStatements
  /** When the exchange under way began, and when the transaction did; ms on the clock. */
  requestSince = 0
  transactionSince = 0
  /** What it leaves in sessions, where `session_state` wants that looked after. */
  session: MessageWatch | null = null
  /** Simple Query is refused (`disable_pqexec`). */
  refuseQuery = false
  /** Statement mode: a transaction block ends the client, who does not hear of its success. */
  refusesBlocks = false
  private readonly clock: Clock
  /** Prepared statement names of this client, and what is due for them. */
  readonly names: StatementNames
  /** What `session` wants to know of the Query or Sync at hand. */
  note: Note | null = null
  private readonly search = new CopySearch()
  // The exchange at hand was refused: it is read up to its end, and not carried out.
  private refusing = false

  constructor(
    socket: Socket,
    parameters: ParameterSet,
    statements: ClientStatements,
    counters: Counters,
    events: ClientEvents,
    maxPacketSize: number,
    clock: Clock,
  ) {
    super(socket, counters, events, maxPacketSize)
    this.clock = clock
    this.parameters = parameters
    this.statements = statements
    this.names = new StatementNames(this, this.frames, this.cutter)
  }

  /** Longest message, bytes (`max_packet_size`). */
  set maxPacketSize(bytes: number) {
    this.frames.maxLength = bytes
  }

  /** Its bytes go to this server from now on, and what that says is for it. Called by the lease alone, as is `unlink`. */
  link(server: ServerSide): void {
    this.server = server
    server.client = this
  }

  /** Has no server any more. */
  unlink(): void {
    if (this.server !== null) this.server.client = null
    this.server = null
    const blocked = this.blockedServer
    this.blockedServer = null
    if (blocked !== null) blocked.socket.resume()
  }

  override close(): void {
    super.close()
    this.statements.close()
  }

  /** Returns whether the exchange that failed is the only one that was sent, and kept. Then nothing more is sent until it runs again. */
  waitToRunAgain(isStale: boolean): boolean {
    if (!this.names.replay.isPossible(isStale) || this.unsynced || !this.frames.atBoundary) return false
    if (!this.stalled && this.backlog.length > 0) return false
    this.stalled = this.runsAgain = true
    return true
  }

  /** Runs that exchange again, on a server that has forgotten the statement it names. */
  runAgain(): void {
    this.stalled = this.runsAgain = false
    const bytes = this.names.replay.take(this.server!)
    if (bytes !== null) this.backlog.addFirst(bytes)
    this.resume()
  }

  /** The server is in a COPY FROM STDIN, whether or not a text has shown it: what is sent next may hang on its outcome. */
  onCopyBegun(): void {
    this.copy = this.isToAnswer(this.server!) ? CopySent : CopyBegun
  }

  /** The Sync that was sent does not count: the server read it in copy mode. */
  awaitSync(): void {
    this.unsynced = true
  }

  /** The server was in the middle of a COPY when the client left, or sent what ends the connection there. */
  onRefusedInCopy(): void {
    if (this.leaving !== Violated) {
      const code = this.leaving === Terminated ? frontend.Terminate : (this.backlog.first ?? 0)
      const text = `0x${code.toString(16).toUpperCase().padStart(2, '0')}`
      const error =
        this.leaving === HalfClosed ? new PgError('unexpected_eof') : new PgError('unexpected_in_copy', text)
      this.socket.write(errorResponse(error))
      this.endWith('lost_synchronization', '')
    }
    this.leaveNow()
  }

  /** A COPY has failed, and what was sent behind it is settled. `skips`: none of its Syncs counted, another has to come. */
  onCopyFailed(skips: boolean): void {
    this.skipping = skips
    this.events.onAnswered(this.server!.status)
  }

  /** The exchange that waits for a server will not be carried out: `error` now, and ReadyForQuery in its place. */
  refuse(error: Buffer): void {
    this.refusing = true
    this.failBlock()
    this.socket.write(error)
    this.resume()
  }

  /** Statement mode: its transaction block is over, whatever else it has asked for. */
  refuseBlock(): void {
    this.leavesAtOnce = true
    this.endWith('transaction_blocks', '')
  }

  protected take(incoming: Buffer): void {
    const chunk = this.frames.join(incoming)
    if (chunk === null) return
    this.cutter.begin(chunk)
    let at = 0
    if (this.frames.bodyLeft > 0) {
      at = this.frames.skipBody(chunk)
      if (this.search.isUnderWay && this.search.finds(chunk, at, this.isBetweenMessages)) this.copy = CopySent
      if (this.server === null || this.dropsRest) this.cutter.from = at // late COPY data, and what is passed over
    }
    while (at < chunk.length) {
      const found = this.frames.next(chunk, at)
      if (found !== Message) {
        if (found !== Cut) {
          this.violation(at, 'bad_packet_header', chunk.subarray(at, at + 8).toString('hex'))
          return
        }
        this.hold(at, 5)
        return
      }
      this.dropsRest = false
      if (!this.handle(at)) return
      at = this.frames.skip(chunk)
    }
    if (this.frames.bodyLeft > 0 && this.frames.code === frontend.Query) this.search.begin(chunk)
    this.send(chunk.length)
    const server = this.server
    if (server !== null && server.inquiry !== null && this.isBetweenMessages) server.sendInquiry(server.inquiry)
    this.releaseIfQuiet() // COPY data that came after the answer kept the server from being released then
  }

  /** Deals with the message at `at`. False: the rest of the chunk is not to be looked at now. */
  private handle(at: number): boolean {
    const code = this.frames.code
    if (this.frames.bodyLength > frontend.longestBody(code)) return this.violation(at, 'invalid_message_length', '')
    if ((this.refusing || this.skipping) && code !== frontend.Terminate) return this.passOver(at, code)
    if (this.lost !== null) {
      const played = this.refuseQuery && code === frontend.Query ? null : this.play(at)
      if (played !== null) return played
    }
    if (this.server !== null && this.waitsForCopy(code)) return this.stall(at)
    switch (code) {
      case frontend.Query:
        if (this.refuseQuery) return this.violation(at, 'pqexec_disallowed', '')
        if (!this.obtainServer(at) || !this.awaitText(at)) return false
        if (this.session !== null && !this.showToSession(at)) return false
        this.names.unnamed.drop(this.server!.statements)
        if (this.isCopy(at)) this.copy = CopySent
        if (this.unsynced) this.server!.isMixed = true
        if (this.names.limit > 0 && this.frames.bodyLength > 8 && !this.server!.isReadingCopy)
          return this.handleNamed(at)
        this.owe(this.unsynced ? request.QueryInBatch : request.Query, this.note)
        return true
      case frontend.Sync:
        if (!this.obtainServer(at)) return false
        this.names.replay.keep(at, this.frames.end, this)
        this.names.unnamed.isFresh = false
        this.unsynced = false
        if (this.copy === CopyBegun) this.copy = CopySent
        if (this.session !== null) this.note = this.session.seeSync()
        this.owe(request.Sync, this.note)
        return true
      case frontend.FunctionCall:
        if (!this.obtainServer(at)) return false
        if (this.unsynced) this.server!.isMixed = true
        this.owe(this.unsynced ? request.QueryInBatch : request.Query, null)
        return true
      case frontend.Parse:
      case frontend.Bind:
      case frontend.Describe:
      case frontend.Close:
        if (!this.obtainServer(at) || (code === frontend.Parse && !this.awaitText(at))) return false
        if (this.session !== null && !this.showToSession(at)) return false
        this.unsynced = true
        if (code === frontend.Parse && this.isCopy(at)) this.copy = CopyBegun
        if (this.names.limit > 0 && !this.server!.isReadingCopy) return this.handleNamed(at)
        this.owe(request.kindOf(code), null)
        return true
      case frontend.Execute:
        if (!this.obtainServer(at)) return false
        this.unsynced = true
        if (this.names.hasPortals) return this.handleNamed(at)
        this.owe(request.Execute, null)
        return true
      case frontend.Flush:
        if (this.frames.bodyLength > 0) return this.handleBadFlush(at)
        this.flushed = true
        if (this.server === null) this.skip(at)
        else this.server.answerOmitted()
        return true
      case frontend.CopyDone:
      case frontend.CopyFail:
        if (this.server === null) {
          this.skip(at) // late: the COPY it belongs to has failed
        } else if (this.dues.length > 0) {
          this.owe(request.CopyEnd, null)
        }
        return true
      case frontend.CopyData:
        if (this.server === null) this.skip(at)
        return true
      case frontend.Terminate:
        this.send(at)
        this.leave(Terminated)
        return false
      default:
        return this.violation(at, 'unknown_packet', '')
    }
  }

  /** PostgreSQL answers it with an error, and skips what follows, but for copy mode, where it passes over it. */
  private handleBadFlush(at: number): boolean {
    if (!this.obtainServer(at)) return false
    this.unsynced = true
    this.owe(request.BadFlush, null)
    return true
  }

  /** A message that is read and not carried out. */
  private passOver(at: number, code: number): boolean {
    if (this.skipping && code === frontend.Sync) {
      this.skipping = false
      return this.handle(at)
    }
    this.skip(at)
    if (this.refusing && frontend.isSyncPoint(code)) {
      this.refusing = false
      this.socket.write(readyForQuery(this.lost === null ? Idle : InFailedTransaction))
    }
    return true
  }

  /** Returns whether it hangs on the outcome of a COPY FROM STDIN how the server will read this message. */
  private waitsForCopy(code: number): boolean {
    const server = this.server!
    if (server.inquiry !== null) return code !== frontend.Terminate
    return this.copy === CopySent && this.isToAnswer(server) && !isPartOfCopy(code)
  }

  /** Where the text of the Query or Parse at `at` begins; -1 where its name has no end in the chunk. */
  private textStart(at: number): number {
    const { chunk } = this.cutter
    if (this.frames.code === frontend.Query) return at + 5
    return chunk[at + 5] === 0 ? at + 6 : chunk.indexOf(0, at + 5) + 1 || -1
  }

  /** Returns whether enough of its text is there to tell whether it is a COPY. Else it is held. */
  private awaitText(at: number): boolean {
    const there = this.cutter.chunk.length
    if (this.frames.end <= there || there - at > longestBegin) return true
    const start = this.textStart(at)
    if (start > 0 && (there - start >= 4 || !this.isCopy(at))) return true
    this.hold(at, there - at + 1)
    return false
  }

  /** Returns whether the text of the Query or Parse at `at` may be a COPY. */
  private isCopy(at: number): boolean {
    const start = this.textStart(at)
    const { code, end } = this.frames
    const { chunk } = this.cutter
    if (start < 0) return true
    if (code === frontend.Parse) return isCopyText(chunk, start, end)
    return mayCopy(chunk, start, end, this.cutter.nextSemicolon(start))
  }

  /** Returns whether the client has a server, or gets one now. If not, the chunk waits from `at` on. */
  private obtainServer(at: number): boolean {
    if (this.server !== null && this.dues.length === 0) {
      this.requestSince = this.clock.now()
      if (this.stake !== null && !this.unsynced) this.begin(this.stake, this.server, at)
      if (!this.unsynced) this.copy = NoCopy
      if (!this.unsynced && this.server.status === Idle) this.transactionSince = this.requestSince
    }
    if (this.server !== null) return this.opening === null || this.openBlock(at)
    this.copy = NoCopy
    if (this.socket.blocked || !this.events.acquire()) {
      this.keep(this.cutter.chunk, at)
      return false
    }
    const server: ServerSide | null = this.server
    if (server !== null && this.opening !== null) return this.openBlock(at)
    if (server !== null && this.stake !== null) this.begin(this.stake, server, at)
    return server !== null
  }

  /** It has been answered all, and sends more to this server: what begins at `at` of the chunk in hand. */
  private begin(stake: Stake, server: ServerSide, at: number): void {
    stake.begin(server.status)
    stake.kept.begin(this.cutter, at, this.unsynced ? 0 : server.status)
    this.socket.hasWritten = server.socket.hasWritten = false
  }

  /** Lets `session` see the message at `at`. False: more of it has to be there first. */
  private showToSession(at: number): boolean {
    const wanted = this.session!.see(this.frames, this.cutter, at)
    this.note = this.session!.note
    if (wanted > 0) this.hold(at, wanted)
    return wanted === 0
  }

  /** Another entry of what the server owes this client. */
  owe(kind: number, note: Note | null): void {
    this.flushed = false
    if (this.stake !== null && kind <= request.Bind) this.stake.seeMessage(kind, this.frames, this.cutter, this.names)
    this.server!.owed.push(kind, this, note, this.dues)
  }

  /** A message that may name a prepared statement. */
  private handleNamed(at: number): boolean {
    const names = this.names
    switch (names.handle(at)) {
      case Done:
        return true
      case Incomplete:
        this.hold(at, names.wanted)
        return false
      case Later:
        return this.stall(at)
      case Wait:
        return this.stall(this.frames.end)
      default:
        return this.violation(at, names.problem, '')
    }
  }

  /** Waits with the rest of the chunk until all that was sent has been answered. */
  private stall(at: number): boolean {
    this.send(at)
    this.stalled = true
    this.keep(this.cutter.chunk, at)
    this.server!.urgeCopy()
    return false
  }

  /** What comes after is not looked at; what came before is carried out first, as PostgreSQL does. */
  private violation(at: number, condition: Condition, detail: string): false {
    this.send(at)
    this.endWith(condition, detail)
    return false
  }
}
