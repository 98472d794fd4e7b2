// hot path
// A client that outlives its server: what it is told then, and when what it had asked for goes to another one.

import * as backend from '../protocol/backend.js'
import type { PgError } from '../protocol/errors.js'
import { NoCopy } from './client-flow.js'
import { ClientPlay } from './client-play.js'
import { type Loss, LostBlock } from './lost-block.js'
import type { ServerSide } from './pair.js'
import { isUncountable, settle } from './settlement.js'
import { Stake } from './stake.js'

export abstract class ClientLoss extends ClientPlay {
  // The error that it is not told for now.
  private refusal: Buffer | null = null

  /** What may have been sent before is not known: until all is answered, it may have committed. */
  set outlivesServers(outlives: boolean) {
    if (outlives !== (this.stake !== null)) this.stake = outlives ? new Stake(this.parameters) : null
  }

  /** It is in a transaction that was lost, without a server. */
  get isInLostBlock(): boolean {
    return this.lost !== null
  }

  /** Returns whether it can go on without this server, which it still has: told exactly what it is owed. */
  mayOutlive(server: ServerSide): boolean {
    if (this.stake === null || server.inquiry !== null || server.isAmid(this)) return false
    return !isUncountable(server.owed, this.dues, server.copyIn)
  }

  /** It has been answered all, and sends more to this server: what begins at `at` of the chunk in hand. */
  protected begin(stake: Stake, server: ServerSide, at: number): void {
    stake.begin(server.status)
    stake.kept.begin(this.cutter, at, server.status === backend.Idle && !this.unsynced)
    this.socket.hasWritten = server.socket.hasWritten = false
  }

  /**
   * The server has refused the one statement that is under way, since it takes no writes (25006), with this error.
   * @returns whether that is not told for now: it may be run again
   */
  waitToRunElsewhere(error: Buffer): boolean {
    const { stake, server } = this
    if (stake === null || server === null || this.socket.hasWritten || this.unsynced) return false
    if (!stake.kept.isOnly(this.cutter) || !this.frames.atBoundary) return false
    this.refusal = error
    this.stalled = this.runsAgain = true
    return true
  }

  /** It has, and is asked what to do. */
  onRefusedAsReadOnly(): void {
    this.events.onRefusedAsReadOnly()
  }

  /** The statement is run again; the client has no server any more. */
  runElsewhere(): void {
    this.refusal = null
    this.sendAgain(this.stake!.kept.take())
    this.resume()
  }

  /** It is not: the client is told what the server said. */
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

  /** It waits for that to be decided. */
  get isRefused(): boolean {
    return this.refusal !== null
  }

  private sendAgain(bytes: Buffer | null): void {
    this.stalled = this.runsAgain = this.unsynced = false
    if (bytes !== null) this.backlog.addFirst(bytes)
  }

  /** No byte of what it has sent has gone out, or it was refused, so that it can't have been carried out. */
  private isUntouched(server: ServerSide): boolean {
    if (this.refusal !== null) return true
    return !server.socket.hasWritten && this.dues.length > 0 && this.stake!.kept.isOnly(this.cutter)
  }

  /** The server that it had is closed. It is told what that has left unanswered. @returns the error of that; null: there is none for now */
  outlive(server: ServerSide, loss: Loss): PgError | null {
    const { dues } = this
    if (this.isUntouched(server)) {
      this.refusal = null
      server.owed.clear()
      this.forgetAnswers()
      this.sendAgain(this.stake!.kept.take())
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
    if (this.frames.bodyLeft > 0) this.dropsRest = true
    this.names.forgetServer()
  }

  override onServerQuiet(status: number, isAsk: boolean): void {
    if (this.stake !== null && this.refusal === null) this.stake.kept.giveUp()
    super.onServerQuiet(status, isAsk)
  }

  override close(): void {
    super.close()
    if (this.stake !== null) this.stake.kept.giveUp()
  }
}
