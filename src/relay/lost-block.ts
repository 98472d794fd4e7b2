// A transaction that was lost with its server, played to its client as PostgreSQL would show one that has failed.

import * as backend from '../protocol/backend.js'
import { PgError } from '../protocol/errors.js'
import * as control from './transaction-control.js'

/** Returns whether it leads out of a failed transaction. */
export function isExit(kind: number): boolean {
  return kind >= control.Rollback && kind <= control.PrepareTransaction && kind !== control.RollbackTo
}

/** What was lost is told by one error, which is told again where that is due. */
export class Loss {
  /** 40001: nothing was committed; or the server's own word for what ended the transaction. */
  readonly ofBlock: PgError
  private readonly detail: string

  /** @param detail what the server said; '' where it said nothing */
  constructor(ofBlock: PgError, detail: string) {
    this.ofBlock = ofBlock
    this.detail = detail
  }

  bytesOf(error: PgError): Buffer {
    return backend.errorResponse(error, this.detail === '' ? {} : { D: this.detail })
  }

  /** Something may have been committed. */
  get ofOutcome(): PgError {
    return new PgError('server_lost_outcome_unknown')
  }
}

export const aborted: Buffer = backend.errorResponse(new PgError('in_failed_transaction'))
export const rolledBack: Buffer = backend.commandComplete('ROLLBACK')

export class LostBlock {
  /** As the client has been told it, or is going to be told next. */
  status: number
  /** An error was told in a batch: all is passed over up to the Sync. */
  skips: boolean
  /** What the client is yet to be told; null: it knows. */
  private untold: PgError | null
  /** What is bound to portals, by kind. */
  readonly portals = new Map<string, number>()
  /** Statements by their names, where these are not the client's to keep. */
  readonly prepared = new Map<string, number>()
  private readonly loss: Loss

  constructor(loss: Loss, status: number, skips: boolean, untold: PgError | null) {
    this.loss = loss
    this.status = status
    this.skips = skips
    this.untold = untold
  }

  /** The client knows of it. */
  get isTold(): boolean {
    return this.untold === null
  }

  /** The block is left, and there is nothing more to be told. */
  get isOver(): boolean {
    return this.status === backend.Idle && this.untold === null && !this.skips
  }

  /** The error that the client is told of next; null: that of any failed transaction. */
  get next(): PgError | null {
    return this.untold
  }

  /** The error for what can't be carried out. */
  refuse(): Buffer {
    const { untold } = this
    this.untold = null
    if (this.status === backend.InTransaction) this.status = backend.InFailedTransaction
    return untold === null ? aborted : this.loss.bytesOf(untold)
  }

  /** The error of PostgreSQL about a name. To who does not know yet what was lost, it is told first. */
  refuseFor(error: PgError): Buffer {
    return this.isTold ? backend.errorResponse(error) : this.refuse()
  }

  /**
   * A statement of this kind is carried out.
   * @returns the CommandComplete; null: it is to be refused
   */
  carryOut(kind: number): Buffer | null {
    if (kind === control.RollbackTo) {
      this.untold = this.loss.ofBlock // what came before the savepoint is lost, too
      return null
    }
    if (!isExit(kind) || this.status === backend.Idle) return null
    const mayBeTold = kind === control.Rollback || kind === control.RollbackAndChain || this.isTold
    this.portals.clear()
    if (!mayBeTold) {
      this.status = backend.Idle // as a COMMIT that fails leaves the block
      return null
    }
    const isChained = kind === control.RollbackAndChain || kind === control.CommitAndChain
    this.status = isChained ? backend.InTransaction : backend.Idle
    this.untold = isChained ? this.loss.ofBlock : null // the next block has no server either
    return rolledBack
  }
}
