// When a pool opens connections to servers, and what becomes of those who wait for one where that fails.

import { PgError } from '../protocol/errors.js'
import type { Waiter } from '../server/server-session.js'
import type { ClientSession } from './client-session.js'
import type { Pool } from './pool.js'

export class Launcher {
  /** The latest attempt's failure, until one succeeds. */
  failure: PgError | undefined
  /** The same for those who come later. */
  private cached: PgError | undefined
  private failedAt = 0
  private readonly pool: Pool

  constructor(pool: Pool) {
    this.pool = pool
  }

  /** What whoever comes now is told, where connecting has been failing and no server is left to wait for. */
  get refusal(): PgError | undefined {
    if (this.failure === undefined || this.pool.size > 0 || this.pauseLeft === 0) return undefined
    return this.cached
  }

  /** Starts what is needed for those who wait: a check of a used server, or new connections. */
  demand(): void {
    const { pool } = this
    if (pool.isPaused) return
    let wanted = pool.waiting.size + (pool.arriving.size > 0 && !pool.usual.isKnown ? 1 : 0)
    wanted -= pool.connecting.size + pool.tested.size
    for (const server of pool.used) {
      if (wanted <= 0) return
      wanted--
      pool.recycler.check(server)
    }
    while (wanted > 0 && this.mayConnect() && pool.owner.makeRoom(pool)) {
      wanted--
      pool.owner.connect(pool)
    }
  }

  /** `min_pool_size`: kept up while there are clients, or always for a forced user. */
  keepMinimum(): void {
    const { pool } = this
    const { limits } = pool
    if (pool.isPaused || pool.database.disabled || pool.size >= limits.minPoolSize) return
    if (pool.clients.size === 0 && pool.database.config.user === undefined) return
    if (pool.connecting.size === 0 && pool.size < limits.poolSize && this.mayConnect()) {
      if (pool.owner.makeRoom(pool, false)) pool.owner.connect(pool)
    }
  }

  succeeded(): void {
    this.failure = undefined
  }

  /**
   * An attempt has failed; its server is still among those that connect.
   * @param error what a server said, or the pooler of it: those who wait are told where no other server is left, and no
   * other host. Undefined: they wait on, for `query_wait_timeout` at most.
   * @param text in place of that, for those who come later
   */
  failed(error: PgError | undefined, text: string): void {
    const { pool } = this
    const failing = new PgError('server_login_failing', error?.message ?? text)
    this.failure = error ?? failing
    this.cached = failing
    this.failedAt = pool.context.clock.now()
    if (pool.size > 1 || this.hasOtherHost) return
    if (error !== undefined) return this.refuseWaiting(error)
    for (const waiter of pool.waiting) {
      if (waiter.isImpatient !== true) continue
      pool.waiting.delete(waiter)
      waiter.onRefused(failing)
    }
  }

  /** Nobody waits any longer. */
  refuseWaiting(error: PgError): void {
    const { waiting, arriving } = this.pool
    const refused: Waiter[] = [...waiting, ...arriving]
    waiting.clear()
    arriving.clear()
    for (const waiter of refused) waiter.onRefused(error)
  }

  /** After a failure one attempt at a time; with pauses, unless there is another host to try. */
  private mayConnect(): boolean {
    const { pool } = this
    if (this.failure !== undefined && (pool.connecting.size > 0 || this.pauseLeft > 0)) return false
    const { counted, limits } = pool
    if (counted < limits.poolSize) return true
    const afterTimeout = pool.context.config.settings.reserve_pool_timeout * 1000
    if (counted >= limits.poolSize + limits.reservePoolSize || afterTimeout <= 0) return false
    const first = pool.waiting.values().next().value
    if (first === undefined || pool.context.clock.now() - first.waitingSince < afterTimeout) return false
    pool.context.log.warning(
      'taking connection from reserve_pool',
      first.wantsAlignment ? (first as ClientSession) : undefined,
    )
    return true
  }

  /** What is left of the pause after a failure (`server_login_retry`), ms; there is none where another host has not failed. */
  get pauseLeft(): number {
    if (this.failure === undefined || this.hasOtherHost) return 0
    const { clock, config } = this.pool.context
    return Math.max(0, this.failedAt + config.settings.server_login_retry * 1000 - clock.now())
  }

  private get hasOtherHost(): boolean {
    const { database, user, context } = this.pool
    return database.hosts.hasOther(database.config, user.name, context)
  }
}
