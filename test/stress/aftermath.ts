// When all clients have gone: PostgreSQL has what was acknowledged, and nothing is left of anybody.

import { eventually } from '../harness/pooler.js'
import { query } from '../harness/postgres.js'
import type { Scene } from './scene.js'

/** Rows are those that were acknowledged; connections those that SHOW has; none of them in a transaction. */
export async function agreesWithPostgres({ pooler, stage: { database }, ledger, round }: Scene): Promise<void> {
  const rows = await query('delete from writes returning token', { database })
  const found = new Set(rows.map((row) => String(row.token)))
  const lost = [...ledger.written].filter((token) => !found.has(token))
  const strange = [...found].filter((token) => !ledger.written.has(token) && !ledger.uncertain.has(token))
  if (lost.length > 0) throw new Error(`rows that were acknowledged and are not there: ${lost.join()}`)
  if (strange.length > 0) throw new Error(`rows that are there and nobody could have written: ${strange.join()}`)

  if (round.known.has('servers beyond SHOW')) return
  let shown: readonly (readonly [pid: number, state: unknown])[] = []
  let actual = shown
  let queries = ''
  const pids = (rows: typeof shown): string =>
    rows
      .map(([pid]) => pid)
      .sort()
      .join()
  await eventually(
    async () => {
      shown = (await pooler.show('servers')).map((row) => [Number(row.remote_pid), row.state])
      const activity = await query('select * from pg_stat_activity where datname = $1', { values: [database] })
      actual = activity.map((row) => [Number(row.pid), row.state])
      const busy = activity.filter((row) => row.state !== 'idle')
      queries = busy.map((row) => `${row.pid} ${row.wait_event} ${row.query}`).join('\n')
      const areFree = shown.every(([, state]) => state === 'idle' || state === 'used')
      return areFree && actual.every(([, state]) => state === 'idle') && pids(shown) === pids(actual)
    },
    () => `SHOW SERVERS: ${JSON.stringify(shown)}\npg_stat_activity: ${JSON.stringify(actual)}\n${queries}`,
  )
}

export async function leavesNothing({ pooler, stage: { database }, round }: Scene): Promise<void> {
  await pooler.untilEmpty()
  const nobody = { cl_active: 0, cl_waiting: 0, sv_active: 0, sv_tested: 0, sv_login: 0, maxwait: 0 }
  for (const row of await pooler.show('pools')) agrees('POOLS', row, nobody)
  pooler.pooler.admin.reconnect(undefined)
  await eventually(async () => (await pooler.show('servers')).length === 0)
  await eventually(async () => {
    if (round.known.has('servers beyond SHOW')) return true
    const left = await query('select 1 from pg_stat_activity where datname = $1', { values: [database] })
    return left.length === 0
  })
  const none = { current_connections: 0, current_client_connections: 0 }
  for (const name of ['databases', 'users']) for (const row of await pooler.show(name)) agrees(name, row, none)
  const cache = (await pooler.show('mem')).find((row) => row.name === 'prepared_statement_cache')
  agrees('MEM', cache ?? {}, { used: 0 })
  const complaints = pooler.logged.filter(isComplaint)
  if (complaints.length > 0) throw new Error(`logged: ${complaints.join('\n')}`)
}

function agrees(what: string, row: Readonly<Record<string, unknown>>, wanted: Readonly<Record<string, unknown>>): void {
  if (Object.entries(wanted).every(([name, value]) => row[name] === value)) return
  throw new Error(`left in SHOW ${what}: ${JSON.stringify(row)}`)
}

/** A server that is given up because a COPY has failed, and what came of the rest can't be known, is as it should be. */
const isComplaint = (line: string): boolean =>
  /^(ERROR|FATAL)|out of sync: /.test(line) && !line.endsWith('out of sync: COPY failed, and what followed it')
