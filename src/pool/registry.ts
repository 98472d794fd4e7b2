// All pools, and the servers that they open: within the limits above them, and until they are to go.

import type { AuthFiles } from '../auth/auth-files.js'
import { learnt } from '../auth/credentials.js'
import type { Credentials } from '../auth/server-login.js'
import type { Cancels } from '../cancel/cancel.js'
import * as logTexts from '../observe/log-texts.js'
import { serverConnects } from '../observe/trace.js'
import { Idle } from '../protocol/backend.js'
import { type Condition, PgError } from '../protocol/errors.js'
import type { ServerCloseReason } from '../server/close-reason.js'
import { type ConnectFailed, failed, isFull, isRefusal } from '../server/connect-failed.js'
import type { Context } from '../server/context.js'
import { pauseOf } from '../server/host-list.js'
import { ServerSession } from '../server/server-session.js'
import { Budget } from './budget.js'
import { Conditions } from './conditions.js'
import type { Database } from './database.js'
import { Databases } from './databases.js'
import { Limits } from './limits.js'
import { Pool, type PoolOwner, type RefusedClient } from './pool.js'
import { Refusals } from './refusals.js'
import { traceConnect } from './trace.js'

export class Registry implements PoolOwner {
  readonly context: Context
  readonly databases: Databases
  readonly cancels: Cancels
  readonly conditions: Conditions
  readonly refusals: Refusals
  files: AuthFiles
  private readonly budget = new Budget(() => this.pools())

  constructor(context: Context, files: AuthFiles, cancels: Cancels) {
    this.context = context
    this.files = files
    this.cancels = cancels
    this.conditions = new Conditions(context.clock)
    this.refusals = new Refusals(context)
    this.databases = new Databases(context)
  }

  /** The pool for clients of a database who log in to servers with these credentials, or as the database's forced user. */
  joinPool(database: Database<Pool>, credentials: Credentials): Pool {
    const forced = database.config.user
    return this.pool(
      database,
      database.pools,
      forced === undefined ? credentials : this.forcedCredentials(database, forced),
    )
  }

  /** The pool for the pooler's own look-ups. */
  authPool(asked: Database<Pool>, user: string): Pool {
    const credentials = this.storedCredentials(user)
    const database = this.databases.registeredForLookUp(asked)
    const pool = this.pool(database, database.specialPools, credentials)
    pool.reach = 'anywhere'
    return pool
  }

  forcedCredentials(database: Database<Pool>, user: string): Credentials {
    return { ...this.storedCredentials(user), password: database.config.password }
  }

  /** What auth_file has of a user. */
  storedCredentials(user: string): Credentials {
    return { user, stored: this.files.users.get(user) ?? { kind: 'none' } }
  }

  private pool(database: Database<Pool>, pools: Map<string, Pool>, credentials: Credentials): Pool {
    const known = pools.get(credentials.user)
    if (known !== undefined) {
      known.credentials = learnt(known.credentials, credentials)
      return known
    }
    const user = this.databases.user(credentials.user)
    const pool = new Pool(this.context, this, database, user, new Limits(this.context, database, user), credentials)
    pools.set(credentials.user, pool)
    if (database.target !== undefined) this.context.topology.hurry(database.target.group) // it may be the first to log in as
    return pool
  }

  /** All pools, or those of one database: clients' and the pooler's own. */
  *pools(only?: Database<Pool>): Generator<Pool> {
    for (const database of only === undefined ? this.databases : [only]) {
      yield* database.pools.values()
      yield* database.specialPools.values()
      yield* database.replicationPools
    }
  }

  /** Drops a pool that nobody uses (`pool_idle_timeout`); its totals go with it. */
  forgetPool(pool: Pool): void {
    for (const pools of [pool.database.pools, pool.database.specialPools]) {
      for (const [name, known] of pools) if (known === pool) pools.delete(name)
    }
  }

  /** `min_pool_size` holds before anybody comes where a forced user makes the pool known. */
  prepareMinimum(): void {
    for (const database of this.databases) {
      const forced = database.config.user
      const least = database.config.minPoolSize ?? this.context.config.settings.min_pool_size
      if (forced !== undefined && least > 0) this.joinPool(database, { user: forced, stored: { kind: 'none' } })
    }
  }

  // What a pool may do beyond itself.

  cancel(server: ServerSession): void {
    void this.cancels.stop(server)
  }

  mayRunAgain(server: ServerSession, client: RefusedClient): boolean | 'later' {
    return this.refusals.add(server, client) ? 'later' : false
  }

  makeRoom(pool: Pool, mayEvict: boolean): boolean {
    return this.budget.make(pool, mayEvict)
  }

  onServerIdle(): void {
    this.budget.freed()
  }

  connect(pool: Pool): void {
    const server = new ServerSession(this.context, pool)
    pool.connecting.add(server)
    pool.database.servers++
    pool.user.servers++
    traceConnect(pool, server)
    server.connect((failure) => {
      if (failure !== undefined) this.onConnectFailed(pool, server, failure)
      else if (server.state !== 'closed') this.onConnected(pool, server)
    })
  }

  private onConnected(pool: Pool, server: ServerSession): void {
    const { roleHost } = server
    if (roleHost === undefined) pool.database.hosts.connected(server.host!, server.location!, pool.user.name)
    else if (pool.database.target?.standing(roleHost, pool.reach) !== 'fit') {
      return this.onHostFailed(pool, server, failed('role_changed'))
    }
    if (serverConnects.hasSubscribers) {
      serverConnects.publish({ ...server.traced, durationMs: this.context.clock.now() - server.connectedAt })
    }
    pool.onConnected(server)
  }

  private onConnectFailed(pool: Pool, server: ServerSession, failure: ConnectFailed): void {
    if (server.state === 'closed') return // closed on purpose while it was connecting
    if (failure.error !== undefined) {
      this.context.log.warning(logTexts.serverLoginFailed(failure.message), server)
    }
    if (failure.said !== undefined) this.context.log.warning(`${failure.message}: ${failure.said}`, server)
    const { database, user } = pool
    if ((isRefusal(failure) || isFull(failure)) && this.hasHostToTry(pool, server)) {
      server.close(failure.reason, failure.detail)
      return pool.demand()
    }
    if (database.target !== undefined && !isRefusal(failure)) return this.onHostFailed(pool, server, failure)
    // A server that has said no may have done so to this user alone.
    const refused = failure.error === undefined ? undefined : user.name
    if (server.host !== undefined)
      database.hosts.failed(database.config, server.host, server.location, refused, this.context)
    pool.launcher.failed(failure.error, failure.message)
    server.close(failure.reason, failure.detail)
    if (database.hosts.hasOther(database.config, user.name, this.context)) pool.demand()
  }

  /** A host with a role has said no to a user. Returns whether there is another, which may not. */
  private hasHostToTry({ database, user, reach }: Pool, { roleHost }: ServerSession): boolean {
    const { target } = database
    if (target === undefined || roleHost === undefined) return false
    target.noteMisfit(roleHost, user.name, pauseOf(this.context))
    if (target.hasAny(user.name, reach)) return true
    // One that has not spoken yet may fit as well: whether it does is known when its time is over.
    const isOnly = target.group.hasSpoken
    target.noteMisfit(roleHost, user.name, isOnly ? 0 : this.context.topology.checkTimeout)
    return !isOnly
  }

  /** A host with a role is not there, or has it no longer: that is for its probe to find out, and who waits waits. */
  private onHostFailed(pool: Pool, server: ServerSession, failure: ConnectFailed): void {
    const { roleHost } = server
    pool.launcher.failedHost()
    server.close(failure.reason, failure.detail)
    if (roleHost !== undefined) this.context.topology.suspect(roleHost)
  }

  onServerClosed(pool: Pool): void {
    pool.database.servers--
    pool.user.servers--
    this.databases.noteEmpty(pool.database)
    this.budget.freed()
    this.conditions.look()
  }

  /** Closes all clients and servers of a database. */
  closeConnections(database: Database<Pool>, reason: Condition & ServerCloseReason): void {
    this.closePools([...this.pools(database)], reason)
  }

  /** Closes all clients and servers of these pools. */
  closePools(pools: readonly Pool[], reason: Condition & ServerCloseReason): void {
    const error = new PgError(reason)
    // Who waits is not given what the others leave; look-ups for those who are not let in yet end, too.
    for (const pool of pools) pool.launcher.refuseWaiting(error)
    for (const pool of pools) for (const client of [...pool.clients]) client.fail(error)
    for (const pool of pools) for (const server of pool.servers()) server.close(reason)
  }

  /** Closes servers at once where nobody uses them, the others when they are released. */
  retireServers(database: Database<Pool> | undefined, reason: ServerCloseReason): void {
    for (const pool of this.pools(database)) {
      for (const server of pool.servers()) {
        this.retire(pool, server, reason)
      }
      pool.demand()
    }
  }

  /** The servers at addresses that a host name does not have any more. */
  retireAddresses(name: string, addresses: readonly string[]): void {
    for (const pool of this.pools()) {
      for (const server of pool.servers()) {
        const { location } = server
        if (location?.kind !== 'tcp' || location.name !== name || !addresses.includes(location.address)) continue
        this.retire(pool, server, 'dns_changed')
      }
    }
  }

  retire(pool: Pool, server: ServerSession, reason: ServerCloseReason): void {
    server.retire(reason)
    if (server.state === 'idle' || server.state === 'used' || server.state === 'connecting') server.close(reason)
    else if (this.mustNotWait(pool, server)) server.holder?.fail(new PgError('database_changed'))
  }

  /** Replication may never end; with `server_fast_close` neither are sessions waited for, once their transaction is over. */
  private mustNotWait(pool: Pool, { relay }: ServerSession): boolean {
    if (pool.isReplication) return true
    if (!this.context.config.settings.server_fast_close || pool.limits.poolMode !== 'session') return false
    return relay?.isQuiet === true && relay.status === Idle
  }
}
