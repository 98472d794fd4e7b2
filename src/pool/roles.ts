// What the roles of hosts mean for pools: where servers may stay, who waits for one, and as whom the probes log in.

import type { Credentials } from '../auth/server-login.js'
import type { Attempt } from '../server/attempt.js'
import { type OpenedServer, openServer } from '../server/open-server.js'
import type { ServerSession } from '../server/server-session.js'
import type { HostGroup } from '../server/topology/group.js'
import type { Host } from '../server/topology/host.js'
import type { HostUsers } from '../server/topology/topology.js'
import type { Database } from './database.js'
import type { Pool } from './pool.js'
import type { Registry } from './registry.js'

/** A way to log in to a host. */
interface ProbeLogin {
  readonly database: Database<Pool>
  readonly credentials: Credentials
}

export class Roles implements HostUsers {
  private readonly registry: Registry
  /** Logins of the probe of a host that were refused: the next of those that there are is tried. */
  private readonly refused = new WeakMap<Host, number>()

  constructor(registry: Registry) {
    this.registry = registry
  }

  openProbe(host: Host, groups: readonly HostGroup[], attempt: Attempt): Promise<OpenedServer> | undefined {
    const logins = this.loginsOf(groups)
    const login = logins[(this.refused.get(host) ?? 0) % logins.length]
    const candidate = login?.database.target?.group.candidates.find((one) => one.host === host)
    if (login === undefined || candidate === undefined) return undefined
    const { config, keyring, tls } = this.registry.context
    return openServer(attempt, {
      address: candidate.address,
      security: tls.serversOf(login.database.config),
      settings: config.settings,
      credentials: login.credentials,
      parameters: { database: login.database.config.dbname, application_name: 'tsbouncer host check' },
      keyring,
      onParameter() {},
    })
  }

  onProbeRefused(host: Host): void {
    this.refused.set(host, (this.refused.get(host) ?? 0) + 1)
  }

  /** In the order in which they are tried. */
  private loginsOf(groups: readonly HostGroup[]): ProbeLogin[] {
    const { config } = this.registry.context
    const { host_check_user: checker, auth_user: asker } = config.settings
    const logins: ProbeLogin[] = []
    for (const database of this.registry.databases) {
      if (database.target === undefined || !groups.includes(database.target.group)) continue
      const named = checker === undefined ? [database.config.authUser ?? asker] : [checker]
      const known = named.filter((user) => user !== undefined).map((user) => this.registry.storedCredentials(user))
      const { user: forced } = database.config
      if (checker === undefined && forced !== undefined) known.push(this.registry.forcedCredentials(database, forced))
      if (checker === undefined) for (const pool of database.pools.values()) known.push(pool.credentials)
      for (const credentials of known) logins.push({ database, credentials })
    }
    return logins
  }

  bytesFrom(host: Host): ReadonlyMap<object, number> {
    const bytes = new Map<object, number>()
    for (const pool of this.registry.pools()) {
      for (const server of pool.servers()) {
        if (server.roleHost === host && server.relay !== undefined) bytes.set(server, server.relay.socket.bytesRead)
      }
    }
    return bytes
  }

  onRestarted(host: Host, then: number): void {
    for (const pool of [...this.registry.pools()]) {
      for (const server of pool.servers()) {
        if (server.roleHost === host && server.connectedAt < then) pool.onServerLost(server, 'host_replaced')
      }
    }
  }

  isSearching(group: HostGroup): boolean {
    for (const database of this.registry.databases) {
      const { target } = database
      if (target?.group !== group || target.hasFit) continue
      if (target.wantsPrimary) return true
      for (const { waiting, arriving } of this.registry.pools(database))
        if (waiting.size + arriving.size > 0) return true
    }
    return false
  }

  /** All know where their servers may be before anyone does anything about it: nothing is written to the new before the old is left. */
  onReconsidered(group: HostGroup): void {
    const changed = [...this.registry.databases].filter(
      ({ target }) => target !== undefined && target.group === group && target.update(),
    )
    this.tellLate(changed)
    for (const database of changed) {
      for (const pool of this.registry.pools(database)) for (const server of pool.servers()) this.part(pool, server)
    }
    const decided = this.registry.refusals.settle(group)
    if (decided.size > 0) this.partAll(decided)
    for (const database of changed) {
      for (const pool of this.registry.pools(database)) {
        pool.launcher.hostsChanged()
        for (const host of database.target?.returned ?? []) this.share(pool, host)
        pool.demand()
      }
    }
    if (changed.length > 0) this.registry.conditions.look()
  }

  /** They were spared while a refusal of theirs was to be decided. */
  private partAll(servers: ReadonlySet<ServerSession>): void {
    for (const pool of this.registry.pools()) {
      for (const server of pool.servers()) if (servers.has(server)) this.part(pool, server)
    }
  }

  private now(): number {
    return this.registry.context.clock.now()
  }

  /** One line for each host, whatever the number of databases that read from it. */
  private tellLate(databases: readonly Database<Pool>[]): void {
    const { log } = this.registry.context
    const told = new Set<Host>()
    for (const { name, target } of databases) {
      if (target === undefined || target.wantsPrimary) continue
      for (const host of target.lateChanges) {
        if (told.has(host)) continue
        told.add(host)
        const lag = `${((host.lag ?? 0) / 1000).toFixed(1)} s behind`
        if (target.isLate(host))
          log.warning(`host ${host.name}: ${lag}, too late to be read from (max_replica_lag of ${name})`)
        else log.info(`host ${host.name}: ${lag}, read from again`)
      }
    }
  }

  /** A server leaves the host that it should not be on any more. */
  private part(pool: Pool, server: ServerSession): void {
    const { roleHost } = server
    if (roleHost === undefined || server.state === 'closed' || this.registry.refusals.has(server)) return
    switch (pool.database.target?.standing(roleHost, pool.reach)) {
      case 'spare':
        return this.registry.retire(pool, server, roleHost.isBanned(this.now()) ? 'host_banned' : 'role_changed')
      case 'wrong':
        return pool.onServerLost(server, 'host_replaced')
      case 'dead':
        return pool.onServerLost(server, 'host_down')
      case 'fit':
      case 'unsure':
      case undefined: // it stays
    }
  }

  /** A host that fits again gets its part of the servers that others have taken over meanwhile. */
  private share(pool: Pool, host: Host): void {
    const { target } = pool.database
    if (target === undefined || pool.isReplication || pool.reach === 'anywhere') return
    const others = [...pool.idle, ...pool.used, ...pool.active].filter(({ closeNeeded, roleHost }) => {
      return !closeNeeded && roleHost !== undefined && roleHost !== host && target.standing(roleHost, 'role') === 'fit'
    })
    const part = Math.floor(others.length / target.fitting)
    for (const server of others.slice(0, part)) this.registry.retire(pool, server, 'host_returned')
    target.owe(host, part)
  }
}
