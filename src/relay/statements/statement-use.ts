// hot path
// What a Bind or Describe names, put in place: the name that servers know, the statement where the server lacks it, or a name to be refused.

import type { Cutter } from '../../io/cutter.js'
import type { Frames } from '../../protocol/framing.js'
import * as frontend from '../../protocol/frontend.js'
import type { Note } from '../note.js'
import * as request from '../outstanding.js'
import type { ClientSide } from '../pair.js'
import type { Named } from './named.js'
import { noteOf } from './prepared-notes.js'
import { Renamed } from './renamed.js'
import type { Replay } from './replay.js'
import { absentBytes, absentName, commandBytes } from './reserved-names.js'
import { isShown, refusedAsStale, ShapeNote } from './result-shape.js'
import type { Rewriter } from './rewriter.js'
import type { CommandText } from './sql-command.js'
import type { Resolved, SqlPortals } from './sql-portals.js'
import { noRows, type Statement, telling } from './statement.js'
import type { StatementProvision } from './statement-provision.js'
import type { UnnamedStatement } from './unnamed-statement.js'

export class StatementUse {
  /** What the Bind, or Describe of a statement, at hand names; null: nothing of ours. */
  used: Named | null = null
  /** The command that it is of. */
  command: Resolved | null = null
  /** What is to be known when it is refused. */
  refusal: Note | null = null
  private readonly client: ClientSide
  private readonly frames: Frames
  private readonly cutter: Cutter
  private readonly out: Rewriter
  private readonly replay: Replay
  private readonly unnamed: UnnamedStatement
  private readonly provision: StatementProvision
  private readonly portals: SqlPortals

  constructor(
    client: ClientSide,
    frames: Frames,
    cutter: Cutter,
    out: Rewriter,
    replay: Replay,
    unnamed: UnnamedStatement,
    provision: StatementProvision,
    portals: SqlPortals,
  ) {
    this.client = client
    this.frames = frames
    this.cutter = cutter
    this.out = out
    this.replay = replay
    this.unnamed = unnamed
    this.provision = provision
    this.portals = portals
  }

  /** Nothing is named yet. */
  begin(): void {
    this.used = null
    this.command = null
    this.refusal = null
  }

  /**
   * Returns whether it hangs on the answers to earlier exchanges what the name means, or whether the server has the statement.
   * Were one of them to fail, a Parse or Close in it would be skipped. (A Parse that was sent takes its name with it; nothing to
   * wait for.)
   */
  isUncertain(name: string, statement: Statement | undefined): boolean {
    const { dues } = this.client
    const { statements } = this.client.server!
    if (dues.readies === 0) return false
    if (statement === undefined) return dues.closes > 0
    if (this.client.statements.isPending(name)) return dues.closes > 0 || this.client.statements.isReused(name)
    return !statements.isAnswered(statement) && (dues.closes > 0 || statements.isPending(statement))
  }

  /**
   * Puts the server-side name in place of the client's, which stands from `start` to `end` of the chunk.
   * @returns false where that can't be judged yet
   */
  rename(at: number, start: number, end: number): boolean {
    const { client } = this
    this.begin()
    const name = this.cutter.chunk.toString('latin1', start, end)
    const known = client.server!.statements
    let named = this.provision.find(name)
    if (named !== undefined && named.command !== null) return this.renameCommand(at, start, end, named.command)
    let told = named?.told
    if (told === telling) {
      if (client.dues.readies > 0) return false // it may come to nothing
      told = undefined
    }
    let isDescribed = false
    if (named !== undefined) {
      const isKnown = known.has(named.statement)
      if (!isKnown || (told !== undefined && known.shapeOf(named.statement) !== told)) {
        isDescribed =
          (this.replay.isUnderWay && this.replay.isDescribed) || isShown(this.cutter.chunk, this.frames, at, start)
        if (!isKnown) {
          this.provision.fresh(named, isDescribed)
          named = client.statements.find(name)
        }
      }
    }
    const statement = named?.statement
    if (this.isUncertain(name, statement)) return false
    if (named === undefined || statement === undefined) {
      this.refuseUnknown(at, start, end, name)
      return true
    }
    this.replay.uses(statement, at, client)
    if (known.has(statement)) known.touch(statement)
    else this.provision.provideInBatch(at, statement)
    if (!isDescribed && this.mustCompare(statement, told)) {
      if (!known.isAsked(statement)) this.askShape(at, statement, name)
      return false
    }
    if (statement.changesNames) known.isStrange = true
    this.used = named
    const shape = known.shapeOf(statement)
    if (isDescribed || told === undefined || shape === undefined || shape === told)
      this.out.replace(at, start, end, statement.nameBytes)
    else this.refuse(at, start, end, statement)
    return true
  }

  /** The same where the name stands for a PREPARE, EXECUTE or DEALLOCATE. */
  private renameCommand(at: number, start: number, end: number, text: CommandText): boolean {
    if (this.client.dues.readies > 0) return false
    this.command = this.portals.make(at, text)
    this.out.replace(at, start, end, commandBytes)
    return true
  }

  /** The client's own unnamed statement, or none; false: that can't be judged yet. */
  findUnnamed(at: number): boolean {
    this.begin()
    if (!this.unnamed.provide(this.client, this.out, at)) return false
    const { unnamed } = this.portals
    if (unnamed === null || this.unnamed.number === 0) return true
    this.portals.prepareFor(at, unnamed)
    this.command = unnamed
    return true
  }

  /** A name that stands for nothing: PostgreSQL is made to say so, by a name that no statement has. */
  private refuseUnknown(at: number, start: number, end: number, name: string): void {
    this.out.replace(at, start, end, absentBytes)
    this.refusal = new Renamed(absentName, name)
  }

  /** Returns whether the client goes by a Describe from before, which has still to be found true of this server. */
  private mustCompare(statement: Statement, told: string | undefined): boolean {
    const { statements, failed } = this.client.server!
    if (told === undefined || told === noRows || statements.shapeOf(statement) !== undefined) return false
    return !failed || this.client.dues.readies > 0 // what it belongs to has failed: it will be skipped
  }

  private askShape(at: number, statement: Statement, name: string): void {
    this.out.collect(at)
    this.out.add(frontend.askForRows(statement.name))
    this.client.owe(request.DescribeAdded, new ShapeNote(statement, null, name))
    this.client.server!.statements.setAsked(statement, true)
  }

  /** The client's rows would not be those it was told of: the server is made to refuse it, and forgets the statement. */
  private refuse(at: number, start: number, end: number, statement: Statement): void {
    const { client } = this
    client.server!.statements.take(statement)
    client.server!.statements.retireAll()
    this.out.collect(at)
    this.out.add(frontend.closeStatement(statement.name))
    client.owe(request.CloseAdded, noteOf.evict(statement, client.statements))
    this.out.replace(at, start, end, absentBytes)
    this.refusal = refusedAsStale
  }
}
