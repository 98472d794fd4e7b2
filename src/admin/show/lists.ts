// SHOW LISTS: how many there are of what.

import type { ListCounts } from '../../control/status.js'
import { defineTable, int4, text } from '../table.js'

const names: readonly (readonly [list: string, count: keyof ListCounts])[] = [
  ['databases', 'databases'],
  ['users', 'users'],
  ['peers', 'peers'],
  ['pools', 'pools'],
  ['peer_pools', 'peerPools'],
  ['free_clients', 'freeClients'],
  ['used_clients', 'usedClients'],
  ['login_clients', 'loginClients'],
  ['free_servers', 'freeServers'],
  ['used_servers', 'usedServers'],
  ['dns_names', 'dnsNames'],
  ['dns_zones', 'dnsZones'],
  ['dns_queries', 'dnsQueries'],
  ['dns_pending', 'dnsPending'],
]

export const showLists = defineTable(
  'LISTS',
  (administration) => {
    const counts = administration.lists()
    return names.map(([list, count]) => ({ list, items: counts[count] }))
  },
  [
    ['list', text, (row) => row.list],
    ['items', int4, (row) => row.items],
  ],
)
