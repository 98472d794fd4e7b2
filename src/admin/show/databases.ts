// SHOW DATABASES.

import { defineTable, int4, text } from '../table.js'

export const showDatabases = defineTable('DATABASES', (administration) => administration.databases(), [
  ['name', text, (database) => database.name],
  ['host', text, (database) => database.host],
  ['port', int4, (database) => database.port],
  ['database', text, (database) => database.database],
  ['force_user', text, (database) => database.forceUser],
  ['pool_size', int4, (database) => database.poolSize],
  ['min_pool_size', int4, (database) => database.minPoolSize],
  ['reserve_pool_size', int4, (database) => database.reservePoolSize],
  ['server_lifetime', int4, (database) => database.serverLifetime],
  ['pool_mode', text, (database) => database.poolMode],
  // Only a list of hosts has something to balance.
  ['load_balance_hosts', text, ({ host, loadBalanceHosts }) => (host?.includes(',') ? loadBalanceHosts : null)],
  ['max_connections', int4, (database) => database.maxConnections],
  ['current_connections', int4, (database) => database.currentConnections],
  ['max_client_connections', int4, (database) => database.maxClientConnections],
  ['current_client_connections', int4, (database) => database.currentClientConnections],
  ['paused', int4, (database) => Number(database.paused)],
  ['disabled', int4, (database) => Number(database.disabled)],
])
