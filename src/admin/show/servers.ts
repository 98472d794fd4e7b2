// SHOW SERVERS.

import { defineTable } from '../table.js'
import { socketColumns } from './clients.js'

export const showServers = defineTable(
  'SERVERS',
  (administration) => administration.servers(),
  socketColumns((server) => server.state),
)
