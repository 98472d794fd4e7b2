// SHOW POOLS, the console's own pool included.

import type { Administration, PoolStatus } from '../../control/status.js'
import { byName, defineTable, durationColumns, int4, text } from '../table.js'
import { consoleClients } from './clients.js'

export const showPools = defineTable('POOLS', poolsAndConsole, [
  ['database', text, (pool) => pool.database],
  ['user', text, (pool) => pool.user],
  ['cl_active', int4, (pool) => pool.clActive],
  ['cl_waiting', int4, (pool) => pool.clWaiting],
  ['cl_active_cancel_req', int4, (pool) => pool.clActiveCancelReq],
  ['cl_waiting_cancel_req', int4, (pool) => pool.clWaitingCancelReq],
  ['sv_active', int4, (pool) => pool.svActive],
  ['sv_active_cancel', int4, (pool) => pool.svActiveCancel],
  ['sv_being_canceled', int4, (pool) => pool.svBeingCanceled],
  ['sv_idle', int4, (pool) => pool.svIdle],
  ['sv_used', int4, (pool) => pool.svUsed],
  ['sv_tested', int4, (pool) => pool.svTested],
  ['sv_login', int4, (pool) => pool.svLogin],
  ...durationColumns('maxwait', (pool: PoolStatus) => pool.maxWaitMs),
  ['pool_mode', text, (pool) => pool.poolMode],
  ['load_balance_hosts', text, (pool) => pool.loadBalanceHosts || null],
])

/** pgbouncer keeps the clients of its console in a pool as well, and monitoring expects that row. */
function poolsAndConsole(administration: Administration): readonly PoolStatus[] {
  const severalHosts = new Set(
    administration.databases().flatMap(({ name, host }) => (host?.includes(',') ? name : [])),
  )
  const pools = administration.pools().map((pool) => ({
    ...pool,
    loadBalanceHosts: severalHosts.has(pool.database) ? pool.loadBalanceHosts : '',
  }))
  return byName(
    [...pools, consolePool(consoleClients(administration))],
    (pool) => pool.database,
    (pool) => pool.user,
  )
}

function consolePool(clients: number): PoolStatus {
  return {
    database: 'pgbouncer',
    user: 'pgbouncer',
    clActive: clients,
    clWaiting: 0,
    clActiveCancelReq: 0,
    clWaitingCancelReq: 0,
    svActive: 0,
    svActiveCancel: 0,
    svBeingCanceled: 0,
    svIdle: 0,
    svUsed: 0,
    svTested: 0,
    svLogin: 0,
    maxWaitMs: 0,
    poolMode: 'statement',
    loadBalanceHosts: '',
  }
}
