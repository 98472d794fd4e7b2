// An Administration that remembers what it was asked, and shows two databases, a client and a server.

import { type Config, loadConfig } from '../../src/config/load.js'
import type {
  Administration,
  DatabaseStatus,
  HostStatus,
  PeerPoolStatus,
  PeerStatus,
  PoolStatus,
  ShutdownMode,
  SocketStatus,
  StatsCounters,
  StatsStatus,
  UserStatus,
} from '../../src/control/status.js'
import { AdminError } from '../../src/control/status.js'

export const fakeConfig: Config = await loadConfig({
  pgbouncer: { pool_mode: 'transaction', auth_ldap_options: 'ldapbindpasswd="hunter2"', max_client_conn: 500 },
  databases: { pg: 'host=127.0.0.1' },
})

export const socket: SocketStatus = {
  type: 'C',
  id: 7,
  ptr: '0x7f00',
  user: 'sam',
  database: 'pg',
  replication: 'none',
  state: 'active',
  addr: '10.0.0.1',
  port: 51234,
  localAddr: '127.0.0.1',
  localPort: 6432,
  connectedAt: new Date(2026, 10, 23, 2, 44, 40, 733),
  requestAt: new Date(2026, 0, 5, 12, 0, 0),
  waitMs: 1234.567,
  closeNeeded: false,
  link: '0x7f01',
  remotePid: 0,
  tls: 'TLSv1.3/TLS_AES_256_GCM_SHA384',
  applicationName: 'psql',
  preparedStatements: 3,
}

export const pool: PoolStatus = {
  database: 'pg',
  user: 'sam',
  clActive: 1,
  clWaiting: 2,
  clActiveCancelReq: 3,
  clWaitingCancelReq: 4,
  svActive: 5,
  svActiveCancel: 6,
  svBeingCanceled: 7,
  svIdle: 8,
  svUsed: 9,
  svTested: 10,
  svLogin: 11,
  maxWaitMs: 2500.25,
  poolMode: 'transaction',
  loadBalanceHosts: '',
}

const database: DatabaseStatus = {
  name: 'pg',
  host: 'a,b',
  port: 5432,
  database: 'pgdb',
  forceUser: undefined,
  poolSize: 20,
  minPoolSize: 1,
  reservePoolSize: 2,
  serverLifetime: 3600,
  poolMode: 'transaction',
  loadBalanceHosts: 'round-robin',
  maxConnections: 30,
  currentConnections: 4,
  maxClientConnections: 50,
  currentClientConnections: 6,
  paused: false,
  disabled: true,
}

const user: UserStatus = {
  name: 'sam',
  poolSize: 12,
  reservePoolSize: undefined,
  poolMode: undefined,
  maxUserConnections: 1,
  currentConnections: 2,
  maxUserClientConnections: 3,
  currentClientConnections: 4,
}

const peer: PeerStatus = {
  peerId: 2,
  host: '10.0.0.2',
  port: 6432,
  poolSize: 5,
}

const peerPool: PeerPoolStatus = {
  peerId: 2,
  clActiveCancelReq: 1,
  clWaitingCancelReq: 2,
  svActiveCancel: 3,
  svLogin: 4,
}

/** Counters `first`, `first + 1` and so on, in the order of SHOW STATS. */
export function counters(first: number): StatsCounters {
  return {
    serverAssignments: first,
    xacts: first + 1,
    queries: first + 2,
    received: first + 3,
    sent: first + 4,
    xactTime: first + 5,
    queryTime: first + 6,
    waitTime: first + 7,
    clientParses: first + 8,
    serverParses: first + 9,
    binds: first + 10,
    clientLogins: first + 11,
    sessionSettings: first + 12,
    sessionListens: first + 13,
    sessionLocks: first + 14,
    sessionTemporaries: first + 15,
    sessionCursors: first + 16,
  }
}

export class FakeAdministration implements Administration {
  readonly version = 'PgBouncer 1.26.1 (tsbouncer 0.1.0)'
  /** What was called, as `pause pg`. */
  readonly calls: string[] = []
  /** Ends the PAUSE, SUSPEND or WAIT_CLOSE that waits. */
  finish: () => void = () => undefined
  /** Thrown by the next verb. */
  refusal: Error | undefined
  suspended = false
  configNow: Config = fakeConfig
  clientRows: readonly SocketStatus[] = [socket]
  serverRows: readonly SocketStatus[] = [{ ...socket, type: 'S', id: 8, state: 'idle', ptr: '0x7f01', link: '' }]
  poolRows: readonly PoolStatus[] = [pool]
  statsRows: readonly StatsStatus[] = [{ database: 'pg', total: counters(100), average: counters(10) }]

  config = () => this.configNow
  pools = () => this.poolRows
  databases = (): DatabaseStatus[] => [database]
  clients = () => this.clientRows
  servers = () => this.serverRows
  users = () => [user]
  stats = () => this.statsRows
  closes = () => [
    { kind: 'server', database: 'pg', user: 'sam', reason: 'server_lifetime', count: 3 } as const,
    { kind: 'client', database: undefined, user: undefined, reason: 'auth_failed', count: 2 } as const,
  ]
  peers = () => [peer]
  peerPools = () => [peerPool]
  dnsHosts = () => [{ hostname: 'db.example', ttl: 15, addresses: ['10.0.0.1:5432', '10.0.0.2:5432'] }]
  hosts = (): HostStatus[] => [
    {
      host: '10.0.0.1:5432',
      role: 'primary',
      state: 'up',
      isPrimary: true,
      timeline: 3,
      systemId: '7000000000000000001',
      lag: undefined,
      since: new Date(2026, 0, 5, 12, 0, 0),
      lastError: '',
      active: 1,
      idle: 2,
      other: 3,
      failovers: 1,
    },
  ]
  memory = () => [{ name: 'heap', size: 1, used: 2, free: 3, total: 4 }]
  state = () => ({ active: !this.suspended, paused: false, suspended: this.suspended })
  lists = () => ({
    databases: 1,
    users: 2,
    peers: 3,
    pools: 4,
    peerPools: 5,
    freeClients: 6,
    usedClients: 7,
    loginClients: 8,
    freeServers: 9,
    usedServers: 10,
    dnsNames: 11,
    dnsZones: 12,
    dnsQueries: 13,
    dnsPending: 14,
  })

  /** What a RELOAD has to tell. */
  notices: readonly string[] = []

  reload = async () => {
    this.#note('reload')
    return this.notices
  }

  set = async (key: string, value: string) => {
    this.#note('set', key, value)
    return undefined
  }

  pause = (name: string | undefined, signal: AbortSignal) => this.#wait(signal, 'pause', name)
  resume = (name: string | undefined) => {
    this.suspended = false
    this.#note('resume', name)
  }
  disable = (name: string) => this.#note('disable', name)
  enable = (name: string) => this.#note('enable', name)
  kill = (name: string | undefined) => this.#note('kill', name)
  killClient = (id: number) => this.#note('killClient', String(id))
  reconnect = (name: string | undefined) => this.#note('reconnect', name)
  waitClose = (name: string | undefined, signal: AbortSignal) => this.#wait(signal, 'waitClose', name)
  banHost = (host: string, seconds: number) => this.#note('banHost', host, String(seconds))
  unbanHost = (host: string) => {
    this.#note('unbanHost', host)
    return host === 'fenced' ? { text: 'fenced is fenced again', detail: 'It is not.' } : undefined
  }
  waitPrimary = (name: string, seconds: number, signal: AbortSignal) =>
    this.#wait(signal, 'waitPrimary', name, String(seconds))
  suspend = (signal: AbortSignal) => {
    this.suspended = true
    return this.#wait(signal, 'suspend')
  }
  shutdown = (mode: ShutdownMode) => this.#note('shutdown', mode)

  #note(...call: (string | undefined)[]): void {
    this.calls.push(call.filter((part) => part !== undefined).join(' '))
    const { refusal } = this
    this.refusal = undefined
    if (refusal !== undefined) throw refusal
    if (call[1] === 'nodb') throw new AdminError('no such database: nodb')
  }

  async #wait(signal: AbortSignal, ...call: (string | undefined)[]): Promise<void> {
    this.#note(...call)
    await new Promise<void>((resolve, reject) => {
      this.finish = resolve
      signal.addEventListener('abort', () => {
        this.calls.push(`${call[0]} aborted`)
        reject(signal.reason)
      })
    })
  }
}
