// SHOW ACTIVE_SOCKETS: of SHOW SOCKETS, those that are linked to a peer or have bytes to send.

import type { Administration } from '../../control/status.js'
import { defineTable } from '../table.js'
import { allSockets, bufferColumns } from './sockets.js'

export const showActiveSockets = defineTable(
  'ACTIVE_SOCKETS',
  (administration: Administration) =>
    allSockets(administration).filter(({ link, unsentBytes }) => link !== '' || (unsentBytes ?? 0) > 0),
  bufferColumns,
)
