// What everything in one pooler shares: configuration, clock, log, and the tables that span pools.

import type { ScramKeyring } from '../auth/scram-keys.js'
import type { Config } from '../config/load.js'
import type { Clock } from '../observe/clock.js'
import type { CloseCounts } from '../observe/close-counts.js'
import type { Log } from '../observe/log.js'
import type { TrackedNames } from '../relay/parameters.js'
import type { StatementTable } from '../relay/statements/statement-table.js'
import type { Classifier } from '../session-state/classify.js'
import type { Resolver } from './hosts.js'
import type { TlsFiles } from './tls-files.js'

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
  /** Certificates and keys, read at start and at each reload. */
  tls: TlsFiles
  /** PAUSE of everything: no server is given to anyone. */
  isPaused: boolean
  /** Of clients that no pool has, and of CancelRequests. */
  readonly closes: CloseCounts
  /** Numbers for clients and servers, counted up. */
  nextId: number
}

/** SHOW's `ptr` of the client or server with this number. */
export function pointer(id: number): string {
  return `0x${(0x5500_0000_0000 + id * 0x10).toString(16)}`
}
