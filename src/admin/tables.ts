// Every SHOW that has rows, by name.

import { showActiveSockets } from './show/active-sockets.js'
import { showClients } from './show/clients.js'
import { showCloses } from './show/closes.js'
import { showConfig } from './show/config.js'
import { showDatabases } from './show/databases.js'
import { showDnsHosts } from './show/dns-hosts.js'
import { showDnsZones } from './show/dns-zones.js'
import { showHosts } from './show/hosts.js'
import { showLists } from './show/lists.js'
import { showMem } from './show/mem.js'
import { showPeerPools } from './show/peer-pools.js'
import { showPeers } from './show/peers.js'
import { showPools } from './show/pools.js'
import { showServers } from './show/servers.js'
import { showSockets } from './show/sockets.js'
import { showState } from './show/state.js'
import { showStats } from './show/stats.js'
import { showStatsAverages } from './show/stats-averages.js'
import { showStatsTotals } from './show/stats-totals.js'
import { showTotals } from './show/totals.js'
import { showUsers } from './show/users.js'
import { showVersion } from './show/version.js'
import type { Table } from './table.js'

export const tables = [
  showActiveSockets,
  showClients,
  showCloses,
  showConfig,
  showDatabases,
  showDnsHosts,
  showDnsZones,
  showHosts,
  showLists,
  showMem,
  showPeerPools,
  showPeers,
  showPools,
  showServers,
  showSockets,
  showState,
  showStats,
  showStatsAverages,
  showStatsTotals,
  showTotals,
  showUsers,
  showVersion,
] as const satisfies readonly Table[]

type AnyTable = (typeof tables)[number]

/** What may follow SHOW and has rows: `pools`, or `POOLS`. */
export type ShowName = AnyTable['name'] | Lowercase<AnyTable['name']>

/** A row of it, by names of columns. */
export type ShowRow<Name extends ShowName> = NonNullable<Extract<AnyTable, { readonly name: Uppercase<Name> }>['shown']>

const byName = new Map<string, Table>(tables.map((table) => [table.name, table]))

/** The table of `SHOW name`, in any case of letters. */
export function tableNamed(name: string): Table | undefined {
  return byName.get(name.toUpperCase())
}
