// What -v adds to the log of when pools open connections to servers, in pgbouncer's words.

import type { ServerSession } from '../server/server-session.js'
import type { Pool } from './pool.js'

/** -v: why who waits in a pool is not having a server opened; looked at as often as the janitor looks. */
export function traceWaiting(pool: Pool): void {
  const { context, database, user, limits, waiting, arriving, connecting, tested } = pool
  if (context.log.verbose < 1 || waiting.size + arriving.size <= connecting.size + tested.size) return
  const reason = hindrance(pool)
  if (reason === undefined) return
  const where = `${database.name}/${user.name}`
  context.log.debug(`launch_new_connection: ${reason}; ${waiting.size + arriving.size} waiting in ${where}`)

  function hindrance(pool: Pool): string | undefined {
    if (pool.isPaused) return 'paused'
    const retry = pool.launcher.pauseLeft
    if (retry > 0) {
      return `last failed, not launching new connection yet, still waiting ${Math.ceil(retry / 1000)} s`
    }
    return (
      full('pool', pool.size, limits.poolSize) ??
      full(`database '${database.name}'`, database.servers, limits.maxDbConnections) ??
      full(`user '${user.name}'`, user.servers, limits.maxUserConnections)
    )
  }
}

function full(what: string, count: number, most: number): string | undefined {
  return most > 0 && count >= most ? `${what} full (${count} >= ${most})` : undefined
}

/** -v: a connection attempt begins. */
export function traceConnect(pool: Pool, server: ServerSession): void {
  const { context, waiting, arriving } = pool
  if (context.log.verbose < 1) return
  const why = waiting.size + arriving.size === 0 ? 'satisfy min_pool_size' : 'server'
  context.log.debug(`launching new connection to ${why}`, server)
}
