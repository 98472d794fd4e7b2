// The limits that span pools (max_db_connections, max_user_connections): may one more server be, and whose idle one makes room.

import type { ServerSession } from '../server/server-session.js'
import type { Pool } from './pool.js'

export class Budget {
  private readonly pools: () => Iterable<Pool>
  /** Pools whose clients wait for a server that the limits above them did not allow. */
  private readonly starved = new Set<Pool>()

  constructor(pools: () => Iterable<Pool>) {
    this.pools = pools
  }

  /**
   * Returns whether there is room for one more server, within `max_db_connections` and `max_user_connections`; for that of a
   * replication client within the `pool_size` of the clients' pool as well.
   * @param mayEvict servers that are idle in other pools may be closed to make it
   */
  make(pool: Pool, mayEvict: boolean): boolean {
    const { database, user, limits } = pool
    const hasRoom =
      (!pool.isReplication || this.withinPoolSize(pool)) &&
      this.within(
        'max_db_connections',
        limits.maxDbConnections,
        database,
        mayEvict,
        (other) => other.database === database,
      ) &&
      this.within('max_user_connections', limits.maxUserConnections, user, mayEvict, (other) => other.user === user)
    if (hasRoom) this.starved.delete(pool)
    else if (mayEvict) this.starved.add(pool)
    return hasRoom
  }

  /** A server has become idle, or was closed: those who found no room look again. */
  freed(): void {
    if (this.starved.size === 0) return
    const waiting = [...this.starved]
    this.starved.clear() // who still finds none is in again
    for (const pool of waiting) pool.demand()
  }

  private withinPoolSize({ database, user, limits }: Pool): boolean {
    const clients = database.pools.get(user.name)
    const together = {
      get servers() {
        return (clients?.size ?? 0) + database.replicationServers(user)
      },
    }
    return this.within('pool_size', limits.poolSize, together, true, (other) => other === clients)
  }

  private within(
    limit: 'max_db_connections' | 'max_user_connections' | 'pool_size',
    most: number,
    counted: { readonly servers: number },
    mayEvict: boolean,
    counts: (pool: Pool) => boolean,
  ): boolean {
    if (most <= 0) return true
    while (counted.servers >= most) {
      const server = mayEvict ? this.longestIdle(counts) : undefined
      if (server === undefined) return false
      server.close('evicted', limit)
    }
    return true
  }

  private longestIdle(counts: (pool: Pool) => boolean): ServerSession | undefined {
    let oldest: ServerSession | undefined
    for (const pool of this.pools()) {
      if (pool.isReplication || !counts(pool)) continue // theirs are idle for no longer than it takes to welcome them
      // Who waits in that pool is about to have the used ones checked.
      for (const server of pool.waiting.size > 0 ? pool.idle : [...pool.idle, ...pool.used]) {
        if (oldest === undefined || server.idleSince < oldest.idleSince) oldest = server
      }
    }
    return oldest
  }
}
