// SHOW USERS.

import { defineTable, int4, text } from '../table.js'

/** pgbouncer's format: a text, empty where the user has no size of its own. */
const size = (value: number | undefined): string => (value === undefined ? '' : String(value).padStart(9))

export const showUsers = defineTable('USERS', (administration) => administration.users(), [
  ['name', text, (user) => user.name],
  ['pool_size', text, (user) => size(user.poolSize)],
  ['reserve_pool_size', text, (user) => size(user.reservePoolSize)],
  ['pool_mode', text, (user) => user.poolMode],
  ['max_user_connections', int4, (user) => user.maxUserConnections],
  ['current_connections', int4, (user) => user.currentConnections],
  ['max_user_client_connections', int4, (user) => user.maxUserClientConnections],
  ['current_client_connections', int4, (user) => user.currentClientConnections],
])
