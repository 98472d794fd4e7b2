// SHOW SERVERS.

import type { Administration } from '../../control/status.js'
import { defineTable } from '../table.js'
import { socketColumns } from './clients.js'

export const showServers = defineTable(
  'SERVERS',
  (administration: Administration) => administration.servers(),
  socketColumns((server) => server.state),
)
