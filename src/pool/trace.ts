// What -v and -v -v add to the log: what clients, servers and pools do with whom; in pgbouncer's words where it has some.

import { hostAndPort } from '../io/listener.js'
import type { LogPeer } from '../observe/log.js'
import type { Context } from '../server/context.js'
import type { ServerSession } from '../server/server-session.js'
import type { Arrival } from './client-startup.js'
import type { Pool } from './pool.js'

/** -v: a client is connected, from where and to where. */
export function traceArrival({ log }: Context, client: LogPeer, arrival: Arrival): void {
  if (log.verbose < 1) return
  const { kind, description, localAddress, localPort } = arrival
  const to = kind === 'tcp' ? ` -> ${hostAndPort(localAddress, localPort)}` : ''
  log.debug(`P: got connection: ${description}${to}`, client)
}

/** -v: what a client asks for in its startup packet. Passwords are not among it. */
export function traceStartup({ log, config }: Context, parameters: ReadonlyMap<string, string>, who: LogPeer): void {
  if (log.verbose < 1) return
  const ignored = new Set(config.settings.ignore_startup_parameters.map((name) => name.toLowerCase()))
  for (const [name, value] of parameters) {
    const verb = ignored.has(name.toLowerCase()) ? 'ignoring startup parameter' : 'got var'
    log.debug(`${verb}: ${name}=${value}`, who)
  }
}

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

/** -v -v: a server goes to a client, as it is or after the SETs of some parameters. */
export function traceLink({ log }: Context, client: LogPeer, server: ServerSession, isAligned: boolean): void {
  if (log.verbose < 2) return
  log.noise(`linked to S-${server.ptr}${isAligned ? '' : ', after its parameters are set'}`, client)
}

/** -v -v: a server is free again, and what becomes of it. */
export function traceRelease({ log }: Context, server: ServerSession, next: string): void {
  if (log.verbose >= 2) log.noise(`release_server: ${next}`, server)
}
