// SHOW CLIENTS, and the columns that SERVERS and SOCKETS share with it.

import { watchesSessions } from '../../config/session-state.js'
import type { Administration, SocketStatus } from '../../control/status.js'
import { columnsOf, defineTable, durationColumns, int4, text, timestamp } from '../table.js'

export function socketColumns(stateOf: (socket: SocketStatus) => string) {
  return columnsOf<SocketStatus>()([
    ['type', text, (socket) => socket.type],
    ['user', text, (socket) => socket.user || '(nouser)'],
    ['database', text, (socket) => socket.database || '(nodb)'],
    ['replication', text, (socket) => socket.replication],
    ['state', text, stateOf],
    ['addr', text, (socket) => socket.addr],
    ['port', int4, (socket) => socket.port],
    ['local_addr', text, (socket) => socket.localAddr],
    ['local_port', int4, (socket) => socket.localPort],
    ['connect_time', timestamp, (socket) => socket.connectedAt],
    ['request_time', timestamp, (socket) => socket.requestAt],
    ...durationColumns('wait', (socket: SocketStatus) => socket.waitMs),
    ['close_needed', int4, (socket) => Number(socket.closeNeeded)],
    ['ptr', text, (socket) => socket.ptr],
    ['link', text, (socket) => socket.link],
    ['remote_pid', int4, (socket) => socket.remotePid],
    ['tls', text, (socket) => socket.tls],
    ['application_name', text, (socket) => socket.applicationName],
    ['prepared_statements', int4, (socket) => socket.preparedStatements],
    ['id', int4, (socket) => socket.id],
  ])
}

/** Clients that are still logging in are in SHOW SOCKETS only. */
const loggedIn = (administration: Administration): SocketStatus[] =>
  administration.clients().filter((client) => client.state !== 'login')

/** How many clients the console has. */
export function consoleClients(administration: Administration): number {
  return loggedIn(administration).filter((client) => client.database === 'pgbouncer').length
}

/** What `session_state` looks after. */
const sessionColumns = columnsOf<SocketStatus>()([['session', text, (client) => client.session ?? '']])

export const showClients = defineTable(
  'CLIENTS',
  loggedIn,
  socketColumns((client) => client.state),
  { isShown: watchesSessions, columns: sessionColumns },
)
