// How pools come to their end: servers closed as they become free, or everything dropped at once.

import { PgError } from '../protocol/errors.js'
import { withoutPromise } from '../server/leave-promise.js'
import type { ClientSession } from './client-session.js'
import type { Registry } from './registry.js'

/** Nobody waits for the clients of the console. */
export function consoleApart(registry: Registry): ClientSession[] {
  return [...registry.clients].filter((client) => client.console === undefined)
}

/** @returns whether all servers are free and closed; clients that want one from now on are told by the janitor */
export function drainServers(registry: Registry): () => boolean {
  withoutPromise(() => {
    registry.context.isPaused = true
    for (const client of consoleApart(registry)) {
      if (client.isWaiting || client.phase === 'login') client.fail(new PgError('server_shutting_down'))
    }
    for (const pool of registry.pools()) {
      for (const server of [...pool.idle, ...pool.used, ...pool.connecting]) server.close('server shutting down')
    }
  })
  return () => [...registry.pools()].every((pool) => pool.size === 0)
}

/** Ends whoever is there, those who came during a SUSPEND too. To be called again for who is accepted after that. */
export function dropEverything(registry: Registry): void {
  withoutPromise(() => {
    registry.isClosing = true
    registry.refuseFrom(0)
    registry.isSuspended = false
    registry.takeParked()
    for (const client of [...registry.clients]) {
      if (client.console !== undefined) client.close('pooler is shutting down')
      else client.fail(new PgError('server_shutting_down'))
    }
    for (const pool of registry.pools()) for (const server of pool.servers()) server.close('pooler is shutting down')
    registry.cancels.end()
  })
}
