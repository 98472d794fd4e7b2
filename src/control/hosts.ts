// Hosts with roles, as an administrator sees them and what may be done with them.

import { dateAfter } from '../observe/clock.js'
import type { Database } from '../pool/database.js'
import type { Pool } from '../pool/pool.js'
import type { Registry } from '../pool/registry.js'
import type { Context } from '../server/context.js'
import type { Host } from '../server/topology/host.js'
import { AdminError, type HostStatus, type Notice } from './status.js'

export function hostStatuses(registry: Registry): HostStatus[] {
  return [...registry.context.topology.hosts.values()].map((host) => hostStatus(registry, host))
}

function hostStatus(registry: Registry, host: Host): HostStatus {
  const { clock, topology } = registry.context
  const servers = [...registry.pools()].flatMap((pool) => pool.servers()).filter(({ roleHost }) => roleHost === host)
  const active = servers.filter(({ state }) => state === 'active').length
  const idle = servers.filter(({ state }) => state === 'idle' || state === 'used').length
  return {
    host: host.name,
    role: host.role,
    state: stateOf(registry, host),
    isPrimary: topology.groupsOf(host).some(({ primary }) => primary === host),
    timeline: host.report?.timeline,
    systemId: host.report?.systemId,
    lag: host.lag,
    since: dateAfter(clock.date(), host.since - clock.now()),
    lastError: host.lastError,
    active,
    idle,
    other: servers.length - active - idle,
    failovers: host.failovers,
  }
}

function stateOf({ context, databases }: Registry, host: Host): HostStatus['state'] {
  const { topology, clock } = context
  const groups = topology.groupsOf(host)
  if (groups.some((group) => group.isForeign(host))) return 'foreign'
  if (groups.some((group) => group.isFenced(host))) return 'fenced'
  if (host.isBanned(clock.now())) return 'banned'
  if (host.state !== 'up') return host.state
  return [...databases].some(({ target }) => target?.wantsPrimary === false && target.isLate(host)) ? 'late' : 'up'
}

/**
 * @param name as in SHOW HOSTS, or the address or configured name alone where only one host has it
 * @throws AdminError
 */
export function findHost({ topology }: Context, name: string): Host {
  const hosts = [...topology.hosts.values()]
  const named = hosts.filter((host) => {
    const { address } = host
    if (host.name === name || (address.kind === 'tcp' && address.address === name)) return true
    const candidates = topology.groupsOf(host).flatMap((group) => group.candidates)
    return candidates.some((one) => one.host === host && one.named.name === name)
  })
  if (named.length === 1) return named[0]!
  const known = hosts.map((host) => host.name).join(', ') || 'none, since no database has target_session_attrs'
  throw new AdminError(`${named.length === 0 ? 'no such host' : 'more than one host'}: ${name} (known: ${known})`)
}

/**
 * Lifts the ban and the fence of a host, and accepts its system identifier, unless there is a primary of the known one.
 * @returns what is to be told, where it is fenced again at once
 * @throws AdminError
 */
export function pardon({ topology }: Context, host: Host): Notice | undefined {
  for (const group of topology.groupsOf(host)) {
    if (!group.isForeign(host) || group.primary === undefined) continue
    throw new AdminError(
      `${host.name} has another system identifier than the primary ${group.primary.name}: BAN that first, if ${host.name} takes its place`,
    )
  }
  topology.unban(host)
  const fencing = topology.groupsOf(host).find((group) => group.isFenced(host))
  if (fencing === undefined) return undefined
  const known = fencing.primary === undefined ? 'a newer timeline is known' : `${fencing.primary.name} is the primary`
  return { text: `${host.name} is fenced again`, detail: `It says that it is a primary, but ${known}.` }
}

/** Every host is asked anew first. @throws AdminError when it takes longer than `seconds`, unless that is 0 */
export async function waitPrimary(
  { context, conditions }: Registry,
  database: Database<Pool>,
  seconds: number,
  signal: AbortSignal,
): Promise<void> {
  if (database.target === undefined) throw new AdminError(`database ${database.name} has no target_session_attrs`)
  context.topology.hurry(database.target.group)
  const since = context.clock.now()
  const isOver = (): boolean => seconds > 0 && context.clock.now() - since >= seconds * 1000
  // What was known before may be what is being left just now.
  const isKnown = (): boolean => {
    const group = database.target?.group // a reload may have made it another
    return group?.primary !== undefined && group.candidates.every(({ host }) => host.checkedAt >= since)
  }
  await conditions.until(() => isKnown() || isOver(), signal)
  if (!isKnown()) throw new AdminError(`no primary is known after ${seconds} s`)
}
