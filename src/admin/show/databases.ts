// SHOW DATABASES, the console's own included.

import type { Administration, DatabaseStatus } from '../../control/status.js'
import { byName, defineTable, int4, text } from '../table.js'
import { consoleClients } from './clients.js'

export const showDatabases = defineTable('DATABASES', databasesAndConsole, [
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

/** The console is a database among the others to pgbouncer: of this port, with two servers that it never has. */
function databasesAndConsole(administration: Administration): readonly DatabaseStatus[] {
  const { settings } = administration.config()
  const console: DatabaseStatus = {
    name: 'pgbouncer',
    host: undefined,
    port: settings.listen_port,
    database: 'pgbouncer',
    forceUser: 'pgbouncer',
    poolSize: 2,
    minPoolSize: settings.min_pool_size,
    reservePoolSize: settings.reserve_pool_size,
    serverLifetime: settings.server_lifetime,
    poolMode: 'statement',
    loadBalanceHosts: '',
    maxConnections: settings.max_db_connections,
    currentConnections: 0,
    maxClientConnections: settings.max_db_client_connections,
    currentClientConnections: consoleClients(administration),
    paused: false,
    disabled: false,
  }
  return byName([...administration.databases(), console], (database) => database.name)
}
