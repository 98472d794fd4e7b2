// SHOW STATS_TOTALS: the totals of SHOW STATS.

import { byName, defineTable, numeric, text } from '../table.js'

export const showStatsTotals = defineTable(
  'STATS_TOTALS',
  (administration) => byName(administration.stats(), (row) => row.database),
  [
    ['database', text, (row) => row.database],
    ['server_assignment_count', numeric, ({ total }) => total.serverAssignments],
    ['xact_count', numeric, ({ total }) => total.xacts],
    ['query_count', numeric, ({ total }) => total.queries],
    ['bytes_received', numeric, ({ total }) => total.received],
    ['bytes_sent', numeric, ({ total }) => total.sent],
    ['xact_time', numeric, ({ total }) => total.xactTime],
    ['query_time', numeric, ({ total }) => total.queryTime],
    ['wait_time', numeric, ({ total }) => total.waitTime],
    ['client_parse_count', numeric, ({ total }) => total.clientParses],
    ['server_parse_count', numeric, ({ total }) => total.serverParses],
    ['bind_count', numeric, ({ total }) => total.binds],
    ['client_login_count', numeric, ({ total }) => total.clientLogins],
  ],
)
