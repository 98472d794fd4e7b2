// A database as clients know it, and a user: what is configured, how many connections there are, whether it is stopped.

import type { DatabaseConfig } from '../config/databases.js'
import type { PoolMode, SessionStateMode } from '../config/settings.js'
import type { UserConfig } from '../config/users.js'
import type { Context } from '../server/context.js'
import { HostList } from '../server/host-list.js'
import type { Pool } from './pool.js'

export class Database {
  config: DatabaseConfig
  readonly name: string
  readonly hosts = new HostList()
  /** By the user that its servers log in as. */
  readonly pools = new Map<string, Pool>()
  /** Apart from those of clients: for auth_query. */
  readonly specialPools = new Map<string, Pool>()
  /** One for each replication client. */
  readonly replicationPools = new Set<Pool>()
  /** Made for a name that only `*` covers. */
  isAuto: boolean
  paused = false
  disabled = false
  clients = 0
  servers = 0
  /** Since when it has had neither clients nor servers, ms on the clock. */
  emptySince: number

  constructor(config: DatabaseConfig, isAuto: boolean, now: number) {
    this.config = config
    this.name = config.name
    this.isAuto = isAuto
    this.emptySince = now
  }

  /** It has neither clients nor servers, and nobody waits for any. */
  get isUnused(): boolean {
    if (this.clients > 0 || this.servers > 0) return false
    for (const pool of this.specialPools.values()) if (pool.waiting.size > 0) return false
    return true
  }

  /** Servers of replication clients that are logged in to as this user. */
  replicationServers(user: User): number {
    let count = 0
    for (const pool of this.replicationPools) if (pool.user === user) count += pool.size
    return count
  }
}

/** A user of clients or of servers. */
export class User {
  readonly name: string
  config: UserConfig | undefined
  clients = 0
  servers = 0

  constructor(name: string, config: UserConfig | undefined) {
    this.name = name
    this.config = config
  }
}

/** What holds for one pool: the user's entry beats the database's, which beats the global setting. Times in ms, 0 is never. */
export class Limits {
  private readonly context: Context
  private readonly database: Database
  private readonly user: User

  constructor(context: Context, database: Database, user: User) {
    this.context = context
    this.database = database
    this.user = user
  }

  get poolMode(): PoolMode {
    return this.user.config?.poolMode ?? this.database.config.poolMode ?? this.context.config.settings.pool_mode
  }

  get sessionState(): SessionStateMode {
    return (
      this.user.config?.sessionState ?? this.database.config.sessionState ?? this.context.config.settings.session_state
    )
  }

  get poolSize(): number {
    const size =
      this.user.config?.poolSize ?? this.database.config.poolSize ?? this.context.config.settings.default_pool_size
    return size === 0 ? Number.POSITIVE_INFINITY : size
  }

  get minPoolSize(): number {
    return this.database.config.minPoolSize ?? this.context.config.settings.min_pool_size
  }

  get reservePoolSize(): number {
    return (
      this.user.config?.reservePoolSize ??
      this.database.config.reservePoolSize ??
      this.context.config.settings.reserve_pool_size
    )
  }

  get maxDbConnections(): number {
    return this.database.config.maxDbConnections || this.context.config.settings.max_db_connections
  }

  get maxDbClients(): number {
    return this.database.config.maxDbClientConnections || this.context.config.settings.max_db_client_connections
  }

  get maxUserConnections(): number {
    return this.user.config?.maxUserConnections ?? this.context.config.settings.max_user_connections
  }

  get serverLifetime(): number {
    return 1000 * (this.database.config.serverLifetime ?? this.context.config.settings.server_lifetime)
  }
}

/** Of one replication client: one server, for as long as it stays. */
export class ReplicationLimits extends Limits {
  override get poolMode(): PoolMode {
    return 'session'
  }

  override get minPoolSize(): number {
    return 0
  }

  override get reservePoolSize(): number {
    return 0
  }
}

type UserTimeout =
  | 'queryTimeout'
  | 'queryWaitTimeout'
  | 'idleTransactionTimeout'
  | 'transactionTimeout'
  | 'clientIdleTimeout'

/** Time-outs of one client, ms; 0 is never. The client's own user counts first, then a forced one. */
export class Timeouts {
  private readonly context: Context
  private readonly database: Database
  private readonly user: User
  private readonly pool: { readonly user: User }

  constructor(context: Context, database: Database, user: User, pool: { readonly user: User }) {
    this.context = context
    this.database = database
    this.user = user
    this.pool = pool
  }

  get query(): number {
    return 1000 * (this.ofUser('queryTimeout') ?? this.context.config.settings.query_timeout)
  }

  get queryWait(): number {
    return (
      1000 *
      (this.ofUser('queryWaitTimeout') ??
        this.database.config.queryWaitTimeout ??
        this.context.config.settings.query_wait_timeout)
    )
  }

  get idleTransaction(): number {
    return 1000 * (this.ofUser('idleTransactionTimeout') ?? this.context.config.settings.idle_transaction_timeout)
  }

  get transaction(): number {
    return 1000 * (this.ofUser('transactionTimeout') ?? this.context.config.settings.transaction_timeout)
  }

  get clientIdle(): number {
    return 1000 * (this.ofUser('clientIdleTimeout') ?? this.context.config.settings.client_idle_timeout)
  }

  private ofUser(timeout: UserTimeout): number | undefined {
    return this.user.config?.[timeout] ?? this.pool.user.config?.[timeout]
  }
}
