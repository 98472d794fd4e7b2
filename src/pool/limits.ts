// What holds for one pool, taken from the entries of its user and its database and from the settings.

import type { PoolMode, ServerLost, SessionStateMode } from '../config/choices.js'
import { serverLostOf } from '../config/databases.js'
import type { Context } from '../server/context.js'
import type { Database, User } from './database.js'

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

  /** What becomes of a client whose server is lost. */
  get serverLost(): ServerLost {
    return this.poolMode === 'session' ? 'disconnect' : serverLostOf(this.database.config)
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
