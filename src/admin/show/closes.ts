// SHOW CLOSES: why clients and servers were closed, and how often; pgbouncer has no such thing.

import type { CloseStatus } from '../../control/status.js'
import { byName, defineTable, numeric, text } from '../table.js'

export const showCloses = defineTable(
  'CLOSES',
  (administration) =>
    byName<CloseStatus>(
      administration.closes(),
      ({ kind }) => kind,
      ({ database }) => database ?? '',
      ({ user }) => user ?? '',
      ({ reason }) => reason,
    ),
  [
    ['kind', text, (row) => row.kind],
    ['database', text, (row) => row.database],
    ['user', text, (row) => row.user],
    ['reason', text, (row) => row.reason],
    ['count', numeric, (row) => row.count],
  ],
)
