// Who has a server for a while, and whose it is when nobody has.

import type { Credentials } from '../auth/server-login.js'
import type { DatabaseConfig } from '../config/databases.js'
import type { Counters } from '../observe/stats.js'
import type { PgError } from '../protocol/errors.js'
import type { HostList } from './host-list.js'
import type { ServerSession } from './server-session.js'

/** Whoever waits for a server: a client, or a query of the pooler's own. */
export interface Waiter {
  /** Since when, ms on the clock. */
  waitingSince: number
  readonly wantsAlignment: boolean
  /** Is told of any failed attempt to connect, and does not wait for the next one. */
  readonly isImpatient?: boolean
  /** The server is this waiter's from now on. */
  onServer(server: ServerSession, now: number): void
  onRefused(error: PgError): void
}

/** A client, as far as it waits for servers and has them. */
export interface Borrower extends Waiter {
  /** As SHOW names it. */
  readonly ptr: string
  /** When the exchange under way began, ms on the clock; 0: none ever did. */
  readonly requestSince: number
  /** Has a server, which is still being given its parameters. */
  readonly isReserved: boolean
  /** Has no server any more. */
  unlink(): void
  /** Goes on with what it has sent. */
  resume(): void
  onServerLost(server: ServerSession): void
  /** Is told what is wrong, and closed. */
  fail(error: PgError): void
}

/** Startup parameters of servers beyond those of the database: the client's own, for replication. */
export interface ServerStartup {
  readonly replication: 'none' | 'logical' | 'physical'
  readonly parameters: Readonly<Record<string, string>>
}

/** The pool that a server belongs to: where it goes and as whom it logs in, and who hears what becomes of it. */
export interface ServerOwner {
  readonly database: { readonly name: string; readonly config: DatabaseConfig; readonly hosts: HostList }
  readonly user: { readonly name: string }
  readonly credentials: Credentials
  readonly startup: ServerStartup
  readonly counters: Counters
  /** Its client has left it. */
  release(server: ServerSession): void
  /** It has reported a parameter, of its own accord or `isChecked`: in answer to what sets nothing. */
  onParameter(server: ServerSession, name: string, value: string, isChecked: boolean): void
  /** The connection is over, and its client is yet to be told. */
  onServerLost(server: ServerSession, reason: string): void
  /** It is being closed. */
  onServerClosing(server: ServerSession): void
  /** The last CancelRequest for it has been delivered. */
  onCancelled(server: ServerSession): void
}
