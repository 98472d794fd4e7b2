// A client that outlives its server: what it is told then, and when what it had asked for goes to another one.

import * as backend from '../protocol/backend.js'
import { PgError } from '../protocol/errors.js'
import { NoCopy } from './client-flow.js'
import { ClientPlay } from './client-play.js'
import { Loss, LostBlock } from './lost-block.js'
import { OwnQuery } from './own-query.js'
import type { ServerSide } from './pair.js'
import { isUncountable, settle } from './settlement.js'
import { Stake } from './stake.js'

export abstract class ClientLoss extends ClientPlay {
  // The answer that it is not told for now: its statement was refused as a write.
  private refusal: Buffer | null = null
  // As the settings say. Amid what takes a stake it keeps that until all is answered.
  private outlives = false
  /** What its next server is given before it goes on: the BEGIN of a block that has come to nothing else. */
  protected opening: Buffer | null = null

  /** What may have been sent before is not known: until all is answered, it may have committed. */
  set outlivesServers(outlives: boolean) {
    this.outlives = outlives
    if (outlives) this.stake ??= new Stake(this.parameters)
    else this.dropStake()
  }

  private dropStake(): void {
    if (this.stake === null || this.lost !== null || this.refusal !== null || this.opening !== null) return
    this.stake.kept.giveUp()
    this.stake = null
  }

  /** It is in a transaction that was lost, without a server. */
  get isInLostBlock(): boolean {
    return this.lost !== null
  }

  /** Returns whether it can go on without this server, which it still has: told exactly what it is owed. */
  mayOutlive(server: ServerSide): boolean {
    if (!this.outlives || server.inquiry !== null || server.isAmid(this)) return false
    return !isUncountable(server.owed, this.dues, server.copyIn)
  }

  /**
   * The server has refused what is under way, since it takes no writes (25006).
   * @returns whether that is one statement, and not told for now: it may be run again
   */
  waitToRunElsewhere(): boolean {
    const { stake, server } = this
    if (stake === null || server === null || this.socket.hasWritten || this.unsynced) return false
    return stake.kept.isOnly(this.cutter) && this.frames.atBoundary
  }

  /** The client is not told this refusal for now, and nothing more of it is sent. */
  withhold(answer: Buffer): void {
    this.refusal = answer
    this.stalled = this.runsAgain = true
  }

  /** The server owes nothing more: its session says what is to become of the refused statement. */
  onRefusedAsReadOnly(): void {
    this.events.onRefusedAsReadOnly()
  }

  /** The refused statement is run again; the client has no server any more. */
  runElsewhere(): void {
    this.sendAgain()
    this.resume()
  }

  /** The server that the client has got is given the BEGIN that goes before its statement, which waits from `at` on. */
  protected openBlock(at: number): boolean {
    this.keep(this.cutter.chunk, at)
    this.stalled = this.runsAgain = true
    this.server!.ask(this.opening!, openingOf(this))
    return false
  }

  /** The BEGIN has been answered with this status. */
  onOpened(status: number): void {
    this.opening = null
    this.stalled = this.runsAgain = false
    if (status === backend.InTransaction) this.resume()
    else this.events.onViolation('server_crashed', '')
  }

  /** No server is waited for any more, to run a refused statement on: the block that it was in has failed. */
  protected failBlock(): void {
    if (this.opening === null) return
    this.opening = null
    this.lost = failedBlock()
  }

  /** The refused statement is not run again: the client is told what the server said, and this status. */
  tellRefusal(status: number): void {
    const { refusal } = this
    if (refusal === null) return
    this.refusal = null
    this.stake!.kept.giveUp()
    this.socket.write(refusal)
    this.socket.write(backend.readyForQuery(status))
    this.stalled = this.runsAgain = false
    this.events.onAnswered(status)
    this.resume()
    this.releaseIfQuiet()
  }

  /** A refused statement waits for it to be decided whether it is run again. */
  get isRefused(): boolean {
    return this.refusal !== null
  }

  private sendAgain(): void {
    const { kept } = this.stake!
    this.refusal = null
    this.stalled = this.runsAgain = this.unsynced = false
    this.opening = kept.opening
    const bytes = kept.take()
    if (bytes !== null) this.backlog.addFirst(bytes)
  }

  /**
   * What it has sent can't have been carried out: no byte of it has gone out, or it was refused. Or it is a plain BEGIN, of
   * whose answer the client has nothing: with the server it left nothing behind.
   */
  private isUntouched(server: ServerSide): boolean {
    if (this.refusal !== null) return true
    const { kept } = this.stake!
    if (server.status !== backend.Idle || this.dues.length === 0 || !kept.isOnly(this.cutter)) return false
    return !server.socket.hasWritten || (kept.isBegin && !this.socket.hasWritten)
  }

  /**
   * The server that it had is closed: it is told what that has left unanswered, or has it carried out by another.
   * @returns the first error that it was told; null: none for now
   */
  outlive(server: ServerSide, loss: Loss): PgError | null {
    const { dues } = this
    if (this.isUntouched(server)) {
      server.owed.clear()
      this.forgetAnswers()
      this.sendAgain()
      return null
    }
    const isInBatch = this.unsynced || this.skipping
    const settlement = settle({
      owed: server.owed,
      dues,
      stake: this.stake!,
      loss,
      isInBatch,
      isAhead: this.backlog.length > 0 || !this.frames.atBoundary,
      server,
    })
    const { told, error, status, untold } = settlement
    const skips = settlement.skips || this.skipping
    server.owed.clear()
    this.forgetAnswers()
    if (settlement.isSure) for (const [name, value] of this.parameters.revert()) this.tellParameter(name, value)
    for (const bytes of told) this.socket.write(bytes)
    const block = new LostBlock(loss, status, skips, untold)
    this.lost = block.isOver ? null : block
    this.unsynced = skips || (isInBatch && (untold !== null || told.length === 0))
    this.events.onPlayed()
    return error
  }

  private tellParameter(name: string, value: string): void {
    this.socket.write(backend.parameterStatus(name, value))
  }

  /** Nothing that the server has yet to say matters any more. */
  private forgetAnswers(): void {
    this.stalled = this.runsAgain = this.flushed = this.skipping = false
    this.copy = NoCopy
    this.names.forgetServer()
  }

  override onServerQuiet(status: number, isAsk: boolean): void {
    if (this.stake !== null && this.refusal === null) this.stake.kept.giveUp()
    if (!this.outlives) this.dropStake()
    super.onServerQuiet(status, isAsk)
  }

  override close(): void {
    super.close()
    if (this.stake !== null) this.stake.kept.giveUp()
  }
}

function openingOf(client: ClientLoss): OwnQuery {
  return new OwnQuery((answer) => {
    // Of a server that is lost meanwhile, the client asks another.
    if (!(answer instanceof Error)) client.onOpened(answer.error === undefined ? answer.status : 0)
  })
}

function failedBlock(): LostBlock {
  return new LostBlock(new Loss(new PgError('server_lost'), ''), backend.InFailedTransaction, false, null)
}
