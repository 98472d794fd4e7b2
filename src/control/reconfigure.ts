// What follows from a changed configuration for databases, users, pools and servers.

import type { AuthFiles } from '../auth/auth-files.js'
import { sameSecret } from '../auth/secrets.js'
import type { Credentials } from '../auth/server-login.js'
import type { DatabaseConfig } from '../config/databases.js'
import { autoDatabase } from '../config/load.js'
import { needsOtherServers } from '../config/reload.js'
import type { Database } from '../pool/database.js'
import { Limits } from '../pool/limits.js'
import type { Pool } from '../pool/pool.js'
import type { Registry } from '../pool/registry.js'

/** The new configuration is in force already, and its TLS; the new auth files are put into force here. */
export function reconfigure(registry: Registry, files: AuthFiles): void {
  const { config, tls, topology } = registry.context
  topology.reconfigure()
  const former = registry.files
  registry.files = files
  registry.cancels.peers.reconfigure()
  for (const database of [...registry.databases]) {
    const own = config.databases.get(database.name)
    const next = own ?? (database.isAuto ? autoDatabase(config, database.name) : undefined)
    if (next === undefined) {
      registry.closeConnections(database, 'database_removed')
      registry.databases.forget(database)
    } else {
      database.isAuto = own === undefined
      adopt(registry, database, next)
    }
  }
  for (const next of config.databases.values()) {
    const { byName } = registry.databases
    if (!byName.has(next.name)) byName.set(next.name, registry.databases.make(next, false))
  }
  for (const user of registry.databases.users.values()) user.config = config.users.get(user.name)
  for (const pool of registry.pools()) {
    for (const server of pool.servers()) server.recheckTls(tls.serversOf(pool.database.config))
    if (pool.limits.poolMode !== 'session') closeOwned(pool)
    pool.credentials = renewed(registry, pool, former)
    for (const client of [...pool.clients]) client.renewTerms()
    pool.serveWaiting()
    pool.demand()
  }
}

/** Without a reset query, servers have what their clients left there in session mode: nobody finds it in another mode. */
function closeOwned(pool: Pool): void {
  for (const server of [...pool.idle, ...pool.used]) {
    if (server.wasOwned) server.close('database_changed')
  }
}

function adopt(registry: Registry, database: Database<Pool>, next: DatabaseConfig): void {
  const former = database.config
  database.config = next
  if (needsOtherServers(former, next) || former.maxReplicaLag !== next.maxReplicaLag) {
    database.target = registry.context.topology.targetOf(next)
  }
  const forced = former.user === undefined ? undefined : database.pools.get(former.user)
  if (forced !== undefined && next.user !== undefined && next.user !== former.user) {
    // Its clients are those of the new forced user from now on.
    database.pools.delete(forced.user.name)
    const taken = database.pools.get(next.user)
    if (taken !== undefined) registry.closePools([taken], 'database_changed') // another takes its place: its clients are told
    const user = registry.databases.user(next.user)
    forced.changeUser(user, new Limits(registry.context, database, user))
    database.pools.set(next.user, forced)
  }
  if (needsOtherServers(former, next)) registry.retireServers(database, 'database_changed')
}

/** What a pool logs in with after auth_file was read again: nothing that is not there any more. */
function renewed(registry: Registry, pool: Pool, former: AuthFiles): Credentials {
  const { name } = pool.user
  if (pool.database.config.user === name) return registry.forcedCredentials(pool.database, name)
  const stored = registry.files.users.get(name)
  if (stored !== undefined)
    return sameSecret(stored, pool.credentials.stored) ? pool.credentials : { user: name, stored }
  return former.users.has(name) ? { user: name, stored: { kind: 'none' } } : pool.credentials
}
