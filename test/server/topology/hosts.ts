// Hosts and groups of them for tests, and what they say, without a network.

import type { NamedHost } from '../../../src/server/hosts.js'
import { type Candidate, HostGroup } from '../../../src/server/topology/group.js'
import { Host, type HostState } from '../../../src/server/topology/host.js'
import { lsnOf, type Report } from '../../../src/server/topology/report.js'
import type { ManualClock } from '../../harness/manual-clock.js'

export type Role = 'primary' | 'standby'

/** @param lsn `0/1000`, as PostgreSQL writes it */
export function report(role: Role, timeline: number | undefined = 1, lsn?: string, systemId = 'S'): Report {
  const [isInRecovery, position] = [role === 'standby', lsnOf(lsn)]
  return { isInRecovery, timeline, systemId, startedAt: undefined, lsn: position, replayDelay: undefined }
}

/** What is heard of a host. */
export const heard = (state: HostState, said?: Report, error = '') => ({ state, report: said, error })
export const down = heard('down', undefined, 'connect failed: ECONNREFUSED')

export const named = (name: string, port = 5432): NamedHost => ({ name, port })

/** An address that a configured name leads to. */
export function candidate(of: NamedHost, address: string, clock: ManualClock): Candidate {
  const place = { kind: 'tcp', name: of.name, address, port: of.port } as const
  return { named: of, address: place, host: new Host(place, clock.now()) }
}

/** A group with one host for each name, whose address is that name; none has been heard of. */
export class Scene {
  readonly clock: ManualClock
  readonly group: HostGroup
  private readonly hosts = new Map<string, Host>()

  constructor(clock: ManualClock, ...names: readonly string[]) {
    this.clock = clock
    const list = names.map((name) => named(name))
    this.group = new HostGroup(list, clock)
    for (const one of list) {
      const found = candidate(one, one.name, clock)
      this.hosts.set(one.name, found.host)
      this.group.resolved(one, [found])
    }
  }

  host(name: string): Host {
    return this.hosts.get(name)!
  }

  /** @returns what is told of it */
  hear(name: string, said: Role | 'down' | ReturnType<typeof heard>, timeline = 1): string[] {
    const what = said === 'down' ? down : typeof said === 'string' ? heard('up', report(said, timeline)) : said
    this.host(name).hear(what, this.clock.now())
    return this.group.reconsider().map(({ text }) => text.replace(`hosts ${this.group.name}: `, ''))
  }
}
