// Periodic upkeep: time-outs of clients and servers, lifetimes, min_pool_size, databases that nobody uses.

import type { ClientSession } from '../pool/client-session.js'
import type { Database } from '../pool/database.js'
import type { Pool } from '../pool/pool.js'
import type { Registry } from '../pool/registry.js'
import { traceWaiting } from '../pool/trace.js'
import * as backend from '../protocol/backend.js'
import { PgError } from '../protocol/errors.js'

/** How often it looks, ms: as pgbouncer's. */
const period = 333

export class Janitor {
  private readonly registry: Registry
  private timer: { cancel(): void } | undefined

  constructor(registry: Registry) {
    this.registry = registry
  }

  start(): void {
    this.look()
    this.timer = this.registry.context.clock.every(period, () => this.look())
  }

  stop(): void {
    this.timer?.cancel()
  }

  /** One round; public for tests. */
  look(): void {
    const { registry } = this
    if (registry.isSuspended) return
    const now = registry.context.clock.now()
    this.lookAtClients(now)
    registry.prepareMinimum()
    for (const pool of [...registry.pools()]) this.lookAtPool(pool, now)
    for (const database of [...registry.databases.values()]) {
      if (this.isForgotten(database, now)) registry.forgetDatabase(database)
    }
  }

  /** One that an administrator has stopped is remembered, or it would not be stopped any more. */
  private isForgotten(database: Database, now: number): boolean {
    if (!database.isAuto || database.paused || database.disabled) return false
    if (!database.isUnused) return false
    const { autodb_idle_timeout: timeout, server_login_retry: retry } = this.registry.context.config.settings
    // Whoever is not logged in can name databases: those are kept for as long as it matters that they failed.
    if (this.registry.isOnlyNamed(database)) return now - database.emptySince >= retry * 1000
    return over(now - database.emptySince, timeout * 1000)
  }

  private lookAtClients(now: number): void {
    const login = this.registry.context.config.settings.client_login_timeout * 1000
    for (const client of this.registry.clients) {
      if (client.phase === 'login') {
        if (client.isArriving) this.lookAtWaiting(client, now)
        if (client.stays && over(now - client.connectedAt, login)) client.fail(this.loginTimeout(client))
      } else if (client.phase === 'ready' && client.pool !== undefined) {
        this.lookAtClient(client, now)
      }
    }
  }

  private loginTimeout(client: ClientSession): PgError {
    return new PgError(client.pool === undefined ? 'client_login_timeout' : 'client_login_timeout_server_down')
  }

  private lookAtClient(client: ClientSession, now: number): void {
    const timeouts = client.timeouts!
    if (client.isWaiting || client.isReserved) return this.lookAtWaiting(client, now)
    if (client.replication !== 'none') return this.lookAtReplication(client)
    const relay = client.relay!
    if (client.server === null) {
      if (over(now - client.quietSince, timeouts.clientIdle)) client.fail(new PgError('client_idle_timeout'))
      return
    }
    const owes = client.server.relay!.owed.length > 0
    if (owes && over(now - relay.requestSince, timeouts.query)) client.fail(new PgError('query_timeout'))
    // A batch that no Sync has closed is a transaction, too.
    else if (client.server.relay!.status !== backend.Idle || owes || !relay.sentWhole) {
      if (over(now - client.transactionSince, timeouts.transaction)) client.fail(new PgError('transaction_timeout'))
      else if (!owes && over(now - Math.max(client.quietSince, relay.requestSince), timeouts.idleTransaction)) {
        client.fail(new PgError('idle_transaction_timeout'))
      }
    } else if (over(now - client.quietSince, timeouts.clientIdle)) {
      client.fail(new PgError('client_idle_timeout')) // session mode: it has a server all the time
    }
  }

  /** It streams for as long as it likes; but then, what is due when a server is released would never come. */
  private lookAtReplication(client: ClientSession): void {
    if (client.server?.closeNeeded) client.fail(new PgError('database_changed'))
  }

  private lookAtWaiting(client: ClientSession, now: number): void {
    const { isClosing, context } = this.registry
    if (isClosing && context.isPaused) return client.fail(new PgError('server_shutting_down'))
    const waited = now - client.waitingSince
    const timeouts = client.timeouts!
    if (over(waited, timeouts.query)) return client.fail(new PgError('query_timeout_waiting'))
    if (over(waited, timeouts.queryWait)) return client.fail(new PgError('query_wait_timeout'))
    const notifyAfter = context.config.settings.query_wait_notify * 1000
    if (client.phase === 'ready' && !client.isNotified && over(waited, notifyAfter)) {
      client.notify('No server connection available in postgres backend, client being queued')
    }
  }

  private lookAtPool(pool: Pool, now: number): void {
    const { settings } = pool.context.config
    const idleTimeout = settings.server_idle_timeout * 1000
    const checkAfter = settings.server_check_delay * 1000
    for (const server of [...pool.idle, ...pool.used]) {
      const idle = now - server.idleSince
      const spare = pool.size > pool.limits.minPoolSize
      if (server.closeNeeded) server.close(server.closeReason)
      else if (spare && over(idle, idleTimeout)) server.close('server idle timeout')
      else if (pool.isTooOld(server)) server.close('server lifetime over')
      else if (server.state === 'idle' && settings.server_check_query !== '' && idle > checkAfter) {
        pool.move(server, 'used')
      }
    }
    // One that does not answer the pooler itself would be waited for without end.
    for (const server of [...pool.tested]) {
      if (over(now - server.idleSince, idleTimeout)) server.close('server idle timeout')
    }
    this.trim(pool)
    pool.demand()
    traceWaiting(pool)
    pool.launcher.keepMinimum()
    pool.noteEmpty()
    if (over(now - pool.emptySince, settings.pool_idle_timeout * 1000)) this.registry.forgetPool(pool)
  }

  /** The limits of a pool may have been lowered: it has as many servers as it may, as soon as some are free. */
  private trim(pool: Pool): void {
    const tooMany = pool.size - pool.connecting.size - pool.limits.poolSize - pool.limits.reservePoolSize
    if (tooMany <= 0) return
    for (const server of [...pool.used, ...pool.idle, ...pool.active].slice(0, tooMany)) {
      if (server.state === 'active') server.retire('too many servers in the pool')
      else server.close('too many servers in the pool')
    }
  }
}

/** 0 is never. */
function over(age: number, limit: number): boolean {
  return limit > 0 && age > limit
}
