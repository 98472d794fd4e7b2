// What an administrator may do, carried out on the pools: PAUSE, KILL and the others, and what SHOW sees.

import type { ClientSession } from '../client/client-session.js'
import type { Clients } from '../client/clients.js'
import { PooledClient } from '../client/pooled-client.js'
import type { Config } from '../config/load.js'
import type { Database } from '../pool/database.js'
import type { Pool } from '../pool/pool.js'
import type { Registry } from '../pool/registry.js'
import { PgError } from '../protocol/errors.js'
import { withoutPromise } from '../server/leave-promise.js'
import { closeStatuses } from './closes.js'
import { findHost, hostStatuses, pardon, waitPrimary } from './hosts.js'
import { clientStatus, databaseStatus, listCounts, poolStatuses, serverStatus, userStatus } from './rows.js'
import type { Statistics } from './statistics.js'
import {
  AdminError,
  type Administration,
  type CloseStatus,
  type DatabaseStatus,
  type DnsStatus,
  type HostStatus,
  type ListCounts,
  type MemoryStatus,
  type Notice,
  type PeerPoolStatus,
  type PeerStatus,
  type PoolStatus,
  type ShutdownMode,
  type SocketStatus,
  type StatsStatus,
  type UserStatus,
} from './status.js'

/** What lies above the pools: configuration, listeners, the end. */
export interface PoolerControl {
  readonly version: string
  reload(): Promise<readonly string[]>
  set(key: string, value: string): Promise<Notice | undefined>
  shutdown(mode: ShutdownMode): Promise<void>
}

export class PoolAdministration implements Administration {
  private readonly registry: Registry
  private readonly everyone: Clients
  private readonly statistics: Statistics
  private readonly control: PoolerControl
  /** Paused by a KILL of everything: RESUME of everything ends that, too. */
  private readonly killed = new Set<Database<Pool>>()

  constructor(clients: Clients, statistics: Statistics, control: PoolerControl) {
    this.registry = clients.registry
    this.everyone = clients
    this.statistics = statistics
    this.control = control
  }

  get version(): string {
    return this.control.version
  }

  config(): Config {
    return this.registry.context.config
  }

  pools(): PoolStatus[] {
    return poolStatuses(this.registry, this.registry.context.clock.now())
  }

  databases(): DatabaseStatus[] {
    return [...this.registry.databases].map((database) => databaseStatus(this.registry, database))
  }

  clients(): SocketStatus[] {
    const now = this.registry.context.clock.now()
    return [...this.everyone].map((client) => clientStatus(client, now))
  }

  servers(): SocketStatus[] {
    return [...this.registry.pools()].flatMap((pool) => pool.servers().map(serverStatus))
  }

  users(): UserStatus[] {
    return userStatus(this.everyone)
  }

  stats(): StatsStatus[] {
    return this.statistics.status()
  }

  closes(): CloseStatus[] {
    return closeStatuses(this.everyone)
  }

  lists(): ListCounts {
    return listCounts(this.everyone)
  }

  hosts(): HostStatus[] {
    return hostStatuses(this.registry)
  }

  peers(): PeerStatus[] {
    const { peers, settings } = this.registry.context.config
    return [...peers.values()].map((peer) => ({
      peerId: peer.id,
      host: peer.host,
      port: peer.port,
      poolSize: peer.poolSize ?? settings.default_pool_size,
    }))
  }

  peerPools(): PeerPoolStatus[] {
    return this.registry.cancels.peers.status()
  }

  dnsHosts(): readonly DnsStatus[] {
    return this.registry.context.resolver.status()
  }

  memory(): readonly MemoryStatus[] {
    const { statements } = this.registry.context
    return [{ name: 'prepared_statement_cache', size: 0, used: statements.count, free: 0, total: statements.bytes }]
  }

  state(): { active: boolean; paused: boolean; suspended: boolean } {
    const { context, isSuspended: suspended } = this.everyone
    const paused = context.isPaused
    return { active: !paused && !suspended, paused, suspended }
  }

  reload(): Promise<readonly string[]> {
    return this.control.reload()
  }

  set(key: string, value: string): Promise<Notice | undefined> {
    return this.control.set(key, value)
  }

  async pause(name: string | undefined, signal: AbortSignal): Promise<void> {
    const { registry } = this
    const database = withoutPromise(() => {
      this.refuseWhileStopped()
      const paused = name === undefined ? undefined : this.findOrMake(name)
      if (paused === undefined) registry.context.isPaused = true
      else paused.paused = true
      for (const pool of registry.pools(paused)) {
        for (const server of [...pool.idle, ...pool.used, ...pool.connecting]) server.close('pause')
      }
      return paused
    })
    await registry.conditions.until(() => this.count(database, ['active', 'tested']) === 0, signal)
  }

  resume(name: string | undefined): void {
    withoutPromise(() => {
      const { registry, everyone } = this
      const database = name === undefined ? undefined : this.find(name)
      if (database === undefined) {
        if (everyone.isClosing) throw new AdminError('pooler is shutting down')
        const { isPaused } = registry.context
        if (!isPaused && !everyone.isSuspended && this.killed.size === 0) {
          throw new AdminError('pooler is not paused/suspended')
        }
        registry.context.isPaused = false
        if (everyone.isSuspended) everyone.wake()
        for (const one of this.killed) one.paused = false
        this.killed.clear()
      } else {
        if (!database.paused) throw new AdminError(`database ${name} is not paused`)
        database.paused = false
        this.killed.delete(database)
      }
      for (const pool of registry.pools(database)) {
        pool.serveWaiting()
        pool.demand()
      }
    })
  }

  disable(name: string): void {
    this.findOrMake(name).disabled = true
  }

  enable(name: string): void {
    this.find(name).disabled = false
  }

  kill(name: string | undefined): void {
    withoutPromise(() => {
      this.refuseWhileStopped()
      const databases = name === undefined ? [...this.registry.databases] : [this.findOrMake(name)]
      for (const database of databases) {
        if (name === undefined && !database.paused) this.killed.add(database)
        database.paused = true
        this.registry.closeConnections(database, 'database_removed')
      }
    })
  }

  killClient(id: number): void {
    withoutPromise(() => {
      for (const client of this.everyone) {
        if (client.id === id) return client.fail(new PgError('admin_disconnect'))
      }
      throw new AdminError('client not found')
    })
  }

  reconnect(name: string | undefined): void {
    withoutPromise(() => {
      const database = name === undefined ? undefined : this.findOrMake(name)
      this.registry.retireServers(database, 'database_changed')
    })
  }

  async waitClose(name: string | undefined, signal: AbortSignal): Promise<void> {
    const database = name === undefined ? undefined : this.findOrMake(name)
    await this.registry.conditions.until(() => {
      for (const pool of this.registry.pools(database)) {
        if (pool.servers().some((server) => server.closeNeeded)) return false
      }
      return true
    }, signal)
  }

  banHost(name: string, seconds: number): void {
    withoutPromise(() => {
      const { context } = this.registry
      context.topology.ban(findHost(context, name), seconds * 1000)
    })
  }

  unbanHost(name: string): Notice | undefined {
    const { context } = this.registry
    return withoutPromise(() => pardon(context, findHost(context, name)))
  }

  waitPrimary(name: string, seconds: number, signal: AbortSignal): Promise<void> {
    return waitPrimary(this.registry, this.findOrMake(name), seconds, signal)
  }

  /** Reads nothing more from clients, and waits until what they asked for has been answered. */
  async suspend(signal: AbortSignal): Promise<void> {
    const { registry, everyone } = this
    const { context } = registry
    this.refuseWhileStopped()
    if (everyone.isClosing) throw new AdminError('pooler is shutting down')
    if ([...registry.databases].some((database) => database.paused)) {
      throw new AdminError('cannot suspend with paused databases')
    }
    withoutPromise(() => everyone.suspend())
    const isQuiet = ({ phase }: ClientSession): boolean =>
      phase instanceof PooledClient
        ? !phase.isWaiting && phase.server?.relay?.isQuiet !== false
        : phase?.name !== 'login'
    const limit = context.clock.after(context.config.settings.suspend_timeout * 1000, () => {
      for (const client of [...everyone]) if (!isQuiet(client)) client.fail(new PgError('suspend_timeout'))
    })
    await registry.conditions.until(() => [...everyone].every(isQuiet), signal).finally(() => limit.cancel())
  }

  shutdown(mode: ShutdownMode): void {
    void this.control.shutdown(mode)
  }

  private count(database: Database<Pool> | undefined, states: readonly string[]): number {
    let count = 0
    for (const pool of this.registry.pools(database)) {
      for (const server of pool.servers()) if (states.includes(server.state)) count++
    }
    return count
  }

  private refuseWhileStopped(): void {
    const { context, isSuspended } = this.everyone
    if (context.isPaused || isSuspended) throw new AdminError('already suspended/paused')
  }

  private find(name: string): Database<Pool> {
    const database = this.registry.databases.get(name)
    if (database === undefined) throw new AdminError(`no such database: ${name}`)
    return database
  }

  /** `*` may make one up. */
  private findOrMake(name: string): Database<Pool> {
    const database = this.registry.databases.findOrMake(name)
    if (database === undefined) throw new AdminError(`no such database: ${name}`)
    return database
  }
}
