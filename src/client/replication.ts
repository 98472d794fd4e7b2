// Replication connections: each client has a server of its own, made with what the client asked for and closed with it.

import type { Credentials } from '../auth/server-login.js'
import type { Database } from '../pool/database.js'
import { ReplicationLimits } from '../pool/limits.js'
import { Pool } from '../pool/pool.js'
import type { Registry } from '../pool/registry.js'
import type { ClientStartup } from './startup-parameters.js'
import { withHost } from './welcome.js'

/**
 * A pool for one client alone: its server goes to nobody else. The clients' own pool of this database and user is there as
 * well, since as in pgbouncer it is that pool's `pool_size` and totals that this server counts to.
 */
export function openReplication(
  registry: Registry,
  address: string,
  database: Database<Pool>,
  credentials: Credentials,
  startup: ClientStartup,
): Pool {
  const { context } = registry
  const { user, credentials: login, counters } = registry.joinPool(database, credentials)
  const limits = new ReplicationLimits(context, database, user)
  const parameters = { ...startup.passedOn }
  if (context.config.settings.application_name_add_host) {
    parameters.application_name = withHost(parameters.application_name, address)
  }
  const pool = new Pool(context, registry, database, user, limits, login, counters, {
    replication: startup.replication,
    parameters,
  })
  database.replicationPools.add(pool)
  return pool
}

/** The client has left. Its place in `pool_size` goes to the clients' pool first, then to replication clients that wait. */
export function endReplication(pool: Pool): void {
  pool.database.replicationPools.delete(pool)
  pool.database.pools.get(pool.user.name)?.demand()
  for (const server of pool.servers()) server.close('replication_closed')
}
