// Clients, servers, pools and databases as rows for SHOW.

import type { ClientSession } from '../client/client-session.js'
import type { Clients } from '../client/clients.js'
import { PooledClient } from '../client/pooled-client.js'
import { dateAfter } from '../observe/clock.js'
import type { Database } from '../pool/database.js'
import { User } from '../pool/database.js'
import { Limits } from '../pool/limits.js'
import type { Pool } from '../pool/pool.js'
import type { Registry } from '../pool/registry.js'
import type { ServerSession } from '../server/server-session.js'
import type { DatabaseStatus, ListCounts, PoolStatus, SocketStatus, UserStatus } from './status.js'

export function clientStatus(client: ClientSession, now: number): SocketStatus {
  const { origin, phase } = client
  const served = phase instanceof PooledClient ? phase : undefined
  return {
    type: 'C',
    id: client.id,
    ptr: client.ptr,
    user: client.user,
    database: client.database,
    replication: client.replication,
    state: phase?.name === 'login' ? 'login' : servedState(served),
    addr: origin.kind === 'unix' ? 'unix' : origin.address,
    port: origin.port,
    localAddr: origin.kind === 'unix' ? 'unix' : origin.localAddress,
    localPort: origin.localPort,
    connectedAt: client.connectedDate,
    requestAt: dateAfter(client.connectedDate, (served?.requestSince || client.connectedAt) - client.connectedAt),
    waitMs: served?.isWaiting ? now - served.waitingSince : 0,
    closeNeeded: false,
    link: served?.server?.ptr ?? '',
    remotePid: 0,
    tls: origin.tls,
    applicationName: client.parameters.get('application_name') ?? '',
    preparedStatements: served?.relay.statements.count ?? 0,
    session: served?.terms.session?.tracker.describe() ?? '',
    unsentBytes: served?.socket.stream.writableLength ?? 0,
  }
}

/** A client of the console is idle, always. */
function servedState(client: PooledClient | undefined): string {
  if (client?.isWaiting) return 'waiting'
  return client?.server ? 'active' : 'idle'
}

export function serverStatus(server: ServerSession): SocketStatus {
  const stream = server.relay?.socket.stream as { localAddress?: string; localPort?: number } | undefined
  const { location } = server
  return {
    type: 'S',
    id: server.id,
    ptr: server.ptr,
    user: server.user,
    database: server.database,
    replication: server.pool.startup.replication,
    state: serverState(server),
    addr: location === undefined ? '' : location.kind === 'unix' ? 'unix' : location.address,
    port: location?.port ?? 0,
    localAddr: location?.kind === 'unix' ? 'unix' : (stream?.localAddress ?? ''),
    localPort: stream?.localPort ?? location?.port ?? 0,
    connectedAt: server.connectedDate,
    requestAt: dateAfter(server.connectedDate, (server.holder?.requestSince || server.idleSince) - server.connectedAt),
    waitMs: 0,
    closeNeeded: server.closeNeeded,
    link: server.holder?.ptr ?? '',
    remotePid: server.key.pid,
    tls: server.tls,
    applicationName: server.parameters.get('application_name') ?? '',
    preparedStatements: server.relay?.statements.count ?? 0,
    unsentBytes: server.relay?.socket.stream.writableLength ?? 0,
  }
}

function serverState(server: ServerSession): string {
  if (isBeingCancelled(server)) return 'being_canceled'
  return server.state === 'connecting' ? 'new' : server.state
}

/** Free, were it not for CancelRequests for its last client that are still under way. */
function isBeingCancelled(server: ServerSession): boolean {
  return server.cancels > 0 && server.holder === null
}

/** One row for each database and user: servers for look-ups and for replication are pools of their own only to us. */
export function poolStatuses(registry: Registry, now: number): PoolStatus[] {
  const rows = new Map<string, PoolStatus>()
  for (const pool of registry.pools()) {
    const row = poolStatus(pool, now)
    const key = `${row.database}\0${row.user}`
    const known = rows.get(key)
    rows.set(key, known === undefined ? row : joined(known, row))
  }
  return [...rows.values()]
}

/** `one` is that of the clients' pool, if there is one: it comes first. */
function joined(one: PoolStatus, other: PoolStatus): PoolStatus {
  const counts = Object.keys(one).flatMap((name) => {
    const [mine, more] = [one[name as keyof PoolStatus], other[name as keyof PoolStatus]]
    return typeof mine === 'number' && typeof more === 'number' ? [[name, mine + more] as const] : []
  })
  return { ...one, ...Object.fromEntries(counts), maxWaitMs: Math.max(one.maxWaitMs, other.maxWaitMs) }
}

function poolStatus(pool: Pool, now: number): PoolStatus {
  const first = pool.waiting.values().next().value ?? pool.arriving.values().next().value
  let active = 0
  let waiting = 0
  for (const client of pool.clients) {
    if (client.isWaiting) waiting++
    else if (client.isReady) active++
  }
  const servers = [...pool.active]
  const beingCancelled = servers.filter(isBeingCancelled).length
  const cancels = servers.reduce((sum, server) => sum + server.cancels, 0)
  return {
    database: pool.database.name,
    user: pool.user.name,
    clActive: active,
    clWaiting: waiting + pool.arriving.size,
    clActiveCancelReq: cancels,
    clWaitingCancelReq: 0,
    svActive: pool.active.size - beingCancelled,
    svActiveCancel: cancels,
    svBeingCanceled: beingCancelled,
    svIdle: pool.idle.length,
    svUsed: pool.used.size,
    svTested: pool.tested.size,
    svLogin: pool.connecting.size,
    maxWaitMs: first === undefined ? 0 : now - first.waitingSince,
    poolMode: pool.limits.poolMode,
    loadBalanceHosts: pool.database.config.loadBalanceHosts,
  }
}

export function databaseStatus(registry: Registry, database: Database<Pool>): DatabaseStatus {
  const { config } = database
  const limits = new Limits(registry.context, database, new User('', undefined))
  return {
    name: database.name,
    host: config.hosts.length === 0 ? undefined : config.hosts.join(','),
    port: config.ports[0] ?? 5432,
    database: config.dbname,
    forceUser: config.user,
    poolSize: Number.isFinite(limits.poolSize) ? limits.poolSize : 0,
    minPoolSize: limits.minPoolSize,
    reservePoolSize: limits.reservePoolSize,
    serverLifetime: limits.serverLifetime / 1000,
    poolMode: config.poolMode,
    loadBalanceHosts: config.loadBalanceHosts,
    maxConnections: limits.maxDbConnections,
    currentConnections: database.servers,
    maxClientConnections: limits.maxDbClients,
    currentClientConnections: database.clients,
    paused: database.paused || registry.context.isPaused,
    disabled: database.disabled,
  }
}

/** Every name that is known: from auth_file, from [users], of those who have been here, and the console's own. */
export function userStatus(clients: Clients): UserStatus[] {
  const { registry } = clients
  const { config } = registry.context
  const { files } = registry
  const { users } = registry.databases
  const names = new Set(['pgbouncer', ...files.users.keys(), ...config.users.keys(), ...users.keys()])
  const onConsole = [...clients].filter((client) => client.isConsole)
  return [...names].sort().map((name) => {
    const own = config.users.get(name)
    const user = users.get(name)
    return {
      name,
      poolSize: own?.poolSize,
      reservePoolSize: own?.reservePoolSize,
      poolMode: own?.poolMode,
      maxUserConnections: own?.maxUserConnections ?? config.settings.max_user_connections,
      currentConnections: user?.servers ?? 0,
      maxUserClientConnections: own?.maxUserClientConnections ?? config.settings.max_user_client_connections,
      currentClientConnections: (user?.clients ?? 0) + onConsole.filter((client) => client.user === name).length,
    }
  })
}

export function listCounts(clients: Clients): ListCounts {
  const { registry } = clients
  const pools = [...registry.pools()]
  const names = new Set(pools.map((pool) => `${pool.database.name}\0${pool.user.name}`))
  const inLogin = [...clients].filter(({ phase }) => phase?.name === 'login').length
  const { resolver, config } = registry.context
  return {
    databases: registry.databases.byName.size + 1, // the console's is one, too
    users: userStatus(clients).length,
    peers: config.peers.size,
    pools: names.size + 1, // the console's is one, too
    peerPools: registry.cancels.peers.status().length,
    freeClients: 0, // to pgbouncer these are objects it keeps in reserve
    usedClients: clients.size,
    loginClients: inLogin,
    freeServers: 0,
    usedServers: pools.reduce((sum, pool) => sum + pool.size, 0),
    dnsNames: resolver.status().length,
    dnsZones: 0,
    dnsQueries: 0,
    dnsPending: resolver.pending,
  }
}
