// What -v adds to the log of how clients come in, in pgbouncer's words.

import { hostAndPort } from '../io/listener.js'
import type { LogPeer } from '../observe/log.js'
import type { Context } from '../server/context.js'
import type { Arrival } from './arrivals.js'

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
