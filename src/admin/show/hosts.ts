// SHOW HOSTS: the hosts of databases with target_session_attrs, and what is known of them; pgbouncer has no such thing.

import type { HostStatus } from '../../control/status.js'
import { byName, defineTable, int4, int8, numeric, text, timestamp } from '../table.js'

export const showHosts = defineTable(
  'HOSTS',
  (administration) => byName<HostStatus>(administration.hosts(), ({ host }) => host),
  [
    ['host', text, (row) => row.host],
    ['role', text, (row) => row.role],
    ['state', text, (row) => row.state],
    ['writes', text, (row) => (row.isPrimary ? 'yes' : 'no')],
    ['timeline', int8, (row) => row.timeline ?? null],
    ['lag_ms', int8, (row) => (row.lag === undefined ? null : Math.round(row.lag))],
    ['since', timestamp, (row) => row.since],
    ['sv_active', int4, (row) => row.active],
    ['sv_idle', int4, (row) => row.idle],
    ['sv_other', int4, (row) => row.other],
    ['failovers', numeric, (row) => row.failovers],
    ['system_identifier', text, (row) => row.systemId ?? null],
    ['last_error', text, (row) => row.lastError || null],
  ],
)
