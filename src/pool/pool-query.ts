// A query of the pooler's own, for which it waits in a pool as clients do.

import { PgError } from '../protocol/errors.js'
import type { Answer } from '../relay/own-query.js'
import type { ServerSession } from '../server/server-session.js'
import type { Borrower, Lease } from './lease.js'
import type { Pool } from './pool.js'

export class PoolQuery implements Borrower {
  waitingSince = 0
  lease: Lease | null = null
  readonly ptr = ''
  readonly requestSince = 0
  readonly wants = null
  readonly relay = undefined
  readonly isImpatient: boolean
  private readonly pool: Pool
  private readonly bytes: Buffer
  private readonly done: (answer: Answer | PgError, server?: ServerSession) => void
  private isOver = false

  /**
   * @param bytes one Query, or messages up to a Sync
   * @param isImpatient it does not wait for another attempt to connect where one has failed
   * @param done called at most once: with the answer, while the server is still there; or with why there is none
   */
  constructor(
    pool: Pool,
    bytes: Buffer,
    isImpatient: boolean,
    done: (answer: Answer | PgError, server?: ServerSession) => void,
  ) {
    this.pool = pool
    this.bytes = bytes
    this.isImpatient = isImpatient
    this.done = done
  }

  begin(): void {
    this.pool.acquire(this)
  }

  /** Nobody wants to know any more: it does not wait, or is cancelled. */
  giveUp(): void {
    this.pool.waiting.delete(this)
    if (this.lease !== null) this.pool.cancel(this.lease.server)
  }

  granted(lease: Lease): void {
    lease.server.ask(this.bytes, (answer) => {
      this.end(answer instanceof Error ? new PgError('server_crashed') : answer, lease.server)
      if (lease.state === 'held') lease.release()
    })
  }

  resume(): void {}

  refused(error: PgError): void {
    this.end(error)
  }

  fail(error: PgError): void {
    this.end(error)
  }

  /** The query hears of it by itself. */
  serverLost(): void {}

  mayOutlive(): boolean {
    return false
  }

  outlive(): void {}

  leaves(): boolean {
    return false
  }

  private end(answer: Answer | PgError, server?: ServerSession): void {
    if (this.isOver) return
    this.isOver = true
    this.done(answer, server)
  }
}
