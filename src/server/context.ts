// What everything in one pooler shares: configuration, clock, log, and the tables that span pools.

import { ScramKeyring } from '../auth/scram-keys.js'
import type { Config } from '../config/load.js'
import type { Clock } from '../observe/clock.js'
import { CloseCounts } from '../observe/close-counts.js'
import type { Log } from '../observe/log.js'
import { type TrackedNames, trackedNames } from '../relay/parameters.js'
import { StatementTable } from '../relay/statements/statement-table.js'
import { Classifier } from '../session-state/classify.js'
import { type DnsLimits, Resolver } from './hosts.js'
import type { TlsFiles } from './tls-files.js'
import { Topology } from './topology/topology.js'

export interface Context {
  /** Replaced as a whole by a reload. */
  config: Config
  readonly clock: Clock
  readonly log: Log
  readonly keyring: ScramKeyring
  readonly statements: StatementTable
  readonly classifier: Classifier
  readonly tracked: TrackedNames
  readonly resolver: Resolver
  /** Hosts with roles; none, where no entry has `target_session_attrs`. */
  readonly topology: Topology
  /** Certificates and keys, read at start and at each reload. */
  tls: TlsFiles
  /** PAUSE of everything: no server is given to anyone. */
  isPaused: boolean
  /** Of clients that no pool has, and of CancelRequests. */
  readonly closes: CloseCounts
  /** Numbers for clients and servers, counted up. */
  nextId: number
}

/** @param onGone is told of addresses that a name does not have any more */
export function newContext(
  config: Config,
  tls: TlsFiles,
  log: Log,
  clock: Clock,
  onGone?: (name: string, addresses: readonly string[]) => void,
): Context {
  const limits = (): DnsLimits => ({
    maxTtl: context.config.settings.dns_max_ttl,
    failureTtl: context.config.settings.dns_nxdomain_ttl,
  })
  const base = {
    config,
    clock,
    log,
    keyring: new ScramKeyring(),
    statements: new StatementTable(),
    classifier: new Classifier(),
    tracked: trackedNames(config.settings.track_extra_parameters),
    resolver: new Resolver(clock, limits, onGone),
    tls,
    isPaused: false,
    closes: new CloseCounts(),
    nextId: 1,
  }
  const context: Context = Object.assign(base, { topology: new Topology(base) })
  return context
}

/** SHOW's `ptr` of the client or server with this number. */
export function pointer(id: number): string {
  return `0x${(0x5500_0000_0000 + id * 0x10).toString(16)}`
}
