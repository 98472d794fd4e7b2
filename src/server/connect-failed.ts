// Why a connection to a server could not be made: what clients are told of it, and what stands in the log.

import { ServerRefused } from '../auth/server-login.js'
import { ConnectionLost } from '../protocol/conversation.js'
import { PgError } from '../protocol/errors.js'
import { type ServerCloseReason, serverCloseText } from './close-reason.js'
import { LookupFailed } from './hosts.js'
import { TlsFailed } from './server-tls.js'

/** Why a connection attempt failed, in pgbouncer's words where the server itself said nothing. */
export class ConnectFailed extends Error {
  override readonly name = 'ConnectFailed'
  /** What the server is closed for, and what its text is about. */
  readonly reason: ServerCloseReason
  readonly detail: string
  /** What clients are told at once; undefined where they keep waiting (the server is starting up, 57P03). */
  readonly error: PgError | undefined
  /** What the system said, for the log. */
  readonly said: string | undefined

  constructor(reason: ServerCloseReason, detail: string, error?: PgError, said?: string) {
    super(serverCloseText(reason, detail))
    this.reason = reason
    this.detail = detail
    this.error = error
    this.said = said
  }
}

/** Nothing for clients to be told at once. */
export function failed(reason: ServerCloseReason, detail = '', said?: string): ConnectFailed {
  return new ConnectFailed(reason, detail, undefined, said)
}

/** A server that is not yet, or not any more, ready for connections: clients go on waiting. */
const cannotConnectNow = '57P03'

/** What any error on the way means. */
export function connectFailure(error: unknown): ConnectFailed {
  if (error instanceof ConnectFailed) return error
  if (error instanceof LookupFailed) return failed('dns_failed', '', error.message)
  if (error instanceof ServerRefused) {
    const sqlstate = error.fields.get('C') ?? 'XX000'
    const told = new PgError({ sqlstate, severity: 'FATAL', text: error.message })
    return new ConnectFailed('login_refused', error.message, sqlstate === cannotConnectNow ? undefined : told)
  }
  if (error instanceof PgError) return new ConnectFailed('login_failed', error.message, error)
  if (error instanceof ConnectionLost) return failed('server_crashed')
  return failed(error instanceof TlsFailed ? 'tls_failed' : 'login_failed', (error as Error).message)
}

/** A server that is about to end: 57P01, 57P02. */
const ending: ReadonlySet<string> = new Set(['57P01', '57P02'])

/** Returns whether it is the user or the database that a server does not want; else it is the server that is not well. */
export function isRefusal(failure: ConnectFailed): boolean {
  const { error } = failure
  return error !== undefined && !ending.has(error.sqlstate) && !isFull(failure)
}

/** Returns whether a server has no room for now: insufficient resources, among them too many connections. */
export function isFull({ error }: ConnectFailed): boolean {
  return error?.sqlstate.startsWith('53') === true
}
