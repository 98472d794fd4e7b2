// hot path
// Parse, Bind, Describe and Close of a client, renamed: its names of prepared statements become those that servers know.

import type { Cutter } from '../../io/cutter.js'
import type { Condition } from '../../protocol/errors.js'
import type { Frames } from '../../protocol/framing.js'
import * as frontend from '../../protocol/frontend.js'
import * as request from '../outstanding.js'
import type { ClientSide } from '../pair.js'
import { MayCommit } from '../transaction-control.js'
import { statementLimit } from './client-statements.js'
import { mayChangeNames } from './name-resolution.js'
import type { Named } from './named.js'
import { Broken, Done, Incomplete, Later, type Reading } from './outcome.js'
import { noteOf } from './prepared-notes.js'
import { Renamed } from './renamed.js'
import { Replay } from './replay.js'
import { takenBytes, takenName } from './reserved-names.js'
import { isPortal, noteOfDescribe } from './result-shape.js'
import { Rewriter } from './rewriter.js'
import { SqlPortals } from './sql-portals.js'
import { SqlStatements } from './sql-statements.js'
import { StatementProvision } from './statement-provision.js'
import { StatementUse } from './statement-use.js'
import { longestKept, UnnamedStatement } from './unnamed-statement.js'

/** Where the names in a message that is longer than this are looked for. */
const nameReach = 1024
/** Names that have no end within this many bytes are none. */
const longestNames = 64 * 1024

/** Most answers that a server may owe when another is to come from here: nothing else slows a client that sends only such. */
const mostOwed = 1024 * 1024

export class StatementNames implements Reading {
  wanted = 0
  /** A DEALLOCATE is on its way in a batch: what comes in later ones hangs on whether it was carried out. */
  hasTaken = false
  problem: Condition = 'broken_parse'
  private readonly client: ClientSide
  private readonly frames: Frames
  private readonly cutter: Cutter
  private readonly out: Rewriter
  readonly replay: Replay
  readonly unnamed = new UnnamedStatement()
  private readonly provision: StatementProvision
  private readonly sql: SqlStatements
  private readonly portals: SqlPortals
  private readonly use: StatementUse
  // The portal of the latest Bind, and what it was bound to.
  private portal = ''
  private bound: Named | null = null

  constructor(client: ClientSide, frames: Frames, cutter: Cutter) {
    this.client = client
    this.frames = frames
    this.cutter = cutter
    this.out = new Rewriter(client, frames, cutter)
    this.replay = new Replay(cutter)
    this.provision = new StatementProvision(client, this.out)
    this.sql = new SqlStatements(client, this, this.out, frames, cutter, this.provision)
    this.portals = new SqlPortals(client, this, this.out, frames, cutter, this.provision)
    const { out, replay, unnamed, provision, portals } = this
    this.use = new StatementUse(client, frames, cutter, out, replay, unnamed, provision, portals)
  }

  /** Most statements kept on a server (`max_prepared_statements`); 0: names are not touched. */
  get limit(): number {
    return this.out.limit
  }

  set limit(most: number) {
    this.out.limit = most
  }

  /** There are portals of which an Execute has to be seen. */
  get hasPortals(): boolean {
    return this.portals.hasPortals
  }

  /** What the statement bound last does to its transaction; -1: it is the unnamed one. */
  get boundControl(): number {
    if (this.use.command !== null) return MayCommit
    return this.bound === null ? -1 : this.bound.statement.control
  }

  /** The client has an unnamed statement. */
  get hasUnnamed(): boolean {
    return this.unnamed.number !== 0
  }

  /** The Parse of one that goes to no server for now. */
  parseUnsent(bytes: Buffer): void {
    this.portals.unnamed = null
    this.unnamed.keepUnsent(bytes)
  }

  closeUnsent(): void {
    this.portals.unnamed = null
    this.unnamed.forget()
  }

  /** The server is lost, and all that hung on its answers. */
  forgetServer(): void {
    this.replay.giveUp()
    this.hasTaken = false
    this.unnamed.isFresh = false
  }

  /** Deals with the Query, Parse, Bind, Describe, Execute or Close that `frames` found at `at`. The client has a server. */
  handle(at: number): number {
    const frames = this.frames
    const { dues } = this.client
    if (this.hasTaken && dues.readies > 0) return Later
    if (dues.length === 0) this.hasTaken = false
    const length = frames.end - at
    const there = this.cutter.chunk.length - at
    const { code } = frames
    const needed = code === frontend.Query || code === frontend.Execute ? 0 : this.lengthNeeded(at, length, there)
    if (needed > statementLimit) return this.broken('out_of_memory')
    if (there < needed) {
      this.wanted = needed
      return Incomplete
    }
    switch (frames.code) {
      case frontend.Query:
        return this.sql.handleQuery(at)
      case frontend.Execute:
        return this.portals.handleExecute(at)
      case frontend.Parse:
        return this.handleParse(at)
      case frontend.Bind:
        return this.handleBind(at)
      case frontend.Describe:
        return this.handleDescribe(at)
      default:
        return this.handleClose(at)
    }
  }

  /** How much of a message must be there: a Parse that gives a name, or is short, whole; of all others the names. */
  private lengthNeeded(at: number, length: number, there: number): number {
    if (this.frames.code !== frontend.Parse) return length < nameReach ? length : nameReach
    if (there < 6) return length < 6 ? length : 6
    if (length <= longestKept || this.cutter.chunk[at + 5] !== 0) return length
    return Math.max(length < 9 ? length : 9, this.portals.lengthNeeded(at + 6, length))
  }

  private handleParse(at: number): number {
    const { client, cutter } = this
    const server = client.server!
    const end = this.frames.end
    const nameEnd = cutter.chunk.indexOf(0, at + 5)
    if (nameEnd < 0 || nameEnd >= end) return this.unended(at)
    if (nameEnd === at + 5) {
      return this.handleUnnamedParse(at)
    }
    const name = cutter.chunk.toString('latin1', at + 5, nameEnd)
    if (client.statements.get(name) !== undefined) {
      if (client.dues.readies > 0) return Later // it may yet fail, or be discarded
      this.failDuplicate(at, nameEnd, name)
      return Done
    }
    const sql = this.portals.readParse(nameEnd + 1)
    if (this.use.isUncertain(name, undefined) || (sql !== null && client.dues.readies > 0)) return Later
    const statement = this.provision.remember(name, cutter.chunk.subarray(nameEnd + 1, end))
    if (statement === null) return this.broken('out_of_memory')
    if (this.use.isUncertain(name, statement)) {
      client.statements.remove(name)
      return Later
    }
    client.counters.clientParses++
    if (sql !== null) {
      this.portals.parseNamed(at, name, client.statements.find(name)!, sql)
      return Done
    }
    if (server.statements.has(statement)) {
      if (client.dues.length > mostOwed) return this.broken('out_of_memory')
      this.out.reuse(at, nameEnd, statement, noteOf.reuse(statement, name, client.statements))
    } else {
      this.out.collect(at)
      this.out.addParse(statement, noteOf.prepare(statement, name, client.statements), request.Parse)
    }
    cutter.from = end
    return Done
  }

  private handleUnnamedParse(at: number): number {
    const { client, unnamed, cutter } = this
    const { statements } = client.server!
    const sql = this.portals.readParse(at + 6)
    if (mayChangeNames(cutter.chunk, at + 6, this.frames.end)) statements.isStrange = true
    if (sql === null) {
      this.portals.unnamed = null
      unnamed.begin(cutter.chunk, at, this.frames.end, statements)
    } else {
      if (client.dues.readies > 0) return Later
      unnamed.beginUnkept(statements)
      this.portals.parseUnnamed(at, sql)
    }
    client.owe(request.Parse, unnamed)
    return Done
  }

  private handleBind(at: number): number {
    const chunk = this.cutter.chunk
    const portalEnd = chunk.indexOf(0, at + 5)
    const nameEnd = portalEnd < 0 ? -1 : chunk.indexOf(0, portalEnd + 1)
    if (nameEnd < 0 || nameEnd >= this.frames.end) return this.unended(at)
    if (nameEnd > portalEnd + 1) {
      if (!this.use.rename(at, portalEnd + 1, nameEnd)) return Later
      this.client.counters.binds++
    } else if (!this.use.findUnnamed(at)) {
      return Later
    }
    this.portal = portalEnd === at + 5 ? '' : chunk.toString('latin1', at + 5, portalEnd)
    this.bound = this.use.used
    const note = this.use.refusal ?? this.use.used
    const isTold = this.use.command !== null || this.hasPortals
    this.client.owe(request.Bind, isTold ? this.portals.attach(this.portal, this.use.command, note) : note)
    return Done
  }

  private handleDescribe(at: number): number {
    const nameEnd = this.nameEnd(at)
    if (nameEnd < 0) return this.unended(at)
    this.use.begin()
    if (this.isNamedStatement(at, nameEnd)) {
      if (!this.use.rename(at, at + 6, nameEnd)) return Later
    } else if (this.cutter.chunk[at + 5] === 0x53) {
      if (!this.use.findUnnamed(at)) return Later
    } else if (this.bound !== null && isPortal(this.cutter.chunk, at, nameEnd, this.portal)) {
      this.use.used = this.bound
    }
    const { statements, server } = this.client
    const note = this.use.used === null ? null : noteOfDescribe(this.use.used, statements, server!.statements)
    this.client.owe(request.Describe, this.use.refusal ?? note ?? this.use.used)
    return Done
  }

  private handleClose(at: number): number {
    const nameEnd = this.nameEnd(at)
    if (nameEnd < 0) return this.unended(at)
    const { client, cutter } = this
    // One that goes on behind its name is left to the server to refuse.
    if (!this.isNamedStatement(at, nameEnd) || nameEnd !== this.frames.end - 1) {
      const isStatement = cutter.chunk[at + 5] === 0x53
      if (nameEnd === at + 6 && isStatement) this.unnamed.drop(client.server!.statements)
      if (!isStatement && this.hasPortals) this.portals.set(cutter.chunk.toString('latin1', at + 6, nameEnd), undefined)
      client.owe(request.Close, null)
      return Done
    }
    const name = cutter.chunk.toString('latin1', at + 6, nameEnd)
    if (client.statements.isPending(name) && client.dues.readies > 0) return Later
    if (client.statements.get(name) === undefined && this.use.isUncertain(name, undefined)) return Later
    if (client.dues.length > mostOwed) return this.broken('out_of_memory')
    this.out.collect(at)
    cutter.from = this.frames.end
    client.owe(request.CloseOmitted, client.statements.detach(name))
    return Done
  }

  /** Where the name in a Describe or Close ends, -1 where it does not. */
  private nameEnd(at: number): number {
    const end = this.frames.bodyLength < 2 ? -1 : this.cutter.chunk.indexOf(0, at + 6)
    return end < this.frames.end ? end : -1
  }

  private isNamedStatement(at: number, nameEnd: number): boolean {
    return this.cutter.chunk[at + 5] === 0x53 && nameEnd > at + 6 // S
  }

  /** No end of a name: the message is broken, which the server says, or its names are longer than what has been read of it. */
  private unended(at: number): number {
    const there = this.cutter.chunk.length - at
    const length = this.frames.end - at
    if (there >= length) {
      this.client.owe(request.kindOf(this.frames.code), null)
      return Done
    }
    if (there >= longestNames) return this.broken('broken_parse')
    this.wanted = length < longestNames ? length : longestNames
    return Incomplete
  }

  /**
   * A name that is taken: PostgreSQL itself is made to refuse it, so that text, position and transaction are right. It gets the
   * client's Parse under a name that it has an empty statement by.
   */
  private failDuplicate(at: number, nameEnd: number, name: string): void {
    this.provision.takeName(at)
    this.out.replace(at, at + 5, nameEnd, takenBytes)
    this.client.owe(request.Parse, new Renamed(takenName, name))
  }

  broken(problem: Condition): number {
    this.problem = problem
    return Broken
  }
}
