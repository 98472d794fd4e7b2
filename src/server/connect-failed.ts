// Why a connection to a server could not be made: what clients are told of it, and what stands in the log.

import { ServerRefused } from '../auth/server-login.js'
import { ConnectionLost } from '../protocol/conversation.js'
import { PgError } from '../protocol/errors.js'
import { LookupFailed } from './hosts.js'

/** Why a connection attempt failed, in pgbouncer's words where the server itself said nothing. */
export class ConnectFailed extends Error {
  override readonly name = 'ConnectFailed'
  /** What clients are told at once; undefined where they keep waiting (the server is starting up, 57P03). */
  readonly error: PgError | undefined
  /** What the system said, for the log. */
  readonly reason: string | undefined

  constructor(text: string, error: PgError | undefined, reason?: string) {
    super(text)
    this.error = error
    this.reason = reason
  }
}

/** Nothing for clients to be told at once. */
export function failed(text: string, reason?: string): ConnectFailed {
  return new ConnectFailed(text, undefined, reason)
}

/** A server that is not yet, or not any more, ready for connections: clients go on waiting. */
const cannotConnectNow = '57P03'

/** What any error on the way means. */
export function connectFailure(error: unknown): ConnectFailed {
  if (error instanceof ConnectFailed) return error
  if (error instanceof LookupFailed) return failed('server DNS lookup failed', error.message)
  if (error instanceof ServerRefused) {
    const sqlstate = error.fields.get('C') ?? 'XX000'
    const told = new PgError({ sqlstate, severity: 'FATAL', text: error.message })
    return new ConnectFailed(error.message, sqlstate === cannotConnectNow ? undefined : told)
  }
  if (error instanceof PgError) return new ConnectFailed(error.message, error)
  return failed(error instanceof ConnectionLost ? 'server conn crashed?' : (error as Error).message)
}
