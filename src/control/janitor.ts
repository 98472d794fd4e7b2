// Periodic upkeep: time-outs of clients and servers, lifetimes, min_pool_size, databases that nobody uses.

import type { Clients } from '../client/clients.js'
import { ClientEntry } from '../client/entry.js'
import { PooledClient } from '../client/pooled-client.js'
import type { Timeouts } from '../client/timeouts.js'
import type { Database } from '../pool/database.js'
import type { Pool } from '../pool/pool.js'
import type { Registry } from '../pool/registry.js'
import { traceWaiting } from '../pool/trace.js'
import * as backend from '../protocol/backend.js'
import { type Condition, PgError } from '../protocol/errors.js'

/** How often it looks, ms: as pgbouncer's. */
const period = 333

export class Janitor {
  private readonly registry: Registry
  private readonly clients: Clients
  private timer: { cancel(): void } | undefined

  constructor(clients: Clients) {
    this.registry = clients.registry
    this.clients = clients
  }

  start(): void {
    this.look()
    this.timer = this.registry.context.clock.every(period, () => this.look())
  }

  stop(): void {
    this.timer?.cancel()
  }

  /** One round. */
  look(): void {
    const { registry } = this
    if (this.clients.isSuspended) return
    const now = registry.context.clock.now()
    this.lookAtClients(now)
    registry.prepareMinimum()
    for (const pool of [...registry.pools()]) this.lookAtPool(pool, now)
    for (const database of [...registry.databases]) {
      if (this.isForgotten(database, now)) registry.databases.forget(database)
    }
  }

  /** One that an administrator has stopped is remembered, or it would not be stopped any more. */
  private isForgotten(database: Database<Pool>, now: number): boolean {
    if (!database.isAuto || database.paused || database.disabled) return false
    if (!database.isUnused) return false
    const { autodb_idle_timeout: timeout, server_login_retry: retry } = this.registry.context.config.settings
    // Whoever is not logged in can name databases: those are kept for as long as it matters that they failed.
    if (this.registry.databases.isOnlyNamed(database)) return now - database.emptySince >= retry * 1000
    return over(now - database.emptySince, timeout * 1000)
  }

  private lookAtClients(now: number): void {
    const login = this.registry.context.config.settings.client_login_timeout * 1000
    for (const client of this.clients) {
      const { phase } = client
      if (phase instanceof PooledClient) this.lookAtClient(phase, now)
      else if (phase instanceof ClientEntry) {
        if (phase.seat !== undefined) this.lookAtWaiting(phase, phase.seat.timeouts, now)
        if (over(now - client.connectedAt, login)) client.fail(loginTimeout(phase)) // without effect where it was closed just now
      }
    }
  }

  private lookAtClient(client: PooledClient, now: number): void {
    const { timeouts } = client.seat
    if (client.isWaiting || client.isAligning) return this.lookAtQueued(client, now)
    if (client.pool.isReplication) return this.lookAtReplication(client)
    const { relay } = client
    const { server } = relay
    if (server === null && relay.isInLostBlock) {
      this.lookAtLostBlock(client, now)
      return
    }
    if (server === null) {
      if (over(now - client.quietSince, timeouts.clientIdle)) client.fail(new PgError('client_idle_timeout'))
      return
    }
    const owes = relay.dues.length > 0
    if (owes && over(now - relay.requestSince, timeouts.query)) client.fail(new PgError('query_timeout'))
    // A batch that no Sync has closed is a transaction, too.
    else if (server.status !== backend.Idle || owes || !relay.sentWhole) {
      if (over(now - relay.transactionSince, timeouts.transaction)) client.fail(new PgError('transaction_timeout'))
      else if (!owes && over(now - Math.max(client.quietSince, relay.requestSince), timeouts.idleTransaction)) {
        client.fail(new PgError('idle_transaction_timeout'))
      }
    } else if (over(now - client.quietSince, timeouts.clientIdle)) {
      client.fail(new PgError('client_idle_timeout')) // session mode: it has a server all the time
    }
  }

  /** Its transaction goes on, as far as it is told. */
  private lookAtLostBlock(client: PooledClient, now: number): void {
    const { timeouts } = client.seat
    if (over(now - client.relay.transactionSince, timeouts.transaction)) client.fail(new PgError('transaction_timeout'))
    else if (over(now - client.quietSince, timeouts.idleTransaction))
      client.fail(new PgError('idle_transaction_timeout'))
  }

  /** It streams for as long as it likes; but then, what is due when a server is released would never come. */
  private lookAtReplication(client: PooledClient): void {
    if (client.server?.closeNeeded) client.fail(new PgError('database_changed'))
  }

  private lookAtQueued(client: PooledClient, now: number): void {
    if (this.lookAtWaiting(client, client.seat.timeouts, now) || client.isNotified) return
    const notifyAfter = this.clients.context.config.settings.query_wait_notify * 1000
    if (!over(now - client.waitingSince, notifyAfter)) return
    client.notify('No server connection available in postgres backend, client being queued')
  }

  /** Returns whether the client was sent away. */
  private lookAtWaiting(client: PooledClient | ClientEntry, timeouts: Timeouts, now: number): boolean {
    const { isClosing, context } = this.clients
    const waited = now - client.waitingSince
    const condition: Condition | undefined =
      isClosing && context.isPaused
        ? 'server_shutting_down'
        : over(waited, timeouts.query)
          ? 'query_timeout_waiting'
          : over(waited, timeouts.queryWait)
            ? 'query_wait_timeout'
            : undefined
    if (condition === undefined) return false
    client.fail(new PgError(condition))
    return true
  }

  private lookAtPool(pool: Pool, now: number): void {
    const { settings } = pool.context.config
    const idleTimeout = settings.server_idle_timeout * 1000
    const checkAfter = settings.server_check_delay * 1000
    for (const server of [...pool.idle, ...pool.used]) {
      const idle = now - server.idleSince
      const spare = pool.size > pool.limits.minPoolSize
      if (server.closeNeeded) server.closeRetired()
      else if (spare && over(idle, idleTimeout)) server.close('server_idle_timeout')
      else if (pool.expire(server)) server.close('server_lifetime')
      else if (server.state === 'idle' && settings.server_check_query !== '' && idle > checkAfter) {
        pool.move(server, 'used')
      }
    }
    // One that does not answer the pooler itself would be waited for without end.
    for (const server of [...pool.tested]) {
      if (over(now - server.idleSince, idleTimeout)) server.close('server_idle_timeout')
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
      if (server.state === 'active') server.retire('too_many_servers')
      else server.close('too_many_servers')
    }
  }
}

function loginTimeout(entry: ClientEntry): PgError {
  return new PgError(entry.seat === undefined ? 'client_login_timeout' : 'client_login_timeout_server_down')
}

/** 0 is never. */
function over(age: number, limit: number): boolean {
  return limit > 0 && age > limit
}
