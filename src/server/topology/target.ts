// Where the servers of one database may be: the hosts of its entry that fit, and which of them is next.

import type { DatabaseConfig } from '../../config/databases.js'
import type { Clock } from '../../observe/clock.js'
import { nextHost } from '../balance.js'
import type { Candidate, HostGroup } from './group.js'
import type { Host } from './host.js'
import { isByLogin } from './report.js'
import type { SessionRole } from './session-role.js'
import { type Standing, standingFor } from './standing.js'

/** A standby that was late is taken again when it is within this part of `max_replica_lag`. */
const hysteresis = 0.5

/** Misfits that are remembered before those that do not matter any more are thrown away. */
const manyMisfits = 100

/** Where a server may be: as its entry's role says, or anywhere that is well, for look-ups of the pooler's own. */
export type Reach = 'role' | 'anywhere'

export class Target {
  readonly group: HostGroup
  private readonly config: DatabaseConfig
  private readonly clock: Clock
  private readonly maxLag: () => number
  private standings = new Map<Host, Standing>()
  private readonly late = new Set<Host>()
  private turn = 0
  /** Hosts that refused to be what the entry wants of them for one user, and until when that is remembered. */
  private readonly misfits = new Map<string, number>()
  /** Hosts that fit since the last update, and did not before; none where servers stay with one host. */
  returned: readonly Host[] = []
  /** Hosts that are late since the last update, and were not before, or the other way round. */
  lateChanges: readonly Host[] = []
  /** Servers that are to be opened on a host before its turn, so that it gets its part. */
  private readonly owed = new Map<Host, number>()

  /** @param maxLag `max_replica_lag` that holds now, ms; 0: a standby is never late */
  constructor(group: HostGroup, config: DatabaseConfig, clock: Clock, maxLag: () => number) {
    this.group = group
    this.config = config
    this.clock = clock
    this.maxLag = maxLag
    this.update()
  }

  /** Looks at all hosts again. @returns whether any of them is something else than before */
  update(): boolean {
    const { group } = this
    const places = group.candidates.map(({ host }) => [host, group.placeOf(host)] as const)
    const late = new Set(this.late)
    for (const [host] of places) this.noteLag(host)
    this.lateChanges = places.map(([host]) => host).filter((host) => late.has(host) !== this.late.has(host))
    const hasStandby = places.some(([host, place]) => place === 'standby' && !this.late.has(host))
    const former = this.standings
    this.standings = new Map(
      places.map(([host, place]) => [
        host,
        standingFor(this.config.targetSessionAttrs, place, this.late.has(host), hasStandby),
      ]),
    )
    this.returned = places.map(([host]) => host).filter((host) => this.isNewlyFit(host, former))
    if (former.size !== this.standings.size) return true
    for (const [host, standing] of this.standings) if (former.get(host) !== standing) return true
    return false
  }

  private isNewlyFit(host: Host, former: ReadonlyMap<Host, Standing>): boolean {
    if (this.config.loadBalanceHosts === 'disable') return false
    return this.standings.get(host) === 'fit' && former.get(host) !== 'fit'
  }

  /** How many hosts fit. */
  get fitting(): number {
    return this.fit('role').length
  }

  /** The next so many servers are opened there. */
  owe(host: Host, count: number): void {
    if (count > 0) this.owed.set(host, (this.owed.get(host) ?? 0) + count)
  }

  private noteLag(host: Host): void {
    const most = this.maxLag()
    if (host.role !== 'standby' || most <= 0 || host.lag === undefined) this.late.delete(host)
    else if (host.lag > most) this.late.add(host)
    else if (host.lag <= most * hysteresis) this.late.delete(host)
  }

  isLate(host: Host): boolean {
    return this.late.has(host)
  }

  standing(host: Host, reach: Reach): Standing {
    if (reach === 'role') return this.standings.get(host) ?? this.standingOfFormer(host)
    return standingFor('any', this.group.placeOf(host), false, false)
  }

  /** Of a host that the entry has no more. */
  private standingOfFormer(host: Host): Standing {
    return this.wantsPrimary && this.group.hasReplaced(host) ? 'wrong' : 'spare'
  }

  /** No standby will do. */
  get wantsPrimary(): boolean {
    const { targetSessionAttrs: attrs } = this.config
    return attrs === 'primary' || attrs === 'read-write'
  }

  /** What clients are told of `in_hot_standby`, whatever the server at hand is. */
  get inHotStandby(): 'on' | 'off' {
    return this.wantsPrimary ? 'off' : 'on'
  }

  /**
   * The host to connect to next, by `load_balance_hosts`; undefined: none fits. Where the roles can't be probed, one that is up,
   * so that its login tells.
   * @param count servers that the database has on a host
   */
  choose(user: string, reach: Reach, count: (host: Host) => number): Candidate | undefined {
    const fit = this.eligible(user, reach)
    if (fit.length === 0) return undefined
    const owed = reach === 'role' ? this.takeOwed(fit) : undefined
    if (owed !== undefined) return owed
    return nextHost(this.config.loadBalanceHosts, fit, this.turn++, ({ host }) => count(host))
  }

  private takeOwed(fit: readonly Candidate[]): Candidate | undefined {
    if (this.owed.size === 0) return undefined
    const found = fit.find(({ host }) => this.owed.has(host))
    if (found === undefined) {
      this.owed.clear()
      return undefined
    }
    const left = this.owed.get(found.host)! - 1
    if (left > 0) this.owed.set(found.host, left)
    else this.owed.delete(found.host)
    return found
  }

  /** Returns whether there is a host that has the role, whoever may use it. */
  get hasFit(): boolean {
    return this.fitting > 0
  }

  /** Returns whether `choose` would find one. */
  hasAny(user: string, reach: Reach): boolean {
    return this.eligible(user, reach).length > 0
  }

  private eligible(user: string, reach: Reach): Candidate[] {
    const fit = this.fit(reach)
    return (fit.length > 0 ? fit : this.mute()).filter(({ host }) => !this.isMisfit(host, user))
  }

  private fit(reach: Reach): Candidate[] {
    return this.group.candidates.filter(({ host }) => this.standing(host, reach) === 'fit')
  }

  /** Hosts that are up and whose role the probe is not told, so that a login has to tell: also that it is another by now. */
  private mute(): Candidate[] {
    return this.group.candidates.filter(({ host }) => {
      if (host.state !== 'up' || (host.report !== undefined && !isByLogin(host.report))) return false
      const place = this.group.placeOf(host)
      return place !== 'wrong' && place !== 'spare'
    })
  }

  /** Returns whether a session of this kind is what the entry asks for. */
  accepts({ isInRecovery, isReadOnly }: SessionRole, reach: Reach): boolean {
    if (reach === 'anywhere') return true
    switch (this.config.targetSessionAttrs) {
      case 'primary':
        return !isInRecovery
      case 'read-write':
        return !isInRecovery && !isReadOnly
      case 'standby':
        return isInRecovery
      case 'read-only':
        return isInRecovery || isReadOnly
      default:
        return true
    }
  }

  /** A host is not what the entry wants of it for this user, though its role is right: it is left alone for `ms`. */
  noteMisfit(host: Host, user: string, ms: number): void {
    const now = this.clock.now()
    if (this.misfits.size >= manyMisfits) {
      for (const [key, until] of this.misfits) if (until <= now) this.misfits.delete(key)
    }
    this.misfits.set(`${host.name}\0${user}`, now + ms)
  }

  private isMisfit(host: Host, user: string): boolean {
    if (this.misfits.size === 0) return false
    const key = `${host.name}\0${user}`
    const until = this.misfits.get(key)
    if (until === undefined) return false
    if (this.clock.now() < until) return true
    this.misfits.delete(key)
    return false
  }
}
