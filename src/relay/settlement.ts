// What a client is told when its server is lost: one ReadyForQuery for each Query and Sync that it has sent, and why.

import * as backend from '../protocol/backend.js'
import type { PgError } from '../protocol/errors.js'
import { aborted, type Loss, rolledBack } from './lost-block.js'
import type { Note } from './note.js'
import type { Dues, Outstanding } from './outstanding.js'
import * as request from './outstanding.js'
import type { ClientSide, ServerSide } from './pair.js'
import type { Stake } from './stake.js'
import { Commit, PrepareTransaction, Rollback } from './transaction-control.js'

/** What a client had of a server, when that was lost. */
export interface Lost {
  readonly owed: Outstanding<ClientSide, Note>
  readonly dues: Dues
  readonly stake: Stake
  readonly loss: Loss
  /** Amid messages of the extended protocol that no Sync has closed yet. */
  readonly isInBatch: boolean
  /** It has sent more, which no server was sent. */
  readonly isAhead: boolean
  readonly server: Pick<ServerSide, 'status' | 'failed' | 'queryFailed' | 'copyIn'>
}

export interface Settlement {
  readonly told: readonly Buffer[]
  /** The first error that it was told; null: none was due. */
  readonly error: PgError | null
  /** A transaction block was lost, and nothing of it is committed. */
  readonly isSure: boolean
  /** Where the client is then. */
  readonly status: number
  /** It is told nothing more up to its Sync. */
  readonly skips: boolean
  /** What it is to be told next, since nothing is owed now; null: it knows. */
  readonly untold: PgError | null
}

/** Returns whether nobody can know how many of the Syncs that were sent count: some may have been read within a COPY. */
export function isUncountable(owed: Outstanding<unknown, unknown>, dues: Dues, isInCopy: boolean): boolean {
  if (isInCopy || dues.copyEnds === 0) return false
  let at = 0
  while (at < owed.length && owed.kindAt(at) !== request.CopyEnd) {
    if (owed.kindAt(at) === request.Sync && owed.isOf(at, dues)) return true
    at++
  }
  return false
}

export function settle(lost: Lost): Settlement {
  const { dues, stake, loss, server } = lost
  const isOwed = dues.length > dues.copyEnds || lost.isInBatch
  const isBlock = server.status !== backend.Idle
  const hadFailed = server.status === backend.InFailedTransaction || (isBlock && (server.failed || server.queryFailed))
  // A transaction block, and nothing that is unanswered may have committed it.
  const isSure = isBlock && (!(isOwed && stake.mayCommit) || isFailedCommit(lost))
  const isLeft = isSure && isOwed && (stake.hasLeft || stake.mayCommit)
  const answers = new Answers(lost, isSure, hadFailed)
  answers.walk()
  const { told, error, skips, readies } = answers
  // Who has sent more without waiting for answers means that for the block, not for what comes after it.
  const isAhead = readies + (skips ? 1 : 0) > 1 || (lost.isAhead && readies > 0)
  const stays = isSure ? !isLeft : isAhead && stake.isOpen
  const isPending = !skips && error === null && !hadFailed && (isSure ? !isLeft : lost.isInBatch)
  const status = !stays ? backend.Idle : isPending ? backend.InTransaction : backend.InFailedTransaction
  if (answers.lastReady >= 0) told[answers.lastReady] = backend.readyForQuery(status)
  return { told, error, isSure, skips, status, untold: isPending ? (isSure ? loss.ofBlock : loss.ofOutcome) : null }
}

/** A COMMIT by itself of what had failed: it can only have been rolled back. */
function isFailedCommit({ dues, stake, server, isInBatch }: Lost): boolean {
  if (dues.length !== 1 || isInBatch || server.status !== backend.InFailedTransaction) return false
  return stake.latest === Commit || stake.latest === PrepareTransaction
}

/** Goes through what is owed, in order. */
class Answers {
  readonly told: Buffer[] = []
  /** ReadyForQuerys, and where the last of them stands. */
  readies = 0
  lastReady = -1
  error: PgError | null = null
  /** The batch at hand has been told an error. */
  skips: boolean
  // The Query at hand has been told one by the server.
  private queryFailed: boolean
  private hadFailed: boolean
  private readonly lost: Lost
  private readonly isSure: boolean

  constructor(lost: Lost, isSure: boolean, hadFailed: boolean) {
    this.lost = lost
    this.isSure = isSure
    this.hadFailed = hadFailed
    this.skips = lost.server.failed
    this.queryFailed = lost.server.queryFailed
  }

  walk(): void {
    const { owed, dues, server } = this.lost
    let isInCopy = server.copyIn
    for (let at = 0; at < owed.length; at++) {
      if (!owed.isOf(at, dues)) continue
      switch (owed.kindAt(at)) {
        case request.CopyEnd:
          isInCopy = false
          break
        case request.Query:
          this.query(at)
          break
        case request.QueryInBatch:
          if (!this.skips) this.query(at) // else it is passed over with the rest of the batch
          break
        case request.Sync:
          if (isInCopy) break // read as a part of the COPY
          if (!this.skips) this.refuse()
          this.skips = false
          this.ready()
          break
        default:
          if (!this.skips) this.refuse()
          this.skips = true
      }
    }
  }

  /** The latest Query has come true, whether the server got to it or not. */
  private isTrue(at: number): boolean {
    const { owed, stake } = this.lost
    return this.isSure && at === owed.length - 1 && (stake.latest === Rollback || stake.mayCommit)
  }

  private query(at: number): void {
    if (this.isTrue(at)) this.told.push(rolledBack)
    else if (!this.queryFailed) this.refuse()
    this.queryFailed = false
    this.ready()
  }

  private refuse(): void {
    const { loss } = this.lost
    const error = !this.isSure ? loss.ofOutcome : this.hadFailed ? null : loss.ofBlock
    this.hadFailed = true
    this.told.push(error === null ? aborted : loss.bytesOf(error))
    this.error ??= error
  }

  private ready(): void {
    this.readies++
    this.lastReady = this.told.length
    this.told.push(backend.readyForQuery(this.isSure ? backend.InFailedTransaction : backend.Idle))
  }
}
