// A host: one address and port where a server is, shared by all databases that name it, and what is known of it.

import { hostAndPort } from '../../io/listener.js'
import type { ServerAddress } from '../hosts.js'
import type { Report } from './report.js'

/**
 * `unknown`: nothing was heard yet. `up`: it answers. `starting`: it answers, but serves nobody yet (57P03). `down`: it
 * refuses connections, or does not answer.
 */
export type HostState = 'unknown' | 'up' | 'starting' | 'down'

/** What was heard last, whether good or bad. */
export interface Heard {
  readonly state: HostState
  /** What it says; undefined where it says nothing, be it up or not. */
  readonly report: Report | undefined
  /** Why it says nothing. */
  readonly error: string
}

const nothing: Heard = { state: 'unknown', report: undefined, error: '' }

export class Host {
  /** `10.0.0.1:5432`, or the path of a Unix socket: what SHOW HOSTS and BAN HOST call it. */
  readonly name: string
  readonly address: ServerAddress
  heard: Heard = nothing
  /** When its state or role was last seen to change, ms on the clock. */
  since: number
  /** The last thing that went wrong, kept when it is well again. */
  lastError = ''
  /** When the latest check began that is over, ms on the clock. */
  checkedAt = Number.NEGATIVE_INFINITY
  /** By `BAN HOST`: it is given no servers until then, ms on the clock. */
  bannedUntil = Number.NEGATIVE_INFINITY
  /** The groups that have fenced it: what one of them knows, holds for all. */
  readonly fencedBy = new Set<object>()
  /** How far behind its primary it is, ms; undefined where that is not known. */
  lag: number | undefined
  /** The system identifier that it was last heard to have. */
  systemId: string | undefined
  /** How often the primary's role came to it from another host. */
  failovers = 0

  constructor(address: ServerAddress, now: number) {
    this.name = nameOf(address)
    this.address = address
    this.since = now
  }

  get report(): Report | undefined {
    return this.heard.report
  }

  get state(): HostState {
    return this.heard.state
  }

  /** What it is by its own word. */
  get role(): 'primary' | 'standby' | 'unknown' {
    const { report } = this.heard
    return report === undefined ? 'unknown' : report.isInRecovery ? 'standby' : 'primary'
  }

  isBanned(now: number): boolean {
    return now < this.bannedUntil
  }

  /** @returns whether that is something else than was known before */
  hear(heard: Heard, now: number): boolean {
    const [state, role] = [this.state, this.role]
    this.heard = heard
    if (heard.error !== '') this.lastError = heard.error
    this.systemId = heard.report?.systemId ?? this.systemId
    const isNew = state !== this.state || role !== this.role
    if (isNew) this.since = now
    return isNew
  }
}

/** What a host is called; all names that lead to one address and port are one host. */
function nameOf(address: ServerAddress): string {
  if (address.kind === 'unix') return address.path.replace('\0', '@')
  return hostAndPort(address.address, address.port)
}
