// What follows from a changed configuration for databases, users, pools and servers.

import type { Credentials } from '../auth/server-login.js'
import { autoDatabase } from '../config/load.js'
import type { ConfigChanges } from '../config/reload.js'
import { PgError } from '../protocol/errors.js'
import { Database } from './database.js'
import type { Pool } from './pool.js'
import type { Registry } from './registry.js'

/** The new configuration and auth files are in force already. */
export function reconfigure(registry: Registry, changes: ConfigChanges): void {
  const { config, clock } = registry.context
  for (const database of [...registry.databases.values()]) {
    const own = config.databases.get(database.name)
    const next = own ?? autoDatabase(config, database.name)
    // One with an entry is not the one that `*` made, or the other way round: other servers, other limits.
    const isAnother = next === undefined || (own === undefined) !== database.isAuto
    if (isAnother) {
      registry.dropConnections(database, new PgError('database_removed'))
      registry.forgetDatabase(database)
      continue
    }
    database.config = next
    if (changes.databases.changed.includes(database.isAuto ? '*' : database.name)) registry.retireServers(database)
  }
  for (const next of config.databases.values()) {
    if (!registry.databases.has(next.name)) registry.databases.set(next.name, new Database(next, false, clock.now()))
  }
  for (const user of registry.users.values()) user.config = config.users.get(user.name)
  if (changes.settings.some((name) => name.startsWith('server_tls_'))) registry.retireServers(undefined)
  registry.prepareMinimum()
  for (const pool of registry.pools()) {
    pool.credentials = renewed(registry, pool)
    pool.serveWaiting()
    pool.demand()
  }
}

/** What a pool logs in with after auth_file was read again: nothing that is not there any more. */
function renewed(registry: Registry, pool: Pool): Credentials {
  const { user } = pool.credentials
  if (pool.database.config.user === user) return registry.forcedCredentials(pool.database, user)
  const stored = registry.files.users.get(user)
  return stored === undefined ? pool.credentials : { ...pool.credentials, stored, password: undefined }
}
