// The hosts of an entry of [databases]: their addresses, and which of them is the primary.

import type { Clock } from '../../observe/clock.js'
import type { NamedHost, ServerAddress } from '../hosts.js'
import { type Election, elect, nothingKnown, type Voice } from './election.js'
import type { Host } from './host.js'
import { LagMeter } from './lag.js'
import { type Place, placeOf } from './standing.js'

/** A host as an entry names it. */
export interface Candidate {
  readonly named: NamedHost
  /** With the name as configured, for TLS. */
  readonly address: ServerAddress
  readonly host: Host
}

/** What has become of a group, in words for the log. */
export interface GroupChange {
  readonly text: string
  readonly isLoud: boolean
  /** The primary's role has gone from one host to another. */
  readonly failover?: { readonly from: string; readonly to: string }
}

export class HostGroup {
  readonly name: string
  readonly named: readonly NamedHost[]
  candidates: readonly Candidate[] = []
  /** Names that were looked up at least once, whether they have an address or not. */
  private readonly lookedUp = new Set<NamedHost>()
  private readonly clock: Clock
  private readonly lag = new LagMeter()
  private election: Election
  private isToldOfNone = false

  /** @param former a group that this one takes the place of, whose list of hosts was another: what it knows is known here */
  constructor(named: readonly NamedHost[], clock: Clock, former?: HostGroup) {
    this.name = groupName(named)
    this.named = named
    this.clock = clock
    const known = former === undefined ? nothingKnown : former.election.known
    this.election = { primary: undefined, foreign: new Set(), disputed: new Set(), known }
  }

  /** A primary is known, or was. */
  get hasElected(): boolean {
    return this.election.known.primary !== undefined
  }

  /** Returns whether it has any of these hosts. */
  shares(named: readonly NamedHost[]): boolean {
    return this.named.some((one) => named.some((other) => groupName([one]) === groupName([other])))
  }

  /** Where writes go now. */
  get primary(): Host | undefined {
    const { primary } = this.election
    return primary === undefined ? undefined : this.hostNamed(primary)
  }

  hostNamed(name: string): Host | undefined {
    return this.candidates.find(({ host }) => host.name === name)?.host
  }

  /** An address was found for each name, or is not to be had. */
  get isLookedUp(): boolean {
    return this.named.every((named) => this.lookedUp.has(named))
  }

  /** All have answered, or had time to. */
  get hasSpoken(): boolean {
    return this.isLookedUp && this.candidates.every(({ host }) => host.state !== 'unknown')
  }

  /** The addresses of one of its names are these from now on. @returns whether that is new */
  resolved(named: NamedHost, found: readonly Candidate[]): boolean {
    this.lookedUp.add(named)
    const [before, after] = [[] as Candidate[], [] as Candidate[]]
    const position = this.named.indexOf(named)
    for (const candidate of this.candidates) {
      const at = this.named.indexOf(candidate.named)
      if (at < position) before.push(candidate)
      else if (at > position) after.push(candidate)
    }
    const former = this.candidates
    const taken = new Set([...before, ...after].map(({ host }) => host))
    this.candidates = [...before, ...found.filter(({ host }) => !taken.has(host)), ...after]
    return this.candidates.length !== former.length || this.candidates.some(({ host }, n) => host !== former[n]!.host)
  }

  placeOf(host: Host): Place {
    return placeOf(host, this.election, this.clock.now())
  }

  /** Returns whether another server of the same cluster is the primary. */
  hasReplaced({ systemId, report }: Host): boolean {
    const { primary } = this
    if (primary === undefined || systemId === undefined || systemId !== primary.systemId) return false
    return report?.startedAt !== primary.report?.startedAt
  }

  isFenced(host: Host): boolean {
    return this.election.known.fenced.has(host.name)
  }

  /** All that are fenced, as one text to compare. */
  get fences(): string {
    return [...this.election.known.fenced].sort().join()
  }

  isForeign(host: Host): boolean {
    return this.election.foreign.has(host.name)
  }

  /**
   * By word of an administrator: it is no longer fenced, and may be of another system identifier, or, while there is no
   * primary, of a lower timeline.
   */
  pardon(host: Host): void {
    const { known, primary } = this.election
    const fenced = new Set([...known.fenced].filter((name) => name !== host.name))
    const isForeign = this.isForeign(host)
    const isSetBack = isForeign || (primary === undefined && host.role === 'primary')
    const systemId = isForeign ? host.systemId : known.systemId
    const timeline = isSetBack ? (host.report?.timeline ?? 0) : known.timeline
    this.election = { ...this.election, known: { ...known, fenced, systemId, timeline } }
    host.fencedBy.delete(this)
  }

  /** It is no group any more: what it has fenced, others may know better. */
  dissolve(): void {
    for (const { host } of this.candidates) host.fencedBy.delete(this)
  }

  /** A host has been heard of, or an administrator has spoken: elects again. @returns what is to be told of it */
  reconsider(): GroupChange[] {
    const former = this.election
    if (!this.isLookedUp) return []
    this.election = elect(this.voices(), former.known)
    for (const { host } of this.candidates) {
      if (this.isFenced(host)) host.fencedBy.add(this)
      else host.fencedBy.delete(this)
    }
    this.measureLag()
    return this.changesSince(former)
  }

  private voices(): Voice[] {
    const now = this.clock.now()
    return this.candidates.map(({ host }) => ({
      name: host.name,
      hasSpoken: host.state !== 'unknown',
      isInRecovery: host.state === 'up' ? host.report?.isInRecovery : undefined,
      timeline: host.report?.timeline,
      systemId: host.systemId,
      startedAt: host.report?.startedAt,
      isBanned: host.isBanned(now) || this.isFencedElsewhere(host),
    }))
  }

  private isFencedElsewhere({ fencedBy }: Host): boolean {
    return fencedBy.size > (fencedBy.has(this) ? 1 : 0)
  }

  private measureLag(): void {
    const now = this.clock.now()
    const position = this.primary?.report?.lsn
    if (position !== undefined) this.lag.note(position, now)
    for (const { host } of this.candidates) {
      const { report } = host
      if (report === undefined || !report.isInRecovery) host.lag = undefined
      else if (position === undefined)
        host.lag ??= report.replayDelay // nobody writes: it falls no further behind
      else host.lag = (report.lsn === undefined ? undefined : this.lag.behind(report.lsn, now)) ?? report.replayDelay
    }
  }

  private changesSince(former: Election): GroupChange[] {
    const { primary, foreign, disputed, known } = this.election
    const changes: GroupChange[] = []
    const isNone = primary === undefined && known.primary === undefined && disputed.size === 0 && this.hasSpoken
    if (isNone && !this.isToldOfNone) changes.push(this.change('none of them is a primary', false))
    this.isToldOfNone = isNone
    if (primary !== former.primary) {
      const before = former.known.primary
      const timeline = `timeline ${known.timeline === 0 ? 'unknown' : known.timeline}`
      if (primary === undefined) changes.push(this.change(`no primary, the last was ${before}: writes wait`, true))
      else if (before === undefined || before === primary) {
        changes.push(this.change(`${primary} is the primary, ${timeline}`, false))
      } else {
        const failover = { from: before, to: primary }
        changes.push({ ...this.change(`${primary} is the primary in place of ${before}, ${timeline}`, true), failover })
      }
    }
    for (const name of known.fenced) {
      if (former.known.fenced.has(name)) continue
      const than = primary === undefined ? `timeline ${known.timeline} is known` : `${primary} is the primary`
      changes.push(this.change(`${name} is fenced: it says that it is a primary, but ${than}`, true))
    }
    for (const name of former.known.fenced) {
      if (!known.fenced.has(name)) changes.push(this.change(`${name} is no longer fenced`, false))
    }
    for (const name of foreign) {
      if (former.foreign.has(name)) continue
      changes.push(this.change(`${name} has another system identifier than ${known.systemId}: it is not used`, true))
    }
    if (disputed.size > 0 && former.disputed.size === 0) {
      const names = [...disputed].join(' and ')
      changes.push(this.change(`${names} are primaries of one timeline: none is used, BAN HOST decides`, true))
    }
    return changes
  }

  private change(text: string, isLoud: boolean): GroupChange {
    return { text: `hosts ${this.name}: ${text}`, isLoud }
  }
}

/** Entries with the same hosts are one group, in whatever order they name them. */
export function groupName(named: readonly NamedHost[]): string {
  return named
    .map(({ name, port }) => `${name}:${port}`)
    .sort()
    .join(',')
}
