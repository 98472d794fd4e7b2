// SHOW TOTALS: SHOW STATS added up over all databases, one row a number.

import type { StatsCounters, StatsStatus } from '../../control/status.js'
import { defineTable, numeric, text } from '../table.js'

/**
 * pgbouncer's names of the counters here, each after `total_` and `avg_`. An average time is one per transaction, query or
 * assignment, so over all databases the busier ones weigh more.
 */
const names: readonly (readonly [name: string, counter: keyof StatsCounters, per?: keyof StatsCounters])[] = [
  ['server_assignment_count', 'serverAssignments'],
  ['xact_count', 'xacts'],
  ['query_count', 'queries'],
  ['client_bytes', 'received'],
  ['server_bytes', 'sent'],
  ['xact_time', 'xactTime', 'xacts'],
  ['query_time', 'queryTime', 'queries'],
  ['wait_time', 'waitTime', 'serverAssignments'],
  ['ps_client_parse_count', 'clientParses'],
  ['ps_server_parse_count', 'serverParses'],
  ['ps_bind_count', 'binds'],
  ['client_login_count', 'clientLogins'],
]

/** Averages are whole numbers: a rate of 0 beside a time that is not 0 was less than one a second. */
const lessThanOne = 0.5

interface Total {
  readonly name: string
  readonly value: number
}

function totals(stats: readonly StatsStatus[]): Total[] {
  const sum = (value: (row: StatsStatus) => number): number => stats.reduce((whole, row) => whole + value(row), 0)
  return [
    ...names.map(([name, counter]) => ({ name: `total_${name}`, value: sum(({ total }) => total[counter]) })),
    ...names.map(([name, counter, per]) => {
      if (per === undefined) return { name: `avg_${name}`, value: sum(({ average }) => average[counter]) }
      const weight = ({ average }: StatsStatus): number => average[per] || (average[counter] > 0 ? lessThanOne : 0)
      const weighted = sum((row) => row.average[counter] * weight(row))
      return { name: `avg_${name}`, value: weighted / (sum(weight) || 1) }
    }),
  ]
}

export const showTotals = defineTable('TOTALS', (administration) => totals(administration.stats()), [
  ['name', text, (row) => row.name],
  ['value', numeric, (row) => row.value],
])
