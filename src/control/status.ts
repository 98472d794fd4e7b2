// What an administrator may see and do: rows for SHOW, verbs for the console, signals and the library.

import type { PeerPoolStatus } from '../cancel/peers.js'
import type { PoolMode } from '../config/choices.js'
import type { Config } from '../config/load.js'
import { Refusal } from '../protocol/errors.js'
import type { DnsStatus } from '../server/hosts.js'

export type { PeerPoolStatus } from '../cancel/peers.js'
export type { PoolMode } from '../config/choices.js'
export type { DnsStatus } from '../server/hosts.js'

/** One row of SHOW CLIENTS or SHOW SERVERS. `connectedAt`, `requestAt`: wall clock; `waitMs`: how long it has waited. */
export interface SocketStatus {
  readonly type: 'C' | 'S'
  readonly id: number
  /** The name in log lines (`C-0x…`), without its letter; SHOW's `ptr`. */
  readonly ptr: string
  readonly user: string
  readonly database: string
  readonly replication: 'none' | 'logical' | 'physical'
  readonly state: string
  readonly addr: string
  readonly port: number
  readonly localAddr: string
  readonly localPort: number
  readonly connectedAt: Date
  readonly requestAt: Date
  readonly waitMs: number
  readonly closeNeeded: boolean
  /** `ptr` of the peer it is linked to, or ''. */
  readonly link: string
  readonly remotePid: number
  readonly tls: string
  readonly applicationName: string
  readonly preparedStatements: number
  /** What a client keeps in its session, where that is looked after (`session_state`): `pinned: listen; settings: 2`. */
  readonly session?: string
  /** Bytes written that the kernel has not taken yet; SHOW SOCKETS' `send_avail`. */
  readonly unsentBytes?: number
}

export interface PoolStatus {
  readonly database: string
  readonly user: string
  readonly clActive: number
  readonly clWaiting: number
  readonly clActiveCancelReq: number
  readonly clWaitingCancelReq: number
  readonly svActive: number
  readonly svActiveCancel: number
  readonly svBeingCanceled: number
  readonly svIdle: number
  readonly svUsed: number
  readonly svTested: number
  readonly svLogin: number
  /** How long the first in the queue has waited, milliseconds. */
  readonly maxWaitMs: number
  readonly poolMode: PoolMode
  readonly loadBalanceHosts: string
}

/** One row of SHOW CLOSES. Without database and user: clients that had no pool yet, and CancelRequests. */
export interface CloseStatus {
  readonly kind: 'client' | 'server'
  readonly database: string | undefined
  readonly user: string | undefined
  /** One of a fixed set of names. */
  readonly reason: string
  readonly count: number
}

export interface DatabaseStatus {
  readonly name: string
  /** Host list, or undefined for the Unix socket. */
  readonly host: string | undefined
  readonly port: number
  readonly database: string
  readonly forceUser: string | undefined
  readonly poolSize: number
  readonly minPoolSize: number
  readonly reservePoolSize: number
  readonly serverLifetime: number
  readonly poolMode: PoolMode | undefined
  readonly loadBalanceHosts: string
  readonly maxConnections: number
  readonly currentConnections: number
  readonly maxClientConnections: number
  readonly currentClientConnections: number
  readonly paused: boolean
  readonly disabled: boolean
}

export interface UserStatus {
  readonly name: string
  readonly poolSize: number | undefined
  readonly reservePoolSize: number | undefined
  readonly poolMode: PoolMode | undefined
  readonly maxUserConnections: number
  readonly currentConnections: number
  readonly maxUserClientConnections: number
  readonly currentClientConnections: number
}

/** Counters since start; times in microseconds. Averages have the same names, per second or per item as in pgbouncer. */
export interface StatsCounters {
  serverAssignments: number
  xacts: number
  queries: number
  received: number
  sent: number
  xactTime: number
  queryTime: number
  waitTime: number
  clientParses: number
  serverParses: number
  binds: number
  clientLogins: number
  sessionSettings: number
  sessionListens: number
  sessionLocks: number
  sessionTemporaries: number
  sessionCursors: number
}

export interface StatsStatus {
  readonly database: string
  readonly total: StatsCounters
  readonly average: StatsCounters
}

/** One row of SHOW LISTS. */
export interface ListCounts {
  readonly databases: number
  readonly users: number
  readonly peers: number
  readonly pools: number
  readonly peerPools: number
  readonly freeClients: number
  readonly usedClients: number
  readonly loginClients: number
  readonly freeServers: number
  readonly usedServers: number
  readonly dnsNames: number
  readonly dnsZones: number
  readonly dnsQueries: number
  readonly dnsPending: number
}

/** One row of SHOW HOSTS: a host of entries with `target_session_attrs`. */
export interface HostStatus {
  /** `10.0.0.1:5432`, or the path of a Unix socket. */
  readonly host: string
  /** By its own word. */
  readonly role: 'primary' | 'standby' | 'unknown'
  /**
   * `down`: it does not answer. `starting`: it serves nobody yet. `fenced`: it says that it is a primary, and another one is.
   * `foreign`: it belongs to another cluster. `banned`: by an administrator. `late`: further behind than an entry
   * that reads from it allows (`max_replica_lag`).
   */
  readonly state: 'unknown' | 'up' | 'starting' | 'down' | 'fenced' | 'foreign' | 'banned' | 'late'
  /** Writes go there. */
  readonly isPrimary: boolean
  readonly timeline: number | undefined
  readonly systemId: string | undefined
  /** ms behind the primary. */
  readonly lag: number | undefined
  /** When its state or role last changed. */
  readonly since: Date
  readonly lastError: string
  /** Servers there that clients have, that nobody has, and that are being connected or checked. */
  readonly active: number
  readonly idle: number
  readonly other: number
  /** How often the primary's role came to it from another host. */
  readonly failovers: number
}

export interface PeerStatus {
  readonly peerId: number
  readonly host: string
  readonly port: number
  readonly poolSize: number
}

/** One row of SHOW MEM. */
export interface MemoryStatus {
  readonly name: string
  /** Bytes of one item, items in use, items free, bytes in all. */
  readonly size: number
  readonly used: number
  readonly free: number
  readonly total: number
}

export type ShutdownMode = 'now' | 'wait_for_servers' | 'wait_for_clients'

/** What a client of the console is told beside the answer. */
export interface Notice {
  readonly text: string
  readonly detail: string
}

/**
 * What an administrator may see and do. Verbs that wait resolve when the thing is true, and stop waiting when `signal` aborts.
 * Refusals throw AdminError with pgbouncer's text.
 */
export interface Administration {
  readonly version: string
  config(): Config
  pools(): readonly PoolStatus[]
  databases(): readonly DatabaseStatus[]
  clients(): readonly SocketStatus[]
  servers(): readonly SocketStatus[]
  users(): readonly UserStatus[]
  stats(): readonly StatsStatus[]
  /** Of pools that are there: what a pool has counted goes with it. */
  closes(): readonly CloseStatus[]
  lists(): ListCounts
  hosts(): readonly HostStatus[]
  peers(): readonly PeerStatus[]
  /** Of peers that requests have been passed on to. */
  peerPools(): readonly PeerPoolStatus[]
  dnsHosts(): readonly DnsStatus[]
  memory(): readonly MemoryStatus[]
  state(): { readonly active: boolean; readonly paused: boolean; readonly suspended: boolean }

  /** What is to be told of it. */
  reload(): Promise<readonly string[]>
  /** `SET key = value`: changes one reloadable setting as RELOAD would; gives what is to be told of it. */
  set(key: string, value: string): Promise<Notice | undefined>
  pause(database: string | undefined, signal: AbortSignal): Promise<void>
  resume(database: string | undefined): void
  disable(database: string): void
  enable(database: string): void
  kill(database: string | undefined): void
  killClient(id: number): void
  reconnect(database: string | undefined): void
  waitClose(database: string | undefined, signal: AbortSignal): Promise<void>
  /**
   * A host of entries with roles is given no servers any more, and those there are retired.
   * @param seconds 0: until `unbanHost`
   */
  banHost(host: string, seconds: number): void
  /** Lifts a ban or a fence, and accepts the system identifier that the host has now; gives what is to be told of it. */
  unbanHost(host: string): Notice | undefined
  /** Resolves when a primary is known. @param seconds after which it is refused; 0: never */
  waitPrimary(database: string, seconds: number, signal: AbortSignal): Promise<void>
  suspend(signal: AbortSignal): Promise<void>
  shutdown(mode: ShutdownMode): void
}

/** A refused administrative verb: pgbouncer's text, and the SQLSTATE the console sends with it. */
export class AdminError extends Refusal {
  override readonly name = 'AdminError'
  readonly sqlstate: string

  constructor(text: string, sqlstate = '08P01') {
    super(text)
    this.sqlstate = sqlstate
  }
}
