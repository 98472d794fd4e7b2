// hot path
// Bytes from a client to its server: whole chunks as they come, rewritten only where they name a prepared statement.

import { Cutter } from '../io/cutter.js'
import type { Socket, SocketOwner } from '../io/socket.js'
import type { Clock } from '../observe/clock.js'
import type { Counters } from '../observe/stats.js'
import { Idle, readyForQuery } from '../protocol/backend.js'
import type { Condition } from '../protocol/errors.js'
import { Cut, Frames, Message } from '../protocol/framing.js'
import * as frontend from '../protocol/frontend.js'
import { Backlog } from './backlog.js'
import type { ClientStatements } from './client-statements.js'
import * as exchange from './exchange.js'
import type { Note } from './notes.js'
import type { ParameterSet } from './parameters.js'
import type { ClientEvents } from './relay-events.js'
import type { ServerRelay } from './server-relay.js'
import type { SessionNote } from './session-state.js'
import type { SessionWatch } from './session-watch.js'
import { Done, Incomplete, Later, StatementNames, Wait } from './statement-names.js'

export class ClientRelay implements SocketOwner {
  readonly socket: Socket
  readonly parameters: ParameterSet
  readonly statements: ClientStatements
  readonly counters: Counters
  server: ServerRelay | null = null
  /** The server that waits for this client to read. */
  blockedServer: ServerRelay | null = null
  /** When the exchange under way, and the transaction, began; ms on the clock. */
  requestSince = 0
  /** What it leaves in sessions, where `session_state` wants that looked after. */
  session: SessionWatch | null = null
  /** Simple Query is refused (`disable_pqexec`). */
  refuseQuery = false
  /** Statement mode: a transaction block ends the client, who does not hear of its success. */
  refusesBlocks = false
  private readonly clock: Clock
  private readonly events: ClientEvents
  private readonly frames: Frames
  private readonly cutter = new Cutter()
  /** Prepared statement names of this client, and what is due for them. */
  readonly names: StatementNames
  private closed = false
  private readonly backlog = new Backlog()
  stalled = false
  // Messages of the extended protocol were sent, and no Sync behind them yet.
  private unsynced = false
  /** What `session` wants to know of the Query or Sync at hand. */
  note: SessionNote | null = null
  // The exchange at hand was refused: it is read up to its end, and not carried out.
  private refusing = false

  constructor(
    socket: Socket,
    parameters: ParameterSet,
    statements: ClientStatements,
    counters: Counters,
    events: ClientEvents,
    maxPacketSize: number,
    preparedLimit: number,
    clock: Clock,
  ) {
    this.clock = clock
    this.socket = socket
    this.parameters = parameters
    this.statements = statements
    this.counters = counters
    this.events = events
    this.frames = new Frames(maxPacketSize)
    this.names = new StatementNames(this, this.frames, this.cutter, preparedLimit)
  }

  /** Longest message, bytes (`max_packet_size`). */
  set maxPacketSize(bytes: number) {
    this.frames.maxLength = bytes
  }

  /** Between two messages, and nothing waiting? */
  get isIdle(): boolean {
    return this.backlog.length === 0 && !this.unsynced && !this.stalled && this.frames.atBoundary
  }

  /** Amid messages of the extended protocol that no Sync has closed yet? */
  get isInBatch(): boolean {
    return this.unsynced
  }

  /** Is all that the server was sent complete, so that it waits for nothing more? */
  get sentWhole(): boolean {
    return !this.unsynced && this.frames.bodyLeft === 0
  }

  onBytes(chunk: Buffer): void {
    this.counters.received += chunk.length
    if (this.backlog.length > 0 || this.stalled) this.keep(chunk, 0)
    else this.take(chunk)
  }

  onDrain(): void {
    const server = this.blockedServer
    this.blockedServer = null
    if (server !== null) server.socket.resume()
    if (this.server === null) this.resume()
  }

  onGone(): void {
    this.closed = true
    this.events.onGone()
  }

  /** The server took what it had been sent. */
  onServerDrain(): void {
    if (!this.closed) this.socket.resume()
  }

  /** All that was sent has been answered; `isAsk`: the last of it was the pooler's own. */
  onServerQuiet(status: number, isAsk: boolean): void {
    this.unsynced = false // a Query closes a batch as a Sync does, where nothing in it failed
    if (status === Idle) this.server!.statements.isStrange = false
    if (!isAsk) this.events.onAnswered(status)
    if (this.isIdle) this.events.onQuiet(status)
  }

  /** What the client sent may have to wait for earlier answers; these are all there now. */
  wake(): void {
    if (!this.stalled) return
    this.stalled = false
    this.resume()
    const server = this.server
    if (server !== null && server.owed.length === 0 && this.isIdle) this.events.onQuiet(server.status)
  }

  /** Is the exchange that failed the only one, and kept? Then nothing more is read until it runs again. */
  waitToRunAgain(isStale: boolean): boolean {
    if (this.stalled || !this.names.secondRun.isPossible(isStale) || !this.isIdle) return false
    this.stalled = true
    return true
  }

  /** Runs that exchange again, on a server that has forgotten the statement it names. */
  runAgain(): void {
    this.stalled = false
    const bytes = this.names.secondRun.take(this.server!)
    if (bytes !== null) this.backlog.addFirst(bytes)
    this.resume()
  }

  /** The Sync that was sent does not count: the server read it in copy mode. */
  awaitSync(): void {
    this.unsynced = true
  }

  /** Goes on with what waited; called when a server was linked, or to try again for one. */
  resume(): void {
    if (this.closed || this.stalled) return
    const waiting = this.backlog.take()
    for (let i = 0; i < waiting.length; i++) {
      if (this.backlog.length > 0 || this.stalled) this.keep(waiting[i]!, 0)
      else this.take(waiting[i]!)
      if (this.closed) return
    }
    if (!this.backlog.isFull && this.server?.blockedSource !== this) this.socket.resume()
  }

  /** The exchange that waits for a server will not be carried out: `error` now, and ReadyForQuery in its place. */
  refuse(error: Buffer): void {
    this.refusing = true
    this.socket.write(error)
    this.resume()
  }

  /** Reads and says nothing any more. */
  close(): void {
    this.closed = true
    this.backlog.take()
    this.frames.forget()
    this.statements.close()
  }

  private keep(chunk: Buffer, at: number): void {
    if (at >= chunk.length) return
    this.backlog.add(chunk, at)
    if (this.backlog.isFull) this.socket.pause()
  }

  private take(incoming: Buffer): void {
    const chunk = this.frames.join(incoming)
    if (chunk === null) return
    this.cutter.begin(chunk)
    let at = 0
    if (this.frames.bodyLeft > 0) {
      at = this.frames.skipBody(chunk)
      if (this.server === null) this.cutter.from = at // the rest of late COPY data
    }
    while (at < chunk.length) {
      const found = this.frames.next(chunk, at)
      if (found !== Message) {
        if (found !== Cut) {
          this.violation('bad_packet_header', chunk.subarray(at, at + 8).toString('hex'))
          return
        }
        this.hold(at, 5)
        return
      }
      if (!this.handle(at)) return
      at = this.frames.skip(chunk)
    }
    this.send(chunk.length)
    // COPY data that came after the answer kept the server from being released then.
    const server = this.server
    if (server !== null && server.owed.length === 0 && this.isIdle) this.events.onQuiet(server.status)
  }

  /** Deals with the message at `at`. False: the rest of the chunk is not to be looked at now. */
  private handle(at: number): boolean {
    const code = this.frames.code
    if (this.refusing && code !== frontend.Terminate) return this.refuseMessage(at, code)
    switch (code) {
      case frontend.Query:
        if (this.refuseQuery) return this.violation('pqexec_disallowed', '')
        if (!this.linked(at)) return false
        if (this.session !== null && !this.watched(at)) return false
        this.names.unnamed.drop(this.server!.statements)
        if (this.unsynced) this.server!.isMixed = true
        if (this.names.limit > 0 && this.frames.bodyLength > 8) return this.handleNamed(at)
        this.owe(this.unsynced ? exchange.QueryInBatch : exchange.Query, this.note)
        return true
      case frontend.Sync:
        if (!this.linked(at)) return false
        this.names.secondRun.keep(at, this.frames.end, this.server!)
        if (this.server!.copyIn) return true // read in copy mode, where the server ignores it
        this.names.unnamed.isFresh = false
        this.unsynced = false
        if (this.session !== null) this.note = this.session.seeSync()
        this.owe(exchange.Sync, this.note)
        return true
      case frontend.FunctionCall:
        if (!this.linked(at)) return false
        if (this.unsynced) this.server!.isMixed = true
        this.owe(this.unsynced ? exchange.QueryInBatch : exchange.Query, null)
        return true
      case frontend.Parse:
      case frontend.Bind:
      case frontend.Describe:
      case frontend.Close:
        if (!this.linked(at)) return false
        if (this.session !== null && !this.watched(at)) return false
        this.unsynced = true
        if (this.names.limit > 0) return this.handleNamed(at)
        this.owe(exchange.kindOf(code), null)
        return true
      case frontend.Execute:
        if (!this.linked(at)) return false
        this.unsynced = true
        if (this.names.hasPortals) return this.handleNamed(at)
        this.owe(exchange.Execute, null)
        return true
      case frontend.Flush:
        if (this.server === null) this.skip(at)
        else this.server.answerOmitted()
        return true
      case frontend.CopyDone:
      case frontend.CopyFail:
        if (this.server === null) {
          this.skip(at) // late: the COPY it belongs to has failed
        } else {
          this.server.copyIn = false
          if (this.server.owed.length > 0) this.owe(exchange.CopyEnd, null)
        }
        return true
      case frontend.CopyData:
        if (this.server === null) this.skip(at)
        return true
      case frontend.Terminate:
        this.send(at)
        this.events.onTerminate()
        return false
      default:
        return this.violation('unknown_packet', '')
    }
  }

  private refuseMessage(at: number, code: number): boolean {
    this.skip(at)
    if (code === frontend.Query || code === frontend.FunctionCall || code === frontend.Sync) {
      this.refusing = false
      this.socket.write(readyForQuery())
    }
    return true
  }

  /** Has a server, or gets one now? If not, the chunk waits from `at` on. */
  private linked(at: number): boolean {
    if (this.server?.owed.length === 0) this.requestSince = this.clock.now()
    if (this.server !== null) return true
    if (this.socket.blocked || !this.events.acquire()) {
      this.keep(this.cutter.chunk, at)
      return false
    }
    return this.server !== null
  }

  /** Lets `session` see the message at `at`. False: more of it has to be there first. */
  private watched(at: number): boolean {
    const wanted = this.session!.see(this.frames, this.cutter, at)
    this.note = this.session!.note
    if (wanted > 0) this.hold(at, wanted)
    return wanted === 0
  }

  /** Another entry of what the server owes this client. */
  owe(kind: number, note: Note | null): void {
    this.server!.owed.push(kind, this, note)
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
        return this.violation(names.problem, '')
    }
  }

  /** Waits with the rest of the chunk until all that was sent has been answered. */
  private stall(at: number): boolean {
    this.send(at)
    this.stalled = true
    this.keep(this.cutter.chunk, at)
    return false
  }

  private hold(at: number, wanted: number): void {
    this.send(at)
    this.frames.hold(this.cutter.chunk, at, wanted)
  }

  /** The message at `at` goes to nobody. */
  private skip(at: number): void {
    const server = this.server
    if (!this.cutter.drop(server === null ? null : server.socket, at, this.frames.end)) this.waitFor(server!)
  }

  private send(to: number): void {
    const server = this.server
    if (!this.cutter.send(server === null ? null : server.socket, to)) this.waitFor(server!)
  }

  /** The server does not take more for now. */
  waitFor(slow: ServerRelay): void {
    this.socket.pause()
    // Late COPY data of a client that has no part in this server any more.
    if (slow.blockedSource !== null && slow.blockedSource !== this) slow.blockedSource.onServerDrain()
    slow.blockedSource = this
  }

  private violation(condition: Condition, detail: string): false {
    this.send(this.cutter.from)
    this.closed = true
    this.events.onViolation(condition, detail)
    return false
  }
}
