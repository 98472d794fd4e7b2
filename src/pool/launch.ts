// When a pool opens connections to servers, within pool_size and the reserve; and what becomes of those who wait where that fails.

import * as logTexts from '../observe/log-texts.js'
import { PgError } from '../protocol/errors.js'
import { serverCloseTexts } from '../server/close-reason.js'
import type { Context } from '../server/context.js'
import type { ServerSession } from '../server/server-session.js'
import type { Reach } from '../server/topology/target.js'
import type { Database, User } from './database.js'
import type { Borrower } from './lease.js'
import type { Limits } from './limits.js'

/** Connections of a pool to hosts with roles that are opened at a time. */
const mostConnecting = 8

/** After the first failure at a host with a role, ms; doubled with each. */
const firstPause = 50

/** Waits for the parameters that the servers of a pool have, and for no server. */
export interface Arriving {
  /** Since when, ms on the clock. */
  readonly waitingSince: number
  /** A server has logged in. */
  known(): void
  /** There is none. */
  refused(error: PgError): void
}

/** A pool, as far as servers are opened for those who wait in it. */
export interface LaunchingPool {
  readonly context: Context
  readonly database: Database
  readonly user: User
  readonly limits: Limits
  readonly isPaused: boolean
  /** Servers in any state. */
  readonly size: number
  /** Those that count to `pool_size`. */
  readonly counted: number
  readonly clients: { readonly size: number }
  readonly waiting: Set<Borrower>
  readonly arriving: Set<Arriving>
  readonly connecting: { readonly size: number }
  readonly tested: { readonly size: number }
  readonly used: Iterable<ServerSession>
  readonly usual: { readonly isKnown: boolean }
  readonly reach: Reach
  check(server: ServerSession): void
  /** Returns whether the limits that span pools leave room for one more server; others may be closed for it. */
  makeRoom(mayEvict: boolean): boolean
  connect(): void
}

export class Launcher {
  /** The latest attempt's failure, until one succeeds. */
  failure: PgError | undefined
  /** When connections to hosts with roles may be tried again, ms on the clock; and how often they failed since one succeeded. */
  private retryAt = 0
  private failedHosts = 0
  /** The same for those who come later. */
  private cached: PgError | undefined
  private failedAt = 0
  private readonly pool: LaunchingPool

  constructor(pool: LaunchingPool) {
    this.pool = pool
  }

  /** What whoever comes now is told, where connecting has been failing and no server is left to wait for. */
  get refusal(): PgError | undefined {
    if (this.failure === undefined || this.pool.size > 0 || this.pauseLeft === 0) return undefined
    return this.cached
  }

  /** The same for this one, who may not want to wait for a host with the role that is wanted. */
  refusalOf({ isImpatient }: Borrower): PgError | undefined {
    const isRefused = isImpatient && this.lacksHost
    return this.refusal ?? (isRefused ? new PgError('server_login_failing', serverCloseTexts.no_host) : undefined)
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
      pool.check(server)
    }
    while (wanted > 0 && this.mayConnect() && pool.makeRoom(true)) {
      wanted--
      pool.connect()
    }
  }

  /** `min_pool_size`: kept up while there are clients, or always for a forced user. */
  keepMinimum(): void {
    const { pool } = this
    const { limits } = pool
    if (pool.isPaused || pool.database.disabled || pool.size >= limits.minPoolSize) return
    if (pool.clients.size === 0 && pool.database.config.user === undefined) return
    if (pool.connecting.size === 0 && pool.size < limits.poolSize && this.mayConnect()) {
      if (pool.makeRoom(false)) pool.connect()
    }
  }

  succeeded(): void {
    this.failure = undefined
    this.failedHosts = 0
  }

  /** A host with a role could not be connected to, or did not have it: whoever waits does so, and it is tried again soon. */
  failedHost(): void {
    const { clock, config } = this.pool.context
    if (clock.now() < this.retryAt) return // several were under way
    const longest = Math.max(config.settings.server_login_retry * 1000, firstPause)
    const pause = Math.min(firstPause * 2 ** this.failedHosts++, longest)
    this.retryAt = clock.now() + pause
    clock.after(pause, () => this.demand())
  }

  /** Other hosts fit than before: what has failed before says nothing of them. */
  hostsChanged(): void {
    this.failure = undefined
    this.retryAt = 0
    this.failedHosts = 0
  }

  /** Returns whether hosts have roles here, and none has the one that is wanted. */
  private get lacksHost(): boolean {
    const { database, user, reach } = this.pool
    return database.target !== undefined && !database.target.hasAny(user.name, reach)
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
      if (!waiter.isImpatient) continue
      pool.waiting.delete(waiter)
      waiter.refused(failing)
    }
  }

  /** Nobody waits any longer. */
  refuseWaiting(error: PgError): void {
    const { waiting, arriving } = this.pool
    const refused = [...waiting, ...arriving]
    waiting.clear()
    arriving.clear()
    for (const waiter of refused) waiter.refused(error)
  }

  /** After a failure one attempt at a time; with pauses, unless there is another host to try. */
  private mayConnect(): boolean {
    const { pool } = this
    if (pool.database.target !== undefined && !this.mayUseHost()) return false
    if (this.failure !== undefined && (pool.connecting.size > 0 || this.pauseLeft > 0)) return false
    const { counted, limits } = pool
    if (counted < limits.poolSize) return true
    const afterTimeout = pool.context.config.settings.reserve_pool_timeout * 1000
    if (counted >= limits.poolSize + limits.reservePoolSize || afterTimeout <= 0) return false
    const first = pool.waiting.values().next().value
    if (first === undefined || pool.context.clock.now() - first.waitingSince < afterTimeout) return false
    pool.context.log.warning(logTexts.reserveTaken, first.wants?.who)
    return true
  }

  /** Those who waited for a host are not all let loose on it at once. */
  private mayUseHost(): boolean {
    if (this.pool.connecting.size >= mostConnecting) return false
    return !this.lacksHost && this.pool.context.clock.now() >= this.retryAt
  }

  /** What is left of the pause after a failure (`server_login_retry`), ms; there is none where another host has not failed. */
  get pauseLeft(): number {
    if (this.failure === undefined || this.hasOtherHost) return 0
    const { clock, config } = this.pool.context
    return Math.max(0, this.failedAt + config.settings.server_login_retry * 1000 - clock.now())
  }

  private get hasOtherHost(): boolean {
    const { database, user, context } = this.pool
    if (database.target !== undefined) return false
    return database.hosts.hasOther(database.config, user.name, context)
  }
}
