// What -v -v adds to the log of how servers go to and fro, in pgbouncer's words where it has some.

import type { LogPeer } from '../observe/log.js'
import type { Context } from './context.js'
import type { ServerSession } from './server-session.js'

/** -v -v: a server goes to a client, as it is or after the SETs of some parameters. */
export function traceLink({ log }: Context, client: LogPeer, server: ServerSession, isAligned: boolean): void {
  if (log.verbose < 2) return
  log.noise(`linked to S-${server.ptr}${isAligned ? '' : ', after its parameters are set'}`, client)
}

/** -v -v: a server is free again, and what becomes of it. */
export function traceRelease({ log }: Context, server: ServerSession, next: string): void {
  if (log.verbose >= 2) log.noise(`release_server: ${next}`, server)
}
