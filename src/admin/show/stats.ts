// SHOW STATS: totals since start and averages of the latest stats_period, one row a database.

import { watchesSessions } from '../../config/session-state.js'
import type { Administration, StatsStatus } from '../../control/status.js'
import { byName, columnsOf, defineTable, numeric, text } from '../table.js'

/** What `session_state` has seen. */
const sessionColumns = columnsOf<StatsStatus>()([
  ['total_session_setting_count', numeric, ({ total }) => total.sessionSettings],
  ['total_session_listen_count', numeric, ({ total }) => total.sessionListens],
  ['total_session_lock_count', numeric, ({ total }) => total.sessionLocks],
  ['total_session_temp_count', numeric, ({ total }) => total.sessionTemporaries],
  ['total_session_cursor_count', numeric, ({ total }) => total.sessionCursors],
])

export const showStats = defineTable(
  'STATS',
  (administration: Administration) => byName(administration.stats(), (row) => row.database),
  [
    ['database', text, (row) => row.database],
    ['total_server_assignment_count', numeric, ({ total }) => total.serverAssignments],
    ['total_xact_count', numeric, ({ total }) => total.xacts],
    ['total_query_count', numeric, ({ total }) => total.queries],
    ['total_received', numeric, ({ total }) => total.received],
    ['total_sent', numeric, ({ total }) => total.sent],
    ['total_xact_time', numeric, ({ total }) => total.xactTime],
    ['total_query_time', numeric, ({ total }) => total.queryTime],
    ['total_wait_time', numeric, ({ total }) => total.waitTime],
    ['total_client_parse_count', numeric, ({ total }) => total.clientParses],
    ['total_server_parse_count', numeric, ({ total }) => total.serverParses],
    ['total_bind_count', numeric, ({ total }) => total.binds],
    ['total_client_login_count', numeric, ({ total }) => total.clientLogins],
    ['avg_server_assignment_count', numeric, ({ average }) => average.serverAssignments],
    ['avg_xact_count', numeric, ({ average }) => average.xacts],
    ['avg_query_count', numeric, ({ average }) => average.queries],
    ['avg_recv', numeric, ({ average }) => average.received],
    ['avg_sent', numeric, ({ average }) => average.sent],
    ['avg_xact_time', numeric, ({ average }) => average.xactTime],
    ['avg_query_time', numeric, ({ average }) => average.queryTime],
    ['avg_wait_time', numeric, ({ average }) => average.waitTime],
    ['avg_client_parse_count', numeric, ({ average }) => average.clientParses],
    ['avg_server_parse_count', numeric, ({ average }) => average.serverParses],
    ['avg_bind_count', numeric, ({ average }) => average.binds],
    ['avg_client_login_count', numeric, ({ average }) => average.clientLogins],
  ],
  { isShown: watchesSessions, columns: sessionColumns },
)
