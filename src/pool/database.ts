// A database as clients know it, and a user: what is configured, how many connections there are, whether it is stopped.

import type { DatabaseConfig } from '../config/databases.js'
import type { UserConfig } from '../config/users.js'
import { HostList } from '../server/host-list.js'
import type { ServerSession } from '../server/server-session.js'
import type { Target } from '../server/topology/target.js'

/** A pool, as far as its database has to do with it. */
interface PoolOfDatabase {
  readonly user: User
  readonly size: number
  readonly waiting: { readonly size: number }
  servers(): readonly ServerSession[]
}

export class Database<Pool extends PoolOfDatabase = PoolOfDatabase> {
  config: DatabaseConfig
  readonly name: string
  readonly hosts = new HostList()
  /** Where its servers may be; undefined where its entry says nothing of roles. */
  target: Target | undefined
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

  constructor(config: DatabaseConfig, isAuto: boolean, now: number, target?: Target) {
    this.config = config
    this.target = target
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

  /** Servers for clients of which that is true, those of replication clients apart. */
  countServers(isTrue: (server: ServerSession) => boolean): number {
    let count = 0
    for (const pool of this.pools.values()) count += pool.servers().filter(isTrue).length
    return count
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
