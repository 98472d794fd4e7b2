// SHOW SOCKETS: CLIENTS and SERVERS together, logins too, with the columns that tell of buffers.

import type { Administration, SocketStatus } from '../../control/status.js'
import { columnsOf, defineTable, int4 } from '../table.js'
import { socketColumns } from './clients.js'

/** pgbouncer's words for the states here. The sockets of cancel requests are in neither list. */
const stateNames = new Map([
  ['C active', 'cl_active'],
  ['C idle', 'cl_active'],
  ['C waiting', 'cl_waiting'],
  ['C login', 'cl_login'],
  ['S active', 'sv_active'],
  ['S idle', 'sv_idle'],
  ['S used', 'sv_used'],
  ['S tested', 'sv_tested'],
  ['S new', 'sv_login'],
])

const stateOf = (socket: SocketStatus): string => stateNames.get(`${socket.type} ${socket.state}`) ?? ''

export function allSockets(administration: Administration): SocketStatus[] {
  return [...administration.clients(), ...administration.servers()].filter((socket) => stateOf(socket) !== '')
}

/** Positions in pgbouncer's packet buffers have no counterpart: what is read is passed on at once. They are 0. */
export const bufferColumns = columnsOf<SocketStatus>()([
  ...socketColumns(stateOf),
  ['recv_pos', int4, () => 0],
  ['pkt_pos', int4, () => 0],
  ['pkt_remain', int4, () => 0],
  ['send_pos', int4, () => 0],
  ['send_remain', int4, () => 0],
  ['pkt_avail', int4, () => 0],
  ['send_avail', int4, (socket) => socket.unsentBytes ?? 0],
])

export const showSockets = defineTable('SOCKETS', allSockets, bufferColumns)
