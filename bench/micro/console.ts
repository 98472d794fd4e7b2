// SHOW with many clients and pools: rows made and encoded.

import { showClients } from '../../src/admin/show/clients.js'
import { showPools } from '../../src/admin/show/pools.js'
import { encodeRow, type Table } from '../../src/admin/table.js'
import type { Administration, PoolStatus, SocketStatus } from '../../src/control/status.js'
import type { Case, Suite } from './suite.js'

const clientCount = 500
const poolCount = 100

function client(id: number): SocketStatus {
  return {
    type: 'C',
    id,
    ptr: `0x55000000${id.toString(16).padStart(4, '0')}`,
    user: 'sam',
    database: `shop_${id % poolCount}`,
    replication: 'none',
    state: 'active',
    addr: '10.0.0.1',
    port: 50_000 + id,
    localAddr: '127.0.0.1',
    localPort: 6432,
    connectedAt: new Date(1_800_000_000_000 + id * 1000),
    requestAt: new Date(1_800_000_500_000 + id),
    waitMs: 0,
    closeNeeded: false,
    link: '',
    remotePid: 0,
    tls: '',
    applicationName: 'bench',
    preparedStatements: 3,
  }
}

function pool(id: number): PoolStatus {
  return {
    database: `shop_${id}`,
    user: 'sam',
    clActive: 5,
    clWaiting: 0,
    clActiveCancelReq: 0,
    clWaitingCancelReq: 0,
    svActive: 2,
    svActiveCancel: 0,
    svBeingCanceled: 0,
    svIdle: 3,
    svUsed: 0,
    svTested: 0,
    svLogin: 0,
    maxWaitMs: 0,
    poolMode: 'transaction',
    loadBalanceHosts: 'round-robin',
  }
}

const clients = Array.from({ length: clientCount }, (_, i) => client(i))
const pools = Array.from({ length: poolCount }, (_, i) => pool(i))
// The two tables ask for no more.
const administration = { clients: () => clients, pools: () => pools, databases: () => [] } as unknown as Administration

function encoding(name: string, table: Table): Case {
  return {
    name,
    run() {
      for (const row of table.rows(administration)) encodeRow(table, row)
    },
  }
}

export const console: Suite = {
  name: 'console',
  cases: () => [
    encoding(`SHOW CLIENTS, ${clientCount} clients`, showClients),
    encoding(`SHOW POOLS, ${poolCount} pools, ${clientCount} clients`, showPools),
  ],
}
