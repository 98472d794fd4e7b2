// hot path
// Bytes from a client to its server: whole chunks as they come, rewritten only where they name a prepared statement.

import { gather } from '../io/gather.js'
import type { Socket, SocketOwner } from '../io/socket.js'
import type { Clock } from '../observe/clock.js'
import type { Counters } from '../observe/stats.js'
import { readyForQuery } from '../protocol/backend.js'
import type { Condition } from '../protocol/errors.js'
import { Cut, Frames, Message } from '../protocol/framing.js'
import * as frontend from '../protocol/frontend.js'
import * as exchange from './exchange.js'
import type { ParameterSet } from './parameters.js'
import { type ClientStatements, isOurs, PreparedNote, type Statement } from './prepared.js'
import type { ServerRelay } from './server-relay.js'

/** What a client may send while it waits for a server, before it is read no further; bytes. */
const pendingLimit = 64 * 1024
/** Where the names in a message that is longer than this are looked for. */
const nameReach = 1024

const nothing = Buffer.alloc(0)

/** What a client connection asks of the session that owns it. */
export interface ClientEvents {
  /** Wants a server. True: it is linked now; false: `resume` comes later. */
  acquire(): boolean
  /** All that was sent has been answered. */
  onAnswered(status: number): void
  /** The server owes nothing any more, and the client has sent nothing since: may be released. */
  onQuiet(status: number): void
  onTerminate(): void
  onGone(): void
  /** The client broke the protocol or a rule, or used up what it may have. */
  onViolation(condition: Condition, detail: string): void
}

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
  /** Most prepared statements kept on a server; 0: names are not touched. */
  preparedLimit: number
  /** Simple Query is refused (`disable_pqexec`). */
  refuseQuery = false
  private readonly clock: Clock
  private readonly events: ClientEvents
  private readonly frames: Frames
  private closed = false
  // Bytes that wait: for a server, or for what is under way to be answered.
  private pending: Buffer[] = []
  private pendingLength = 0
  private stalled = false
  // Messages of the extended protocol were sent, and no Sync behind them yet.
  private unsynced = false
  // The exchange at hand was refused: it is read up to its end, and not carried out.
  private refusing = false
  private chunk: Buffer = nothing
  private from = 0
  // Empty statements left on the server by a Parse that was made to fail with PostgreSQL's own words.
  private leftBehind: string[] = []

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
    this.preparedLimit = preparedLimit
  }

  /** Between two messages, and nothing waiting? */
  get isIdle(): boolean {
    return this.pendingLength === 0 && !this.unsynced && this.frames.atBoundary
  }

  /** Is all that the server was sent complete, so that it waits for nothing more? */
  get sentWhole(): boolean {
    return !this.unsynced && this.frames.bodyLeft === 0
  }

  onBytes(chunk: Buffer): void {
    this.counters.received += chunk.length
    if (this.pendingLength > 0 || this.stalled) this.keep(chunk, 0)
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

  /** All that was sent has been answered. */
  onServerQuiet(status: number): void {
    this.events.onAnswered(status)
    if (this.stalled) {
      this.stalled = false
      this.resume()
      if (this.closed || this.server === null || this.server.owed.length > 0) return
    }
    if (this.isIdle) this.events.onQuiet(status)
  }

  /** Goes on with what waited; called when a server was linked, or to try again for one. */
  resume(): void {
    if (this.closed || this.stalled) return
    const waiting = this.pending
    this.pending = []
    this.pendingLength = 0
    for (let i = 0; i < waiting.length; i++) {
      if (this.pendingLength > 0 || this.stalled) this.keep(waiting[i]!, 0)
      else this.take(waiting[i]!)
      if (this.closed) return
    }
    if (this.pendingLength < pendingLimit && this.server?.blockedSource !== this) this.socket.resume()
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
    this.pending = []
    this.pendingLength = 0
    this.statements.close()
  }

  private keep(chunk: Buffer, at: number): void {
    if (at >= chunk.length) return
    this.pending.push(Buffer.from(chunk.subarray(at)))
    this.pendingLength += chunk.length - at
    if (this.pendingLength >= pendingLimit) this.socket.pause()
  }

  private take(incoming: Buffer): void {
    const chunk = this.frames.join(incoming)
    if (chunk === null) return
    this.chunk = chunk
    this.from = 0
    let at = 0
    if (this.frames.bodyLeft > 0) {
      at = this.frames.skipBody(chunk)
      if (this.server === null) this.from = at // the rest of late COPY data
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
        this.owe(exchange.Query, null)
        return true
      case frontend.Sync:
        if (!this.linked(at)) return false
        if (this.server!.copyIn) return true // read in copy mode, where the server ignores it
        this.unsynced = false
        this.owe(exchange.Sync, null)
        return true
      case frontend.FunctionCall:
        if (!this.linked(at)) return false
        this.owe(exchange.FunctionCall, null)
        return true
      case frontend.Parse:
      case frontend.Bind:
      case frontend.Describe:
      case frontend.Close:
        if (!this.linked(at)) return false
        this.unsynced = true
        if (this.preparedLimit > 0) return this.handleNamed(at, code)
        this.owe(plainKind(code), null)
        return true
      case frontend.Execute:
        if (!this.linked(at)) return false
        this.unsynced = true
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
    if (this.server !== null) return true
    if (this.socket.blocked || !this.events.acquire()) {
      this.keep(this.chunk, at)
      return false
    }
    return this.server !== null
  }

  private owe(kind: number, note: PreparedNote | null): void {
    const owed = this.server!.owed
    if (owed.length === 0) this.requestSince = this.clock.now()
    owed.push(kind, this, note)
  }

  /** A message that may name a prepared statement. */
  private handleNamed(at: number, code: number): boolean {
    const frames = this.frames
    if (frames.end > this.chunk.length) {
      // A Parse is needed whole; of the others only the names.
      const whole = code === frontend.Parse || frames.end - at <= nameReach
      if (whole || this.chunk.length - at < nameReach) {
        this.hold(at, whole ? frames.end - at : nameReach)
        return false
      }
    }
    switch (code) {
      case frontend.Parse:
        return this.handleParse(at)
      case frontend.Bind:
        return this.handleBind(at)
      default:
        return this.handleByName(at, code)
    }
  }

  private handleParse(at: number): boolean {
    const server = this.server!
    const end = this.frames.end
    const nameEnd = this.chunk.indexOf(0, at + 5)
    if (nameEnd < 0 || nameEnd >= end) return this.violation('broken_parse', '')
    this.counters.clientParses++
    if (nameEnd === at + 5) {
      this.counters.serverParses++
      this.owe(exchange.Parse, null)
      return true
    }
    const name = this.chunk.toString('utf8', at + 5, nameEnd)
    if (this.statements.get(name) !== undefined) {
      if (this.statements.isPending(name) && server.owed.length > 0) return this.stall(at)
      this.failDuplicate(at, name)
      return true
    }
    const statement = this.statements.add(name, this.chunk.subarray(nameEnd + 1, end))
    if (statement === null) return this.violation('out_of_memory', '')
    if (server.statements.isPending(statement) && server.owed.countReady() > 0) {
      this.statements.remove(name)
      return this.stall(at)
    }
    const note = new PreparedNote(statement, name, this.statements, false)
    this.collect(at)
    if (server.statements.has(statement)) {
      server.statements.touch(statement)
      this.owe(exchange.ParseOmitted, note)
    } else {
      this.addParse(statement, note, exchange.Parse)
    }
    this.from = end
    return true
  }

  private handleBind(at: number): boolean {
    const portalEnd = this.chunk.indexOf(0, at + 5)
    const nameEnd = portalEnd < 0 ? -1 : this.chunk.indexOf(0, portalEnd + 1)
    if (nameEnd < 0 || nameEnd >= this.frames.end) return this.violation('broken_parse', '')
    this.counters.binds++
    if (nameEnd > portalEnd + 1) this.rename(at, portalEnd + 1, nameEnd)
    this.owe(exchange.Bind, null)
    return true
  }

  /** Describe or Close: of a statement (S) or a portal (P). */
  private handleByName(at: number, code: number): boolean {
    const nameEnd = this.chunk.indexOf(0, at + 6)
    if (this.frames.bodyLength < 2 || nameEnd < 0 || nameEnd >= this.frames.end) {
      return this.violation('broken_parse', '')
    }
    const isStatement = this.chunk[at + 5] === 0x53 && nameEnd > at + 6
    if (code === frontend.Describe) {
      if (isStatement) this.rename(at, at + 6, nameEnd)
      this.owe(exchange.Describe, null)
      return true
    }
    if (!isStatement) {
      this.owe(exchange.Close, null)
      return true
    }
    const name = this.chunk.toString('utf8', at + 6, nameEnd)
    if (this.statements.isPending(name) && this.server!.owed.countReady() > 0) return this.stall(at)
    const statement = this.statements.detach(name)
    this.owe(
      exchange.CloseOmitted,
      statement === undefined ? null : new PreparedNote(statement, name, this.statements, true),
    )
    this.skip(at)
    return true
  }

  /** Puts the server-side name in place of the client's, which stands from `start` to `end` of the chunk. */
  private rename(at: number, start: number, end: number): void {
    const name = this.chunk.toString('utf8', start, end)
    const statement = this.statements.get(name)
    if (statement === undefined) {
      // Sent as it is, for the server to refuse in its own words; a name like ours is made one that can't exist.
      if (isOurs(name)) this.replace(at, start, end, Buffer.from(`${name} \0`))
      return
    }
    const known = this.server!.statements
    if (known.has(statement)) {
      known.touch(statement)
    } else {
      this.collect(at)
      this.addParse(statement, new PreparedNote(statement, '', this.statements, false), exchange.ParseAdded)
    }
    this.replace(at, start, end, statement.nameBytes)
  }

  private replace(at: number, start: number, end: number, name: Buffer): void {
    this.collect(at)
    const head = Buffer.from(this.chunk.subarray(at, start))
    head.writeInt32BE(this.frames.bodyLength + 4 + name.length - (end + 1 - start), 1)
    this.add(head)
    this.add(name)
    this.from = end + 1
  }

  private addParse(statement: Statement, note: PreparedNote, kind: number): void {
    const server = this.server!
    const oldest = server.statements.evict(this.preparedLimit - 1)
    if (oldest !== null) {
      this.add(closeStatement(oldest.name))
      this.owe(exchange.CloseAdded, null)
      server.statements.release(oldest)
    }
    this.counters.serverParses++
    this.add(statement.parse)
    server.statements.add(statement)
    this.owe(kind, note)
  }

  /**
   * A name that is taken: PostgreSQL itself is made to refuse it, so that text, position and transaction are right. The name is
   * prepared on the server as an empty statement, and then once more.
   */
  private failDuplicate(at: number, name: string): void {
    this.collect(at)
    const empty = emptyParse(name)
    this.add(empty)
    this.owe(exchange.ParseAdded, null)
    this.add(empty)
    this.owe(exchange.Parse, null)
    this.from = this.frames.end
    this.leftBehind.push(name)
  }

  /** The messages that remove the empty statements which refused duplicates left behind, or null. */
  takeCleanup(): Buffer | null {
    if (this.leftBehind.length === 0) return null
    const closes = this.leftBehind.map(closeStatement)
    this.leftBehind = []
    return Buffer.concat([...closes, syncMessage])
  }

  /** Waits with the rest of the chunk until all that was sent has been answered. */
  private stall(at: number): boolean {
    this.send(at)
    this.stalled = true
    this.keep(this.chunk, at)
    return false
  }

  private hold(at: number, wanted: number): void {
    this.send(at)
    this.frames.hold(this.chunk, at, wanted)
  }

  /** The message at `at` goes to nobody. */
  private skip(at: number): void {
    this.collect(at)
    this.from = this.frames.end
  }

  private collect(to: number): void {
    if (to > this.from) this.add(this.chunk.subarray(this.from, to))
    this.from = to
  }

  private add(bytes: Buffer): void {
    if (this.server !== null && !gather.add(this.server.socket, bytes)) this.waitFor(this.server)
  }

  private send(to: number): void {
    const end = to < this.chunk.length ? to : this.chunk.length
    if (this.server !== null && !gather.send(this.server.socket, this.chunk, this.from, end)) this.waitFor(this.server)
    if (end > this.from) this.from = end
  }

  private waitFor(slow: ServerRelay): void {
    this.socket.pause()
    slow.blockedSource = this
  }

  private violation(condition: Condition, detail: string): false {
    this.send(this.from)
    this.closed = true
    this.events.onViolation(condition, detail)
    return false
  }
}

function plainKind(code: number): number {
  switch (code) {
    case frontend.Parse:
      return exchange.Parse
    case frontend.Bind:
      return exchange.Bind
    case frontend.Describe:
      return exchange.Describe
    default:
      return exchange.Close
  }
}

const syncMessage = Buffer.of(frontend.Sync, 0, 0, 0, 4)

function closeStatement(name: string): Buffer {
  return frontend.message(frontend.Close, `S${name}\0`)
}

function emptyParse(name: string): Buffer {
  return frontend.message(frontend.Parse, `${name}\0\0\0\0`)
}
