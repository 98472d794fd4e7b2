// SHOW STATS_AVERAGES: the averages of SHOW STATS.

import { byName, defineTable, numeric, text } from '../table.js'

export const showStatsAverages = defineTable(
  'STATS_AVERAGES',
  (administration) => byName(administration.stats(), (row) => row.database),
  [
    ['database', text, (row) => row.database],
    ['server_assignment_count', numeric, ({ average }) => average.serverAssignments],
    ['xact_count', numeric, ({ average }) => average.xacts],
    ['query_count', numeric, ({ average }) => average.queries],
    ['bytes_received', numeric, ({ average }) => average.received],
    ['bytes_sent', numeric, ({ average }) => average.sent],
    ['xact_time', numeric, ({ average }) => average.xactTime],
    ['query_time', numeric, ({ average }) => average.queryTime],
    ['wait_time', numeric, ({ average }) => average.waitTime],
    ['avg_client_parse_count', numeric, ({ average }) => average.clientParses],
    ['avg_server_parse_count', numeric, ({ average }) => average.serverParses],
    ['avg_bind_count', numeric, ({ average }) => average.binds],
    ['avg_client_login_count', numeric, ({ average }) => average.clientLogins],
  ],
)
