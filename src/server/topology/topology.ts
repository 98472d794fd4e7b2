// All hosts that entries with roles name: looked up, probed, and told of to whom it concerns.

import type { DatabaseConfig } from '../../config/databases.js'
import type { Config } from '../../config/load.js'
import type { Clock, Timer } from '../../observe/clock.js'
import type { Log } from '../../observe/log.js'
import { failovers, hostChanges } from '../../observe/trace.js'
import type { Attempt } from '../attempt.js'
import { type NamedHost, namedHostsOf, placesOf, type Resolver } from '../hosts.js'
import { leavePromise } from '../leave-promise.js'
import type { OpenedServer } from '../open-server.js'
import { type Candidate, groupName, HostGroup } from './group.js'
import { type Heard, Host } from './host.js'
import { Probe, type ProbeOwner } from './probe.js'
import { isByLogin, toldByLogin } from './report.js'
import { Target } from './target.js'

/** Who uses the hosts: the pools. */
export interface HostUsers {
  /** Opens a connection for the probe of a host, or undefined where there is nobody to log in as. */
  openProbe(host: Host, groups: readonly HostGroup[], attempt: Attempt): Promise<OpenedServer> | undefined
  /** The probe's login was refused. */
  onProbeRefused(host: Host): void
  /** Bytes read so far on each connection of a pool to it. */
  bytesFrom(host: Host): ReadonlyMap<object, number>
  /** Another server answers at its address than before: connections begun before `then` lead to one that is gone. */
  onRestarted(host: Host, then: number): void
  /** Something was heard that may change where the group's servers may be. */
  onReconsidered(group: HostGroup): void
  /** Returns whether the group lacks a primary that is wanted, or a host that somebody waits for. */
  isSearching(group: HostGroup): boolean
}

/** While a host is looked for, ms. */
const searchPeriod = 100

/** How often names are looked up again, where the resolver knows their addresses no longer, ms. */
const lookUpPeriod = 1000

/** What is needed of the Context. */
export interface TopologyContext {
  readonly clock: Clock
  readonly config: Config
  readonly log: Log
  readonly resolver: Resolver
}

export class Topology implements ProbeOwner {
  readonly hosts = new Map<string, Host>()
  readonly groups = new Map<string, HostGroup>()
  private readonly probes = new Map<Host, Probe>()
  /** Groups of a former configuration, whose fences hold until their successors have been looked up. */
  private gone: HostGroup[] = []
  private users: HostUsers | undefined
  private timer: Timer | undefined
  private readonly lookingUp = new Set<NamedHost>()
  /** Names that could not be looked up the last time. */
  private readonly unfound = new Set<string>()

  private readonly context: TopologyContext

  constructor(context: TopologyContext) {
    this.context = context
    this.makeGroups()
  }

  get clock() {
    return this.context.clock
  }

  /** @param users are told of what is heard from now on */
  start(users: HostUsers): void {
    this.users = users
    this.timer = this.clock.every(lookUpPeriod, () => this.lookUpAll())
    this.lookUpAll()
  }

  stop(): void {
    this.timer?.cancel()
    for (const probe of this.probes.values()) probe.stop()
    this.probes.clear()
    this.users = undefined
  }

  /** The groups are those of the configuration from now on; what is known of the ones that stay, stays. */
  reconfigure(): void {
    this.makeGroups()
    this.forgetHosts()
    this.lookUpAll()
    for (const probe of this.probes.values()) probe.replan()
  }

  private makeGroups(): void {
    const { config } = this.context
    const wanted = new Map<string, NamedHost[]>()
    for (const entry of [...config.databases.values(), config.autodb]) {
      if (entry === undefined || entry.targetSessionAttrs === 'any') continue
      const named = namedHostsOf(entry, config.settings.unix_socket_dir)
      if (!wanted.has(groupName(named))) wanted.set(groupName(named), named)
    }
    const gone = [...this.groups.values()].filter(({ name }) => !wanted.has(name))
    for (const { name } of gone) this.groups.delete(name)
    this.gone.push(...gone)
    const formers = [...gone, ...this.groups.values()]
    for (const [name, named] of wanted) {
      if (this.groups.has(name)) continue
      // A host is of one cluster, whichever entries name it: what is known of that, fences among it, is known to all of them.
      const related = formers.filter((group) => group.shares(named))
      const former = related.find(({ hasElected }) => hasElected) ?? related[0]
      this.groups.set(name, new HostGroup(named, this.clock, former))
    }
  }

  /** Where the servers of a database may be; undefined where its entry says nothing of roles. */
  targetOf(entry: DatabaseConfig): Target | undefined {
    if (entry.targetSessionAttrs === 'any') return undefined
    const { context } = this
    const named = namedHostsOf(entry, context.config.settings.unix_socket_dir)
    const group = this.groups.get(groupName(named)) ?? new HostGroup(named, this.clock)
    return new Target(group, entry, this.clock, () => {
      return 1000 * (entry.maxReplicaLag ?? context.config.settings.max_replica_lag)
    })
  }

  /** Something about this host is not as it was: it is asked at once, and with it those that may take its place. */
  suspect(host: Host): void {
    for (const group of this.groupsOf(host)) this.hurry(group)
  }

  /** All hosts of a group are asked at once. */
  hurry(group: HostGroup): void {
    for (const { host } of group.candidates) this.probes.get(host)?.hurry()
  }

  /** What a server that has just logged in says of its host, where nothing else is known of that. */
  hearLogin(host: Host, isInRecovery: boolean): void {
    const { report, state } = host
    if (state !== 'up' || (report !== undefined && !isByLogin(report))) return
    if (report?.isInRecovery !== isInRecovery)
      this.onHeard(host, { state, report: toldByLogin(isInRecovery), error: '' })
  }

  /** @param ms 0: until `unban` */
  ban(host: Host, ms: number): void {
    host.bannedUntil = ms === 0 ? Number.POSITIVE_INFINITY : this.clock.now() + ms
    if (ms > 0) this.clock.after(ms, () => this.reconsiderAll(host))
    this.reconsiderAll(host)
  }

  /** Lifts a ban and a fence, and accepts the system identifier that it has now. */
  unban(host: Host): void {
    host.bannedUntil = Number.NEGATIVE_INFINITY
    for (const group of this.groupsOf(host)) group.pardon(host)
    this.reconsiderAll(host)
    this.suspect(host)
  }

  groupsOf(host: Host): HostGroup[] {
    return [...this.groups.values()].filter(({ candidates }) => candidates.some((one) => one.host === host))
  }

  // What a probe asks for.

  periodOf(host: Host): number {
    const period = this.context.config.settings.host_check_period * 1000
    if (host.state === 'up' && host.report === undefined) return period // it refuses to say, however often it is asked
    return this.groupsOf(host).some((group) => this.users?.isSearching(group)) ? Math.min(period, searchPeriod) : period
  }

  get checkTimeout(): number {
    const { host_check_timeout: timeout, host_check_period: period } = this.context.config.settings
    return (timeout || period) * 1000
  }

  open(host: Host, attempt: Attempt): Promise<OpenedServer> | undefined {
    return this.users?.openProbe(host, this.groupsOf(host), attempt)
  }

  onRefused(host: Host): void {
    this.users?.onProbeRefused(host)
  }

  bytesFrom(host: Host): ReadonlyMap<object, number> {
    return this.users?.bytesFrom(host) ?? new Map()
  }

  onHeard(host: Host, heard: Heard, begunAt: number = host.checkedAt): void {
    const [before, checkedAt] = [host.report?.startedAt, host.checkedAt]
    host.checkedAt = begunAt
    if (before !== undefined && (heard.report?.startedAt ?? before) !== before) this.users?.onRestarted(host, checkedAt)
    // What a login has told stands while the probe is told nothing, but no longer than that.
    const isSilent = heard.state === 'up' && host.state === 'up' && heard.report === undefined
    const kept = isSilent && host.report !== undefined && isByLogin(host.report)
    const [state, role] = [host.state, host.role]
    if (!host.hear(kept ? { ...heard, report: host.report } : heard, this.clock.now())) return this.reconsiderAll(host)
    const why = heard.error === '' ? '' : ` (${heard.error})`
    const text = `host ${host.name}: ${describe(state, role)} -> ${describe(host.state, host.role)}${why}`
    if (host.role !== 'unknown') this.context.log.info(text)
    else this.context.log.warning(text)
    if (hostChanges.hasSubscribers) {
      hostChanges.publish({ host: host.name, state: host.state, role: host.role, before: { state, role } })
    }
    this.reconsiderAll(host)
    for (const group of this.groupsOf(host)) {
      for (const other of group.candidates) this.probes.get(other.host)?.replan()
    }
  }

  private reconsiderAll(host: Host): void {
    for (const group of this.groupsOf(host)) this.reconsider(group)
  }

  private reconsider(group: HostGroup): void {
    const fences = group.fences
    for (const { text, isLoud, failover } of group.reconsider()) {
      if (isLoud) this.context.log.warning(text)
      else this.context.log.info(text)
      if (failover === undefined) continue
      const { primary } = group
      if (primary !== undefined) primary.failovers++
      if (failovers.hasSubscribers) failovers.publish({ hosts: group.name, ...failover })
    }
    // What one group has fenced is no candidate of another's.
    if (fences !== group.fences) {
      for (const other of this.groups.values()) if (other !== group && other.shares(group.named)) this.reconsider(other)
    }
    this.users?.onReconsidered(group)
  }

  // Names and their addresses.

  private lookUpAll(): void {
    for (const group of this.groups.values()) {
      for (const named of group.named) if (!this.lookingUp.has(named)) void this.lookUp(group, named)
    }
  }

  /** Where that hangs, the name is without an address for as long. */
  private async lookUp(group: HostGroup, named: NamedHost): Promise<void> {
    this.lookingUp.add(named)
    const late = this.clock.after(this.checkTimeout, () => this.found(group, named, []))
    const addresses = await placesOf(named, this.context.resolver)
    late.cancel()
    this.lookingUp.delete(named)
    leavePromise(() => this.found(group, named, addresses))
  }

  private found(group: HostGroup, named: NamedHost, addresses: readonly Candidate['address'][]): void {
    if (this.users === undefined || this.groups.get(group.name) !== group) return
    const isFirst = !group.isLookedUp
    // A look-up that fails says nothing of hosts that are known.
    const hasSome = group.candidates.some((candidate) => candidate.named === named)
    const candidates = addresses.map((address): Candidate => ({ named, address, host: this.hostAt(address) }))
    this.noteLookUp(named, candidates.length > 0)
    if (candidates.length === 0 && hasSome) return
    const isNew = group.resolved(named, candidates)
    if (!isNew && !isFirst) return
    this.forgetHosts()
    this.reconsider(group)
    if (![...this.groups.values()].every(({ isLookedUp }) => isLookedUp)) return
    for (const former of this.gone) former.dissolve()
    this.gone = []
  }

  /** A name without an address is told of once. */
  private noteLookUp({ name }: NamedHost, isFound: boolean): void {
    if (isFound) this.unfound.delete(name)
    else if (!this.unfound.has(name)) {
      this.unfound.add(name)
      this.context.log.warning(`host ${name}: its name cannot be looked up`)
    }
  }

  private hostAt(address: Candidate['address']): Host {
    const made = new Host(address, this.clock.now())
    const known = this.hosts.get(made.name)
    if (known !== undefined) return known
    this.hosts.set(made.name, made)
    const probe = new Probe(made, this)
    this.probes.set(made, probe)
    leavePromise(() => probe.hurry()) // when its group knows of it
    return made
  }

  /** Those that no group has; not while any group does not know its own yet, since it may have them. */
  private forgetHosts(): void {
    for (const group of this.groups.values()) if (!group.isLookedUp) return
    for (const [name, host] of this.hosts) {
      if (this.groupsOf(host).length > 0) continue
      this.hosts.delete(name)
      this.probes.get(host)?.stop()
      this.probes.delete(host)
    }
  }
}

function describe(state: Host['state'], role: Host['role']): string {
  return state === 'up' ? (role === 'unknown' ? 'up, its role unknown' : role) : state
}
