// How clients come in, for whoever wants to know: what -v adds to the log, in pgbouncer's words, and the channels of `observe/trace.ts`.

import { hostAndPort } from '../io/listener.js'
import type { LogPeer } from '../observe/log.js'
import { clientConnects, clientLogins } from '../observe/trace.js'
import type { Context } from '../server/context.js'
import type { ClientSession } from './client-session.js'

/** A client is connected; -v: from where and to where. */
export function traceArrival({ log }: Context, client: ClientSession): void {
  if (clientConnects.hasSubscribers) clientConnects.publish(client.traced)
  if (log.verbose < 1) return
  const { kind, description, localAddress, localPort } = client.origin
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

/** A client has been welcomed. */
export function traceLogin(client: ClientSession): void {
  if (clientLogins.hasSubscribers) clientLogins.publish(client.traced)
}
